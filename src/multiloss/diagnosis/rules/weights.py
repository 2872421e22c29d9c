"""Rules on the weights of losses, and on what they would have to make up for."""

from __future__ import annotations

import math
from collections import defaultdict
from statistics import median

from multiloss.core.records import digits
from multiloss.core.run_records import RunRecords
from multiloss.diagnosis.rules.base import (
    SEEN_FROM_THE_START,
    Confidence,
    Evidence,
    Finding,
    change,
    percent,
    trivial_loss,
)

VANISHED_WEIGHT = 0.01
"""Times the weight that it began with, or the largest."""
VANISHED_PART = 0.05
"""Share of what moves the shared layers that such a loss still has, above which it is no fault."""
UNITS_APART = 100.0
"""Times the smallest loss."""


def vanished_weight(records: RunRecords) -> list[Finding]:
    """A balancing method took a loss out of training.

    Threshold: its balancing weight of the last epoch is below 1 % of that of the first, or below 1 % of the largest,
    and it has less than 5 % of the norms of the shared layers' gradients in the last quarter of the watched steps
    (without such steps: of the losses' part of the total). A method that equalises losses gives a small weight to a
    loss in large units, and is right; only a loss that is also no longer heard is out. The user's own weights and
    schedules are wishes and not judged. MGDA gives all weight to the smallest gradient (Désidéri 2012), exponentiated
    weights run to 0 or 1; the numbers are our choice.
    """
    accounts = records.split("train")
    if not accounts:
        return []
    first, last = (
        {term.name: term for term in record if term.kind == "loss"} for record in (accounts[0], accounts[-1])
    )
    heard = _heard(records)
    total = math.fsum(abs(term.contribution) for term in last.values())
    largest = max((term.balancing_weight for term in last.values()), default=0.0)
    found = []
    for name, term in last.items():
        began = first[name].balancing_weight if name in first else term.balancing_weight
        reference = max(began, largest)
        part = heard.get(name, abs(term.contribution) / total if total else 1.0)
        if not term.weight or not reference or term.balancing_weight >= VANISHED_WEIGHT * reference:
            continue
        if part >= VANISHED_PART:
            continue
        of_what = "the norms of the shared layers' gradients" if name in heard else "the losses' part of the total"
        text = (
            f"balancing gives {name} the weight {digits(term.balancing_weight)} in epoch {accounts[-1].epoch} "
            f"(epoch {accounts[0].epoch}: {digits(began)}; largest now: {digits(largest)}); it has {percent(part)} of "
            f"{of_what}"
        )
        evidence: Evidence = {"weight": term.balancing_weight, "began": began, "largest": largest, "part": part}
        advice = (
            f"{name} is no longer trained. Take the plain sum or another method, or give it a larger weight of its own"
        )
        command = change(records, ["balancing=null"], "ml.Trainer(..., balancing=None)")
        found.append(
            Finding("vanished_weight", (name,), text, evidence, "high" if heard else "medium", advice, command)
        )
    return found


def _heard(records: RunRecords) -> dict[str, float]:
    """Return the share of the norms that each loss has at the end of training."""
    flows = records.flows[-max(1, len(records.flows) // 4) :]
    shares: defaultdict[str, list[float]] = defaultdict(list)
    for flow in flows:
        for name, share in flow.norm_shares.items():
            shares[name].append(share)
    return {name: median(own) for name, own in shares.items()}


def units_far_apart(records: RunRecords) -> list[Finding]:
    """Two losses are in units so different that the total is one of them.

    Threshold: the largest `weight x value` at the beginning is more than 100 times the smallest. The beginning is the
    loss of the trivial prediction where it was measured, else that of the first epoch, training or validation (the
    larger), and then only if that epoch had at most 100 steps: after more, a loss may be small because it is learned.
    A standardised target begins near 1, and so do the usual losses of classes.
    """
    accounts = records.split("train")
    if not accounts:
        return []
    early = accounts[0].steps <= SEEN_FROM_THE_START
    began: dict[str, float] = {}
    weights = {term.name: term.weight for term in accounts[0] if term.kind == "loss" and term.weight > 0}
    firsts = [record for split in ("train", "validation") for record in records.split(split)[:1]]
    for name in weights:
        trivial = trivial_loss(records, name)
        seen = [term.value for record in firsts for term in record if term.name == name and term.value] if early else []
        value = trivial if trivial is not None else max(seen, default=0.0)
        if 0 < value < math.inf:
            began[name] = value
    weighted = {name: weights[name] * value for name, value in began.items()}
    if len(weighted) < 2:
        return []
    large, small = max(weighted, key=lambda n: weighted[n]), min(weighted, key=lambda n: weighted[n])
    ratio = weighted[large] / weighted[small]
    if ratio <= UNITS_APART:
        return []
    text = (
        f"{large} begins at {weights[large]:g} x {digits(began[large])} and {small} at {weights[small]:g} x "
        f"{digits(began[small])}: {ratio:,.0f} times apart, so that the total is {large} alone"
    )
    method = next((flow.method for flow in records.flows if flow.method), None)
    text += f", unless balancing {method} makes up for it" if method else ""
    suggested = {name: float(f"{1 / value:.1g}") for name, value in began.items()}
    overrides = [f"outputs.{name}.weight={weight:g}" for name, weight in suggested.items()]
    line = f"loss_weights={{{', '.join(f'{name!r}: {weight:g}' for name, weight in suggested.items())}}}"
    evidence: Evidence = {
        "ratio": ratio,
        "largest": weighted[large],
        "smallest": weighted[small],
        "suggested_weights": [[name, weight] for name, weight in suggested.items()],
    }
    advice = "Standardise the targets of regressions, or take weights of one over the value that each begins with"
    measured = all(trivial_loss(records, name) is not None for name in (large, small))
    sure: Confidence = "low" if method else "high" if measured else "medium"
    return [Finding("units_far_apart", (large, small), text, evidence, sure, advice, change(records, overrides, line))]
