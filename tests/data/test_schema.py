from __future__ import annotations

import json
import math
from datetime import date, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from multiloss.core.errors import DataError
from multiloss.data.infer import infer_columns
from multiloss.data.schema import TableSchema
from multiloss.data.table import read_table, to_polars

TABLE: dict[str, list[Any]] = {
    "area": [10.0, None, 30.0, 50.0],
    "town": ["b", "a", None, "b"],
    "day": [date(1970, 1, 2), date(1970, 1, 4), date(1970, 1, 6), date(1970, 1, 9)],
    "id": ["q", "w", "e", "r"],
    "price": [1.0, 2.5, None, 6.0],
    "sold": ["no", "yes", None, "yes"],
    "kind": ["x", "z", "y", None],
    "stars": [3, 1, 10, None],
    "visits": [0, 4, None, 2],
    "tags": ["hot; new", "old", None, "new"],
}
KINDS = {"kind": "multiclass", "stars": "ordinal", "visits": "count", "tags": "multilabel"}
OUTPUTS = ["price", "sold", "kind", "stars", "visits", "tags"]


@pytest.fixture
def schema() -> TableSchema:
    plans = infer_columns(TABLE, OUTPUTS, KINDS, inputs={"town": "category"})
    return TableSchema.fit(TABLE, plans)


def test_encode(schema: TableSchema) -> None:
    encoded = schema.encode(TABLE)
    nan = math.nan
    expected = {
        "price": [(value - 19 / 6) / np.std([1.0, 2.5, 6.0]) if value else nan for value in (1.0, 2.5, None, 6.0)],
        "sold": [0, 1, nan, 1],
        "visits": [0, 4, nan, 2],
        "tags": [[1, 1, 0], [0, 0, 1], [nan, nan, nan], [0, 1, 0]],
    }
    for name, values in expected.items():
        torch.testing.assert_close(encoded.targets[name], torch.tensor(values, dtype=torch.float32), equal_nan=True)
    assert encoded.targets["kind"].tolist() == [0, 2, 1, -100]
    assert encoded.targets["stars"].tolist() == [1, 0, 2, -100]
    assert encoded.targets["kind"].dtype == torch.int64
    numbers = torch.tensor([[10, 1], [nan, 3], [30, 5], [50, 8]])
    torch.testing.assert_close(encoded.inputs["numbers"], numbers, equal_nan=True)
    assert encoded.inputs["categories"].tolist() == [[3], [2], [1], [3]]
    assert (encoded.rows, encoded.unknown, encoded.sample_weight) == (4, {}, {})


def test_encoder_arguments(schema: TableSchema) -> None:
    arguments = schema.encoder_arguments()
    assert arguments.keys() == {"numbers", "cardinalities", "mean", "scale", "missing"}
    assert (arguments["numbers"], arguments["cardinalities"], arguments["missing"]) == (2, [4], [0])
    np.testing.assert_allclose(arguments["mean"], [30, 4.25])
    np.testing.assert_allclose(arguments["scale"], [np.std([10, 30, 50]), np.std([1, 3, 5, 8])])


def test_outputs(schema: TableSchema) -> None:
    assert [(c.name, c.kind, c.size) for c in schema.outputs] == [
        ("price", "regression", 1),
        ("sold", "binary", 1),
        ("kind", "multiclass", 3),
        ("stars", "ordinal", 3),
        ("visits", "count", 1),
        ("tags", "multilabel", 3),
    ]
    assert [column.classes for column in schema.outputs[1:4]] == [("no", "yes"), ("x", "y", "z"), ("1", "3", "10")]


def test_statistics_are_those_of_the_training_rows() -> None:
    frame = to_polars({"x": [0.0, 2.0, 100.0], "y": [1.0, 3.0, 50.0]})
    schema = TableSchema.fit(frame[:2], infer_columns(frame, ["y"]))
    assert (schema.inputs[0].mean, schema.inputs[0].scale) == (1.0, 1.0)
    assert schema.encode(frame).targets["y"].tolist() == [-1.0, 1.0, 48.0]


