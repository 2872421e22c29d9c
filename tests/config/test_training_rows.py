"""Training rows without a label of a trained output: left out of training, and of nothing else."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch

from multiloss.config.build import Experiment, prepare
from multiloss.config.load import read_config
from multiloss.data.infer import infer_columns
from multiloss.data.schema import TableSchema
from multiloss.data.split import split_rows
from multiloss.data.table import read_table
from multiloss.training.fit import Fit

ROWS = 80
A, B, RENT = 3, 5, 2  # every third, fifth and second row has no label


def write(folder: Path, holes: bool = True) -> Path:
    draw, number = np.random.default_rng(1), np.arange(ROWS)
    frame = pl.DataFrame({"x": draw.normal(size=ROWS), "town": draw.choice(["Ulm", "Bern"], ROWS)})
    for name, every in (("a", A), ("b", B), ("rent", RENT)):
        values = pl.Series(name, draw.normal(10, 2, ROWS))
        frame = frame.with_columns(pl.when(pl.lit(not holes) | pl.Series(number % every != 0)).then(values).alias(name))
    frame.write_csv(folder / "table.csv")
    return folder / "table.csv"


def experiment(folder: Path, outputs: dict[str, Any], holes: bool = True) -> Experiment:
    raw = {"table": str(write(folder, holes)), "outputs": outputs, "model": {"trunk": [8]}}
    raw["training"] = {"epochs": 2, "batch_size": 8, "watch_gradients": "every step"}
    return prepare(read_config(raw, "test", []), folder / "run", progress=False)


def whole(own: Experiment) -> tuple[pl.DataFrame, Any, TableSchema]:
    """The table, its split and the schema of all training rows, made without the run."""
    frame = read_table(own.config.table)
    plans = infer_columns(frame, list(own.config.outputs), {}, None)
    split = split_rows(frame, plans, seed=0)
    return frame, split, TableSchema.fit(frame[split.train], plans)


@pytest.mark.parametrize(
    ("outputs", "empty"),
    [
        ({"a": {}, "b": {}}, lambda row: row % A == 0 and row % B == 0),
        ({"a": {}}, lambda row: row % A == 0),
        ({"a": {}, "b": {"weight": 0}, "rent": {"loss": "none"}}, lambda row: row % A == 0),
        (
            {"a": {}, "b": {"weight": {"schedule": "ramp", "start": 0, "end": 1, "epochs": 2}}},
            lambda row: row % 15 == 0,
        ),
    ],
)
def test_rows_without_a_label_are_not_trained_on(
    tmp_path: Path, outputs: dict[str, Any], empty: Any, caplog: pytest.LogCaptureFixture
) -> None:
    own = experiment(tmp_path, outputs)
    frame, split, schema = whole(own)
    expected = [row for row in split.train.tolist() if not empty(row)]
    lost = len(split.train) - len(expected)
    assert 0 < lost < len(split.train)
    assert own.rows["train"].tolist() == expected and own.parts["train"].rows == own.census.rows["train"] == len(
        expected
    )
    encoded = schema.encode(frame[expected])
    for name, held in own.parts["train"].inputs.items():
        assert torch.equal(held.nan_to_num(), encoded.inputs[name].nan_to_num())
    for part, rows in (("validation", split.validation), ("test", split.test)):
        assert own.rows[part].tolist() == rows.tolist() and own.parts[part].rows == len(rows)
    # what is learnt of the training rows is learnt of all of them
    assert own.schema == schema
    means = {name: float(frame[name][split.train.tolist()].mean() or 0.0) for name in outputs}
    assert own.trivial == pytest.approx(means, rel=1e-5)
    trained = "a" if "b" not in outputs or outputs["b"].get("weight") == 0 else "any trained output"
    has, it_is = ("has", "it is") if lost == 1 else ("have", "they are")
    said = f"{lost} of {len(split.train)} training rows {has} no label of {trained}: {it_is} left out of training"
    assert caplog.messages.count(said) == 1


def test_gradients_and_ledgers_see_labelled_rows_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = experiment(tmp_path, {"a": {}})
    _, split, _ = whole(own)
    labels = sum(row % A != 0 for row in split.train)
    seen: list[torch.Tensor] = []
    train_step = Fit._train_step

    def watched(fit: Fit, batch: Any) -> None:
        seen.append(batch.targets["a"])
        train_step(fit, batch)

    monkeypatch.setattr(Fit, "_train_step", watched)
    result = own.fit()
    assert [len(batch) for batch in seen] == [*[8] * (labels // 8), labels % 8][: math.ceil(labels / 8)] * 2
    assert not torch.cat(seen).isnan().any()
    ledger = result.history.ledger(1, "train")
    assert (ledger.terms[0].count, ledger.steps) == (labels, math.ceil(labels / 8))
    assert len(result.history.flows) == 2 * math.ceil(labels / 8)
    facts = json.loads((tmp_path / "run/run.json").read_text())
    assert facts["part_rows"] == {"train": labels, "validation": len(split.validation), "test": len(split.test)}
    assert facts["rows"] == labels


def test_a_table_without_such_rows_is_trained_on_whole(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    own = experiment(tmp_path, {"a": {}, "b": {}}, holes=False)
    frame, split, schema = whole(own)
    encoded = schema.encode(frame[split.train])
    assert own.rows["train"].tolist() == split.train.tolist()
    for found, expected in ((own.parts["train"].inputs, encoded.inputs), (own.parts["train"].targets, encoded.targets)):
        assert found.keys() == expected.keys() and all(torch.equal(found[name], expected[name]) for name in found)
    assert not [said for said in caplog.messages if "left out of training" in said]


def test_a_run_that_was_stopped_goes_on_with_the_rows_that_it_had(tmp_path: Path) -> None:
    first = experiment(tmp_path, {"a": {}})
    first.fit()
    again = prepare(first.config, tmp_path / "run", progress=False)
    assert again.fit(resume=True).history.rows == first.trainer.history.rows  # type: ignore[union-attr]


def test_groups_are_numbered_alike_in_every_part(tmp_path: Path) -> None:
    table = write(tmp_path)
    frame = read_table(table).with_columns(block=pl.Series([f"b{row // 4}" for row in range(ROWS)]))
    frame.write_csv(table)
    raw = {"table": str(table), "outputs": ["a"], "split": {"method": "group", "column": "block"}}
    own = prepare(read_config(raw, "test", []), tmp_path / "run", progress=False)
    names: dict[int, str] = {}
    for part, rows in own.rows.items():
        assert len(own.groups[part]) == own.parts[part].rows
        for code, name in zip(own.groups[part].tolist(), frame["block"][rows.tolist()], strict=True):
            assert names.setdefault(code, name) == name
    assert len(set(names.values())) == len(names) == ROWS // 4
    raw["split"] = {}
    assert prepare(read_config(raw, "test", []), tmp_path / "run", progress=False).groups == {}
