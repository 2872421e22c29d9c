from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from pathlib import Path

import pandas as pd
import polars as pl
import pytest

from multiloss.core.errors import DataError
from multiloss.data.infer import infer_columns
from multiloss.data.plan import ColumnPlan, describe_plans, output_kinds
from multiloss.data.table import read_table


def plan_of(values: Sequence[object], kind: str | None = None) -> ColumnPlan:
    """The plan of an output, beside a number as input."""
    frame = {"x": [0.5 * i for i in range(len(values))], "y": values}
    return infer_columns(frame, ["y"], kinds={"y": kind} if kind else None)[-1]


def input_plan(values: Sequence[object], kind: str | None = None) -> ColumnPlan:
    """The plan of an input, beside a number as input and another as output."""
    numbers = [0.5 * i for i in range(len(values))]
    frame = {"x": values, "other": numbers, "y": numbers}
    return infer_columns(frame, ["y"], inputs={"x": kind} if kind else None)[0]


@pytest.mark.parametrize(
    ("values", "kind", "reason"),
    [
        (["no", "yes"] * 5, "binary", "2 distinct texts: no, yes"),
        ([True, False, None] * 5, "binary", "2 distinct truth values: false, true"),
        ([0, 1, 1] * 5, "binary", "2 distinct whole numbers: 0, 1"),
        ([1.0, 2.0, None] * 5, "binary", "2 distinct whole numbers: 1, 2"),
        (["a", "b", "c"] * 5, "multiclass", "3 distinct texts: a, b, c"),
        ([0, 1, 2] * 60, "multiclass", "3 distinct whole numbers in 180 rows: 0, 1, 2"),
        ([0, 1, 2] * 5, "regression", "whole numbers: 3 distinct values in 15 rows"),
        ([0, 1, 5] * 60, "regression", "whole numbers: 3 distinct values in 180 rows"),
        (list(range(21)) * 30, "regression", "whole numbers: 21 distinct values in 630 rows"),
        ([0.5, 1.5] * 50, "regression", "numbers: 2 distinct values"),
    ],
)
def test_kind_of_an_output(values: Sequence[object], kind: str, reason: str) -> None:
    assert plan_of(values) == ColumnPlan("y", "output", kind, reason)


@pytest.mark.parametrize("kind", ["regression", "ordinal", "multiclass", "count"])
def test_a_given_kind_wins(kind: str) -> None:
    assert plan_of([0, 1, 2] * 60, kind) == ColumnPlan("y", "output", kind, "given")


@pytest.mark.parametrize(
    ("values", "kind", "reason"),
    [
        ([1.5, 2.5, 2.5, 4.0], "number", "numbers: 3 distinct values"),
        (["a", "b"] * 5, "category", "2 distinct values in 10 rows"),
        ([True, False] * 5, "category", "2 distinct values in 10 rows"),
        ([date(2024, 1, 1) + timedelta(7 * i) for i in range(9)], "number", "dates, as days since 1970-01-01: 9"),
        ([f"id{i}" for i in range(30)], "unused", "30 distinct values in 30 rows: an identifier or free text"),
        ([f"id{i % 60}" for i in range(600)], "unused", "60 distinct values in 600 rows: more than 50"),
        (["same"] * 5, "unused", "one value in every row: same"),
        ([7] * 5, "unused", "one value in every row: 7"),
        ([None] * 5, "unused", "no values"),
        (list(range(5, 45)), "unused", "a running number in 40 rows"),
        ([[1], [2], [3]], "unused", "cells of type List(Int64)"),
    ],
)
def test_kind_of_an_input(values: Sequence[object], kind: str, reason: str) -> None:
    plan = input_plan(values)
    assert (plan.role, plan.kind) == ("unused" if kind == "unused" else "input", kind)
    assert plan.reason.startswith(reason)


