"""What held-out scores are before they are compared: labelled rows alone, and groups of rows as one."""

from __future__ import annotations

from typing import Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from multiloss.core.errors import DataError
from multiloss.linalg.gramian import Array

Codes: TypeAlias = npt.NDArray[np.integer[Any]] | Array
"""One number for each row, the same for the rows of one group."""


class Units(NamedTuple):
    """What the choice of held-out rows chooses: rows, or whole groups of them.

    Args:
        codes: Of each row, the number of its unit from 0 on.
        total: How many there are.
        name: `rows` or `groups`.
    """

    codes: npt.NDArray[np.intp]
    total: int
    name: str

    def taken(self, rows: npt.NDArray[np.bool_]) -> Units:
        """Return the units of some rows, numbered anew.

        Args:
            rows: `[rows]`, True for those that are taken.

        Raises:
            DataError: If they are fewer than 2 units.
        """
        own, codes = np.unique(self.codes[rows], return_inverse=True)
        if len(own) < 2:
            raise DataError(
                f"expected at least 2 labelled {self.name}, found {len(own)}. The choice of {self.name} cannot be told "
                "from fewer: hold out more"
            )
        return Units(codes, len(own), self.name)

    def among(self, rows: npt.NDArray[np.bool_]) -> Units:
        """Return the units of some rows, all units staying, also those without one of these rows."""
        return Units(self.codes[rows], self.total, self.name)

    def fold(self, scores: Array) -> Array:
        r"""Return scores `[seeds, rows]` as `[seeds, units]` of the same mean by seed.

        With the mean $m_s$ of a seed over R rows, a unit g of G is $m_s + (G / R) \sum_{r \in g} (d_{sr} - m_s)$: the
        linearised ratio of the sum of scores to the number of rows, so that units may differ in size.
        """
        rows = scores.shape[1]
        if np.array_equal(self.codes, np.arange(self.total)):
            return scores
        means = scores.mean(1, keepdims=True)
        sums = np.stack([np.bincount(self.codes, own, self.total) for own in scores - means])
        folded: Array = means + self.total / rows * sums
        return folded


def units_of(rows: int, groups: Codes | None) -> Units:
    """Return the units of `rows` rows.

    Args:
        rows: How many.
        groups: The code of each row's group, `[rows]`; None where each row is by itself.

    Raises:
        DataError: If there is not one code for each row.
    """
    if groups is None:
        return Units(np.arange(rows), rows, "rows")
    given = np.asarray(groups)
    if given.shape != (rows,) or not np.isfinite(given).all():
        raise DataError(
            f"expected the code of a group for each of {rows} rows, found shape {list(given.shape)}"
            f"{'' if given.shape != (rows,) else ' with NaN'}. Give each row one"
        )
    own, codes = np.unique(given, return_inverse=True)
    return Units(codes, len(own), "groups")


def labelled(a: Array, b: Array) -> tuple[Array, Array, npt.NDArray[np.bool_]]:
    """Return the scores of labelled rows, and which these are.

    Args:
        a: Scores of one variant, `[seeds, rows]`, NaN where a row has no label.
        b: Those of the other.

    Raises:
        DataError: If the shapes differ, fewer than 2 seeds or 2 labelled rows are left, labels are missing in some
            seeds or in one variant only, or a score is infinite.
    """
    first, second = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    if first.ndim != 2 or first.shape != second.shape:
        raise DataError(
            f"expected scores [seeds, rows] of the same seeds and rows, found shapes {list(first.shape)} and "
            f"{list(second.shape)}. Leave out seeds that only one variant has"
        )
    if len(first) < 2:
        raise DataError(f"expected at least 2 seeds, found {len(first)}. One seed gives no interval: train more seeds")
    missing = np.isnan(first[0])
    if (np.isnan(first) != missing).any() or (np.isnan(second) != missing).any():
        raise DataError(
            "expected the same rows without a label in every seed of both variants, found others. "
            "Score all runs on the same rows"
        )
    first, second = first[:, ~missing], second[:, ~missing]
    if first.shape[1] < 2:
        raise DataError(
            f"expected at least 2 labelled rows, found {first.shape[1]}. The choice of rows cannot be told from "
            "fewer: hold out more"
        )
    if not (np.isfinite(first).all() and np.isfinite(second).all()):
        raise DataError("expected finite scores, found infinite ones. Leave out the runs that diverged")
    return first, second, ~missing
