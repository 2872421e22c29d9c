"""Rules on settings that do not do what they seem to."""

from __future__ import annotations

from collections import defaultdict

from multiloss.core.flow import GradientFlow
from multiloss.core.run_records import RunRecords
from multiloss.diagnosis.rules.base import Confidence, Evidence, Finding, change, listed, penalised

SCALE_FREE = ("Adam", "AdamW", "NAdam", "Adamax", "Adagrad", "RMSprop")
"""Optimisers that divide a gradient by its own usual size in every step."""


def idle_weight(records: RunRecords) -> list[Finding]:
    """A weight does nothing, because the optimiser divides every gradient by its own size.

    Adam's update does not change when a gradient is multiplied by a constant (Kingma and Ba 2015,
    https://arxiv.org/abs/1412.6980, section 2.1; up to its epsilon). So a constant weight does nothing for a loss that
    shares no parameter with another, nor does a factor that all weights have in common. Threshold: none; a weight that
    is not 1. Silent for other optimisers (under SGD it is a learning rate), with weight decay added to the gradient,
    with clipping, and without the optimiser's name. Where there is a penalty the weight sets their balance: low
    confidence.
    """
    optimizer = records.facts.get("optimizer") or {}
    coupled = optimizer.get("weight_decay") and optimizer.get("name") != "AdamW"
    accounts = records.split("train")
    clipped = any("clipping" in line for record in accounts[-1:] for line in record.outside)
    if optimizer.get("name") not in SCALE_FREE or coupled or clipped or records.facts.get("balancing"):
        return []
    seen: defaultdict[str, set[float]] = defaultdict(set)
    for record in accounts:
        for term in record:
            if term.kind == "loss":
                seen[term.name].add(term.weight)
    weights = {name: next(iter(own)) for name, own in seen.items() if len(own) == 1 and 0 not in own}
    constant = len(weights) == len(seen)
    if constant and len(set(weights.values())) == 1 and 1.0 not in weights.values():
        return [_idle(records, tuple(weights), next(iter(weights.values())), str(optimizer["name"]), common=True)]
    alone = [name for name in _alone(records) if weights.get(name, 1.0) != 1.0]
    return [_idle(records, (name,), weights[name], str(optimizer["name"]), common=False) for name in alone]


def _idle(records: RunRecords, names: tuple[str, ...], weight: float, optimizer: str, *, common: bool) -> Finding:
    what = "every loss" if len(names) > 1 else names[0]
    why = "a factor of the whole total" if common else f"{names[0]} shares no parameter with another loss"
    text = f"the weight {weight:g} of {what} does nothing under {optimizer}: {why}, and {optimizer} divides it out"
    penalty = penalised(records)
    text += "; only the balance with the penalties is changed by it" if penalty else ""
    advice = "Leave it at 1; to train faster or slower, change the learning rate"
    overrides = [f"outputs.{name}.weight=1" for name in names]
    line = f"loss_weights={dict.fromkeys(names, 1.0)}"
    evidence: Evidence = {"weight": weight, "optimizer": optimizer, "penalty": "yes" if penalty else "no"}
    sure: Confidence = "low" if penalty else "high"
    return Finding("idle_weight", names, text, evidence, sure, advice, change(records, overrides, line))


def shares_nothing(records: RunRecords) -> list[Finding]:
    """Outputs share no parameter: they are several models in one.

    Threshold: none; in every watched step in which all losses had labels, the loss reached no parameter that another
    reached. Such outputs do not help or hinder each other, and balancing them does nothing.
    """
    alone = _alone(records)
    if not alone:
        return []
    flow = _whole(records)[-1]
    sizes = {part.losses[0]: part.parameters for part in flow.reach if len(part.losses) == 1}
    counted = [f"{name} ({sizes.get(name, 0):,} parameters)" for name in alone]
    evidence: Evidence = {"steps": len(_whole(records)), "parameters": [[name, sizes.get(name, 0)] for name in alone]}
    if flow.losses:
        verb, models = ("shares", "a model of its own") if len(alone) == 1 else ("share", "models of their own")
        text = f"{listed(counted)} {verb} no parameter with another loss: {models}"
    else:
        text = f"{listed(counted)} share no parameter: {'two' if len(alone) == 2 else len(alone)} models in one"
    advice = "If they should learn from each other, give them a trunk; if not, they may as well be trained apart"
    return [Finding("shares_nothing", tuple(alone), text, evidence, "high", advice, "ml.HardSharing(trunk, heads)")]


def _whole(records: RunRecords) -> list[GradientFlow]:
    """Return the watched steps in which every loss had labels."""
    return [flow for flow in records.flows if not flow.absent and len(flow.losses) + len(flow.alone) > 1]


def _alone(records: RunRecords) -> list[str]:
    """Return the losses that share nothing, where there are several losses."""
    steps = _whole(records)
    return [name for name in (steps[-1].alone if steps else ()) if all(name in flow.alone for flow in steps)]
