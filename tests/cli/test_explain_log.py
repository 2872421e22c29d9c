"""`multiloss explain` of a training log, and of a run with its findings."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from pathlib import Path

import pytest

from cli.tables import Command
from multiloss.cli.findings import print_findings
from multiloss.diagnosis.findings import Finding

PUZZLE = """2: 9.2902/0.0801/0.0717
3: 8.2261/0.0251/0.0199
4: 7.3107/0.0595/0.0048
5: 6.4586/0.0560/0.0025
6: 5.9463/0.1964/0.0653
7: 5.3730/0.1722/0.0447
8: 4.8407/0.1396/0.0169
9: 4.4465/0.1614/0.0124
10: 3.9898/0.0588/0.0119
11: 3.6347/0.0302/0.0085"""
TICKETS = "loss: 1.2723 - priority_loss: 0.7062 - department_loss: 2.8304"


def keras_text() -> str:
    lines = []
    for line in PUZZLE.splitlines():
        epoch, _, numbers = line.partition(": ")
        total, a, b = numbers.split("/")
        bar = "264/264 [==============================] - 2s 7ms/step"
        lines += [f"Epoch {epoch}/11", f"{bar} - loss: {total} - dense_1_loss: {a} - dense_2_loss: {b}"]
    return "\n".join(lines) + "\n"


@pytest.fixture
def puzzle(tmp_path: Path) -> Path:
    path = tmp_path / "train.log"
    path.write_text(keras_text())
    return path


def pipe(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text.encode())))


def test_the_puzzle_is_answered_first(multiloss: Command, puzzle: Path) -> None:
    outcome = multiloss("explain", puzzle)
    assert outcome.code == 0 and not outcome.err
    answer = outcome.out.split("\n\n")[1].replace("\n", " ")
    assert answer.startswith("98.4 % of loss at epoch 2") and "by 10.0 % every epoch" in answer
    row = next(line.split() for line in outcome.out.splitlines() if line.split()[:1] == ["2"])
    assert row == ["2", "9.2902", "0.0801", "0.0717", "0.1518", "9.1384", "98.4", "%"]
    assert "1. hidden penalty (high confidence)" in outcome.out
    assert max(map(len, (line for line in outcome.out.splitlines() if "confirm:" not in line))) <= 100


def test_json_of_one_epoch_and_of_all(multiloss: Command, puzzle: Path) -> None:
    plain = json.loads(multiloss("explain", puzzle, "--json").out)
    assert [row["epoch"] for row in plain["epochs"]] == list(range(2, 12))
    assert plain["weights_from"] == "undetermined" and plain["causes"][0]["cause"] == "hidden penalty"
    one = json.loads(multiloss("explain", puzzle, "--json", "--epoch", 6).out)
    assert one["epochs"] == [plain["epochs"][4]] and one["causes"] == plain["causes"]
    text = multiloss("explain", puzzle, "--epoch", 6).out
    assert "5.9463" in text and "6.4586" not in text


@pytest.mark.parametrize("words", [["-"], []])
def test_a_pipe_with_weights(multiloss: Command, monkeypatch: pytest.MonkeyPatch, words: list[str]) -> None:
    pipe(monkeypatch, TICKETS)
    outcome = multiloss("explain", *words, "--weights", "priority=1,department=0.2")
    assert outcome.code == 0
    assert "loss = 1 x priority + 0.2 x department: the parts make the whole total" in outcome.out
    assert outcome.out.startswith("standard input: Keras progress output, 1 epoch")


def test_total_and_parts_are_chosen(multiloss: Command, tmp_path: Path) -> None:
    rows = "".join(f"{i},{0.5 + 0.1 * i},{1.0 / i},{1.5 + 0.1 * i + 2.0 / i}\n" for i in range(1, 9))
    (tmp_path / "t.csv").write_text("epoch,first,second,objective\n" + rows)
    outcome = multiloss("explain", "t.csv", "--total", "objective", "--parts", "first,second", "--json")
    plain = json.loads(outcome.out)
    assert plain["total"] == "objective" and plain["parts"] == ["first", "second"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--weights", "dense_1=x"], "--weights: expected name=number, found 'dense_1=x'"),
        (["--weights", "1"], "--weights: expected name=number, found '1'"),
        (["--weights", "dense1=1"], "Did you mean 'dense_1'"),
        (["--epoch", "1"], "expected an epoch from 2 to 11, found 1"),
    ],
)
def test_bad_options(multiloss: Command, puzzle: Path, words: list[str], said: str) -> None:
    outcome = multiloss("explain", puzzle, *words)
    assert outcome.code == 2 and said in outcome.err and not outcome.out


def test_what_is_no_log(multiloss: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert multiloss("explain", "nowhere.log").code == 2
    (tmp_path / "binary.log").write_bytes(bytes(range(256)) * 40)
    outcome = multiloss("explain", "binary.log")
    assert outcome.code == 2 and outcome.err.startswith("error: ") and not outcome.out
    pipe(monkeypatch, "")
    assert multiloss("explain").code == 2
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True)
    outcome = multiloss("explain")
    assert outcome.code == 2 and "expected a LOG, a RUN or a pipe" in outcome.err


@pytest.mark.slow
def test_a_run_is_explained_with_its_findings(multiloss: Command, tmp_path: Path, config: Path) -> None:
    penalty = "penalties=[{name: l2, coefficient: 5.0, on: trunk}]"
    words = ["training.epochs=2", "training.keep=best", "training.monitor=val_loss", penalty]
    assert multiloss("fit", config, "--out", "run", *words).code == 0
    outcome = multiloss("explain", "run")
    assert outcome.code == 0
    assert outcome.out.startswith("train: what each term added to the total, and its share")
    _, found, after = outcome.out.partition("findings\n")
    assert found and "penalty_rules_monitor" in after and "confidence" in after
    outcome = multiloss("explain", "run", "--weights", "price=1", "--parts", "price")
    assert outcome.code == 2 and "leave out --weights, --parts" in outcome.err


def test_findings_in_text(capsys: pytest.CaptureFixture[str]) -> None:
    finding = Finding("dominance", ("a",), "a makes 95 % of the gradient", {"share": 0.95}, "high", "Weigh it", "a=0.1")
    print_findings([finding], Path("run"))
    assert capsys.readouterr().out == (
        "findings\n1. dominance (high confidence): a makes 95 % of the gradient.\n   Weigh it:\n     a=0.1\n"
    )
    print_findings([], Path("run"))
    assert not capsys.readouterr().out


def test_explaining_a_log_loads_no_torch(puzzle: Path) -> None:
    script = (
        "import sys\nfrom multiloss.cli.main import run\n"
        f"try:\n    run(['explain', {str(puzzle)!r}])\n"
        "except SystemExit as done:\n    assert done.code == 0\n"
        "assert not {'torch', 'polars', 'sklearn', 'pandas'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True, capture_output=True)