def test_given_inputs() -> None:
    assert input_plan(list(range(5, 45)), "number") == ColumnPlan("x", "input", "number", "given")
    assert input_plan([1, 2, 3], "category") == ColumnPlan("x", "input", "category", "given")
    assert input_plan([1, 2, 3], "unused") == ColumnPlan("x", "unused", "unused", "given")
    frame = {"a": [1, 2], "b": [1, 3], "y": [1.5, 2.5]}
    plans = infer_columns(frame, ["y"], inputs=["b"])
    assert plans[0] == ColumnPlan("a", "unused", "unused", "not among the inputs given")
    assert plans[1].role == "input"


def test_weight_column() -> None:
    frame = {"a": [1, 2], "y__weight": [0.5, 1], "y": [1.5, 2.5]}
    assert infer_columns(frame, ["y"])[1] == ColumnPlan("y__weight", "weight", "number", "sample weight of 'y'")
    for bad, message in (
        ([-1.0, 1], "at least 0, found -1.0 in row 1"),
        ([None, 1], "expected a weight, found None in row 1"),
    ):
        with pytest.raises(DataError, match=message):
            infer_columns({**frame, "y__weight": bad}, ["y"])


def test_real_tables(shared: Path) -> None:
    student = infer_columns(read_table(shared / "student_performance" / "student-por.csv"), ["G3", "G1", "G2"])
    assert output_kinds(student) == {"G3": "regression", "G1": "regression", "G2": "regression"}
    assert {plan.name for plan in student if plan.kind == "unused"} == set()
    adult = infer_columns(read_table(shared / "adult" / "adult.data"), ["label", "marital-status"])
    assert output_kinds(adult) == {"label": "binary", "marital-status": "multiclass"}
    assert {plan.name for plan in adult if plan.kind == "category"} >= {"native-country", "sex", "education"}
    tox21 = infer_columns(read_table(shared / "tox21" / "tox21.csv.gz"), ["NR-AR"])
    unused = {plan.name: plan.reason for plan in tox21 if plan.role == "unused"}
    assert unused.keys() == {"mol_id", "smiles"}
    assert unused["smiles"] == "7831 distinct values in 8014 rows: an identifier or free text"


def test_pandas_equals_polars(shared: Path) -> None:
    file = shared / "adult" / "adult.data"
    assert infer_columns(pd.read_csv(file), ["label"]) == infer_columns(read_table(file), ["label"])


def test_wine_of_scikit_learn() -> None:
    from sklearn.datasets import load_wine

    frame = load_wine(as_frame=True).frame.rename(columns={"target": "cultivar"})
    plans = infer_columns(frame, ["cultivar", "proline"])
    assert output_kinds(plans) == {"cultivar": "multiclass", "proline": "regression"}
    assert plans[-2].reason == "3 distinct whole numbers in 178 rows: 0, 1, 2"
    table = [line.split()[:3] for line in describe_plans(plans).splitlines()]
    assert table[0] == ["column", "role", "kind"]
    assert table[-2] == ["cultivar", "output", "multiclass"]


GOOD: dict[str, Sequence[object]] = {
    "age": [20, 30, 41, 50],
    "town": ["a", "b", "a", "b"],
    "price": [1.5, 2.0, 3.0, 4.0],
}