def test_a_constant_column_has_scale_one() -> None:
    frame = to_polars({"x": [3.3] * 6 + [1.0], "y": [0.1] * 6 + [2.0]})
    schema = TableSchema.fit(frame[:6], infer_columns(frame, ["y"]))
    assert schema.inputs[0].scale == schema.outputs[0].scale == 1.0
    assert schema.encode(frame[:6]).targets["y"].abs().max() < 1e-6


def test_large_offsets_keep_their_digits() -> None:
    target = [1e9 + i for i in range(8)]
    schema = TableSchema.fit(
        {"x": range(0, 16, 2), "y": target}, infer_columns({"x": range(0, 16, 2), "y": target}, ["y"])
    )
    expected = (np.arange(8) - 3.5) / np.std(np.arange(8))
    encoded = schema.encode({"x": range(8), "y": target})
    np.testing.assert_allclose(encoded.targets["y"].numpy(), expected, rtol=1e-6)


def test_unknown_categories_are_counted(schema: TableSchema) -> None:
    frame = {**TABLE, "town": ["c", "a", "d", None]}
    encoded = schema.encode(frame, targets=False)
    assert encoded.unknown == {"town": 2}
    assert encoded.inputs["categories"].tolist() == [[0], [2], [0], [1]]
    assert encoded.targets == {}


def test_columns_at_prediction_and_evaluation(schema: TableSchema) -> None:
    inputs = {name: TABLE[name] for name in ("day", "town", "area")}
    assert schema.encode({**inputs, "extra": [0] * 4}, targets=False).inputs["numbers"].shape == (4, 2)
    assert schema.encode({**inputs, "kind": TABLE["kind"]}).targets.keys() == {"kind"}
    with pytest.raises(DataError, match=r"expected output columns .* found none of them"):
        schema.encode(inputs)
    with pytest.raises(DataError) as caught:
        schema.encode({"aera": [1.0], "day": ["1970-01-02"]}, targets=False)
    assert "expected input column 'area', found none. Did you mean 'aera'?" in str(caught.value)
    assert "expected input column 'town'" in str(caught.value)


def test_bad_cells_at_prediction(schema: TableSchema) -> None:
    frame = {"area": ["1", "abc", "x"], "town": ["a"] * 3, "day": ["1970-01-02", "soon", None]}
    with pytest.raises(DataError) as caught:
        schema.encode(frame, targets=False)
    message = str(caught.value)
    assert "column 'area': expected numbers, found text 'abc' in row 2 (and 1 more)" in message
    assert "column 'day': expected dates, found text 'soon' in row 2" in message
    with pytest.raises(DataError, match="column 'area': expected numbers, found 2024-01-01 in row 1"):
        schema.encode({**frame, "area": [date(2024, 1, 1)] * 3, "day": [None] * 3}, targets=False)


