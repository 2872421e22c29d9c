from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest
from study_tables import history, make_config, write_table

from multiloss.core.errors import RunError
from multiloss.studies.rows import read_rows
from multiloss.studies.runner import DoneRun, run_plan
from multiloss.studies.table import curves, tidy, write_csv
from multiloss.studies.variants import compare_plan

NAMES = ("shared/seed-1", "separate/price/seed-0")


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[DoneRun]:
    folder = tmp_path_factory.mktemp("table")
    outputs = {"price": {"metrics": ["r2", "mae"]}, "kind": {"metrics": ["auroc"]}}
    plan = compare_plan(make_config(write_table(folder), "training.epochs=4", outputs=outputs), seeds=2)
    return run_plan(replace(plan, runs=tuple(run for run in plan.runs if run.name in NAMES)), folder / "study")


def test_one_row_for_every_measure_of_every_part(runs: list[DoneRun]) -> None:
    table = tidy(runs)
    assert table.columns == ["variant", "run", "seed", "output", "part", "measure", "value"]
    measures = {"price": {"loss", "r2", "mae", "mse"}, "kind": {"loss", "auroc", "accuracy", "log_loss"}}
    found = set(table.drop("value").rows())
    assert len(found) == table.height
    assert found == {
        (variant, run, seed, output, part, measure)
        for variant, run, seed, outputs in (
            ("shared", "shared/seed-1", 1, ("price", "kind")),
            ("separate", "separate/price/seed-0", 0, ("price",)),
        )
        for output in outputs
        for part in ("validation", "test")
        for measure in measures[output]
    }


def test_the_values_are_those_of_the_runs_at_their_kept_epoch(runs: list[DoneRun]) -> None:
    table = tidy(runs)
    for run in runs:
        facts, rows = json.loads((run.folder / "run.json").read_text()), read_rows(run.folder)
        kept = history(run.folder)[facts["kept"]["epoch"] - 1]
        own = table.filter(pl.col("run") == run.planned.name, pl.col("output") == "price")
        values = {(part, measure): value for part, measure, value in own.select("part", "measure", "value").rows()}
        for measure in ("loss", "r2", "mae"):
            assert values["test", measure] == facts["test"]["price"][measure]["value"]
            assert values["validation", measure] == kept[f"val_price_{measure}"]
        for part in ("validation", "test"):
            assert values[part, "mse"] == rows[f"{part}/price/mse"].nanmean().item()
            # the best epoch's model is the one that was scored
            assert values[part, "mae"] == pytest.approx(rows[f"{part}/price/mae"].nanmean().item(), rel=1e-9)


def test_curves_have_every_key_of_every_epoch(runs: list[DoneRun]) -> None:
    table = curves(runs)
    assert table.columns == ["variant", "run", "seed", "epoch", "key", "value"]
    own = table.filter(pl.col("run") == "shared/seed-1", pl.col("key") == "val_price_r2")
    assert own["epoch"].to_list() == [1, 2, 3, 4]
    assert own["value"].to_list() == [row["val_price_r2"] for row in history(runs[0].folder)]
    assert "val_kind_loss" not in table.filter(pl.col("variant") == "separate")["key"].to_list()
    assert {"seconds", "lr", "loss"} <= set(table["key"])


def test_a_run_that_diverged_has_a_row_for_each_of_its_outputs(runs: list[DoneRun]) -> None:
    table = tidy([runs[0], replace(runs[0], problem="loss 'price' is inf")])
    assert table.filter(pl.col("part") == "train").rows() == [
        ("shared", "shared/seed-1", 1, "price", "train", "diverged", 1.0),
        ("shared", "shared/seed-1", 1, "kind", "train", "diverged", 1.0),
    ]
    assert table.height == tidy(runs[:1]).height + 2
    assert tidy([]).height == curves([]).height == 0


def test_a_csv_file_holds_every_digit(runs: list[DoneRun], tmp_path: Path) -> None:
    table = tidy(runs)
    write_csv(table, tmp_path / "table.csv")
    assert pl.read_csv(tmp_path / "table.csv").equals(table)
    (tmp_path / "folder").write_text("")
    with pytest.raises(RunError, match="could not write"):
        write_csv(table, tmp_path / "folder/table.csv")
