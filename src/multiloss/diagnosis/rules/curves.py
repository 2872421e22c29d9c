"""Rules on the curves of losses over the epochs."""

from __future__ import annotations

import json
from itertools import pairwise
from statistics import median

from multiloss.core.records import digits
from multiloss.core.run_records import RunRecords
from multiloss.diagnosis.rules.base import (
    SEEN_FROM_THE_START,
    Confidence,
    Evidence,
    Finding,
    change,
    column,
    listed,
    percent,
    smooth,
    suggest_weights,
    trivial_loss,
)

FEWEST_EPOCHS = 6
"""Epochs before a curve says anything."""
FLAT = 0.05
"""Fall of a training loss, as a share of its first epoch's, below which next to nothing was learned."""
NEAR_TRIVIAL = 0.9
"""Times the loss of the trivial prediction."""
LEFT = 0.5
"""Fall of a training loss below which the lack of a gradient is not because all is learned."""
OTHERS_FELL = 0.5
"""Fall of another output's loss that shows that the training works."""
NO_GRADIENT = 1e-6
"""Norm of the gradient of a loss, over the loss."""
ROSE = 0.2
"""Rise of a validation loss above its best, as a share of the best."""
GIVEN_BACK = 0.05
"""The same rise, as a share of the fall that came before."""
STILL_FALLS = 0.1
"""Fall of the training loss since then."""
STILL_LEARNS = 0.05
"""Fall of another output's validation loss since then."""
EARLY = 0.6
"""Part of the training before which one output is best."""
LATE = 0.8
"""Part of the training after which the other is."""
TIMES_USUAL = 3
"""Times the usual change between two epochs."""
ROSE_SURELY = 0.5
"""Rise that is sure."""


