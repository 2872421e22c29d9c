"""The columns of a training log as arrays, with what the printed digits leave open."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from multiloss.diagnosis.training_log import LogEpoch, Printed
from multiloss.linalg.gramian import Array

SINGLE_PRECISION = 5e-6
"""What running means in single precision lose, relative to what they add up."""

UNKNOWN = Printed(float("nan"), 0.0)


@dataclass(frozen=True)
class Series:
    """One split of a log: n epochs, m parts.

    Args:
        epoch: Their numbers, `[n]`.
        total, total_half: The total and how far the true one may be from what was printed, `[n]`.
        parts, parts_half: The same of the parts, `[n, m]`.
    """

    epoch: Array
    total: Array
    total_half: Array
    parts: Array
    parts_half: Array

    @classmethod
    def read(cls, rows: Sequence[LogEpoch], names: Sequence[str]) -> Series:
        """Return the columns of `rows`; a part that an epoch lacks is NaN there."""
        parts = [[row.parts.get(name, UNKNOWN) for name in names] for row in rows]
        shape = (len(rows), len(names))
        return cls(
            np.array([row.epoch for row in rows], dtype=np.float64),
            np.array([row.total.value for row in rows], dtype=np.float64),
            np.array([row.total.half for row in rows], dtype=np.float64),
            np.array([[part.value for part in row] for row in parts], dtype=np.float64).reshape(shape),
            np.array([[part.half for part in row] for row in parts], dtype=np.float64).reshape(shape),
        )

    def __len__(self) -> int:
        return len(self.epoch)

    def where(self, mask: npt.NDArray[np.bool_]) -> Series:
        """Return the epochs that `mask` chooses."""
        return Series(*(getattr(self, name)[mask] for name in self.__dataclass_fields__))

    def whole(self) -> Series:
        """Return the epochs whose total and parts are all finite numbers."""
        return self.where(np.isfinite(self.total) & np.isfinite(self.parts).all(axis=1))

    def different(self) -> int:
        """Return how many epochs differ from each other: what is printed twice says nothing new."""
        return len(np.unique(np.column_stack([self.total, self.parts]), axis=0))

    def summed(self, weights: Array) -> Series:
        """Return the same parts with their weighted sum as the total."""
        return replace(self, total=self.explained(weights), total_half=self.parts_half @ np.abs(weights))

    def thinned(self, most: int) -> Series:
        """Return at most `most` epochs at even distances."""
        chosen = np.zeros(len(self), dtype=bool)
        chosen[np.linspace(0, len(self) - 1, min(most, len(self))).round().astype(int)] = True
        return self.where(chosen)

    def and_(self, other: Series) -> Series:
        """Return the epochs of both."""
        pairs = ((getattr(self, name), getattr(other, name)) for name in self.__dataclass_fields__)
        return Series(*(np.concatenate(pair) for pair in pairs))

    def explained(self, weights: Array) -> Array:
        """Return the weighted sum of the parts, `[n]`."""
        return self.parts @ weights

    def unexplained(self, weights: Array) -> Array:
        """Return what the total holds beyond the weighted sum, `[n]`."""
        return self.total - self.explained(weights)

    def tolerance(self, weights: Array) -> Array:
        """Return how far from zero the remainder may be by the printed precision alone, `[n]`."""
        size = np.abs(self.total) + np.abs(self.parts) @ np.abs(weights)
        allowed: Array = self.total_half + self.parts_half @ np.abs(weights) + SINGLE_PRECISION * size
        return allowed

    def fits(self, weights: Array, slack: float = 1.0) -> bool:
        """Return whether `weights` explain every epoch within the printed precision."""
        return len(self) > 0 and bool(np.all(np.abs(self.unexplained(weights)) <= slack * self.tolerance(weights)))
