"""Rules on the gradient flow: which loss moves the shared parameters, and which losses pull against each other."""

from __future__ import annotations

import json
import math
from functools import cache
from itertools import combinations
from statistics import median

from multiloss.core.flow import PENALTY, GradientFlow
from multiloss.core.run_records import RunRecords
from multiloss.diagnosis.rules.base import Confidence, Evidence, Finding, change, percent, settings, suggest_weights

DOMINANT_RATIO = 9.0
"""Times the next norm: with two losses, 90 % of the norms."""
DOMINANT_SHARE = 0.5
"""Share of all norms, so that one of very many is not said to rule."""
DOMINANT_STEPS = 3
"""Watched steps before anything is said."""
SURE_STEPS = 10
"""Watched steps of which nine of ten must show it, to be sure."""
CONFLICT_COSINE = -0.3
"""Median cosine below which a pair pulls apart: of equal norms, each takes 30 % of the other's first-order progress."""
CONFLICT_SURE = -0.5
"""Median cosine below which that is sure."""
CONFLICT_CHANCE = 0.01
"""Chance, over all pairs, that so many negative cosines come of noise around zero."""
MOST_PAIRS = 5
"""Pairs in conflict that are named, the worst first."""


def dominance(records: RunRecords) -> list[Finding]:
    """One gradient rules the shared parameters.

    Threshold: its norm is at least 9 times the next largest and half of all norms, in the median of the watched steps
    and in that of their first quarter, of at least 3. Measured on gradients and not on loss values, because a large
    loss may have a small gradient; the first quarter counts on its own, because the gradient of a loss that is learned
    vanishes, and what is left then rules rightly. A penalty cannot be learned and needs no first quarter.
    GradNorm (Chen et al. 2018, https://arxiv.org/abs/1711.02257) begins from such norms; the number 9 is our choice.
    """
    for name in dict.fromkeys(row for flow in records.flows for row in flow.rows):
        steps = [flow for flow in records.flows if len(flow.norms) > 1 and name in flow.norms and flow.norm_shares]
        if len(steps) < DOMINANT_STEPS:
            continue
        ratios = [_ratio(flow.norms, name) for flow in steps]
        early = math.inf if name == PENALTY else median(ratios[: max(1, len(ratios) // 4)])
        share = median(flow.norm_shares[name] for flow in steps)
        if min(median(ratios), early) >= DOMINANT_RATIO and share >= DOMINANT_SHARE:
            return [_dominant(records, name, share, steps)]
    return []


def _ratio(norms: dict[str, float], name: str) -> float:
    """Return how many times the next norm this one is; 0 where all others are none, which is another fault."""
    largest = max(norm for row, norm in norms.items() if row != name)
    return norms[name] / largest if largest else 0.0


def _unweighted(flow: GradientFlow) -> dict[str, float]:
    """Return the norms as they would be with weight 1 everywhere; penalties as they are."""
    weights = {**flow.weights, PENALTY: 1.0}
    return {row: norm / weights[row] if weights[row] else 0.0 for row, norm in flow.norms.items()}


def _dominant(records: RunRecords, name: str, share: float, steps: list[GradientFlow]) -> Finding:
    shares = sorted(flow.norm_shares[name] for flow in steps)
    others = dict.fromkeys(row for flow in steps for row in flow.rows if row != name)
    typical = {row: median(f.norm_shares[row] for f in steps if row in f.norms) for row in others}
    after = max(typical, key=lambda row: typical[row])
    bare = median(_ratio(_unweighted(flow), name) for flow in steps)
    by_weights = name != PENALTY and bare < DOMINANT_RATIO
    method = steps[-1].method
    what = "the penalties make" if name == PENALTY else f"{name} makes"
    text = (
        f"{what} {percent(share)} of the gradient of the shared layers (median over {len(steps)} watched steps, "
        f"{percent(shares[0])} to {percent(shares[-1])}); the next, {after}, {percent(typical[after])}"
    )
    text += f"; balancing {method} is on" if method else ""
    if by_weights:
        text += f"; your weights do it: without them its norm would be {bare:.2g} times the next"
    sure: Confidence = (
        "low" if by_weights else "high" if _ratio_low(steps, name) and len(steps) >= SURE_STEPS else "medium"
    )
    evidence: Evidence = {
        "share": share,
        "lowest": shares[0],
        "highest": shares[-1],
        "steps": len(steps),
        "next": after,
        "next_share": typical[after],
        "unweighted_ratio": bare if math.isfinite(bare) else None,
    }
    if name == PENALTY:
        advice = "The shared layers mostly shrink. Lower the coefficients of the penalties"
        return Finding("dominance", (), text, evidence, sure, advice, _lower_penalties(records))
    advice = f"If {after} matters too, standardise the targets, or take weights that equalise the gradients"
    return Finding(
        "dominance",
        (name, *(row for row in others if row != PENALTY)),
        text,
        evidence,
        sure,
        advice,
        suggest_weights(records),
    )


def _ratio_low(steps: list[GradientFlow], name: str) -> bool:
    """Return whether nine steps of ten show it."""
    ratios = sorted(_ratio(flow.norms, name) for flow in steps)
    return ratios[len(ratios) // 10] >= DOMINANT_RATIO


def _lower_penalties(records: RunRecords) -> str | None:
    given = settings(records).get("penalties")
    if not given:
        return None if records.config is not None else "penalties=[ml.L2(coefficient / 10)]"
    factors = ("coefficient", "l1", "l2")
    lower = [{k: v / 10 if k in factors and isinstance(v, float | int) else v for k, v in own.items()} for own in given]
    return change(records, [f"penalties={json.dumps(lower)}"], "")


def conflict(records: RunRecords) -> list[Finding]:
    """Two losses pull the shared parameters apart.

    Threshold: the median cosine of their gradients over the watched steps is below -0.3, that of the first half of the
    steps too, and so many negative cosines would come of noise around zero with a chance below 1 % (sign test, times
    the number of pairs): with one pair, 7 of 7. At -0.3 and equal norms, each loss takes 30 % of the other's
    first-order progress; nearer to zero the random start of the heads alone gives negative cosines that last. The first
    half counts on its own, because at the end of any training with a trunk of limited width the gradients of the losses
    cancel: that is what a Pareto-stationary point is. PCGrad (Yu et al. 2020, https://arxiv.org/abs/2001.06782) calls
    a negative cosine a conflict; -0.3 is our choice.
    """
    cosines: dict[tuple[str, str], list[float]] = {}
    for flow in records.flows:
        for (i, a), (j, b) in combinations(enumerate(flow.losses), 2):
            if flow.norms.get(a) and flow.norms.get(b):
                cosines.setdefault((a, b), []).append(flow.cosines[i][j])
    middle = {pair: median(own) for pair, own in cosines.items()}
    found = []
    for pair in sorted((pair for pair in middle if middle[pair] < CONFLICT_COSINE), key=lambda pair: middle[pair]):
        own = cosines[pair]
        negative = sum(cosine < 0 for cosine in own)
        chance = min(1.0, _chance(len(own), negative) * len(cosines))
        if chance < CONFLICT_CHANCE and median(own[: (len(own) + 1) // 2]) < CONFLICT_COSINE:
            found.append(_conflicting(records, pair, own, negative, chance))
    return found[:MOST_PAIRS]


@cache
def _chance(steps: int, negative: int) -> float:
    """Return how likely so many of so many fair coins, or more, show tails."""
    more: int = sum(math.comb(steps, k) for k in range(negative, steps + 1))
    return more / (1 << steps)


def _conflicting(records: RunRecords, pair: tuple[str, str], own: list[float], negative: int, chance: float) -> Finding:
    middle, rate, method = median(own), negative / len(own), records.flows[-1].method
    text = (
        f"{pair[0]} and {pair[1]} pull the shared layers apart: median cosine {middle:+.2f} over {len(own)} watched "
        f"steps, below zero in {negative} of them ({percent(rate)})"
    )
    evidence: Evidence = {
        "cosine": middle,
        "conflict_rate": rate,
        "negative": negative,
        "steps": len(own),
        "chance": chance,
    }
    sure: Confidence = "high" if middle < CONFLICT_SURE and chance < CONFLICT_CHANCE / 10 else "medium"
    if method is not None:
        advice = f"Balancing {method} is on; compare with the plain sum, which no method beats reliably"
        return Finding(
            "conflict",
            pair,
            text,
            evidence,
            sure,
            advice,
            change(records, ["balancing=null"], "ml.Trainer(..., balancing=None)"),
        )
    advice = (
        "pcgrad, cagrad or upgrad take the conflict out of the update. No method reliably beats the plain sum "
        "(docs/balancing-results.md), so compare both on the validation rows; a wider trunk is the other remedy"
    )
    return Finding(
        "conflict",
        pair,
        text,
        evidence,
        sure,
        advice,
        change(records, ["balancing=pcgrad"], 'ml.Trainer(..., balancing="pcgrad")'),
    )
