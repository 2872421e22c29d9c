from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from multiloss.config.build import Experiment, prepare
from multiloss.config.load import load_config, read_config
from multiloss.config.run import load_run
from multiloss.config.scores import raw_prediction
from multiloss.core.decode import decode
from multiloss.core.errors import ConfigError, DataError, ObjectiveError
from multiloss.core.types import Kind, Units
from multiloss.data.columns import OutputColumn

EXAMPLES = Path(__file__).parents[2] / "examples"
SHARED = Path(__file__).resolve().parents[3] / "shared" / "data"


@pytest.fixture
def table(tmp_path: Path) -> Path:
    draw = np.random.default_rng(0)
    size = draw.uniform(0, 10, 120).round(3)
    grade = np.digitize(size + draw.normal(0, 0.5, 120), [3, 6])
    frame = pl.DataFrame(
        {
            "size": size,
            "day": np.arange(120) % 40 + 0.5,
            "home": [f"h{i % 30}" for i in range(120)],
            "price": 100 + 10 * size + draw.normal(0, 1, 120).round(3),
            "grade": [["low", "mid", "high"][i] for i in grade],
            "visits": draw.poisson(1 + size / 2),
            "sold": np.where(size + draw.normal(0, 1, 120) > 5, "yes", "no"),
        }
    )
    path = tmp_path / "homes.csv"
    frame.write_csv(path)
    return path


def experiment(table: Path, outputs: Any, *overrides: str, out: str = "run") -> Experiment:
    raw = {"table": str(table), "outputs": outputs, "model": {"trunk": [16]}, "training": {"epochs": 3, "lr": 0.01}}
    return prepare(read_config(raw, "test", overrides), table.parent / out, progress=False)


ALL: dict[str, dict[str, Any]] = {
    "price": {"metrics": ["mae", "rmse"]},
    "grade": {"kind": "ordinal", "classes": ["low", "mid", "high"], "metrics": ["accuracy", "kappa"]},
    "visits": {"kind": "count", "metrics": ["mae"]},
    "sold": {"metrics": ["accuracy", "auroc"]},
}


def test_every_kind_of_output_from_the_table_to_the_scores(table: Path) -> None:
    built = experiment(table, ALL, "inputs=[size, day]", "training.epochs=40")
    result = built.fit()
    assert {name: own.loss for name, own in built.config.outputs.items()} == {
        "price": "mse",
        "grade": "ordinal",
        "visits": "poisson",
        "sold": "binary_cross_entropy",
    }
    by_key = {(score.output, score.measure): score for score in result.scores}
    assert set(by_key) == {(o, "loss") for o in ALL} | {(o, m) for o, own in ALL.items() for m in own["metrics"]}
    assert all(by_key[output, "loss"].better for output in ALL), result.scores

    frame = pl.read_csv(table)
    run = load_run(table.parent / "run")
    train = built.parts["train"]
    mean = float(train.targets["price"].mean()) * built.schema.outputs[0].scale + built.schema.outputs[0].mean
    _, scores = run.evaluate(frame)
    whole = {(score.output, score.measure): score for score in scores}

    def average(values: pl.Series) -> float:
        return float(values.cast(pl.Float64).to_numpy().mean())

    assert whole["price", "mae"].baseline == pytest.approx(average((frame["price"] - mean).abs()), rel=1e-5)
    visits = float(train.targets["visits"].mean())
    assert whole["visits", "mae"].baseline == pytest.approx(average((frame["visits"] - visits).abs()), rel=1e-5)
    majority = ["low", "mid", "high"][int(train.targets["grade"].mode().values)]
    assert whole["grade", "accuracy"].baseline == pytest.approx(average(frame["grade"] == majority))
    share = float(train.targets["sold"].mean())
    right = average(frame["sold"] == "yes")
    expected = -(right * math.log(share) + (1 - right) * math.log(1 - share))
    assert whole["sold", "loss"].baseline == pytest.approx(expected, rel=1e-5)
    assert whole["sold", "auroc"].baseline == 0.5

    predicted = run.predict(frame)
    assert whole["price", "mae"].value == pytest.approx(average((frame["price"] - predicted["price"]).abs()), 1e-4)
    assert whole["grade", "accuracy"].value == pytest.approx(average(frame["grade"] == predicted["grade"]))


