"""What the runs of a comparison show: differences on held-out rows, and what the gradients of the shared runs say."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from statistics import median

import numpy as np

from multiloss.core.flow import GradientFlow
from multiloss.core.run_records import RunRecords
from multiloss.linalg.gramian import Array
from multiloss.studies.comparison import Comparison, Ended, FlowFacts
from multiloss.studies.plan import Plan
from multiloss.studies.rows import GROUP, NUMBERS, read_rows, read_score
from multiloss.studies.runner import DoneRun
from multiloss.studies.statistics import (
    Difference,
    mean_relative_difference,
    paired_difference,
    relative_difference,
)
from multiloss.studies.variants import SEPARATE, SHARED

OF_ROWS = {"mae": "mae", "mse": "mse", "rmse": "mse", "accuracy": "accuracy", "log_loss": "log_loss"}
"""Metrics that are means over rows, or follow one, with the score of a row that stands for them."""
HIGHER = ("accuracy",)
"""Scores of which more is better."""
FEWEST_LOOKS = 30
"""Watched steps without which no conflict is named: 70 % of 30 come of chance, where half conflict, in 2 %."""
RULES = 1.5
"""The multiple of an equal share of the trunk's gradients from which on an output rules."""

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
    """Return the judged score of every held-out row of every run that has a result.

    Raises:
        RunError: If the scores of a run are damaged.
    """
    found: Scores = {}
    for run in (run for run in runs if run.problem is None):
        for output in run.planned.outputs:
            values = read_score(run.folder, part, output, measure_of(plan, output)).numpy()
            found.setdefault(run.planned.variant, {}).setdefault(output, {})[run.planned.seed] = values
    return found


class Held:
    """The held-out scores of a study, laid side by side.

    Args:
        plan: The plan of the study.
        runs: All of them, done.
        part: The rows, `test` or `validation`.
    """

    def __init__(self, plan: Plan, runs: Sequence[DoneRun], part: str) -> None:
        self.plan, self.level = plan, plan.settings["level"]
        self.scores = read_scores(plan, runs, part)
        done = next((run for run in runs if run.problem is None), None)
        found = None if done is None else read_rows(done.folder).get(f"{part}/{GROUP}")
        self.groups: Array | None = None if found is None else found.numpy()

    def seeds(self, variant: str, base: str, outputs: Iterable[str]) -> list[int]:
        """Return the seeds in which neither of two variants diverged on any of some outputs."""
        sets = [self.scores.get(name, {}).get(output, {}).keys() for name in (variant, base) for output in outputs]
        return sorted(set.intersection(*map(set, sets)))

    def pair(self, variant: str, base: str, output: str, seeds: Sequence[int]) -> tuple[Array, Array]:
        """Return the scores `[seeds, rows]` of two variants."""
        a, b = (np.stack([self.scores[name][output][seed] for seed in seeds]) for name in (variant, base))
        return a, b

    def compare(self, variant: str, base: str, output: str) -> Comparison | None:
        """Return one variant against another, or None where they have less than two seeds in common."""
        seeds = self.seeds(variant, base, [output])
        if len(seeds) < 2:
            return None
        a, b = self.pair(variant, base, output, seeds)
        measure = measure_of(self.plan, output)
        return Comparison(
            metric=measure,
            higher_is_better=measure in HIGHER,
            absolute=paired_difference(a, b, self.level, groups=self.groups),
            relative=relative_difference(a, b, self.level, groups=self.groups),
        )

    def against(self, base: str, variants: Iterable[str]) -> dict[str, dict[str, Comparison]]:
        """Return variants against one, output by output; what has too few seeds is absent."""
        found: dict[str, dict[str, Comparison]] = {}
        for variant in variants:
            for output in self.plan.settings["outputs"]:
                if (own := self.compare(variant, base, output)) is not None:
                    found.setdefault(variant, {})[output] = own
        return found

    def delta_m(self, variant: str) -> Difference | None:
        """Return the mean relative gain over all outputs, or None where an output cannot be compared."""
        outputs = list(self.plan.settings["outputs"])
        seeds = self.seeds(variant, SEPARATE, outputs)
        if len(seeds) < 2:
            return None
        pairs = [self.pair(variant, SEPARATE, output, seeds) for output in outputs]
        higher = [measure_of(self.plan, output) in HIGHER for output in outputs]
        return mean_relative_difference(pairs, higher, self.level, groups=self.groups)


def compare_variants(plan: Plan, runs: Sequence[DoneRun], part: str) -> dict[str, dict[str, Comparison]]:
    """Return every variant against the separate models, seed by seed and row by row.

    A seed counts where both have a result. A variant that has two such seeds for none of its outputs is absent.

    Args:
        plan: The plan of the study.
        runs: All of them, done.
        part: The rows, `test` or `validation`.
    """
    return Held(plan, runs, part).against(SEPARATE, [own for own in plan.settings["variants"] if own != SEPARATE])


def ended(runs: Sequence[DoneRun]) -> Ended:
    """Return how many runs diverged, and how many were planned, of each variant and output."""
    found: dict[str, dict[str, tuple[int, int]]] = {}
    for run in runs:
        own = found.setdefault(run.planned.variant, {})
        for output in run.planned.outputs:
            failed, planned = own.get(output, (0, 0))
            own[output] = (failed + (run.problem is not None), planned + 1)
    return found


def flow_facts(runs: Sequence[DoneRun]) -> dict[str, FlowFacts]:
    """Return what the watched steps of the shared runs say of each output."""
    shared = [run for run in runs if run.planned.variant == SHARED and run.problem is None]
    flows = [flow for run in shared for flow in RunRecords.read(run.folder).flows if len(flow.losses) > 1]
    outputs = dict.fromkeys(name for flow in flows for name in flow.losses)
    shares = {name: median(_share(flow, name) for flow in flows if name in flow.losses) for name in outputs}
    largest = max(shares, key=shares.__getitem__, default=None)
    found = {}
    for name in outputs:
        rates = _conflicts(flows, name)
        opponent = max(rates, key=rates.__getitem__, default=None)
        rate = None if opponent is None else rates[opponent]
        rules = largest is not None and largest != name and shares[largest] >= RULES / len(outputs)
        found[name] = FlowFacts(rate, opponent, shares[name], largest if rules else None, len(outputs))
    return found


def _share(flow: GradientFlow, name: str) -> float:
    return flow.norm_shares.get(name, 0.0)


def _conflicts(flows: Sequence[GradientFlow], name: str) -> Mapping[str, float]:
    """Return by other output the share of the steps in which the two have a negative cosine, of enough looks."""
    seen: Counter[str] = Counter()
    against: Counter[str] = Counter()
    for flow in (flow for flow in flows if name in flow.losses):
        row = flow.cosines[flow.losses.index(name)]
        for other, cosine in zip(flow.losses, row, strict=True):
            if other != name:
                seen[other] += 1
                against[other] += cosine < 0
    return {other: against[other] / count for other, count in seen.items() if count >= FEWEST_LOOKS}
