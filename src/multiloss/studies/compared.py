"""A comparison that is done."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from multiloss.studies.costs import Cost
from multiloss.studies.plan import Plan
from multiloss.studies.runner import DoneRun
from multiloss.studies.statistics import Interval
from multiloss.studies.verdict import StudyVerdict

if TYPE_CHECKING:
    import polars as pl


@dataclass(frozen=True)
class Compared:
    """A comparison that is done.

    Args:
        folder: The study's folder.
        plan: What was planned.
        runs: Every run.
        costs: By variant.
        verdict: What it comes to.
        delta_m: By variant, the mean relative gain over the outputs as a share, with its interval over seeds and rows;
            absent where an output cannot be compared.
        table: Every measure of every run: variant, run, seed, output, part, measure, value.
    """

    folder: Path
    plan: Plan
    runs: list[DoneRun]
    costs: dict[str, Cost]
    verdict: StudyVerdict
    delta_m: dict[str, Interval]
    table: pl.DataFrame

    def __str__(self) -> str:
        lines = [self.verdict.overall, *(own.sentence for own in self.verdict.outputs)]
        return "\n".join([*lines, *self.verdict.uncompared, self.verdict.advice])
