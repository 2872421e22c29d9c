"""Every row of bad input gets one clear error and leaves nothing behind."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path

import pytest

from cli.tables import Command, files, homes, write


def fails(command: Command, folder: Path, *words: object, code: int = 2) -> str:
    before = files(folder)
    outcome = command(*words)
    assert outcome.code == code, outcome
    assert files(folder) == before, "something was left behind"
    assert "Traceback" not in outcome.err
    assert outcome.err.count("error: ") == 1
    return outcome.err


def test_no_such_table_offers_the_nearest(multiloss: Command, tmp_path: Path, table: Path) -> None:
    text = fails(multiloss, tmp_path, "fit", "home.csv", "--outputs", "price")
    assert "home.csv" in text and "Did you mean 'homes.csv'?" in text


def test_no_such_configuration_offers_the_nearest(multiloss: Command, tmp_path: Path, config: Path) -> None:
    text = fails(multiloss, tmp_path, "fit", "home.yaml")
    assert "home.yaml: expected a configuration, found no such file. Did you mean 'homes.yaml'?" in text


def test_no_such_column_offers_the_nearest(multiloss: Command, tmp_path: Path, table: Path) -> None:
    text = fails(multiloss, tmp_path, "fit", table, "--outputs", "prise,knd")
    assert "unknown output 'prise'. Did you mean 'price'?" in text
    assert "unknown output 'knd'. Did you mean 'kind'?" in text


def test_a_table_without_outputs_lists_its_columns(multiloss: Command, tmp_path: Path, table: Path) -> None:
    text = fails(multiloss, tmp_path, "fit", table)
    assert "--outputs" in text and "kind, price, size, town" in text


@pytest.mark.parametrize("text", ["", "size,price\n"])
def test_an_empty_table(multiloss: Command, tmp_path: Path, text: str) -> None:
    (tmp_path / "empty.csv").write_text(text)
    assert "empty" in fails(multiloss, tmp_path, "fit", "empty.csv", "--outputs", "price")


@pytest.mark.parametrize(("value", "found"), [("", "expected labels, found none"), ("house", "found one: house")])
def test_an_output_without_labels_or_with_one_class(multiloss: Command, tmp_path: Path, value: str, found: str) -> None:
    write(tmp_path / "t.csv", [{**row, "kind": value} for row in homes()])
    text = fails(multiloss, tmp_path, "fit", "t.csv", "--outputs", "price,kind")
    assert "column 'kind'" in text and found in text


def test_text_in_a_number_column_names_the_row(multiloss: Command, tmp_path: Path) -> None:
    rows = homes()
    rows[6]["size"] = "large"
    write(tmp_path / "t.csv", rows)
    text = fails(multiloss, tmp_path, "fit", "t.csv", "--outputs", "price")
    assert "column 'size': expected numbers, found text 'large' in row 7" in text


def test_a_wrong_number_of_columns_names_the_line(multiloss: Command, tmp_path: Path, table: Path) -> None:
    lines = table.read_text().splitlines()
    lines[4] += ",1"
    table.write_text("\n".join(lines))
    text = fails(multiloss, tmp_path, "fit", table, "--outputs", "price")
    assert "line 5: expected 4 columns as in line 1, found 5" in text


def test_duplicate_names_in_a_table(multiloss: Command, tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("a,a\n1,2\n")
    assert "found 'a' 2 times" in fails(multiloss, tmp_path, "fit", "t.csv", "--outputs", "a")


def test_unreadable_yaml_names_the_line(multiloss: Command, tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text("table: t.csv\noutputs: [a\nmodel: {}\n")
    text = fails(multiloss, tmp_path, "fit", "c.yaml")
    assert "c.yaml: line 3, column 6: expected YAML" in text


def test_every_mistake_of_a_configuration_at_once(multiloss: Command, tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text(
        "table: homes.csv\n"
        "outputs:\n"
        "  price: {wieght: 2}\n"
        "  kind:\n"
        "    weight: -1\n"
        "    loss: cross_entropie\n"
        "  loss: {}\n"
        "  a.b: {}\n"
        "trainin: {}\n"
        "training: {batch_size: 0, epochs: many, optimizer: adan}\n"
    )
    text = fails(multiloss, tmp_path, "fit", "c.yaml", "outputs.kind.metrics=[acuracy]", "model.activation=rulu")
    assert "c.yaml: 11 problems" in text
    for sentence in (
        "line 3: unknown key 'outputs.price.wieght'. Did you mean 'weight'?",
        "line 5: outputs.kind.weight: expected a finite number of 0 or more, found -1",
        "line 6: outputs.kind.loss: expected the name of a loss, found 'cross_entropie'. Did you mean 'cross_entropy'?",
        "line 7: outputs.loss: expected an output name other than 'loss'",
        "line 8: outputs.a.b: expected an output name without dots",
        "line 9: unknown key 'trainin'. Did you mean 'training'?",
        "line 10: training.batch_size: expected a number >= 1, found 0",
        "line 10: training.epochs: expected a whole number, found 'many'",
        "line 10: training.optimizer: unknown optimizer 'adan'. Did you mean",
        "outputs.kind.metrics=[acuracy]: outputs.kind.metrics.0: unknown metric 'acuracy'. Did you mean 'accuracy'?",
        "model.activation=rulu: unknown activation 'rulu'. Did you mean 'relu'?",
    ):
        assert sentence in text, sentence


@pytest.mark.parametrize("weight", ["-1", "nan", ".nan", ".inf", "heavy"])
def test_weights_that_are_none(multiloss: Command, tmp_path: Path, table: Path, weight: str) -> None:
    text = fails(multiloss, tmp_path, "fit", table, "--outputs", "price", "--weights", f"price={weight}")
    assert "outputs.price.weight" in text and "expected a finite number of 0 or more" in text


@pytest.mark.parametrize(
    ("words", "found"),
    [
        (["--outputs", "price,price"], "expected every output once, found price again"),
        (["--outputs", "price,price", "--epochs", "1"], "expected every output once, found price again"),
        (["--outputs", "price,price", "--loss", "price=huber"], "expected every output once, found price again"),
        (["--outputs", "loss"], "other than 'loss'"),
        (["--outputs", "a.b"], "without dots"),
        (["--outputs", ""], "expected at least one output"),
        (["--outputs", "price", "--batch-size", "0"], "training.batch_size=0: expected a number >= 1, found 0"),
        (["--outputs", "price", "--epochs", "0"], "training.epochs=0: expected a number >= 1, found 0"),
        (["--outputs", "price", "--loss", "kind=mse"], "no such output 'kind'"),
        (["--outputs", "price", "--loss", "huber"], "--loss: expected output=value, found 'huber'"),
        (["--outputs", "price", "size"], "expected key=value (training.epochs=10), found 'size'"),
        (["--outputs", "price", "training.epoch=3"], "unknown key 'training.epoch'. Did you mean 'epochs'?"),
        (["--outputs", "price", "inputs=[sise]"], "inputs: unknown column 'sise'. Did you mean 'size'?"),
        (["--outputs", "price", "split.method=time", "split.column=when"], "split by time needs a column"),
        (["--outputs", "price", "training.monitor=val_price_mea"], "Did you mean 'val_price_mae'?"),
        (["--outputs", "price", "penalties=[{name: l2, coefficient: 1, on: trunc}]"], "trunk"),
        (["--outputs", "price", "outputs.price.metrics=[accuracy]"], "does not fit a regression output"),
        (
            ["--outputs", "price", "training.lr={trunc: 0.1}"],
            "expected a part of the model or an output, found 'trunc'",
        ),
        (["--outputs", "kind", "outputs.kind.loss={name: ce, class_weight: {hous: 2}}"], "Did you mean 'house'?"),
    ],
)
def test_options_that_do_not_fit(multiloss: Command, tmp_path: Path, table: Path, words: list[str], found: str) -> None:
    assert found in fails(multiloss, tmp_path, "fit", table, *words)


@pytest.mark.parametrize("words", [["fit"], ["fitt"], ["fit", "x", "--epochs", "many"], ["predict", "a", "b"]])
def test_usage_errors_are_bad_input(multiloss: Command, words: list[str]) -> None:
    outcome = multiloss(*words)
    assert outcome.code == 2 and "Usage: multiloss" in outcome.err and "Error: " in outcome.err


def test_an_existing_run_is_not_overwritten(multiloss: Command, tmp_path: Path, config: Path) -> None:
    assert multiloss("fit", config, "--out", "run", "training.epochs=1").code == 0
    text = fails(multiloss, tmp_path, "fit", config, "--out", "run")
    assert "run: already holds a run. Go on with: multiloss fit run --resume" in text
    assert "expected a configuration or a table, found a run folder" in fails(multiloss, tmp_path, "fit", "run")
    text = fails(multiloss, tmp_path, "fit", "run", "--resume", "training.lr=1")
    assert "only table, training.epochs" in text and "found training.lr=1" in text


def test_a_full_disk_leaves_no_run_folder(
    multiloss: Command, tmp_path: Path, config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "fsync", _full)
    text = fails(multiloss, tmp_path, "fit", config, code=1)
    assert "the disk is full" in text and "config.yaml" in text


def test_a_full_disk_leaves_no_half_of_a_prediction(
    multiloss: Command, tmp_path: Path, config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert multiloss("fit", config, "--out", "run", "training.epochs=1").code == 0
    (tmp_path / "old.csv").write_text("old")
    monkeypatch.setattr(os, "fsync", _full)
    text = fails(multiloss, tmp_path, "predict", "run", "homes.csv", "--out", "old.csv", "--force", code=1)
    assert "old.csv: the disk is full" in text
    assert (tmp_path / "old.csv").read_text() == "old"


def _full(descriptor: int) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def test_a_run_of_another_version(multiloss: Command, tmp_path: Path, config: Path) -> None:
    assert multiloss("fit", config, "--out", "run", "training.epochs=1").code == 0
    facts = json.loads((tmp_path / "run" / "run.json").read_text())
    (tmp_path / "run" / "run.json").write_text(json.dumps({**facts, "version": 99}))
    for words in (
        ["fit", "run", "--resume"],
        ["predict", "run", "homes.csv", "--out", "p.csv"],
        ["evaluate", "run", "homes.csv"],
        ["explain", "run"],
    ):
        assert "run is a run of version 99" in fails(multiloss, tmp_path, *words, code=1)


@pytest.mark.parametrize("damage", [b"", b"not safetensors", None])
def test_a_damaged_checkpoint_and_model(multiloss: Command, tmp_path: Path, config: Path, damage: bytes | None) -> None:
    assert multiloss("fit", config, "--out", "run", "training.epochs=1").code == 0
    for name, words in (
        ("checkpoint/last.safetensors", ["fit", "run", "--resume"]),
        ("model.safetensors", ["predict", "run", "homes.csv", "--out", "p.csv"]),
    ):
        path = tmp_path / "run" / name
        whole = path.read_bytes()
        path.write_bytes(whole[: len(whole) // 2] if damage is None else damage)
        text = fails(multiloss, tmp_path, *words, code=1)
        assert "damaged" in text and str(Path("run") / name) in text


def test_a_run_that_is_none(multiloss: Command, tmp_path: Path, table: Path) -> None:
    (tmp_path / "folder").mkdir()
    for words in (["explain", "folder"], ["evaluate", "nowhere", table], ["fit", "folder", "--resume"]):
        assert "is no run folder" in fails(multiloss, tmp_path, *words, code=1)
    assert "--resume expects a run folder" in fails(multiloss, tmp_path, "fit", table, "--resume")


def test_predictions_overwrite_nothing_unasked(multiloss: Command, tmp_path: Path, config: Path) -> None:
    assert multiloss("fit", config, "--out", "run", "training.epochs=1").code == 0
    predict = ["predict", "run", "homes.csv", "--out"]
    assert "exists" in fails(multiloss, tmp_path, *predict, "homes.yaml")
    assert "another file than the table itself" in fails(multiloss, tmp_path, *predict, "homes.csv", "--force")
    assert "expected the name of a file" in fails(multiloss, tmp_path, *predict, "run", "--force")


def test_a_missing_input_column_at_prediction(multiloss: Command, tmp_path: Path, config: Path) -> None:
    assert multiloss("fit", config, "--out", "run", "training.epochs=1").code == 0
    write(tmp_path / "new.csv", [{"sise": 1.0, "town": "Ulm"}])
    text = fails(multiloss, tmp_path, "predict", "run", "new.csv", "--out", "p.csv")
    assert "expected input column 'size', found none. Did you mean 'sise'?" in text


def test_an_epoch_that_was_not(multiloss: Command, tmp_path: Path, config: Path) -> None:
    assert multiloss("fit", config, "--out", "run", "training.epochs=2").code == 0
    text = fails(multiloss, tmp_path, "explain", "run", "--epoch", "3")
    assert "expected an epoch from 1 to 2, found 3" in text


def test_losses_that_explode_name_the_output_and_leave_nothing(multiloss: Command, tmp_path: Path, table: Path) -> None:
    words = ["--outputs", "price", "training.optimizer=sgd", "training.lr=1e12", "training.threads=1"]
    text = fails(multiloss, tmp_path, "fit", table, *words, code=1)
    assert "price" in text


def test_debug_shows_the_traceback_and_unexpected_errors_are_one_line(
    multiloss: Command, tmp_path: Path, table: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = multiloss("fit", "nowhere.csv", "--outputs", "a", "--debug")
    assert shown.code == 2 and "Traceback" in shown.err and "error: " in shown.err

    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError("division by zero")

    monkeypatch.setattr("multiloss.config.build.prepare", broken)
    text = fails(multiloss, tmp_path, "fit", table, "--outputs", "price", code=1)
    assert text == "error: unexpected ZeroDivisionError: division by zero. --debug shows where\n"
