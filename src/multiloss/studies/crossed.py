"""Two crossed sources of chance: what training seeds, held-out rows and the rest add to the variance of a mean."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from multiloss.linalg.gramian import Array
from multiloss.studies import student


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
        """Return Satterthwaite's degrees of freedom of `variance` (https://doi.org/10.2307/3002019).

        The variance is (A + B - MS_rest) / (seeds rows) with the mean squares A of seeds and B of rows, each at least
        MS_rest, of seeds - 1 and rows - 1 degrees.
        """
        by_seed, by_row = rows * self.seed + self.rest, seeds * self.row + self.rest
        whole = by_seed + by_row - self.rest
        return 1 / ((by_seed / whole) ** 2 / (seeds - 1) + (by_row / whole) ** 2 / (rows - 1))

    def parts(self, seeds: int, rows: int) -> list[student.Part]:
        """Return what adds to `variance`, by degrees of freedom; the rest counts as of the fewer."""
        rest = self.rest / (seeds * rows)
        by_seed = self.seed / seeds + (rest if seeds <= rows else 0.0)
        by_row = self.row / rows + (0.0 if seeds <= rows else rest)
        found = (student.Part(by_seed, seeds - 1), student.Part(by_row, rows - 1))
        return [part for part in found if part.variance > 0]

    def half_width(self, seeds: int, rows: int, level: float) -> float:
        """Return half the interval of a mean over `seeds` x `rows`; 0 where nothing varies."""
        return student.half_width(level, self.parts(seeds, rows))

    def detectable(self, seeds: int, rows: int, level: float, power: float) -> float:
        """Return the true difference that the interval of `seeds` x `rows` leaves out 0 for with chance `power`."""
        if not (variance := self.variance(seeds, rows)):
            return 0.0
        beyond = student.two_sided_quantile(2 * power - 1, self.freedom(seeds, rows))
        return self.half_width(seeds, rows, level) + beyond * math.sqrt(variance)


class Layout(NamedTuple):
    """Scores `[seeds, rows]` taken apart, so that they add up: deviations of seeds, of rows, and the rest.

    Args:
        seed: `[seeds]`.
        row: `[rows]`.
        rest: `[seeds, rows]`.
        largest: Of the scores, which bounds the rounding.
    """

    seed: Array
    row: Array
    rest: Array
    largest: float

    @classmethod
    def of(cls, scores: Array) -> Layout:
        """Take scores apart, at least 2 x 2."""
        # moved, so that equal scores are exactly 0; in this order of memory numpy adds pairwise, and rounding stays
        # small
        scores = np.ascontiguousarray(scores - scores[0, 0])
        by_seed, by_row, mean = scores.mean(1), scores.mean(0), scores.mean()
        rest = scores - by_seed[:, None] - by_row + mean
        return cls(by_seed - mean, by_row - mean, rest, float(np.abs(scores).max()))

    def products(self, other: Layout) -> tuple[float, float, float]:
        """Return the covariances with another of the seeds' means, the rows' means and the rest."""
        seeds, rows = self.rest.shape
        by_seed, by_row, rest = (float((mine * its).sum()) for mine, its in zip(self[:3], other[:3], strict=True))
        return by_seed / (seeds - 1), by_row / (rows - 1), rest / ((seeds - 1) * (rows - 1))


def components_of(squares: Sequence[float], seeds: int, rows: int, floor: float = 0.0) -> Components:
    """Return the components of `seeds` x `rows` scores.

    Args:
        squares: The products of their layout with itself.
        seeds: How many.
        rows: How many.
        floor: What is not above it is rounding.
    """
    by_seed, by_row, rest = squares
    found = (by_seed - rest / rows, by_row - rest / seeds, rest)
    return Components(*(value if value > floor else 0.0 for value in found))


def components(scores: Array) -> Components:
    """Return the components of scores `[seeds, rows]`, at least 2 x 2, by the mean squares of a two-way layout.

    Examples:
        >>> components(np.array([[1.0, 2.0], [3.0, 4.0]]))
        Components(seed=2.0, row=0.5, rest=0.0)
    """
    own, (seeds, rows) = Layout.of(scores), scores.shape
    # rounding of the means leaves squares of this size where nothing varies
    return components_of(own.products(own), seeds, rows, (8 * np.finfo(np.float64).eps * own.largest) ** 2)
