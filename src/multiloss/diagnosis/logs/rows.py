"""What the readers hand over: rows of named numbers, thinned where there are too many to keep."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import NamedTuple

MOST_ROWS = 10_000
"""Of each kind of row, at least half as many are kept of a longer log."""


class Row(NamedTuple):
    """Some numbers that stand together: `cells` holds them as they were written."""

    epoch: float | None
    step: float | None
    cells: dict[str, str]


class Thinned:
    """Rows in order; of a kind that grows beyond `MOST_ROWS`, every 2nd, then every 4th, and so on."""

    def __init__(self) -> None:
        self._rows: list[tuple[Hashable, Row]] = []
        self._seen: dict[Hashable, int] = {}
        self._kept: dict[Hashable, int] = {}
        self._stride: dict[Hashable, int] = {}

    def wants(self, kind: Hashable) -> bool:
        """Say whether the next row of this kind will be kept, and count it."""
        seen = self._seen.get(kind, 0)
        self._seen[kind] = seen + 1
        return seen % self._stride.get(kind, 1) == 0

    def add(self, kind: Hashable, row: Row) -> None:
        """Keep a row that `wants` asked for."""
        self._rows.append((kind, row))
        self._kept[kind] = self._kept.get(kind, 0) + 1
        if self._kept[kind] > MOST_ROWS:
            self._halve(kind)

    def _halve(self, kind: Hashable) -> None:
        self._stride[kind] = 2 * self._stride.get(kind, 1)
        kept, number = [], 0
        for own, row in self._rows:
            if own == kind:
                number += 1
            if own != kind or number % 2:
                kept.append((own, row))
        self._rows, self._kept[kind] = kept, (number + 1) // 2

    @property
    def rows(self) -> list[Row]:
        """What was kept."""
        return [row for _, row in self._rows]

    @property
    def notes(self) -> list[str]:
        """How many lines were left out, if any were."""
        kinds = [(self._seen[kind], stride) for kind, stride in self._stride.items()]
        return [f"{seen:,} lines: every {stride}th was read" for seen, stride in kinds]


@dataclass
class Found:
    """The rows of a log.

    Args:
        format: What wrote them.
        rows: In the order of the log.
        notes: What was left out, in sentences.
        fixed: Whether trailing zeros are printed, so that each number shows how many digits it has.
        gaps: Whether a NaN may be a cell that nothing was written to.
    """

    format: str
    rows: list[Row]
    notes: list[str] = field(default_factory=list)
    fixed: bool = False
    gaps: bool = False
