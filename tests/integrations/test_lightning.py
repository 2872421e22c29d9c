"""ExplainLoss against real Lightning, under both of its names, each in a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("lightning")


def in_own_process(script: Path, *arguments: str) -> str:
    done = subprocess.run([sys.executable, str(script), *arguments], capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@cache
def results(folder: Path, package: str) -> dict[str, Any]:
    in_own_process(HERE / "lightning_cases.py", package, str(folder))
    found: dict[str, Any] = json.loads((folder / f"{package}.json").read_text())
    return found


def means(seen: list[Any], stage: str) -> list[float]:
    """Return the means of total, a and b over the rows of one epoch, from what the steps computed."""
    steps = [step for step in seen if step[0] == stage]
    rows = sum(step[1] for step in steps)
    return [sum(step[1] * step[i] for step in steps) / rows for i in (2, 3, 4)]


@pytest.mark.parametrize("package", ["lightning.pytorch", "pytorch_lightning"])
def test_each_epoch_balances_to_the_means_of_its_steps(folder: Path, package: str) -> None:
    found = results(folder, package)
    case = found["whole"]
    assert found["base"].startswith(package)
    order = [(ledger["epoch"], ledger["split"]) for ledger in case["ledgers"]]
    assert order == [(0, "train"), (0, "validation"), (1, "train"), (1, "validation")]
    seen = case["seen"][2:]  # two steps of the sanity check come first
    for i, ledger in enumerate(case["ledgers"]):
        stage = "train" if ledger["split"] == "train" else "val"
        total, a, b = means(seen[8 * (i // 2) : 8 * (i // 2 + 1)], stage)
        assert ledger["total"] == pytest.approx(total, rel=1e-6)
        assert [(t["name"], t["weight"]) for t in ledger["terms"]] == [("a", 1.0), ("b", 0.2)]
        assert [t["contribution"] for t in ledger["terms"]] == pytest.approx([a, 0.2 * b], rel=1e-6)
        assert ledger["steps"] == 4
    total, a, b = means(seen[:8], "train")
    lines = case["text"].splitlines()
    assert lines[0] == f"epoch 0  train_loss {total:.4f} = 1 x a {a:.4f} + 0.2 x b {b:.4f}"
    assert lines[1:3] == [
        "not in the loss: weight_decay 0.1 of AdamW (decoupled): moves parameters, is in no loss",
        "not in the loss: gradient clipping at norm 0.5",
    ]
    assert lines[3].startswith("epoch 0  val_loss ")
    assert len(lines) == 6


def test_weights_that_nobody_gave_leave_a_remainder_with_its_reason(folder: Path) -> None:
    case = results(folder, "lightning.pytorch")["no_weights"]
    _, _, b = means(case["seen"], "train")
    [ledger] = case["ledgers"]
    assert ledger["terms"][-1]["name"] == "unexplained"
    assert ledger["terms"][-1]["contribution"] == pytest.approx(-0.8 * b, rel=1e-5)
    assert "weights were taken as 1 where none is given" in case["text"]


def test_parts_by_name(folder: Path) -> None:
    case = results(folder, "lightning.pytorch")["full_names"]
    assert [(t["name"], t["weight"]) for t in case["ledgers"][0]["terms"]] == [("b", 0.2), ("a", 1.0)]
    unknown = results(folder, "lightning.pytorch")["unknown"]
    assert "parts: expected logged names, found ['kl']" in unknown["text"]


def test_what_is_added_and_not_logged_is_a_line(folder: Path) -> None:
    case = results(folder, "lightning.pytorch")["extra"]
    assert case["ledgers"][0]["terms"][-1]["contribution"] == pytest.approx(0.5, rel=1e-5)
    assert "unexplained: not known: something is added that is not logged" in case["text"]


def test_different_reductions_are_said(folder: Path) -> None:
    mixed = results(folder, "lightning.pytorch")["mixed"]
    assert mixed["text"].startswith(
        "not comparable: train_loss is the last step's, train_loss_a is the epoch's mean, "
        "train_loss_b is the epoch's mean: log all with on_epoch=True and one reduction\n"
    )
    assert "unexplained: the total and its parts are not reduced alike" in mixed["text"]
    assert mixed["ledgers"][0]["total"] == pytest.approx(mixed["seen"][3][2], rel=1e-6)  # of four steps, the last
    assert mixed["text"].count("not comparable") == 1
    steps = results(folder, "lightning.pytorch")["steps"]
    assert "train_loss and its parts are values of one step" in steps["text"]
    assert "unexplained" not in steps["text"]


def test_a_total_that_is_not_logged_is_named_with_the_nearest(folder: Path) -> None:
    case = results(folder, "lightning.pytorch")["typo"]
    assert case["ledgers"] == []
    assert case["text"].count("not explained") == 1
    assert "expected self.log('train_los', ...)" in case["text"] and "Did you mean 'train_loss'?" in case["text"]


def test_examples_of_the_docstrings(folder: Path) -> None:
    failed, attempted = results(folder, "lightning.pytorch")["doctest"]
    assert failed == 0 and attempted >= 5


def test_the_example(folder: Path) -> None:
    out = in_own_process(HERE.parents[1] / "examples" / "lightning_two_heads.py")
    assert "= 1 x price " in out and "+ 0.2 x kind " in out
    assert "unexplained" not in out
