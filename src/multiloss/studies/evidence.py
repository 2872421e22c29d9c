"""What the runs of a comparison show: differences on held-out rows, and what the gradients of the shared runs say."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from statistics import median

import numpy as np

from multiloss.core.flow import GradientFlow
from multiloss.core.run_records import RunRecords
from multiloss.linalg.gramian import Array
from multiloss.studies.comparison import Comparison, FlowFacts
from multiloss.studies.plan import Plan
from multiloss.studies.rows import read_rows
from multiloss.studies.runner import DoneRun
from multiloss.studies.statistics import paired_difference, relative_difference
from multiloss.studies.variants import SEPARATE, SHARED

OF_ROWS = {"mae": "mae", "mse": "mse", "rmse": "mse", "accuracy": "accuracy", "log_loss": "log_loss"}
"""Metrics that are means over rows, or follow one, with the score of a row that stands for them."""
NUMBERS = ("regression", "count")

Scores = dict[str, dict[str, dict[int, Array]]]
"""Variant -> output -> seed -> score of each row."""


def measure_of(plan: Plan, output: str) -> str:
    """Return the score by which an output is judged: of its first metric that is a mean over rows, else by its kind.

    A loss is not taken, because variants may have others; rmse is judged by the squared errors that it is made of.
    """
    own = plan.settings["outputs"][output]
    number = own["kind"] in NUMBERS
    known = {"mae", "mse"} if number else {"accuracy", "log_loss"}
    found = (OF_ROWS[metric] for metric in own["metrics"] or () if OF_ROWS.get(metric) in known)
    return next(found, "mse" if number else "log_loss")


def read_scores(plan: Plan, runs: Sequence[DoneRun], part: str) -> Scores:
    """Return the judged score of every held-out row of every run that has a result."""
    found: Scores = {}
    for run in runs:
        if run.problem is not None:
            continue
        rows = read_rows(run.folder)
        for output in run.planned.outputs:
            values = rows[f"{part}/{output}/{measure_of(plan, output)}"].numpy()
            found.setdefault(run.planned.variant, {}).setdefault(output, {})[run.planned.seed] = values
    return found


def compare_variants(plan: Plan, runs: Sequence[DoneRun], part: str) -> dict[str, dict[str, Comparison]]:
    """Return every variant against the separate models, seed by seed and row by row.

    A seed counts where both have a result. A variant that has two such seeds for none of its outputs is absent.

    Args:
        plan: The plan of the study.
        runs: All of them, done.
        part: The rows, `test` or `validation`.
    """
    scores = read_scores(plan, runs, part)
    level = plan.settings["level"]
    found: dict[str, dict[str, Comparison]] = {}
    for variant in plan.settings["variants"]:
        if variant == SEPARATE:
            continue
        for output in plan.settings["outputs"]:
            own, base = (scores.get(name, {}).get(output, {}) for name in (variant, SEPARATE))
            seeds = sorted(own.keys() & base.keys())
            if len(seeds) < 2:
                continue
            a, b = (np.stack([values[seed] for seed in seeds]) for values in (own, base))
            measure = measure_of(plan, output)
            found.setdefault(variant, {})[output] = Comparison(
                metric=measure,
                higher_is_better=measure == "accuracy",
                absolute=paired_difference(a, b, level),
                relative=relative_difference(a, b, level),
            )
    return found


def diverged(runs: Sequence[DoneRun]) -> dict[str, tuple[int, int]]:
    """Return how many runs of each variant diverged, and how many were planned."""
    planned = Counter(run.planned.variant for run in runs)
    failed = Counter(run.planned.variant for run in runs if run.problem is not None)
    return {variant: (failed[variant], count) for variant, count in planned.items()}


def flow_facts(runs: Sequence[DoneRun]) -> dict[str, FlowFacts]:
    """Return what the watched steps of the shared runs say of each output."""
    shared = [run for run in runs if run.planned.variant == SHARED and run.problem is None]
    flows = [flow for run in shared for flow in RunRecords.read(run.folder).flows if len(flow.losses) > 1]
    outputs = dict.fromkeys(name for flow in flows for name in flow.losses)
    shares = {name: median(_share(flow, name) for flow in flows if name in flow.losses) for name in outputs}
    ruler = max(shares, key=shares.__getitem__, default=None)
    found = {}
    for name in outputs:
        rates = _conflicts(flows, name)
        opponent = max(rates, key=rates.__getitem__, default=None)
        rate = None if opponent is None else rates[opponent]
        found[name] = FlowFacts(rate, opponent, shares[name], ruler if ruler != name else None)
    return found


def _share(flow: GradientFlow, name: str) -> float:
    return flow.norm_shares.get(name, 0.0)


def _conflicts(flows: Sequence[GradientFlow], name: str) -> Mapping[str, float]:
    """Return by other output the share of the steps in which the two have a negative cosine."""
    seen: Counter[str] = Counter()
    against: Counter[str] = Counter()
    for flow in (flow for flow in flows if name in flow.losses):
        row = flow.cosines[flow.losses.index(name)]
        for other, cosine in zip(flow.losses, row, strict=True):
            if other != name:
                seen[other] += 1
                against[other] += cosine < 0
    return {other: against[other] / count for other, count in seen.items()}
