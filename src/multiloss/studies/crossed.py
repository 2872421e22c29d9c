"""Two crossed sources of chance: what training seeds, held-out rows and the rest add to the variance of a mean."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import numpy as np

from multiloss.linalg.gramian import Array
from multiloss.studies.student import two_sided_quantile

LEVEL = 0.95
MOST = 1 << 24
"""Seeds or rows that nobody has: what needs more cannot be had."""


class Components(NamedTuple):
    """Variances of d = mean + seed + row + rest: what a seed moves in all rows, a row in all seeds, and what is left.

    All are 0 or more: a component that the mean squares put below 0 is taken for 0.
    """

    seed: float
    row: float
    rest: float

    def variance(self, seeds: int, rows: int) -> float:
        """Return the variance of the mean over `seeds` x `rows`."""
        return self.seed / seeds + self.row / rows + self.rest / (seeds * rows)

    def freedom(self, seeds: int, rows: int) -> float:
        """Return Satterthwaite's degrees of freedom of `variance`.

        The variance is a sum of mean squares, (MS_seed + MS_row - MS_rest) / (seeds rows), each of known degrees of
        freedom. A component of 0 takes its mean square out of the sum.
        """
        used_seed, used_row = float(self.seed > 0), float(self.row > 0)
        parts = (
            (used_seed * (rows * self.seed + self.rest), seeds - 1),
            (used_row * (seeds * self.row + self.rest), rows - 1),
            ((1 - used_seed - used_row) * self.rest, (seeds - 1) * (rows - 1)),
        )
        whole = sum(square for square, _ in parts)
        return 1 / sum((square / whole) ** 2 / own for square, own in parts)

    def half_width(self, seeds: int, rows: int, level: float) -> float:
        """Return half the interval of a mean over `seeds` x `rows`; 0 where nothing varies."""
        variance = self.variance(seeds, rows)
        return two_sided_quantile(level, self.freedom(seeds, rows)) * math.sqrt(variance) if variance else 0.0


@dataclass(frozen=True)
class Difference:
    """What one variant scores more than another, over seeds and rows, with its interval and test.

    Args:
        mean: Mean over seeds and rows, in the unit of the scores (a share of the baseline if it is relative).
        low, high: The interval.
        p: Two-sided chance of a mean this far from 0 if there is no difference.
        seeds, rows: How many of both are behind it.
        deviation_seeds: Standard deviation of what a training seed moves in all rows.
        deviation_rows: Standard deviation of what a row moves in all seeds.
        deviation_rest: Standard deviation of what is left: one row in one training.
        freedom: Degrees of freedom of the interval; None where nothing varies.
        level: Of the interval.
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

    @property
    def half_width(self) -> float:
        """Half the interval."""
        return (self.high - self.low) / 2

    @property
    def needed(self) -> int | None:
        """Seeds with which half the interval would be less than |mean|, by the deviations found.

        None where no number of seeds does it, because the rows alone are too few, or the mean is 0.
        """
        return self.seeds_for(abs(self.mean))

    @property
    def needed_rows(self) -> int | None:
        """Rows that would do the same with these seeds; None where no number of rows does it, or the mean is 0."""
        return self.rows_for(abs(self.mean))

    def seeds_for(self, half_width: float) -> int | None:
        """Return how many seeds make half the interval less than `half_width` on these rows; None where none do.

        A true difference of that size is then found about every other time; smaller ones less often.
        """
        known = self._components()
        return least(lambda seeds: known.half_width(seeds, self.rows, self.level) < half_width)

    def rows_for(self, half_width: float) -> int | None:
        """Return how many rows make half the interval less than `half_width` with these seeds; None where none do."""
        known = self._components()
        return least(lambda rows: known.half_width(self.seeds, rows, self.level) < half_width)

    def _components(self) -> Components:
        return Components(self.deviation_seeds**2, self.deviation_rows**2, self.deviation_rest**2)

    def to_dict(self) -> dict[str, Any]:
        """Return the difference as plain values."""
        return asdict(self) | {"needed": self.needed, "needed_rows": self.needed_rows}


def components(scores: Array) -> Components:
    """Return the components of scores `[seeds, rows]`, at least 2 x 2, by the mean squares of a two-way layout.

    Examples:
        >>> components(np.array([[1.0, 2.0], [3.0, 4.0]]))
        Components(seed=2.0, row=0.5, rest=0.0)
    """
    seeds, rows = scores.shape
    # moved, so that equal scores are exactly 0; in this order of memory numpy adds pairwise, and rounding stays small
    scores = np.ascontiguousarray(scores - scores[0, 0])
    by_seed, by_row, mean = scores.mean(1), scores.mean(0), scores.mean()
    rest = scores - by_seed[:, None] - by_row + mean
    square = float((rest**2).sum()) / ((seeds - 1) * (rows - 1))
    # rounding of the means leaves squares of this size where nothing varies
    floor = (8 * np.finfo(np.float64).eps * float(np.abs(scores).max())) ** 2
    found = (
        float(((by_seed - mean) ** 2).sum()) / (seeds - 1) - square / rows,
        float(((by_row - mean) ** 2).sum()) / (rows - 1) - square / seeds,
        square,
    )
    return Components(*(value if value > floor else 0.0 for value in found))


def least(enough: Callable[[int], bool]) -> int | None:
    """Return the least number from 2 on that is enough, or None where none is.

    Args:
        enough: False up to some number and True from it on, or never True.

    Examples:
        >>> least(lambda number: number >= 37), least(lambda number: False)
        (37, None)
    """
    high = 2
    while not enough(high):
        high *= 2
        if high > MOST:
            return None
    low = high // 2  # not enough, or 1
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high
