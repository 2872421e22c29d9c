"""What an explained log says in sentences: the answer first, then what it means for whoever trains the model."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from multiloss.core.records import digits
from multiloss.diagnosis.causes.base import Case, Cause, Remainder
from multiloss.diagnosis.log_fit import Weights, as_sum, percent

PENALTIES = ("hidden penalty", "another loss that is not printed")
MOSTLY = 0.5


def answer(total: str, case: Case, weights: Weights, causes: Sequence[Cause]) -> str:
    """Return the whole in one or two sentences."""
    split = case.main
    written = f"{total} = {as_sum(case.names, weights.values)}"
    if all(one.rounding for one in case.splits):
        mean = len(case.names) > 1 and np.allclose(weights.values, 1 / len(case.names))
        kind = "the average of the parts" if mean else "the parts make the whole total"
        below = int((weights.values < 0).sum())
        if below and weights.source == "inferred":
            kind = f"fixed weights, {'one' if below == 1 else below} of them negative, make the whole total"
        if weights.source == "undetermined":
            return f"{written} fits the printed digits, but so may others: {weights.why.partition(';')[0]}."
        repeated = [cause.text for cause in causes if cause.cause == "replicas"]
        return " ".join([f"{written}: {kind}, within the printed digits.", *repeated])
    settled = next((cause for cause in causes if cause.settles), None)
    if settled is not None:
        return settled.text
    told = _unexplained(total, case, split)
    if not causes:
        return f"{told} Its course over the {case.unit}s fits none of the known causes."
    first = causes[0]
    if first.cause == "not enough epochs":
        return f"{told} {len(split)} {case.unit}{'s' if len(split) > 1 else ''} cannot tell why."
    likely = {"high": "The cause is very likely", "medium": "The cause is likely", "low": "It may be"}[first.confidence]
    return f"{told} {likely} {_cause_in_words(first, case)}."


def _unexplained(total: str, case: Case, split: Remainder) -> str:
    shares = split.values / np.where(split.total == 0, np.nan, split.total)
    if not np.isfinite(shares).any():
        return f"{total} is not the sum of its parts."
    first = f"{percent(shares[0])} of {total} at {case.unit} {split.epoch[0]:g}"
    span = ""
    if len(split) > 1:
        span = f" ({percent(np.nanmin(shares))} to {percent(np.nanmax(shares))} over the {case.unit}s)"
    if np.nanmedian(shares) > 0 and shares[0] > 0:
        added = f"the parts add up to {digits(split.explained[0])} of {digits(split.total[0])}"
        return f"{first}{span} is in no part: {added}."
    worst = int(np.nanargmax(np.abs(shares)))
    return (
        f"{total} is not {as_sum(case.names, split.weights)}: at {case.unit} {split.epoch[worst]:g} it is "
        f"{digits(split.total[worst])}, and they add up to {digits(split.explained[worst])}."
    )


def _cause_in_words(cause: Cause, case: Case) -> str:
    if cause.cause == "hidden penalty":
        shape = str(cause.evidence["shape"])
        rate = float(cause.evidence.get("rate_per_epoch", cause.evidence.get("rate_per_step", 1.0)))
        falls = {
            "geometric": f"it falls geometrically, by {_small(1 - rate)} every {case.unit}",
            "flat": "it does not move",
        }.get(shape, f"it is smooth, {shape}")
        return f"a penalty on the weights that is added and not printed: {falls}"
    return {
        "another loss that is not printed": "another loss that is added and not printed",
        "different averaging windows": "that total and parts are averaged over different steps",
        "weights that moved": "that the weights move while the model trains",
        "replicas": "that something is summed once for each replica",
    }.get(cause.cause, f"a {cause.cause}")


def _small(share: float) -> str:
    return percent(share) if share >= 0.001 else f"{100 * share:.2g} %"


def meaning(total: str, case: Case, weights: Weights, causes: Sequence[Cause]) -> list[str]:
    """Return what the explanation means for whoever trains the model, in sentences."""
    split = case.main
    added = bool(causes) and causes[0].cause in PENALTIES and causes[0].confidence != "low"
    rest = ("penalty" if causes[0].cause == PENALTIES[0] else "unprinted loss") if added else "unexplained part"
    if causes and any(cause.settles and cause.cause != "rounding" for cause in causes):
        return [_sum(total, case, weights)]
    lines = [_sum(total, case, weights)]
    if weights.source == "undetermined" and not weights.exact:
        lines += _any_weights(case, split)
    if len(weights.candidates) < 2:  # else each of them makes other shares
        lines += _fall(total, case, split, rest)
        lines += _monitor(total, case, rest)
    if added and causes[0].cause == PENALTIES[0]:
        lines.append(
            "loss_weights do not touch a penalty: smaller weights only make its share larger. The weight_decay of an "
            "optimiser is not it: that never enters the loss."
        )
    return lines


def meaning_without_total(total: str, case: Case) -> list[str]:
    """Return what a log without a total means: what each part is of their sum."""
    split = case.main
    shares = _shares(case, split)
    return [*_fall(total, case, split, ""), f"Of the {total} at {case.unit} {split.epoch[-1]:g}: {shares}."]


def _sum(total: str, case: Case, weights: Weights) -> str:
    m = len(case.names)
    if m > 1 and weights.source != "undetermined" and np.allclose(weights.values, 1 / m):
        return f"{total} is the average of its parts here: every weight is 1/{m}."
    text = (
        f"{total} is a sum, not an average: each part times its weight, and whatever else is added. "
        "The weights need not sum to 1."
    )
    if m < 2:
        return text
    split = case.main
    mean = digits(float(split.series.parts[0].mean()))
    return f"{text} (The average of the parts at {case.unit} {split.epoch[0]:g} would be {mean}.)"


def _any_weights(case: Case, split: Remainder) -> list[str]:
    """Say what weights would be needed to explain the total by the parts alone."""
    explained, total = split.explained, split.total
    if np.any(explained <= 0) or np.any(total <= 0) or split.share < MOSTLY or not np.all(split.values > 0):
        return []
    needed = total / explained
    left = 1 - 2 * explained[0] / total[0]
    if left < MOSTLY:
        return []
    at = [f"{needed[i]:.3g} at {case.unit} {split.epoch[i]:g}" for i in (0, len(split) - 1)[: len(split)]]
    return [
        f"Other weights of ordinary size do not change that: weights of 2 would leave {100 * left:.1f} % unexplained "
        f"at {case.unit} {split.epoch[0]:g}. To make the total, all weights would have to be {' and '.join(at)}."
    ]


def _fall(total: str, case: Case, split: Remainder, rest: str) -> list[str]:
    """Split the change of the total between the first epoch and the last."""
    if len(split) < 2:
        return []
    change = float(split.total[-1] - split.total[0])
    if abs(change) <= float(split.tolerance[0] + split.tolerance[-1]):
        return []
    parts = (split.series.parts[-1] - split.series.parts[0]) * split.weights
    pieces = [(name, float(part)) for name, part in zip(case.names, parts, strict=True)]
    if not split.rounding:
        pieces.append((f"the {rest}", float(split.values[-1] - split.values[0])))
    pieces.sort(key=lambda piece: piece[1] / change, reverse=True)
    moved = "fell" if change < 0 else "rose"
    shares = ", ".join(f"{name} {round(100 * piece / change)} %" for name, piece in pieces[:5])
    more = f" and {len(pieces) - 5} more" if len(pieces) > 5 else ""
    where = f"{case.unit} {split.epoch[0]:g} to {split.epoch[-1]:g}"
    return [f"From {where} {total} {moved} by {abs(change):.4f}. Of that: {shares}{more}."]


def _monitor(total: str, case: Case, rest: str) -> list[str]:
    """Say what a monitor of the total would watch."""
    watched = case.validation if len(case.validation) else case.train
    name = case.monitored.total or total
    last = float(watched.total[-1])
    if last <= 0:
        return []
    share = float(watched.values[-1]) / last
    at = f"at {case.unit} {watched.epoch[-1]:g}"
    if share >= MOSTLY:
        lowest = int(np.argmin(watched.explained))
        text = (
            f"Early stopping, the best checkpoint or a learning-rate schedule that monitor {name} watch the {rest}: it "
            f"is {100 * share:.1f} % of {name} {at}."
        )
        if lowest < len(watched) - 1 and int(np.argmin(watched.total)) == len(watched) - 1:
            text += (
                f" The parts together were lowest at {case.unit} {watched.epoch[lowest]:g}, yet {name} was still "
                f"falling at the last: such a monitor would never fire."
            )
        return [f"{text} Monitor the parts instead, such as {case.monitored.parts[0]} or the sum of the parts."]
    if len(case.names) < 2 or not watched.rounding:
        return []
    shares = _shares(case, watched)
    return [f"Early stopping or a best checkpoint by {name} watches {shares}: their shares {at}."]


def _shares(case: Case, split: Remainder) -> str:
    """Return what each part is of the last total."""
    pieces = split.series.parts[-1] * split.weights
    size = float(split.total[-1])
    return ", ".join(f"{name} {percent(piece / size)}" for name, piece in zip(case.names, pieces, strict=True))
