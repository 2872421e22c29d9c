"""Sums that were taken once for each replica."""

from __future__ import annotations

import numpy as np

from multiloss.diagnosis.causes.base import FEWEST, Case, Cause, Confidence, Remainder
from multiloss.diagnosis.causes.confirm import line_for
from multiloss.diagnosis.causes.trends import roughness
from multiloss.diagnosis.log_weights import COARSE
from multiloss.linalg.gramian import Array

MOST_REPLICAS = 1024


def replicas(case: Case) -> Cause | None:
    """Return the cause where the total, or what it holds beyond the parts, is repeated a whole number of times."""
    return _whole_total(case) or _remainder_of_training(case) or _jump(case)


def _whole_total(case: Case) -> Cause | None:
    counts = [_times(split, split.weights) for split in case.splits]
    sure: Confidence
    if all(split.rounding for split in case.splits):
        # the weights were inferred from the log itself: all equal to the same whole number
        common = case.main.weights[0]
        if case.given or len(case.names) < 2 or common < 2 or common % 1 or np.any(case.main.weights != common):
            return None
        count, sure = int(common), "medium"
        others = "or every weight is that number"
    else:
        found = [count for count in counts if count is not None]
        if len(found) < len(counts) or not found or max(found) < 2 or len(case.main) < 2:
            return None
        count = int(max(found))
        sure, others = "medium", "or the weights are that much larger than assumed"
        if min(found) == 1:
            sure, others = "high", "since it is the plain sum in the other of training and validation"
    evidence = {"epochs": len(case.main), "times": count}
    where = f"in every {case.unit}" + (" of one split" if sure == "high" else "")
    text = (
        f"The total is {count} times the weighted sum of the parts {where}, within the printed digits: "
        f"it is summed over {count} replicas or accumulated steps, {others}."
    )
    return Cause("replicas", sure, text, evidence, line_for("replicas", case.framework), sure == "high")


def _times(split: Remainder, weights: Array) -> int | None:
    """Return the whole number of times that the sum fits into the total in every epoch."""
    explained = split.series.explained(weights)
    if np.any(explained <= 0) or np.median(split.series.tolerance(weights) / explained) > COARSE:
        return None
    count = int(np.round(np.median(split.total / explained)))
    if not 1 <= count <= MOST_REPLICAS or not split.series.fits(count * weights):
        return None
    return count


def _remainder_of_training(case: Case) -> Cause | None:
    """A penalty that every replica adds again in training, and one device alone in validation."""
    train, validation = case.train, case.validation
    epochs, own, others = np.intersect1d(train.epoch, validation.epoch, return_indices=True)
    if len(epochs) < FEWEST:
        return None
    a, b = train.values[own], validation.values[others]
    if np.any(a <= train.tolerance[own]) or np.any(b <= validation.tolerance[others]):
        return None
    ratio = a / b
    count = int(np.round(np.median(ratio)))
    if count < 2 or np.max(np.abs(ratio / count - 1)) > 0.08 or roughness(np.log(b)) > 0.01:
        return None
    evidence = {"epochs": len(epochs), "times": count, "ratio": float(np.median(ratio))}
    text = (
        f"What is in no part is {np.median(ratio):.3f} times as large in training as in validation, in every "
        f"{case.unit}: a penalty that each of {count} replicas adds again."
    )
    return Cause("replicas", "medium", text, evidence, line_for("replicas", case.framework))


def _jump(case: Case) -> Cause | None:
    """A remainder that becomes a whole number of times as large from one epoch to the next, and goes on so."""
    split = case.main
    if len(split) < 6 or np.any(split.values <= split.tolerance):
        return None
    steps = np.diff(np.log(split.values))
    at = int(np.argmax(np.abs(steps)))
    usual = float(np.median(np.delete(steps, at)))
    if np.max(np.abs(np.delete(steps, at) - usual)) > 0.1:
        return None
    times = float(np.exp(abs(steps[at] - usual)))
    count = int(np.round(times))
    if count < 2 or abs(times / count - 1) > 0.03:
        return None
    after = split.epoch[at + 1]
    evidence = {"epochs": len(split), "times": count, "ratio": times, "at": float(after)}
    text = (
        f"What is in no part becomes {times:.2f} times as large or as small at {case.unit} {after:g}: a penalty that "
        "each replica adds again, and another number of replicas from there on."
    )
    return Cause("replicas", "medium", text, evidence, line_for("replicas", case.framework))