@given(st.floats(0.05, 0.95), st.lists(st.floats(0.05, 1), min_size=3, max_size=3), st.floats(-50, 50))
def test_a_raw_prediction_decodes_to_what_it_stands_for(share: float, shares: list[float], value: float) -> None:
    classes = [part / sum(shares) for part in shares]
    cases: list[tuple[Kind, Any]] = [
        ("binary", share), ("multiclass", classes), ("ordinal", classes), ("count", share), ("regression", value),
    ]  # fmt: skip
    for kind, expected in cases:
        size = 3 if isinstance(expected, list) else 1
        output = OutputColumn("y", kind, size, mean=3.0 if kind == "regression" else 0.0, scale=2.0)
        raw = raw_prediction(output, expected)[None]
        units = Units(torch.tensor(3.0), torch.tensor(2.0)) if kind == "regression" else None
        assert torch.allclose(decode(kind, raw, units)[0], torch.tensor(expected), atol=1e-5)


def test_the_schema_knows_the_training_rows_alone(table: Path) -> None:
    built = experiment(table, ["price"], "inputs=[size]")
    sizes = built.parts["train"].inputs["numbers"][:, 0].double()
    column = built.schema.inputs[0]
    assert column.mean == pytest.approx(float(sizes.mean())) and len(sizes) < 120
    assert column.scale == pytest.approx(float(sizes.std(correction=0)), rel=1e-5)


def test_class_weights_by_name_or_balanced(table: Path) -> None:
    outputs: dict[str, Any] = {"grade": {"loss": {"name": "cross_entropy", "class_weight": {"high": 3}}}}
    built = experiment(table, outputs)
    assert built.schema.outputs[0].classes == ("high", "low", "mid")
    assert built.config.outputs["grade"].loss["class_weight"] == [3.0, 1.0, 1.0]
    outputs["grade"]["loss"]["class_weight"] = "balanced"
    built = experiment(table, outputs)
    counts = torch.bincount(built.parts["train"].targets["grade"])
    expected = (counts.sum() / (3 * counts.double())).tolist()
    assert built.config.outputs["grade"].loss["class_weight"] == pytest.approx(expected)


@pytest.mark.parametrize(
    ("outputs", "found"),
    [
        ({"grade": {"loss": {"name": "ce", "class_weight": {"hi": 3}}}}, "unknown class 'hi'. Did you mean 'high'?"),
        ({"sold": {"loss": {"name": "ce", "class_weight": "balanced"}}}, "expected an output of several classes"),
    ],
)
def test_class_weights_that_do_not_fit(table: Path, outputs: Any, found: str) -> None:
    with pytest.raises(ConfigError, match=found.replace("?", r"\?")):
        experiment(table, outputs)


def test_an_output_without_a_loss_is_predicted_and_measured(table: Path) -> None:
    built = experiment(table, {"price": {}, "sold": {"loss": "none", "metrics": ["accuracy"]}})
    result = built.fit()
    assert [(s.output, s.measure) for s in result.scores if s.output == "sold"] == [("sold", "accuracy")]
    assert "sold:yes" in load_run(table.parent / "run").predict(pl.read_csv(table)).columns


def test_all_outputs_without_a_loss_are_refused(table: Path) -> None:
    with pytest.raises(ObjectiveError, match="expected a loss for at least one output"):
        experiment(table, {"price": {"loss": "none"}})


def test_splits_by_group_and_by_time(table: Path) -> None:
    frame = pl.read_csv(table)
    by_time = experiment(table, ["price"], "split.method=time", "split.column=day", "inputs=[size, day]")
    days = [by_time.parts[part].inputs["numbers"][:, 1] for part in ("train", "validation", "test")]
    assert days[0].max() <= days[1].min() and days[1].max() <= days[2].min()
    by_group = experiment(table, ["price"], "split.method=group", "split.column=home", "inputs=[size]")
    size_of = dict(zip(frame["size"].to_list(), frame["home"].to_list(), strict=True))
    homes = [
        {size_of[round(float(size), 3)] for size in by_group.parts[part].inputs["numbers"][:, 0]}
        for part in ("train", "validation", "test")
    ]
    assert not homes[0] & homes[1] and not homes[0] & homes[2] and not homes[1] & homes[2]