@pytest.mark.parametrize(
    ("changed", "outputs", "message"),
    [
        ({}, ["prise"], r"unknown output 'prise'\. Did you mean 'price'\?"),
        ({}, [], "expected at least one output, found none"),
        ({}, ["price", "price"], "output 'price': expected once, found 2 times"),
        ({"loss": [1.0, 2.0, 3.0, 4.5]}, ["loss"], "output 'loss': the name is used for logs or holds a dot"),
        ({"val_x": [1.0, 2.0, 3.0, 4.5]}, ["val_x"], "output 'val_x': the name is used"),
        ({"a.b": [1.0, 2.0, 3.0, 4.5]}, ["a.b"], "output 'a.b': the name"),
        ({"price": [None] * 4}, ["price"], "column 'price': expected labels, found none in 4 rows"),
        ({"price": ["x"] * 4}, ["price"], "column 'price': expected 2 distinct values or more, found one: x"),
        ({"price": [float("inf"), 1.5, 2, 3]}, ["price"], "expected finite numbers, found inf in row 1"),
        ({"age": [1, 2, float("-inf"), 3]}, ["price"], "column 'age': expected finite numbers, found -inf in row 3"),
        ({"price": [date(2024, 1, i) for i in range(1, 5)]}, ["price"], "expected numbers or classes, found Date"),
        ({"age": [1] * 4, "town": list("abcd")}, ["price"], r"found none \(age: one value .*; town: 4 distinct"),
    ],
)
def test_bad_tables(changed: Mapping[str, Sequence[object]], outputs: list[str], message: str) -> None:
    with pytest.raises(DataError, match=message):
        infer_columns({**GOOD, **changed}, outputs)


@pytest.mark.parametrize(
    ("values", "kind", "message"),
    [
        (["1", "abc", "2", "x"], "regression", r"expected numbers, found text 'abc' in row 2 \(and 1 more\)"),
        ([1, -2, 3, 4], "count", "expected values of at least 0, found -2 in row 2"),
        (["a", "b", "c", "a"], "binary", "expected 2 classes for binary, found 3: a, b, c"),
        (["a", "a", "a", "a"], "multiclass", "expected 2 classes or more for multiclass, found 1: a"),
        ([1, 2, 3, 4], "regresion", r"unknown kind 'regresion'\. Did you mean 'regression'\?"),
    ],
)
def test_kinds_that_do_not_fit(values: Sequence[object], kind: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        plan_of(values, kind)


@pytest.mark.parametrize("outputs", [["age"], ["price"]])
def test_text_in_a_number_column_is_named(outputs: list[str]) -> None:
    age = [str(20 + i % 40) for i in range(100)]
    age[16] = age[30] = age[31] = age[99] = "abc"
    frame = {"age": age, "size": [0.5 * i for i in range(100)], "price": [1.5 * i for i in range(100)]}
    with pytest.raises(DataError, match=r"column 'age': expected numbers, found text 'abc' in row 17 \(and 3 more\)"):
        infer_columns(frame, outputs)
    if outputs == ["price"]:
        assert infer_columns(frame, outputs, inputs={"age": "category"})[0].kind == "category"
        with pytest.raises(DataError, match="found text 'abc' in row 17"):
            infer_columns(frame, outputs, inputs={"age": "number"})


def test_an_output_whose_classes_hardly_repeat() -> None:
    with pytest.raises(DataError, match="expected classes that repeat, found 30 distinct texts in 30 rows"):
        plan_of([f"id{i}" for i in range(30)])
    assert plan_of([f"id{i}" for i in range(30)], "multiclass").kind == "multiclass"


def test_all_problems_at_once() -> None:
    with pytest.raises(DataError) as caught:
        infer_columns(
            {**GOOD, "flat": ["x"] * 4},
            ["prise", "flat"],
            kinds={"age": "number", "flat": "clas"},
            inputs={"agee": "number", "town": "text", "flat": "category"},
        )
    message = str(caught.value)
    assert message.startswith("table: 7 problems\n")
    for part in (
        "unknown output 'prise'",
        "kinds: 'age' is no output",
        "kinds: output 'age': unknown kind 'number'",
        "kinds: output 'flat': unknown kind 'clas'",
        "inputs: unknown column 'agee'. Did you mean 'age'?",
        "inputs: column 'town': unknown kind 'text'",
        "inputs: 'flat' is an output or its weight",
    ):
        assert part in message


def test_the_table_is_not_changed() -> None:
    frame = pl.DataFrame({"a": [" 1", "2 "], "y": [1.5, 2.5]})
    infer_columns(frame, ["y"])
    assert frame["a"].to_list() == [" 1", "2 "]