@pytest.mark.parametrize(
    ("column", "cells", "message"),
    [
        (
            "kind",
            ["x", "w", "w", "y"],
            r"column 'kind': expected a class .*\(x, y, z\), found text 'w' in row 2 \(and 1 more\)",
        ),
        ("sold", ["no", None, "maybe", "no"], "column 'sold': expected a class .* found text 'maybe' in row 3"),
        ("stars", [1, 3, 4, 10], "column 'stars': expected a class .* found 4 in row 3"),
        ("tags", ["hot", "hot;cold", None, "new"], "column 'tags': expected a class .* found text 'hot;cold' in row 2"),
        ("visits", [1, 2, 3, -1], "column 'visits': expected values of at least 0, found -1 in row 4"),
        ("price", ["1", "2", "free", "4"], "column 'price': expected numbers, found text 'free' in row 3"),
    ],
)
def test_bad_targets(schema: TableSchema, column: str, cells: list[Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        schema.encode({**TABLE, column: cells})
    assert schema.encode({**TABLE, column: cells}, targets=False).rows == 4


def test_training_rows_without_labels_or_classes() -> None:
    frame = to_polars({"x": [0.5, 1.0, 2.0], "y": ["a", "a", "b"], "z": [None, None, 1.5], "w": [1, 2, 3]})
    plans = infer_columns(frame, ["y", "z", "w"], {"z": "regression", "w": "multiclass"})
    with pytest.raises(DataError) as caught:
        TableSchema.fit(frame[:2], plans)
    assert "column 'y': expected 2 classes in the training rows, found 1: a" in str(caught.value)
    assert "column 'z': expected labels in the training rows, found none" in str(caught.value)
    with pytest.raises(DataError, match="orders: unknown output 'yy'"):
        TableSchema.fit(frame, plans, orders={"yy": ["a"]})


def test_given_order() -> None:
    frame = {"x": [0.5, 1.0, 2.0], "size": ["low", "high", "mid"], "sold": ["yes", "no", "yes"]}
    plans = infer_columns(frame, ["size", "sold"], {"size": "ordinal"})
    schema = TableSchema.fit(frame, plans, orders={"size": ["low", "mid", "high"], "sold": ["yes", "no"]})
    encoded = schema.encode(frame)
    assert encoded.targets["size"].tolist() == [0, 2, 1]
    assert encoded.targets["sold"].tolist() == [0, 1, 0]
    with pytest.raises(DataError, match=r"expected a class .* found text 'mid' in row 3"):
        TableSchema.fit(frame, plans, orders={"size": ["low", "high"]})


def test_sample_weight() -> None:
    frame = {"x": [0.5, 1.0, 2.0], "y__weight": [1, 0, 2.5], "y": [1.5, 2.5, 4.0]}
    schema = TableSchema.fit(frame, infer_columns(frame, ["y"]))
    encoded = schema.encode(frame)
    assert encoded.sample_weight["y"].tolist() == [1, 0, 2.5]
    assert encoded.inputs["numbers"].shape == (3, 1)
    assert schema.encode({"x": [1.0], "y": [2.0]}).sample_weight == {}
    with pytest.raises(DataError, match=r"column 'y__weight': expected values of at least 0, found -1\.0 in row 2"):
        schema.encode({**frame, "y__weight": [1.0, -1, 1]})


def test_json_round_trip(schema: TableSchema) -> None:
    again = TableSchema.from_dict(json.loads(json.dumps(schema.to_dict())))
    assert again == schema
    left, right = schema.encode(TABLE), again.encode(TABLE)
    for name, values in left.targets.items():
        torch.testing.assert_close(values, right.targets[name], equal_nan=True, rtol=0, atol=0)
    with pytest.raises(DataError, match="schema: expected version 1, found 99"):
        TableSchema.from_dict({**schema.to_dict(), "version": 99})


def test_decode(schema: TableSchema) -> None:
    half = schema.decode("sold", torch.tensor([0.25, 0.5]))
    assert half["sold"].to_list() == ["no", "yes"]
    assert half["sold:yes"].to_list() == [0.25, 0.5]
    assert half["sold:no"].to_list() == [0.75, 0.5]
    stars = schema.decode("stars", torch.tensor([[0.2, 0.3, 0.5], [0.6, 0.3, 0.1]], requires_grad=True))
    assert list(stars) == ["stars", "stars:1", "stars:3", "stars:10"]
    assert stars["stars"].to_list() == [10, 1]
    assert schema.decode("price", torch.tensor([7.5]))["price"].to_list() == [7.5]
    tags = schema.decode("tags", torch.tensor([[0.9, 0.6, 0.1], [0.0, 0.1, 0.2]]))
    assert tags["tags"].to_list() == ["hot;new", ""]
    assert pl.DataFrame(tags).columns == ["tags", "tags:hot", "tags:new", "tags:old"]
    with pytest.raises(DataError, match=r"unknown output 'prise'\. Did you mean 'price'\?"):
        schema.decode("prise", torch.tensor([1.0]))


@pytest.mark.parametrize("classes", [["a", "b"], [0, 1], [True, False], [1.5, 2.5, 3.5], [10, 9, 1], ["x", "y", "z"]])
def test_labels_come_back_as_they_were(classes: list[Any]) -> None:
    target = classes * 3
    frame = {"x": [0.5 * i for i in range(len(target))], "y": target}
    kind = "binary" if len(classes) == 2 else "multiclass"
    schema = TableSchema.fit(frame, infer_columns(frame, ["y"], {"y": kind}))
    codes = schema.encode(frame).targets["y"]
    prediction = codes if kind == "binary" else torch.nn.functional.one_hot(codes, len(classes)).float()
    found = schema.decode("y", prediction)["y"].to_list()
    assert found == target
    assert {type(value) for value in found} == {type(value) for value in classes}


@settings(max_examples=40, deadline=None)
@given(st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=30))
def test_regression_round_trip(values: list[float]) -> None:
    frame = {"x": [0.5 * i for i in range(len(values))], "y": values}
    schema = TableSchema.fit(frame, infer_columns(frame, ["y"], {"y": "regression"}))
    column = schema.outputs[0]
    restored = schema.encode(frame).targets["y"].double() * column.scale + column.mean
    np.testing.assert_allclose(restored.numpy(), values, rtol=1e-5, atol=1e-5 * (abs(column.mean) + 10 * column.scale))


def test_a_class_is_one_class_however_it_is_written(tmp_path: Path) -> None:
    frame = {"x": [0.5, 1.0, 1.5, 2.0], "y": [1, 2, 3, 1], "flag": [True, False, True, False]}
    schema = TableSchema.fit(frame, infer_columns(frame, ["y", "flag"], {"y": "multiclass"}))
    expected = schema.encode(frame).targets
    file = tmp_path / "table.csv"
    pl.DataFrame(frame).write_csv(file)
    floats = pd.DataFrame({**frame, "y": [1.0, 2.0, 3.0, 1.0], "flag": ["True", "False", "True", "False"]})
    for other in (read_table(file), pd.read_csv(file), floats):
        found = schema.encode(other).targets
        assert found["y"].tolist() == expected["y"].tolist()
        assert found["flag"].tolist() == expected["flag"].tolist()


def test_dates_from_text_and_times_agree() -> None:
    days = [date(2024, 1, 1), date(2024, 1, 3), date(2024, 2, 1)]
    frame: dict[str, list[Any]] = {"day": days, "y": [1.5, 2.5, 4.0]}
    schema = TableSchema.fit(frame, infer_columns(frame, ["y"]))
    expected = schema.encode(frame).inputs["numbers"]
    assert expected[1, 0] - expected[0, 0] == 2
    for other in ([str(day) for day in days], [datetime(day.year, day.month, day.day) for day in days]):
        assert schema.encode({**frame, "day": other}).inputs["numbers"].equal(expected)
        assert schema.encode(pd.DataFrame({**frame, "day": other})).inputs["numbers"].equal(expected)


def test_describe(schema: TableSchema) -> None:
    lines = [line.split() for line in schema.describe().splitlines()]
    assert lines[0] == ["column", "role", "kind", "learnt"]
    assert lines[1] == ["area", "input", "number", "mean", "30,", "scale", "16.3299"]
    assert ["kind", "output", "multiclass", "x,", "y,", "z"] in lines


def test_pandas_equals_polars_on_a_real_table(shared: Path) -> None:
    file = shared / "adult" / "adult.data"
    table = read_table(file)
    plans = infer_columns(table, ["label", "marital-status"])
    schema = TableSchema.fit(table, plans)
    assert TableSchema.fit(pd.read_csv(file), plans) == schema
    left, right = schema.encode(table), schema.encode(pd.read_csv(file))
    assert left.rows == right.rows == 32561
    for name, values in {**left.inputs, **left.targets}.items():
        assert values.equal({**right.inputs, **right.targets}[name]), name
    assert left.targets["label"].mean().item() == pytest.approx(7841 / 32561)
