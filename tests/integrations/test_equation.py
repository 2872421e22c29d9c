"""The equation of a total, the rules for logged names, and what is said where a framework is missing."""

from __future__ import annotations

import importlib
import math
import subprocess
import sys

import pytest

from multiloss.core.errors import MissingExtraError
from multiloss.core.records import LedgerRecord
from multiloss.integrations.equation import Addend, balance, equation
from multiloss.integrations.logged_names import parts_of, short, validation_name


def of(total: float, *contributions: float, steps: int = 1) -> LedgerRecord:
    addends = [Addend(f"t{i}", "loss", value, 1.0, value) for i, value in enumerate(contributions)]
    return balance(total, addends, steps=steps, why="because")


def test_a_remainder_beyond_rounding_is_a_line_with_its_reason() -> None:
    record = of(1.0, 0.4, 0.5)
    assert record["unexplained"].contribution == pytest.approx(0.1)
    assert record["unexplained"].note == "because"
    assert math.fsum(term.contribution for term in record) == pytest.approx(1.0, rel=1e-15)
    assert equation(record, "loss", "epoch 1") == [
        "epoch 1  loss 1.0000 = 1 x t0 0.4000 + 1 x t1 0.5000 + unexplained 0.1000 (10.0 %)",
        "         unexplained: because",
    ]


@pytest.mark.parametrize(("missing", "steps", "kept"), [(1e-6, 1, False), (2e-6, 1, True), (2e-6, 100, False)])
def test_rounding_grows_with_the_batches(missing: float, steps: int, kept: bool) -> None:
    # (8 + steps / 2) roundings of 2**-23: 1.01e-6 for one batch, 6.9e-6 for a hundred
    assert any(term.kind == "unexplained" for term in of(1.0 + missing, 0.5, 0.5, steps=steps)) is kept


def test_a_total_that_is_not_finite_has_no_shares_and_no_remainder() -> None:
    record = of(math.nan, math.nan, 0.5)
    assert [(term.name, term.share) for term in record] == [("t0", None), ("t1", None)]
    assert equation(record, "loss", "epoch 1") == ["epoch 1  loss nan = 1 x t0 nan + 1 x t1 0.5000"]


def test_only_the_largest_penalties_are_named() -> None:
    addends = [Addend(f"l2(0.01)/h{i}/kernel", "penalty", i, 1.0, i) for i in range(1, 7)]
    lines = equation(balance(21.0, addends, steps=1, why=""), "val_loss", "epoch 3")
    assert lines[0] == "epoch 3  val_loss 21.0000 = penalty 21.0000 (100.0 %)"
    shown = " + ".join(f"l2(0.01) on h{i}/kernel {i}.0000" for i in (6, 5, 4, 3))
    assert lines[1] == f"         penalty = {shown} + 2 more 3.0000"


def test_names_of_parts() -> None:
    logged = [
        "train_loss",
        "train_loss_step",
        "train_loss_epoch",
        "train/loss_a",
        "train_b_loss",
        "train_acc",
        "lossless",
    ]
    assert parts_of("train_loss", [*logged, "val_loss", "val_loss_a", "loss_c"]) == ["train/loss_a", "train_b_loss"]
    assert parts_of("loss", ["loss", "loss_a", "b_loss", "val_loss"]) == ["loss_a", "b_loss"]
    assert parts_of("train_loss", ["train_loss", "train_acc"]) == []
    assert [short(name) for name in ("loss_train_size", "val-kl", "test.loss.box")] == ["train_size", "kl", "box"]
    assert validation_name("train/loss_a", ["val_loss_a", "val/loss_a"]) in ("val_loss_a", "val/loss_a")
    assert validation_name("training_loss", ["validation_loss", "test_loss"]) == "validation_loss"


@pytest.mark.parametrize(
    ("framework", "hidden"),
    [("keras", ["keras"]), ("lightning", ["lightning", "lightning.pytorch", "pytorch_lightning"])],
)
def test_a_missing_framework_is_named_with_its_extra(
    framework: str, hidden: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in hidden:
        monkeypatch.setitem(sys.modules, name, None)
    for name in ("", "_facts", "_terms"):
        monkeypatch.delitem(sys.modules, f"multiloss.integrations.{framework}{name}", raising=False)
    with pytest.raises(MissingExtraError, match=rf"multiloss\[{framework}\]"):
        importlib.import_module(f"multiloss.integrations.{framework}")


def test_multiloss_loads_neither_framework() -> None:
    code = "import sys, multiloss; print({'keras', 'lightning', 'pytorch_lightning'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True)
    assert done.stdout.strip() == "set()"
