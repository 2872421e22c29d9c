"""The course of a remainder that is above zero, and how far apart those of training and validation are."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from multiloss.diagnosis.causes.base import FEWEST, Case, Remainder
from multiloss.diagnosis.causes.trends import bend, line, roughness
from multiloss.linalg.gramian import Array

SAME = 0.02
"""A penalty depends on the parameters alone: training and validation differ by less than this part of it."""

SMOOTH = 0.005
"""Noise, relative to the remainder, that no batch of data leaves in a mean over an epoch."""


class Course(NamedTuple):
    """The course of a remainder above zero over the epochs."""

    values: Array
    held: bool
    """Whether the parts were held at their first value, because the total does not follow their jumps."""
    rate: float
    r2: float
    """Of the straight line through the logarithm."""
    r2_straight: float
    bend: float
    noise: float
    """Spread around that line, relative to the remainder."""
    roughness: float
    flat: bool
    parts_roughness: float

    @property
    def geometric(self) -> bool:
        """Whether it falls by the same factor in every epoch."""
        falls = self.rate < 1 and not self.flat
        return falls and self.r2 >= 0.95 and abs(self.bend) <= 0.35 and self.r2 >= self.r2_straight - 0.002


def course_of(split: Remainder) -> Course | None:
    """Return the course of a remainder that is above zero in every epoch; `None` where it is not, or too short."""
    split = _above_zero(split)
    values = split.values
    if len(values) < FEWEST or np.any(values <= split.tolerance):
        return None
    held = False
    if np.all(values >= 0.9 * split.total):
        other = split.total - split.explained[0]
        if np.all(other > 0) and _noise(split.epoch, other) < _noise(split.epoch, values):
            values, held = other, True
    logs = np.log(values)
    fit = line(split.epoch, logs)
    flat = float(np.ptp(values)) <= max(2 * float(split.tolerance.max()), 0.002 * float(values.mean()))
    explained = split.explained
    jumps = roughness(np.log(explained)) if np.all(explained > 0) else float("nan")
    return Course(
        values,
        held,
        math.exp(fit.slope),
        fit.r2,
        line(split.epoch, values).r2,
        bend(split.epoch, logs),
        _noise(split.epoch, values),
        roughness(logs),
        flat,
        jumps,
    )


def _above_zero(split: Remainder) -> Remainder:
    """Return the epochs before the remainder sinks below what the print can show."""
    shown = split.values > 4 * split.tolerance
    end = len(split) if shown.all() else int(np.argmin(shown))
    after = split.values[end:]
    if end < FEWEST or np.any(np.abs(after) > np.maximum(4 * split.tolerance[end:], 0.1 * split.values[0])):
        return split
    return Remainder(split.series.where(np.arange(len(split)) < end), split.weights)


def _noise(epoch: Array, values: Array) -> float:
    logs = np.log(values)
    fit = line(epoch, logs)
    return float(np.std(logs - fit.intercept - fit.slope * epoch))


def mismatch(case: Case) -> float | None:
    """Return how far the remainders of training and validation are apart, relative; `None` where it cannot be told.

    It cannot where the weights are assumed and others would bring the two together.

    Training is a mean over the epoch and validation stands at its end, so it is compared with the epoch itself and
    with the middle between it and the next, and the closer counts.
    """
    train, validation = case.train, case.validation
    epochs, own, others = np.intersect1d(train.epoch, validation.epoch, return_indices=True)
    if len(epochs) < FEWEST:
        return None
    a, b = train.values[own], validation.values[others]
    if np.any(a <= 0) or np.any(b <= 0):
        return float("inf")
    apart = np.log(b / a)
    middle = apart[:-1] + 0.5 * np.log(a[:-1] / a[1:])
    found = float(min(np.median(np.abs(apart)), np.median(np.abs(middle))))
    moved = float(np.median(np.abs(validation.explained[others] - train.explained[own]) / a))
    return None if not case.told and SAME < found <= SAME + moved else found
