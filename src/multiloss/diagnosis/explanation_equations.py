"""The equation of every epoch: what each part added to the total, and what is in no part."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from multiloss.diagnosis.log_fit import named
from multiloss.diagnosis.log_series import SINGLE_PRECISION, Series
from multiloss.linalg.gramian import Array

ARITHMETIC = 1e-12
"""A remainder below this part of the total comes from adding floats."""


@dataclass(frozen=True)
class Equation:
    """The total of one epoch.

    Args:
        epoch: Its number.
        total: As the log says.
        contributions: Weight x value of each part.
        explained: Their sum.
        unexplained: `total - explained`; NaN in a log without a total.
        share: The unexplained part of the total; `None` where the total is zero or not finite.
        tolerance: How large the unexplained part may be by the printed precision alone.
    """

    epoch: float
    total: float
    contributions: dict[str, float]
    explained: float
    unexplained: float
    share: float | None
    tolerance: float

    @property
    def rounding(self) -> bool:
        """Whether the unexplained part is within the printed precision."""
        return abs(self.unexplained) <= self.tolerance

    def to_dict(self) -> dict[str, Any]:
        """Return the numbers that stand in every row of a table."""
        names = ("epoch", "total", "explained", "unexplained", "share")
        row = {name: plain(getattr(self, name)) for name in names}
        return {**row, "epoch": int(self.epoch)} if self.epoch.is_integer() else row


def closer(series: Series, one: Array, other: Array) -> Array:
    """Return the weights by epoch that leave less."""
    left = [np.nansum(np.abs(series.total - (series.parts * weights).sum(axis=1))) for weights in (one, other)]
    return other if left[1] < left[0] else one


def equations(series: Series, weights: Array, names: tuple[str, ...], bare: bool) -> tuple[Equation, ...]:
    """Return the equation of every epoch, with its own weights, `[n, m]`."""
    contributions = series.parts * weights
    explained = contributions.sum(axis=1)
    size = np.abs(series.total) + np.abs(contributions).sum(axis=1)
    tolerance = series.total_half + (series.parts_half * np.abs(weights)).sum(axis=1) + SINGLE_PRECISION * size
    rows = []
    for i, total in enumerate(series.total.tolist()):
        rest = float("nan") if bare else total - float(explained[i])
        rest = 0.0 if abs(rest) <= ARITHMETIC * abs(total) else rest
        share = rest / total if total and np.isfinite(rest / total) else None
        parts = named(names, contributions[i])
        epoch = float(series.epoch[i])
        rows.append(Equation(epoch, total, parts, float(explained[i]), rest, share, float(tolerance[i])))
    return tuple(rows)


def plain(value: Any) -> Any:
    """Return plain objects, `None` in place of NaN and infinity."""
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not np.isfinite(value):
        return None
    return value
