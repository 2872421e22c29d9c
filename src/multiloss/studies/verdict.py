"""From differences to sentences: what a comparison of one shared model with separate ones comes to.

The rules, whose constants stand in `comparison` and `sentences`:

1. **A claim** (better, worse) needs p < 0.05 after Holm's correction over all outputs and variants; else no difference
   is claimed, and the sentence says which differences the interval leaves open. Errors are compared in percent of those
   of the separate models, metrics like accuracy in points.
2. **Too wide**: where the interval reaches 1 % (one point) and half of it is more than that, the sentence says how many
   seeds would make it narrower, or, where the rows alone are too few, how many rows.
3. **The size or the sharing**: where separate networks, narrowed until all together have the parameters of the shared
   one, are claimed to change in the same direction by half as much or more, it is the size; by less, part of it.
4. **Negative transfer**, an output that is worse shared, is named, with what the gradient flow says: a conflict from
   70 % of the watched steps on (half comes of chance), a drowned gradient up to 10 % of the trunk's; and what to try.
5. **A run that diverged** is counted; the figures of its variant are those of the other seeds.
6. **Recommended** is what is worse than separate on the fewest outputs; of these what is better on the most; of these
   the shared model as it is configured, then the variants in their order. Variants of which a run diverged come last.
   If that is worse somewhere and better nowhere, or a run of it diverged, the separate models are recommended. The
   choice is made on the validation rows, so that the held-out rows stay untouched by it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from multiloss.studies.comparison import (
    Claim,
    Comparison,
    Comparisons,
    CostRatios,
    FlowFacts,
    Judgements,
    claims,
    listed,
    named,
)
from multiloss.studies.sentences import output_sentence, overall_sentence
from multiloss.studies.statistics import Difference, Interval
from multiloss.studies.variants import NARROW, SEPARATE, SHARED

__all__ = [
    "Claim",
    "Comparison",
    "Comparisons",
    "CostRatios",
    "FlowFacts",
    "OutputVerdict",
    "StudyVerdict",
    "judge",
]


@dataclass(frozen=True)
class OutputVerdict:
    """What is said of one output of one variant, against the separate models.

    Args:
        output: Its name.
        variant: Which variant.
        claim: `better`, `worse` or `no difference`.
        sentence: In words, with the numbers.
        metric: What was compared.
        difference: As it was tested: variant minus separate, a share of separate where `unit` is `%`.
        gain: The same turned so that above 0 is better, in `unit`.
        unit: `%`, `points` or nothing.
        adjusted_p: p after Holm's correction.
    """

    output: str
    variant: str
    claim: Claim
    sentence: str
    metric: str
    difference: Difference
    gain: Interval
    unit: str
    adjusted_p: float

    def to_dict(self) -> dict[str, Any]:
        """Return the verdict as plain values."""
        return asdict(self) | {"difference": self.difference.to_dict()}


@dataclass(frozen=True)
class StudyVerdict:
    """What a comparison comes to.

    Args:
        overall: In one sentence.
        outputs: For each variant and output, the shared model first.
        recommended: The variant that the rules recommend.
        why: Why.
    """

    overall: str
    outputs: tuple[OutputVerdict, ...]
    recommended: str
    why: str

    def to_dict(self) -> dict[str, Any]:
        """Return the verdict as plain values."""
        return asdict(self) | {"outputs": [own.to_dict() for own in self.outputs]}


def judge(
    comparisons: Comparisons,
    *,
    costs: CostRatios | None = None,
    flow: Mapping[str, FlowFacts] | None = None,
    diverged: Mapping[str, tuple[int, int]] | None = None,
    validation: Comparisons | None = None,
) -> StudyVerdict:
    """Return the verdict of a comparison, by the rules at the head of this module.

    Args:
        comparisons: Every variant but `separate` against it, on held-out rows.
        costs: Of the shared model beside the separate ones.
        flow: What the gradients of the shared runs say, by output.
        diverged: Runs that diverged and runs that were planned, by variant.
        validation: The comparisons on validation rows, which choose the recommended variant; without them the held-out
            rows do, and `why` says so.

    Examples:
        >>> import numpy as np
        >>> from multiloss.studies.statistics import paired_difference, relative_difference
        >>> rng = np.random.default_rng(0)
        >>> separate = rng.uniform(1.0, 2.0, (5, 200))
        >>> shared = 0.9 * separate + rng.normal(0, 0.01, (5, 200))
        >>> y1 = Comparison("mae", False, paired_difference(shared, separate), relative_difference(shared, separate))
        >>> judge({"shared": {"y1": y1}}, costs=CostRatios(2, 0.56, 0.51)).overall
        'sharing helps y1 by 10.0 % (9.9 to 10.1); one model costs 0.56 of two to train and 0.51 to run.'
    """
    order = sorted(comparisons, key=lambda variant: variant != SHARED)
    judged = claims({variant: comparisons[variant] for variant in order})
    outputs = tuple(
        _output(variant, output, judged, (flow or {}).get(output)) for variant in judged for output in judged[variant]
    )
    chosen_by = judged if validation is None else claims(validation)
    rows = "held-out rows, which then flatter it," if validation is None else "validation rows"
    recommended, why = _recommend(chosen_by, diverged or {}, rows)
    return StudyVerdict(overall_sentence(judged, costs, diverged or {}), outputs, recommended, why)


def _output(variant: str, output: str, judged: Judgements, flow: FlowFacts | None) -> OutputVerdict:
    own = judged[variant][output]
    return OutputVerdict(
        output=output,
        variant=variant,
        claim=own.claim,
        sentence=output_sentence(variant, output, judged, flow),
        metric=own.comparison.metric,
        difference=own.comparison.shown,
        gain=own.comparison.gain,
        unit=own.comparison.unit,
        adjusted_p=own.adjusted_p,
    )


def _recommend(judged: Judgements, diverged: Mapping[str, tuple[int, int]], rows: str) -> tuple[str, str]:
    """Return the variant that rule 6 takes, and why."""

    def unsafe(variant: str) -> bool:
        return diverged.get(variant, (0, 0))[0] > 0

    candidates = [variant for variant in judged if variant not in (SEPARATE, NARROW)]
    if not candidates:
        return SEPARATE, "no shared model was trained to the end with two seeds or more"
    best = min(
        candidates,
        key=lambda variant: (
            unsafe(variant),
            len(named(judged[variant], "worse")),
            -len(named(judged[variant], "better")),
            variant != SHARED,
        ),
    )
    better, worse = named(judged[best], "better"), named(judged[best], "worse")
    if unsafe(best) and not unsafe(SEPARATE):
        return SEPARATE, f"{best} diverged in {diverged[best][0]} of {diverged[best][1]} runs, separate in none"
    if worse and not better:
        return SEPARATE, f"on the {rows} {best} is worse than separate on {listed(worse)} and better on no output"
    if worse:
        gains = f"on the {rows} {best} is better than separate on {listed(better)} and worse on {listed(worse)}"
        return best, f"{gains}: if these matter more, take separate"
    if not better:
        return best, f"{best} is one model for all outputs, and on the {rows} no difference from separate shows on any"
    return best, f"on the {rows} {best} is better than separate on {listed(better)} and worse on no output"
