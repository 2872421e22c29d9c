"""What variants score on the test rows, over the seeds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from multiloss.studies.evidence import measure_of
from multiloss.studies.plan import Plan
from multiloss.studies.statistics import Interval, delta_m, mean_interval
from multiloss.studies.variants import SEPARATE

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


def delta_m_over_seeds(plan: Plan, scores: Scores) -> dict[str, Interval]:
    """Return the mean relative gain over the outputs by variant, of the seeds that have all of them.

    A variant is absent where fewer than two seeds do, a score is infinite, or one of the separate models is 0.
    """
    judged = {output: measure_of(plan, output) for output in plan.settings["outputs"]}
    higher = [measure == "accuracy" for measure in judged.values()]
    found = {}
    for variant in plan.settings["variants"]:
        own, base = (
            [scores.get((output, measure, name), {}) for output, measure in judged.items()]
            for name in (variant, SEPARATE)
        )
        seeds = sorted(set.intersection(*(set(values) for values in (*own, *base))))
        baselines = {seed: [values[seed] for values in base] for seed in seeds}
        if variant == SEPARATE or len(seeds) < 2 or any(0 in values for values in baselines.values()):
            continue
        gains = [delta_m([values[seed] for values in own], baselines[seed], higher) for seed in seeds]
        if all(map(math.isfinite, gains)):
            found[variant] = mean_interval(gains)
    return found
