"""What a run folder holds, and that it gives the same numbers again."""

from __future__ import annotations

import csv
import json
import math
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

import multiloss as ml
from cli.tables import Command, homes, write

ENTRY = "from multiloss.cli.main import run; run()"


def environment() -> dict[str, str]:
    """Return the environment of a process that runs this very package."""
    return {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(ml.__file__).parents[1])}


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def history(run: Path) -> list[dict[str, Any]]:
    """The numbers of a run; how long they took is not one of them."""
    return [{key: value for key, value in row.items() if key != "seconds"} for row in lines(run / "history.jsonl")]


def facts(run: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((run / "run.json").read_text())
    return found


def table_of(path: Path) -> list[dict[str, str]]:
    with path.open() as file:
        return list(csv.DictReader(file))


def test_a_run_folder_is_complete(multiloss: Command, tmp_path: Path, config: Path) -> None:
    outcome = multiloss("fit", config)
    run = tmp_path / "runs" / "homes-1"
    assert outcome.code == 0 and outcome.out.splitlines()[-1] == "run folder: runs/homes-1"
    assert {path.name for path in run.iterdir()} == {
        *("config.yaml", "run.json", "schema.json", "history.jsonl", "ledger.jsonl", "model.safetensors", "checkpoint")
    }
    found = facts(run)
    assert found["seed"] == 0 and found["finished"] and found["table"] == str(tmp_path / "homes.csv")
    assert set(found["versions"]) == {"multiloss", "python", "torch"} and found["data_fingerprint"]
    assert sum(found["part_rows"].values()) == 90
    rows = history(run)
    assert [row["epoch"] for row in rows] == [1, 2, 3, 4]
    assert {"loss", "price_loss", "price_mae", "val_loss", "val_task_loss", "val_kind_accuracy", "lr"} <= set(rows[0])
    best = min(rows, key=lambda row: row["val_task_loss"])
    assert found["kept"] == {"epoch": best["epoch"], "why": "best val_task_loss"}
    assert found["final"]["val_loss"] == best["val_loss"]
    assert multiloss("fit", config, "training.epochs=1").out.splitlines()[-1] == "run folder: runs/homes-2"


def test_what_a_fit_prints(multiloss: Command, config: Path) -> None:
    outcome = multiloss("fit", config)
    out = outcome.out
    assert "\x1b" not in out + outcome.err, "no colour codes where there is no terminal"
    assert "town    input   category    3 distinct values in 90 rows" in out
    assert "in a batch of 16" in out and "studio" in out
    assert out.count("epoch 4  ") + out.count("(best val_task_loss)") >= 1
    assert "test rows (" in out and "beside the trivial prediction" in out
    assert [line.split()[0:2] for line in outcome.err.splitlines()] == [["epoch", f"{n}/4"] for n in (1, 2, 3, 4)]


def test_the_contributions_add_up_with_a_penalty_and_missing_labels(multiloss: Command, tmp_path: Path) -> None:
    rows = homes(200)
    for i, row in enumerate(rows):
        row["price"] = "" if i % 10 in (0, 4, 7) else row["price"]
        row["kind"] = "" if i % 10 in (1, 4, 8) else row["kind"]
    write(tmp_path / "t.csv", rows)
    penalty = "penalties=[{name: l2, coefficient: 0.01, on: trunk}]"
    outcome = multiloss(
        "fit", "t.csv", "--outputs", "price,kind", "--weights", "price=2,kind=0.3", penalty, "--epochs", 3
    )
    assert outcome.code == 0
    ledger = lines(tmp_path / "runs" / "t-1" / "ledger.jsonl")
    assert len(ledger) == 6
    for record in ledger:
        total = math.fsum(term["contribution"] for term in record["terms"])
        assert math.isclose(total, record["total"], rel_tol=1e-6)
        assert {term["kind"] for term in record["terms"]} == {"loss", "penalty"}
        assert math.isclose(math.fsum(term["share"] for term in record["terms"]), 1, rel_tol=1e-6)


def test_the_written_configuration_reproduces_the_run(multiloss: Command, tmp_path: Path, config: Path) -> None:
    text = config.read_text().replace("{metrics: [accuracy], head: [8]}", "{loss: {name: ce, class_weight: balanced}}")
    config.write_text(text)
    assert multiloss("fit", config, "--out", "a", "--seed", "3").code == 0
    (tmp_path / "elsewhere").mkdir()
    shutil.copy(tmp_path / "a" / "config.yaml", tmp_path / "elsewhere" / "again.yaml")
    assert multiloss("fit", "elsewhere/again.yaml", "--out", "b").code == 0
    assert history(tmp_path / "a") == history(tmp_path / "b")
    assert (tmp_path / "a" / "model.safetensors").read_bytes() == (tmp_path / "b" / "model.safetensors").read_bytes()
    assert (tmp_path / "a" / "config.yaml").read_text() == (tmp_path / "b" / "config.yaml").read_text()
    written = yaml.safe_load((tmp_path / "a" / "config.yaml").read_text())
    assert written["training"]["seed"] == 3 and written["outputs"]["kind"]["kind"] == "multiclass"
    weights = written["outputs"]["kind"]["loss"]["class_weight"]
    assert len(weights) == 3 and weights != [1.0, 1.0, 1.0]


def test_other_seeds_give_other_numbers(multiloss: Command, tmp_path: Path, config: Path) -> None:
    multiloss("fit", config, "--out", "a")
    multiloss("fit", config, "--out", "b", "--seed", "1")
    assert history(tmp_path / "a") != history(tmp_path / "b")


def test_a_table_and_a_configuration_say_the_same(multiloss: Command, tmp_path: Path, config: Path) -> None:
    words = ["--loss", "price=huber", "--weights", "price=2", "--epochs", 4, "--batch-size", 16, "model.trunk=[16]"]
    words += ["outputs.kind.head=[8]", "model.dropout=0.1", "training.lr=0.01", "outputs.price.metrics=[mae]"]
    words += ["penalties=[{name: l2, coefficient: 1e-3, on: trunk}]", "--out", "a"]
    assert multiloss("fit", "homes.csv", "--outputs", "price,kind", *words).code == 0
    assert multiloss("fit", config, "--out", "b").code == 0
    assert history(tmp_path / "a") == history(tmp_path / "b")


def test_a_longer_fit_goes_on_where_a_shorter_one_ended(multiloss: Command, tmp_path: Path, config: Path) -> None:
    assert multiloss("fit", config, "--out", "whole", "training.epochs=6").code == 0
    assert multiloss("fit", config, "--out", "parts", "training.epochs=2").code == 0
    outcome = multiloss("fit", "parts", "--resume", "training.epochs=6")
    assert outcome.code == 0 and outcome.out.splitlines()[-1] == "run folder: parts"
    assert history(tmp_path / "whole") == history(tmp_path / "parts")
    assert facts(tmp_path / "whole")["test"] == facts(tmp_path / "parts")["test"]
    assert yaml.safe_load((tmp_path / "parts" / "config.yaml").read_text())["training"]["epochs"] == 6


def test_a_run_killed_before_its_first_checkpoint_begins_anew(multiloss: Command, tmp_path: Path, config: Path) -> None:
    assert multiloss("fit", config, "--out", "a").code == 0
    expected = history(tmp_path / "a")
    shutil.rmtree(tmp_path / "a" / "checkpoint")
    (tmp_path / "a" / "model.safetensors").unlink()
    unfinished = multiloss("predict", "a", "homes.csv", "--out", "p.csv")
    assert unfinished.code == 1 and "Go on with: multiloss fit a --resume" in unfinished.err
    outcome = multiloss("fit", "a", "--resume")
    assert outcome.code == 0 and "warning: a holds no checkpoint yet; training begins anew" in outcome.err
    assert history(tmp_path / "a") == expected


def test_resuming_with_another_table_is_refused(multiloss: Command, tmp_path: Path, config: Path) -> None:
    assert multiloss("fit", config, "--out", "a").code == 0
    write(tmp_path / "homes.csv", homes(91)[1:])
    outcome = multiloss("fit", "a", "--resume", "training.epochs=9")
    assert outcome.code == 1 and "expected the table that a was trained on" in outcome.err
    assert len(history(tmp_path / "a")) == 4


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_interrupted_and_resumed_equals_never_stopped(
    multiloss: Command, tmp_path: Path, config: Path, number: signal.Signals
) -> None:
    longer, often = "training.epochs=200", "training.checkpoint_seconds=0.2"
    assert multiloss("fit", config, "--out", "whole", longer).code == 0
    words = [sys.executable, "-c", ENTRY, "fit", "homes.yaml", "--out", "stopped", longer, often]
    process = subprocess.Popen(words, cwd=tmp_path, env=environment(), stderr=subprocess.PIPE, stdout=subprocess.PIPE)
    started = time.monotonic()
    while not (tmp_path / "stopped" / "checkpoint" / "last.safetensors").exists():
        assert time.monotonic() - started < 60 and process.poll() is None
        time.sleep(0.01)
    process.send_signal(number)
    _, printed = process.communicate(timeout=60)
    assert 0 < len(lines_so_far(tmp_path / "stopped" / "history.jsonl")) < 200
    if number != signal.SIGKILL:
        assert process.returncode == 1
        last = printed.decode().splitlines()[-1]
        assert last.startswith(f"error: interrupted: {number.name} in epoch ")
        assert last.endswith("Go on with: multiloss fit stopped --resume")
        assert facts(tmp_path / "stopped")["finished"] is False
    assert multiloss("fit", "stopped", "--resume", "training.checkpoint_seconds=30").code == 0
    assert history(tmp_path / "stopped") == history(tmp_path / "whole")
    assert facts(tmp_path / "stopped")["test"] == facts(tmp_path / "whole")["test"]


def lines_so_far(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.exists() else []


def test_predictions_are_labels_probabilities_and_numbers(multiloss: Command, tmp_path: Path, config: Path) -> None:
    assert multiloss("fit", config, "--out", "run", "training.epochs=60").code == 0
    assert multiloss("predict", "run", "homes.csv", "--out", "p.csv").code == 0
    predicted, truth = table_of(tmp_path / "p.csv"), table_of(tmp_path / "homes.csv")
    assert list(predicted[0]) == ["price", "kind", "kind:flat", "kind:house", "kind:studio"]
    assert len(predicted) == len(truth)
    for row in predicted:
        shares = {name: float(row[f"kind:{name}"]) for name in ("flat", "house", "studio")}
        assert math.isclose(sum(shares.values()), 1, rel_tol=1e-5)
        assert row["kind"] == max(shares, key=lambda name: shares[name])
    right = [p["kind"] == t["kind"] for p, t in zip(predicted, truth, strict=True)]
    assert sum(right) / len(right) > 0.8
    errors = [abs(float(p["price"]) - float(t["price"])) for p, t in zip(predicted, truth, strict=True)]
    assert sum(errors) / len(errors) < 25000, "prices are in the user's units"

    outcome = multiloss("evaluate", "run", "homes.csv")
    shown = next(line for line in outcome.out.splitlines() if line.split()[:1] == ["mae"]).split()
    assert math.isclose(float(shown[1]), sum(errors) / len(errors), rel_tol=1e-4)
    shown = next(line for line in outcome.out.splitlines() if line.split()[:1] == ["accuracy"]).split()
    assert math.isclose(float(shown[1]), sum(right) / len(right), abs_tol=1e-4)


def test_an_unseen_category_is_counted(multiloss: Command, tmp_path: Path, config: Path) -> None:
    assert multiloss("fit", config, "--out", "run", "training.epochs=1").code == 0
    rows: list[dict[str, object]] = [{"size": 80.0, "town": town} for town in ("Ulm", "Oslo", "Rome", "")]
    write(tmp_path / "new.csv", rows)
    outcome = multiloss("predict", "run", "new.csv", "--out", "p.csv")
    assert outcome.code == 0 and len(table_of(tmp_path / "p.csv")) == 4
    assert outcome.err.count("column 'town': 2 cells hold a value never seen in training") == 1


def test_predictions_overwrite_when_asked(multiloss: Command, tmp_path: Path, config: Path) -> None:
    assert multiloss("fit", config, "--out", "run", "training.epochs=1").code == 0
    (tmp_path / "p.csv").write_text("old")
    assert multiloss("predict", "run", "homes.csv", "--out", "p.csv", "--force").code == 0
    assert len(table_of(tmp_path / "p.csv")) == 90


def test_explain_shows_the_numbers_of_the_ledger(multiloss: Command, tmp_path: Path, config: Path) -> None:
    assert multiloss("fit", config, "--out", "run", "training.optimizer={name: adamw, weight_decay: 0.1}").code == 0
    ledger = lines(tmp_path / "run" / "ledger.jsonl")
    printed = [json.loads(line) for line in multiloss("explain", "run", "--json").out.splitlines()]
    assert printed == ledger
    one = [json.loads(line) for line in multiloss("explain", "run", "--json", "--epoch", 2).out.splitlines()]
    assert one == [record for record in ledger if record["epoch"] == 2]

    full = multiloss("explain", "run", "--epoch", 2).out
    for record in one:
        assert str(ml.LedgerRecord.from_dict(record)) in full
        for term in record["terms"]:
            count = "-" if term["count"] is None else str(term["count"])
            share = f"{100 * term['share']:.1f} %"
            own = [line for line in full.splitlines() if line.startswith(term["name"])]
            assert any(line.endswith(f"{share}  {count:>5}") for line in own), (term, own)
    assert "outside the sum:\n  weight_decay 0.1 of AdamW (decoupled)" in full

    overview = multiloss("explain", "run").out.splitlines()
    for record in ledger:
        start = overview.index(f"{record['split']}: what each term added to the total, and its share")
        price = next(term for term in record["terms"] if term["name"] == "price")
        row = overview[start + 1 + record["epoch"]].split()
        assert row[0] == str(record["epoch"]) and math.isclose(float(row[1]), record["total"], abs_tol=1e-4)
        assert math.isclose(float(row[2]), price["contribution"], abs_tol=1e-4)
        assert math.isclose(float(row[3]), 100 * price["share"], abs_tol=0.1)


def test_explain_shows_at_most_twenty_epochs(multiloss: Command, config: Path) -> None:
    assert multiloss("fit", config, "--out", "run", "training.epochs=45", "split.validation=0").code == 0
    printed = multiloss("explain", "run").out
    epochs = [line.split()[0] for line in printed.splitlines() if line.split()[:1] and line.split()[0].isdecimal()]
    assert epochs[0] == "1" and epochs[-2] == "45" and len(epochs) == 21
    assert "20 of 45 epochs" in printed


def test_without_test_rows_the_figures_say_so(multiloss: Command, tmp_path: Path, config: Path) -> None:
    outcome = multiloss("fit", config, "--out", "a", "split.test=0")
    assert "there are no test rows, so these are the validation rows" in outcome.out
    assert "validation" in facts(tmp_path / "a") and "test" not in facts(tmp_path / "a")
    outcome = multiloss("fit", config, "--out", "b", "split.test=0", "split.validation=0")
    assert "so these are the train rows" in outcome.out
    assert facts(tmp_path / "b")["kept"]["epoch"] == 4
    assert "there is no val_task_loss to choose by" in outcome.out


def test_init_prints_a_configuration_that_gives_the_same_run(multiloss: Command, tmp_path: Path, table: Path) -> None:
    outcome = multiloss("init", "homes.csv", "--outputs", "price,kind")
    assert outcome.code == 0
    (tmp_path / "c.yaml").write_text(outcome.out)
    assert all("#" in line for line in outcome.out.splitlines())
    assert multiloss("fit", "c.yaml", "--out", "a", "--epochs", 2).code == 0
    assert multiloss("fit", "homes.csv", "--outputs", "price,kind", "--out", "b", "--epochs", 2).code == 0
    assert history(tmp_path / "a") == history(tmp_path / "b")
    assert (tmp_path / "a" / "config.yaml").read_text() == (tmp_path / "b" / "config.yaml").read_text()


def test_version_and_help(multiloss: Command) -> None:
    assert multiloss("--version").out.strip() == ml.__version__
    printed = multiloss("--help").out
    for name in ("fit", "predict", "evaluate", "explain", "init", "demo"):
        assert f"  {name}" in printed
        assert "Usage: multiloss" in multiloss(name, "--help").out


def test_help_loads_nothing_heavy() -> None:
    script = (
        "import sys\nfrom multiloss.cli.main import run\n"
        "try:\n    run(['--help'])\nexcept SystemExit:\n    print(*sys.modules, sep='\\n')"
    )
    words = [sys.executable, "-c", script]
    printed = subprocess.run(words, capture_output=True, text=True, check=True, env=environment()).stdout
    loaded = {line.split(".")[0] for line in printed.splitlines()}
    heavy = {"torch", "polars", "sklearn", "pydantic", "yaml", "accelerate", "torchmetrics", "rich", "numpy"}
    assert not heavy & loaded
    assert "multiloss" in loaded
