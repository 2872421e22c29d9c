"""Rules on the ledger: what the total is made of, and how many labels are behind it."""

from __future__ import annotations

import math
from collections import defaultdict
from statistics import median

from multiloss.core.records import digits
from multiloss.core.run_records import RunRecords
from multiloss.diagnosis.rules.base import (
    Confidence,
    Evidence,
    Finding,
    change,
    percent,
    settings,
)

PENALTY_RULES = 0.5
"""Share of a monitored loss."""
STARVED = 1.0
"""Labels in a step, on average."""
FEW_LABELS = 8.0
"""Labels in a step, on average, that are few where the others have far more."""
FEW_OF_THE_MOST = 0.1
"""Labels, as a share of those of the output with most."""
ENOUGH_LABELS = 2
"""Labels that a step should hold: what the census of a table asks for."""


def penalty_rules_monitor(records: RunRecords) -> list[Finding]:
    """More than half of the loss that decides when to stop and what to keep is penalty.

    Threshold: in the last epoch the penalties are more than 50 % of `val_loss` (of `loss` without validation). Then
    early stopping and the choice of the best epoch follow the weights' size and not the outputs. Silent where the
    configuration monitors another key.
    """
    split, key = ("validation", "val_loss") if records.split("validation") else ("train", "loss")
    accounts = [record for record in records.split(split) if record.total > 0]
    if not accounts or accounts[-1].penalty <= PENALTY_RULES * accounts[-1].total:
        return []
    training = settings(records).get("training") or {}
    stopping = training.get("early_stopping") or {}
    watched = [stopping.get("monitor"), training.get("monitor") if training.get("keep") == "best" else None]
    if records.config is not None and key not in watched:
        return []
    first, last = accounts[0], accounts[-1]
    shares = [record.penalty / record.total for record in accounts]
    ruled = sum(share > PENALTY_RULES for share in shares)
    text = (
        f"{percent(shares[-1])} of {key} is penalty in epoch {last.epoch} "
        f"({digits(last.penalty)} of {digits(last.total)}); more than half in {ruled} of {len(accounts)} epochs"
    )
    fall = first.total - last.total
    by_penalty = (first.penalty - last.penalty) / fall if fall > 0 else None
    if by_penalty is not None and len(accounts) > 1:
        text += f"; {percent(by_penalty)} of its fall since epoch {first.epoch} is the penalty's"
    evidence: Evidence = {
        "share": shares[-1],
        "median_share": median(shares),
        "epochs": len(accounts),
        "ruled_epochs": ruled,
        "monitor": key,
        "part_of_the_fall": by_penalty,
    }
    if split == "train":
        advice = "Judge by each output's own loss, or hold rows out and monitor val_task_loss"
        overrides = ["split.validation=0.15", "training.monitor=val_task_loss"]
        command = change(records, overrides, "trainer.fit(data, validation=0.15)")
    else:
        advice = "Monitor val_task_loss, which is the outputs alone"
        named = {
            "training.monitor": training.get("monitor"),
            "training.early_stopping.monitor": stopping.get("monitor"),
        }
        keys = [name for name, monitored in named.items() if monitored == key]
        command = change(records, [f"{name}=val_task_loss" for name in keys], 'ml.EarlyStopping("val_task_loss")')
    return [
        Finding("penalty_rules_monitor", (), text, evidence, "high" if key in watched else "medium", advice, command)
    ]


def label_starvation(records: RunRecords) -> list[Finding]:
    """An output has too few labels in a step to be trained by it.

    Threshold: fewer than 1 label in a step on average; or fewer than 8 while another output has more than 10 times as
    many. With `reduction="labelled"` a step's few labels count as much as another output's many, so each of them moves
    the parameters that much further; in steps without any, the output is not trained.
    """
    accounts = records.split("train")
    steps = sum(record.steps for record in accounts)
    counts: defaultdict[str, int] = defaultdict(int)
    for record in accounts:
        for term in record:
            if term.kind == "loss" and term.count is not None and term.weight:
                counts[term.name] += term.count
    if not steps or not counts:
        return []
    most = max(counts, key=lambda name: counts[name])
    found = []
    for name, count in counts.items():
        each, part = count / steps, count / counts[most] if counts[most] else 1.0
        if each >= STARVED and (each >= FEW_LABELS or part >= FEW_OF_THE_MOST):
            continue
        text = f"{name} has {count / len(accounts):,.0f} labels an epoch, {digits(each)} a step"
        text += f"; {most} has {digits(counts[most] / steps)} a step" if name != most else ""
        evidence: Evidence = {
            "labels_per_step": each,
            "labels_per_epoch": count / len(accounts),
            "part_of_the_most": part,
            "most": most,
        }
        advice, command = _more_labels(records, name, each, accounts[-1].reduction)
        sure: Confidence = "high" if each < STARVED else "medium"
        found.append(Finding("label_starvation", (name,), text, evidence, sure, advice, command))
    return found


def _more_labels(records: RunRecords, name: str, each: float, reduction: str) -> tuple[str, str | None]:
    size = records.facts.get("batch_size")
    if not each:
        return f"{name} is not trained. Look for its labels, or leave it out", None
    if size and each < ENOUGH_LABELS:
        needed = 2 ** math.ceil(math.log2(ENOUGH_LABELS * size / each))
        advice = f"Take batches of {needed} or more, which hold {ENOUGH_LABELS} labels on average"
        return advice, change(records, [f"training.batch_size={needed}"], f"trainer.fit(..., batch_size={needed})")
    if reduction == "labelled":
        advice = "Take larger batches, or divide by the batch instead of the labels, so that each label counts the same"
        return advice, change(records, ["reduction=batch"], 'ml.Objective(..., reduction="batch")')
    return "Take larger batches, or more labels", None