def test_a_split_of_its_own_seed_and_columns_is_the_same_for_every_output_and_seed(table: Path) -> None:
    def prices(outputs: list[str], *overrides: str) -> list[float]:
        inputs = "inputs=[size, day]"
        held = experiment(table, outputs, inputs, *overrides).parts["test"].inputs["numbers"]
        return sorted(round(float(size), 3) for size in held[:, 0])

    kinds = "split.outputs={price: regression, grade: ordinal, sold: binary}"
    same = ("split.seed=3", kinds)
    whole = prices(["price", "grade", "sold"], "split.seed=3", "outputs.grade.kind=ordinal")
    assert prices(["price"], *same) == prices(["sold"], *same, "training.seed=9") == whole
    assert prices(["price"], "split.seed=3") != whole != prices(["price"], kinds, "split.seed=4")


def test_the_best_epoch_is_kept_and_early_stopping_stops(table: Path) -> None:
    early = "training.early_stopping={monitor: val_price_mae, patience: 2}"
    overrides = ["training.epochs=200", "training.lr=0.3", early, "training.monitor=val_price_mae"]
    built = experiment(table, {"price": {"metrics": ["mae"]}}, *overrides)
    result = built.fit()
    maes = [float(value or math.inf) for value in result.history["val_price_mae"]]
    assert len(maes) < 200 and result.kept == maes.index(min(maes)) + 1 == len(maes) - 2
    held = built.parts["validation"]
    assert built.trainer.evaluate((held.inputs, held.targets))["price_mae"] == pytest.approx(min(maes))
    assert [record.epoch for record in result.ledgers()] == [result.kept] * 2


def test_the_last_epoch_is_kept_when_asked(table: Path) -> None:
    assert experiment(table, ["price"], "training.keep=last").fit().kept == 3


def test_a_schedule_of_the_learning_rate_moves_it(table: Path) -> None:
    built = experiment(table, ["price"], "training.lr_schedule={name: StepLR, step_size: 1, gamma: 0.5}")
    assert built.fit().history["lr"] == pytest.approx([0.01, 0.005, 0.0025])


def test_sample_weights_of_a_column_are_used(table: Path) -> None:
    frame = pl.read_csv(table).with_columns(pl.Series("price__weight", [0.0, 1.0] * 60))
    frame = frame.with_columns(
        pl.when(pl.col("price__weight") == 0).then(1e4).otherwise(pl.col("price")).alias("price")
    )
    frame.write_csv(table)
    built = experiment(table, {"price": {"metrics": []}}, "inputs=[size]", "training.epochs=1")
    result = built.fit()
    assert built.schema.outputs[0].scale > 1000
    assert all(loss is not None and loss < 2 for loss in result.history["val_price_loss"])


def test_the_class_of_a_part_that_training_never_saw_is_refused(table: Path) -> None:
    frame = (
        pl.read_csv(table)
        .sort("day")
        .with_columns(
            pl.when(pl.int_range(pl.len()) > 115).then(pl.lit("new")).otherwise(pl.col("grade")).alias("grade")
        )
    )
    frame.write_csv(table)
    with pytest.raises(DataError, match=r"expected a class of the training rows .* found text 'new'"):
        experiment(table, ["grade"], "split.method=time", "split.column=day")


CASES: list[tuple[str, str, Sequence[str]]] = [
    ("energy", "energy_efficiency/ENB2012_data.csv", ["training.epochs=12"]),
    ("students", "student_performance/student-por.csv", ["training.epochs=8"]),
]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "path", "overrides"), CASES, ids=[case[0] for case in CASES])
def test_the_examples_beat_the_trivial_prediction(
    tmp_path: Path, name: str, path: str, overrides: Sequence[str]
) -> None:
    if not SHARED.is_dir():
        pytest.skip("the shared tables are not beside this checkout")
    config = load_config(EXAMPLES / f"{name}.yaml", [f"table={SHARED / path}", *overrides])
    result = prepare(config, tmp_path / "run", progress=False).fit()
    assert result.part == "test" and all(score.better for score in result.scores)
    for record in result.history.ledgers:
        assert math.isclose(math.fsum(t.contribution for t in record.terms), record.total, rel_tol=1e-6)
