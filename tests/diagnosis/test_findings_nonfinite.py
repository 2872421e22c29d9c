"""What is not a number is the first finding, wherever it began."""

from __future__ import annotations

import json
import math
import shlex
from dataclasses import replace

import pytest

from multiloss.config.load import read_config
from multiloss.core.records import LedgerRecord, TermRecord
from multiloss.core.run_records import RunRecords
from multiloss.diagnosis.findings import findings
from multiloss.diagnosis.rules.finite import first_not_finite, where

NAN = math.nan


def account(epoch: int, split: str, **amounts: float) -> LedgerRecord:
    """An account of losses with weight 1."""
    total = sum(amounts.values())
    terms = (TermRecord(name, "loss", value, 1.0, 1.0, value, None, 8) for name, value in amounts.items())
    return LedgerRecord(total, tuple(terms), 4, epoch=epoch, split=split)


def records(*ledgers: LedgerRecord) -> RunRecords:
    """A run of these accounts, as its file gives them back: NaN is null there."""
    lines = [json.loads(json.dumps(record.to_dict()).replace("NaN", "null")) for record in ledgers]
    return RunRecords("made", {}, [], [LedgerRecord.from_dict(line) for line in lines])


def test_the_first_epoch_and_the_term_are_named() -> None:
    made = records(
        account(1, "train", price=1.0, kind=2.0),
        account(1, "validation", price=1.0, kind=2.0),
        account(2, "train", price=1.0, kind=NAN),
        account(2, "validation", price=NAN, kind=NAN),
        account(3, "train", price=NAN, kind=NAN),
    )
    finding = findings(made)[0]
    assert finding.rule == "nonfinite" and finding.outputs == ("kind",) and finding.confidence == "high"
    assert finding.text == (
        "kind is not a number at epoch 2 in training, for the first time; accounts that are not finite: 3 of 5"
    )
    assert finding.evidence == {"epoch": 2, "split": "train", "terms": ["kind"], "accounts": 3, "accounts_in_all": 5}
    assert finding.command == 'ml.Trainer(..., on_nonfinite="skip")' and "learning rate" in finding.advice
    offered = findings(replace(made, config="{}"))[0].command
    assert offered is not None
    changed = read_config({"table": "t.csv", "outputs": {"price": {}}}, "offered", shlex.split(offered)[3:])
    assert changed.training.on_nonfinite == "skip"


def test_validation_alone_is_no_matter_of_the_steps() -> None:
    made = records(account(1, "train", price=1.0), account(1, "validation", price=NAN))
    (finding,) = findings(made)
    assert "price is not a number at epoch 1 in validation" in finding.text and finding.command is None


@pytest.mark.parametrize("value", [NAN, math.inf])
def test_a_total_without_a_term_that_explains_it(value: float) -> None:
    made = replace(records(), ledgers=[replace(account(4, "train", price=1.0), total=value)])
    first = first_not_finite(made)
    assert first is not None and where(first) == "total is not a number at epoch 4 in training"


def test_many_terms_are_counted() -> None:
    first = first_not_finite(records(account(1, "train", **{f"o{i}": NAN for i in range(9)})))
    assert first is not None
    assert where(first) == "o0, o1, o2, o3, o4 and 4 more are not numbers at epoch 1 in training"


def test_finite_accounts_are_no_finding() -> None:
    assert first_not_finite(records(account(1, "train", price=1.0))) is None
