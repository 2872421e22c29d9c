"""From differences to sentences: what a comparison of one shared model with separate ones comes to.

The rules, whose constants stand in `comparison` and `sentences`:

1. **A claim** (better, worse) needs p < 0.05 after Holm's correction over all outputs and variants, and 20 held-out
   rows; else no difference is claimed, and the sentence says which differences the interval leaves open. Errors are
   compared in percent of those of the separate models, metrics like accuracy in points.
2. **Too wide**: where the interval reaches 1 % (one point) and half of it is more than that, the sentence says how many
   seeds would tell the difference that was seen (1 %, where it is smaller) four times in five, at the corrected level;
   or, where more than 100 were needed, how many rows, up to 100 times those there are.
3. **The size or the sharing**: where separate networks, narrowed until all together have the parameters of the shared
   one, are claimed to change in the same direction, the shared model is tested against these (p < 0.05): where nothing
   shows, it may be the size; else part of it is.
4. **Negative transfer**, an output that is worse shared, is named, with what the gradient flow says: a conflict from
   70 % of the watched steps on (half comes of chance), of 30 or more; a drowned gradient up to a fifth of an equal
   share of the trunk's; and what to try.
5. **A run that diverged** is counted; the figures are those of the other seeds. What has less than two is not
   compared, and is named.
6. **Recommended** is, of the shared models, what is worse than separate on the fewest outputs; of these what is better
   on the most; of these the model as it is configured, then the variants in their order. What diverged comes last. If
   that is worse somewhere and better nowhere, or a run of it diverged and none of separate, the separate models are
   recommended; if no run of any of these has a result, nothing is. The choice is made on the validation rows, so that
   the held-out rows stay untouched by it; where these contradict it, that is said. Narrow models are a control, and
   are not recommended.
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
    Ended,
    FlowFacts,
    Judged,
    Judgements,
    claims,
    listed,
    named,
)
from multiloss.studies.sentences import output_sentence, overall_sentence, uncompared_sentences
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
        uncompared: A sentence for each variant and output that cannot be judged.
        recommended: The variant that the rules recommend; None where no run has a result.
        why: Why.
    """

    overall: str
    outputs: tuple[OutputVerdict, ...]
    uncompared: tuple[str, ...]
    recommended: str | None
    why: str

    @property
    def advice(self) -> str:
        """What is recommended, and why, in one sentence."""
        return f"recommended: {self.recommended or 'nothing'}, because {self.why}"

    def to_dict(self) -> dict[str, Any]:
        """Return the verdict as plain values."""
        return asdict(self) | {"outputs": [own.to_dict() for own in self.outputs]}


def judge(
    comparisons: Comparisons,
    *,
    costs: CostRatios | None = None,
    flow: Mapping[str, FlowFacts] | None = None,
    ended: Ended | None = None,
    sizes: Mapping[str, Comparison] | None = None,
    validation: Comparisons | None = None,
) -> StudyVerdict:
    """Return the verdict of a comparison, by the rules at the head of this module.

    Args:
        comparisons: Every variant but `separate` against it, on held-out rows.
        costs: Of the shared model beside the separate ones.
        flow: What the gradients of the shared runs say, by output.
        ended: Runs that diverged and runs that were planned, by variant and output.
        sizes: The shared model against narrower separate ones, by output.
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
    ended, sizes = ended or {}, sizes or {}
    order = sorted(comparisons, key=lambda variant: variant != SHARED)
    judged = claims({variant: comparisons[variant] for variant in order})
    outputs = tuple(
        _output(variant, output, judged, (flow or {}).get(output), sizes.get(output))
        for variant in judged
        for output in judged[variant]
    )
    chosen_by = judged if validation is None else claims(validation)
    rows = "held-out rows, which then flatter it," if validation is None else "validation rows"
    recommended, why = _recommend(chosen_by, ended, rows)
    return StudyVerdict(
        overall=overall_sentence(judged, costs, ended, sizes),
        outputs=outputs,
        uncompared=uncompared_sentences(judged, ended),
        recommended=recommended,
        why=why + _contradicted(judged.get(recommended or "", {})),
    )


def _output(
    variant: str, output: str, judged: Judgements, flow: FlowFacts | None, size: Comparison | None
) -> OutputVerdict:
    own = judged[variant][output]
    return OutputVerdict(
        output=output,
        variant=variant,
        claim=own.claim,
        sentence=output_sentence(variant, output, judged, flow, size),
        metric=own.comparison.metric,
        difference=own.comparison.shown,
        gain=own.comparison.gain,
        unit=own.comparison.unit,
        adjusted_p=own.adjusted_p,
    )


def _recommend(judged: Judgements, ended: Ended, rows: str) -> tuple[str | None, str]:
    """Return the variant that rule 6 takes, and why."""
    trained = {variant: [*own.values()] for variant, own in ended.items()}
    for variant in judged:
        trained.setdefault(variant, [])
    lost = {variant: sum(failed for failed, _ in own) for variant, own in trained.items()}
    hopeless = {variant for variant, own in trained.items() if own and any(failed == all_ for failed, all_ in own)}
    candidates = [variant for variant in trained if variant not in (SEPARATE, NARROW) and variant not in hopeless]
    if not candidates and SEPARATE in hopeless:
        return None, f"runs of {listed([*trained])} diverged, and none has a result for every output"
    if not candidates:
        return SEPARATE, "every shared model diverged"
    best = min(
        candidates,
        key=lambda variant: (
            lost[variant] > 0,
            len(named(judged.get(variant, {}), "worse")),
            -len(named(judged.get(variant, {}), "better")),
            variant != SHARED,
        ),
    )
    if SEPARATE in hopeless:
        return best, "separate models diverged in every run of an output"
    if lost[best] and not lost.get(SEPARATE):
        count, planned = max(ended[best].values())
        return SEPARATE, f"{best} diverged in {count} of {planned} runs, separate in none"
    better, worse = (named(judged.get(best, {}), claim) for claim in ("better", "worse"))
    if worse and not better:
        return SEPARATE, f"on the {rows} {best} is worse than separate on {listed(worse)} and better on no output"
    if worse:
        gains = f"on the {rows} {best} is better than separate on {listed(better)} and worse on {listed(worse)}"
        return best, f"{gains}: if these matter more, take separate"
    if not better:
        return best, f"{best} is one model for all outputs, and on the {rows} no difference from separate shows"
    return best, f"on the {rows} {best} is better than separate on {listed(better)} and worse on no output"


def _contradicted(judged: Mapping[str, Judged]) -> str:
    """Return what the held-out rows say against a recommendation."""
    worse = named(judged, "worse")
    if not worse or named(judged, "better"):
        return ""
    return f"; but on the held-out rows it is worse on {listed(worse)} and better on no output: look before you take it"
