"""What every cause is told from, and what it says."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np

from multiloss.diagnosis.log_series import Series
from multiloss.linalg.gramian import Array

Confidence: TypeAlias = Literal["high", "medium", "low"]
CONFIDENCES: tuple[Confidence, ...] = ("high", "medium", "low")

FEWEST = 4
"""Epochs below which the course of a remainder says nothing."""


@dataclass(frozen=True)
class Cause:
    """One explanation of a remainder.

    Args:
        cause: Its name.
        confidence: How sure the log makes it.
        text: What the numbers say, in sentences.
        evidence: The numbers.
        confirm: The line that would confirm it on the model.
        settles: Whether it explains every epoch within the printed precision, so that no other is needed.
        weights: The weights of each epoch, from epochs `[n]` to `[n, m]`, where they moved and are known.
    """

    cause: str
    confidence: Confidence
    text: str
    evidence: dict[str, Any]
    confirm: str
    settles: bool = False
    weights: Callable[[Array], Array] | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the cause as plain objects."""
        return {name: value for name, value in vars(self).items() if name not in ("settles", "weights")}


@dataclass(frozen=True)
class Remainder:
    """What the totals of one split hold beyond the weighted sum of the parts; all numbers are finite.

    Args:
        series: The epochs, n of them.
        weights: The loss weights, `[m]`.
    """

    series: Series
    weights: Array

    def __len__(self) -> int:
        return len(self.series)

    @property
    def epoch(self) -> Array:
        """Numbers of the epochs, `[n]`."""
        return self.series.epoch

    @property
    def total(self) -> Array:
        """The totals, `[n]`."""
        return self.series.total

    @property
    def explained(self) -> Array:
        """The weighted sums of the parts, `[n]`."""
        return self.series.explained(self.weights)

    @property
    def values(self) -> Array:
        """The remainders, `[n]`."""
        return self.series.unexplained(self.weights)

    @property
    def tolerance(self) -> Array:
        """What the printed precision leaves open, `[n]`."""
        return self.series.tolerance(self.weights)

    @property
    def rounding(self) -> bool:
        """Whether every remainder is within the printed precision."""
        return self.series.fits(self.weights)

    @property
    def share(self) -> float:
        """The median size of the remainder, as a share of the total's."""
        size = np.abs(self.total)
        return float(np.median(np.abs(self.values[size > 0]) / size[size > 0])) if (size > 0).any() else 0.0


@dataclass(frozen=True)
class Monitored:
    """The names that a monitor would watch, as the log has them.

    Args:
        total: The total of validation, or else of training.
        parts: Its parts.
    """

    total: str = ""
    parts: tuple[str, ...] = ()


@dataclass(frozen=True)
class Case:
    """Everything that a cause may be told from.

    Args:
        names: The parts.
        train, validation: The remainders of both splits; either may have no epoch.
        given: Whether the user gave the weights.
        told: Whether the weights were given or inferred, not assumed.
        framework: What wrote the log: "keras", "lightning", ..., "" where nobody knows.
        unit: What a line of the log is: "epoch" or "step".
        others: Other columns of the log, `[n]` each, in the order of the training epochs and with NaN where one lacks.
        monitored: The names that a monitor would watch.
    """

    names: tuple[str, ...]
    train: Remainder
    validation: Remainder
    given: bool
    told: bool
    framework: str
    unit: str
    others: dict[str, Array]
    monitored: Monitored = Monitored()

    @property
    def main(self) -> Remainder:
        """The split that the course of the remainder is read from: training, where it has as many epochs."""
        return self.train if len(self.train) >= min(len(self.validation), FEWEST) else self.validation

    @property
    def splits(self) -> tuple[Remainder, ...]:
        """The splits that have epochs."""
        return tuple(split for split in (self.train, self.validation) if len(split))
