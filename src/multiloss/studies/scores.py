"""What variants score on the test rows, over the seeds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from multiloss.studies.statistics import mean_interval

if TYPE_CHECKING:
    import polars as pl

Scores = dict[tuple[str, str, str], dict[int, float]]
"""(output, measure, variant) -> seed -> value on test rows."""


def held_out_scores(table: pl.DataFrame) -> Scores:
    """Return the scores of every run, of the table that `multiloss.studies.table.tidy` makes."""
    found: Scores = {}
    for row in table.iter_rows(named=True):
        if row["part"] == "test" and row["value"] is not None:
            found.setdefault((row["output"], row["measure"], row["variant"]), {})[row["seed"]] = row["value"]
    return found


def over_seeds(values: Sequence[float]) -> dict[str, float | None]:
    """Return the mean of one score for each seed, and its interval; what cannot be said is None."""
    known = [value for value in values if math.isfinite(value)]
    if len(known) < len(values) or len(known) < 2:
        return {"mean": sum(known) / len(known) if len(known) == len(values) else None, "low": None, "high": None}
    own = mean_interval(known)
    return {"mean": own.mean, "low": own.low, "high": own.high}