def stopped_learning(records: RunRecords) -> list[Finding]:
    """The training loss of an output stays where it began, while another's falls.

    Threshold: after at least 6 epochs its loss (median of the last third) is less than 5 % below that of its first
    epoch, and another output's fell by half. A loss that is learned within the first epoch is flat afterwards, too: so
    it must also be above 90 % of the loss of the trivial prediction, or, where nobody measured that, the first epoch
    must have had at most 100 steps. An output is cut off where the gradient of its loss for the shared layers is below
    1e-6 of the loss in the last half of the watched steps, while half of the loss is still there.
    """
    accounts = records.split("train")
    first, ended = {}, {}
    for term in accounts[-1] if accounts else ():
        values = [value for _, value in column(records, f"{term.name}_loss")]
        if term.kind == "loss" and term.weight and len(values) >= FEWEST_EPOCHS and values[0] > 0 <= min(values):
            first[term.name], ended[term.name] = values[0], median(values[-max(2, len(values) // 3) :])
    fell = {name: 1 - ended[name] / first[name] for name in first}
    moving = max(fell, key=lambda name: fell[name], default=None)
    if moving is None or fell[moving] < OTHERS_FELL:
        return []
    found = []
    for name in fell:
        trivial, gradient = trivial_loss(records, name), _relative_gradient(records, name)
        cut_off = gradient is not None and gradient < NO_GRADIENT and fell[name] < LEFT
        told = ended[name] > NEAR_TRIVIAL * trivial if trivial is not None else accounts[0].steps <= SEEN_FROM_THE_START
        if cut_off or (fell[name] < FLAT and told):
            text = f"{name} has learned next to nothing: its training loss was {digits(first[name])} in the first epoch"
            text += f" and ends at {digits(ended[name])}"
            text += f" (trivial prediction {digits(trivial)})" if trivial is not None else ""
            text += f", while {moving}'s fell by {percent(fell[moving])}"
            evidence: Evidence = {
                "first": first[name],
                "ended": ended[name],
                "trivial": trivial,
                "gradient_over_loss": gradient,
                "moving": moving,
                "moving_fell": fell[moving],
            }
            found.append(_cut_off(records, name, text, evidence) if cut_off else _flat(records, name, text, evidence))
    return found


def _flat(records: RunRecords, name: str, text: str, evidence: Evidence) -> Finding:
    advice = f"See that {name}'s labels belong to their rows and that the inputs can tell; if so, give it more weight"
    return Finding("stopped_learning", (name,), text, evidence, "medium", advice, suggest_weights(records))


def _cut_off(records: RunRecords, name: str, text: str, evidence: Evidence) -> Finding:
    text += "; no gradient of it reaches the shared layers"
    advice = f"Look in {name}'s head for units that are dead and tensors that are detached, and lower its rate"
    rate = (records.facts.get("optimizer") or {}).get("lr", 1e-3)
    rates = {name: float(f"{rate / 10:.2g}"), "default": rate}
    command = change(records, [f"training.lr={json.dumps(rates)}"], f"ml.Trainer(..., lr={rates})")
    return Finding("stopped_learning", (name,), text, evidence, "high", advice, command)


def _relative_gradient(records: RunRecords, name: str) -> float | None:
    """Return the norm of a loss's gradient over its weighted value, in the last half of the watched steps."""
    values = dict(column(records, f"{name}_loss"))
    found = []
    for flow in records.flows[len(records.flows) // 2 :]:
        value = values.get(flow.epoch or 0, 0.0) * flow.weights.get(name, 0.0) * flow.balancing_weights.get(name, 1.0)
        norm = flow.norms.get(name, flow.heads.get(name))
        if norm is not None and value > 0:
            found.append(norm / value)
    return median(found) if found else None


def overfitting(records: RunRecords) -> list[Finding]:
    """One output over-fits while another still learns.

    Threshold, on running medians of three epochs, after at least 6: the validation loss of the one is best in the first
    60 % of the epochs and ends more than 20 % above it, which is more than 5 % of the fall before and more than 3 times
    its usual change between epochs, while its training loss fell by 10 % since then; the validation loss of the other
    is best in the last 20 % and fell by 5 % since then. One epoch cannot be best for both; Caruana (1997,
    https://doi.org/10.1023/A:1007379606734) saw outputs peak at different times. The numbers are our choice.
    """
    held = {name: column(records, f"val_{name}_loss") for name in records.outputs}
    curves = {
        name: ([epoch for epoch, _ in own], smooth([value for _, value in own]))
        for name, own in held.items()
        if len(own) >= FEWEST_EPOCHS and min(own, key=lambda point: point[1])[1] > 0
    }
    found = []
    for name, (epochs, values) in curves.items():
        best = values.index(min(values))
        usual = median(abs(b - a) for a, b in pairwise(values))
        rise = values[-1] - values[best]
        training = dict(column(records, f"{name}_loss"))
        then, now = training.get(epochs[best]), training.get(epochs[-1])
        clear = max(ROSE * values[best], GIVEN_BACK * (values[0] - values[best]), TIMES_USUAL * usual)
        if best >= EARLY * (len(values) - 1) or rise <= clear or not then or now is None:
            continue
        learning = [other for other in curves if other != name and _still_learns(curves[other], epochs[best])]
        if now <= (1 - STILL_FALLS) * then and learning:
            found.append(_overfits(records, name, epochs[best], values[best], values[-1], then, now, learning))
    return found


def _still_learns(curve: tuple[list[int], list[float]], since: int) -> bool:
    epochs, values = curve
    best = values.index(min(values))
    then = next((value for epoch, value in zip(epochs, values, strict=True) if epoch >= since), values[0])
    return best >= LATE * (len(values) - 1) and values[best] <= (1 - STILL_LEARNS) * then


def _overfits(
    records: RunRecords, name: str, epoch: int, best: float, end: float, then: float, now: float, learning: list[str]
) -> Finding:
    text = (
        f"{name} over-fits since epoch {epoch}: its validation loss rose from {digits(best)} to {digits(end)} "
        f"({percent(end / best - 1)} more), its training loss fell from {digits(then)} to {digits(now)}; "
        f"{listed(learning)} still learn{'s' if len(learning) == 1 else ''}"
    )
    kept = (records.facts.get("kept") or {}).get("epoch")
    text += f". The model of epoch {kept} was kept" if kept else ""
    evidence: Evidence = {
        "epoch": float(epoch),
        "best": best,
        "end": end,
        "rise": end / best - 1,
        "training_then": then,
        "training_now": now,
        "learning": learning,
        "kept_epoch": kept,
    }
    advice = f"Regularise {name}, or stop it on its own: a weight of 0 after epoch {epoch}"
    weight = f"{records.split('train')[-1][name].weight:g}"
    command = change(
        records,
        [f"outputs.{name}.weight={{schedule: piecewise, values: {{0: {weight}, {epoch}: 0}}}}"],
        f'loss_weights={{"{name}": ml.piecewise({{0: {weight}, {epoch}: 0}})}}',
    )
    sure: Confidence = "high" if end > (1 + ROSE_SURELY) * best else "medium"
    return Finding("overfitting", (name, *learning), text, evidence, sure, advice, command)
