"""Rule on accounts that are not a number: from there on nothing that a run says can be judged."""

from __future__ import annotations

import math

from multiloss.core.records import LedgerRecord
from multiloss.core.run_records import RunRecords
from multiloss.diagnosis.rules.base import Evidence, Finding, change, listed

NAMED = 5
"""So many terms are named."""
SPLITS = {"train": "training", "validation": "validation"}


def first_not_finite(records: RunRecords) -> LedgerRecord | None:
    """Return the earliest account with a NaN or an infinity, training before validation; `None` where there is none."""
    broken = [record for record in records.ledgers if not_finite(record)]
    return min(broken, key=lambda record: (record.epoch or 0, record.split != "train"), default=None)


def not_finite(record: LedgerRecord) -> list[str]:
    """Return what is NaN or infinite in an account: its terms, or `total` where it is none of them."""
    terms = [term.name for term in record if not math.isfinite(term.contribution)]
    return terms or ([] if math.isfinite(record.total) else ["total"])


def where(record: LedgerRecord) -> str:
    """Return what is not a number in an account, and where, as the middle of a sentence."""
    own = not_finite(record)
    more = [f"{len(own) - NAMED} more"] if len(own) > NAMED else []
    split = SPLITS.get(record.split or "", "")
    at = f"at epoch {record.epoch}" if record.epoch is not None else "in an account"
    verb = "are not numbers" if len(own) > 1 else "is not a number"
    return f"{listed([*own[:NAMED], *more])} {verb} {at}{f' in {split}' if split else ''}"


def nonfinite(records: RunRecords) -> list[Finding]:
    """A total, or what a term adds to it, is NaN or infinite.

    Threshold: none; the first such account is named, training before validation. From there on, the numbers of the run
    say nothing: what is NaN is neither better nor worse than anything.
    """
    first = first_not_finite(records)
    if first is None:
        return []
    broken = [record for record in records.ledgers if not_finite(record)]
    losses = tuple(t.name for t in first if t.kind == "loss" and not math.isfinite(t.contribution))
    text = f"{where(first)}, for the first time; accounts that are not finite: {len(broken)} of {len(records.ledgers)}"
    evidence: Evidence = {
        "epoch": first.epoch,
        "split": first.split,
        "terms": not_finite(first)[:NAMED],
        "accounts": len(broken),
        "accounts_in_all": len(records.ledgers),
    }
    advice = (
        "Do not use numbers from there on. Look for NaN and infinity in inputs and labels, for a loss outside of what "
        "it is defined on, and take a lower learning rate"
    )
    command = None
    if first.split == "train":
        advice += '; on_nonfinite="skip" leaves a loss out of the steps in which it is not finite'
        command = change(records, ["training.on_nonfinite=skip"], 'ml.Trainer(..., on_nonfinite="skip")')
    return [Finding("nonfinite", losses, text, evidence, "high", advice, command)]
