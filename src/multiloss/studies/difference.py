"""A difference between two variants: its interval and test, and how many seeds or rows would find one."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from multiloss.core.errors import DataError
from multiloss.linalg.gramian import Array
from multiloss.studies import student
from multiloss.studies.crossed import Components, components

LEVEL = 0.95
MOST = 1 << 24
"""Seeds or rows that nobody has: what needs more cannot be had."""


@dataclass(frozen=True)
class Difference:
    """What one variant scores more than another, over seeds and rows, with its interval and test.

    Args:
        mean: Mean over seeds and rows, in the unit of the scores (a share of the baseline if it is relative).
        low, high: The interval.
        p: Two-sided chance of a mean this far from 0 if there is no difference.
        seeds, rows: How many of both are behind it; where rows come in groups, `rows` counts the groups.
        deviation_seeds: Standard deviation of what a training seed moves in all rows.
        deviation_rows: Standard deviation of what a row (a group) moves in all seeds.
        deviation_rest: Standard deviation of what is left: one row in one training.
        freedom: Satterthwaite's degrees of freedom of the variance of the mean; None where nothing varies.
        level: Of the interval.
        units: What `rows` counts: `rows` or `groups`.
    """

    mean: float
    low: float
    high: float
    p: float
    seeds: int
    rows: int
    deviation_seeds: float
    deviation_rows: float
    deviation_rest: float
    freedom: float | None
    level: float = LEVEL
    units: str = "rows"

    @property
    def half_width(self) -> float:
        """Half the interval."""
        return (self.high - self.low) / 2

    def seeds_for(self, size: float, among: int = 1, power: float = 0.8) -> int | None:
        """Return how many seeds on these rows would find a true difference of `size` with chance `power`.

        The deviations found are taken for the true ones. Of few seeds they are rough, and so is the number.

        Args:
            size: In the unit of `mean`.
            among: How many comparisons it is one of: found is what has p below (1 - level) / among.
            power: From 0.5 to below 1.

        Returns:
            The least such number, but more than these seeds; None where no number does, as the rows are too few.

        Raises:
            DataError: If `power` is outside of its range.
        """
        found = self._finds(size, among, power)
        return least(lambda seeds: found(seeds, self.rows), self.seeds + 1)

    def rows_for(self, size: float, among: int = 1, power: float = 0.8) -> int | None:
        """Return how many rows (or groups, see `units`) with these seeds would do the same; None where none do."""
        found = self._finds(size, among, power)
        return least(lambda rows: found(self.seeds, rows), self.rows + 1)

    def _finds(self, size: float, among: int, power: float) -> Callable[[int, int], bool]:
        if not 0.5 <= power < 1:
            raise DataError(f"expected a power from 0.5 to below 1, found {power:g}. Ask for 0.8, or 0.9")
        known = Components(self.deviation_seeds**2, self.deviation_rows**2, self.deviation_rest**2)
        level = 1 - (1 - self.level) / among
        return lambda seeds, rows: known.detectable(seeds, rows, level, power) < size

    def to_dict(self) -> dict[str, Any]:
        """Return the difference as plain values."""
        return asdict(self)


def difference(scores: Array, mean: float, level: float, units: str) -> Difference:
    """Return the interval and test of `mean`, which varies as the mean of scores `[seeds, rows]` does."""
    seeds, rows = scores.shape
    known = components(scores)
    half = known.half_width(seeds, rows, level)
    return Difference(
        mean=mean,
        low=mean - half,
        high=mean + half,
        p=student.chance(mean, known.parts(seeds, rows)),
        seeds=seeds,
        rows=rows,
        deviation_seeds=math.sqrt(known.seed),
        deviation_rows=math.sqrt(known.row),
        deviation_rest=math.sqrt(known.rest),
        freedom=known.freedom(seeds, rows) if half else None,
        level=level,
        units=units,
    )


def least(enough: Callable[[int], bool], first: int) -> int | None:
    """Return the least number from `first` on that is enough, or None where none is.

    Args:
        enough: False up to some number and True from it on, or never True.
        first: The least that is asked for.

    Examples:
        >>> least(lambda number: number >= 37, 2), least(lambda number: False, 2), least(lambda number: True, 5)
        (37, None, 5)
    """
    low, high = first - 1, first
    while not enough(high):
        low, high = high, 2 * high
        if high > MOST:
            return None
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high
