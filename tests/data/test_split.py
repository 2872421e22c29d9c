from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from multiloss.core.errors import DataError
from multiloss.data.infer import infer_columns
from multiloss.data.split import Split, split_rows
from multiloss.data.table import read_table


def parts_of(split: Split) -> list[np.ndarray]:
    return [split.train, split.validation, split.test]


def assert_partition(split: Split, rows: int) -> None:
    joined = np.concatenate(parts_of(split))
    assert sorted(joined.tolist()) == list(range(rows))
    assert all(part.dtype == np.int64 and (np.diff(part) > 0).all() for part in parts_of(split))


@settings(max_examples=60, deadline=None)
@given(
    counts=st.lists(st.integers(1, 40), min_size=2, max_size=6).filter(lambda counts: max(counts) >= 3),
    shares=st.tuples(st.floats(0.05, 0.4), st.floats(0.05, 0.4)),
    seed=st.integers(0, 5),
)
def test_every_class_is_in_every_part(counts: list[int], shares: tuple[float, float], seed: int) -> None:
    labels = np.random.default_rng(seed).permutation(np.repeat(np.arange(len(counts)), counts))
    target = {"y": torch.from_numpy(labels)}
    split = split_rows(target, {"y": "multiclass"}, validation=shares[0], test=shares[1], seed=seed)
    assert_partition(split, len(labels))
    for label, count in enumerate(counts):
        held = [int((labels[part] == label).sum()) for part in parts_of(split)]
        assert held[0] >= 1
        if count >= 3:
            assert min(held) >= 1
        else:
            assert sum(f"class '{label}' of output 'y'" in note for note in split.notes) == held.count(0)
        for part, share in zip(held, (1 - sum(shares), *shares), strict=True):
            assert abs(part - share * count) < 3


@settings(max_examples=40, deadline=None)
@given(rows=st.integers(150, 400), seed=st.integers(0, 100), labelled=st.floats(0.3, 1))
def test_several_outputs_keep_their_shares(rows: int, seed: int, labelled: float) -> None:
    rng = np.random.default_rng(seed)
    kind = rng.integers(0, 4, rows)
    size = np.where(rng.random(rows) < labelled, (kind + rng.integers(0, 2, rows)) % 3, np.nan)
    price = np.where(rng.random(rows) < 0.1, 1.0, np.nan)
    price[:5] = 1.0
    table = pl.DataFrame({"kind": kind, "size": size, "price": price}).with_columns(pl.all().fill_nan(None))
    split = split_rows(table, {"kind": "multiclass", "size": "ordinal", "price": "regression"}, seed=seed)
    assert_partition(split, rows)
    assert split.notes == []
    for part, share in zip(parts_of(split), (0.7, 0.15, 0.15), strict=True):
        assert abs(len(part) - share * rows) <= 8
        for values in (kind, size):
            for label in np.unique(values[~np.isnan(values)]):
                total = (values == label).sum()
                assert abs((values[part] == label).sum() - share * total) <= 4 + 0.1 * total
        assert (price[part] == 1).sum() >= 1


def test_a_rare_class_of_one_output_meets_a_rare_class_of_another() -> None:
    first = ["a"] * 3 + ["b"] * 27
    second = ["x"] * 2 + ["y"] * 26 + ["x"] * 2
    table = pl.DataFrame({"first": first, "second": second})
    for seed in range(20):
        split = split_rows(table, {"first": "binary", "second": "binary"}, seed=seed)
        assert split.notes == []
        for part in parts_of(split):
            assert set(table["first"][part.tolist()]) == {"a", "b"}
            assert set(table["second"][part.tolist()]) == {"x", "y"}


def test_notes_say_what_could_not_be_kept() -> None:
    table = pl.DataFrame({"y": ["a"] * 20 + ["b"] * 20 + ["rare"] + ["pair"] * 2, "z": [1.0] + [None] * 42})
    split = split_rows(table, {"y": "multiclass", "z": "regression"})
    assert sorted(split.notes) == [
        "class 'pair' of output 'y' (2 labelled rows): none among the test rows",
        "class 'rare' of output 'y' (1 labelled row): none among the test rows",
        "class 'rare' of output 'y' (1 labelled row): none among the validation rows",
        "output 'z' (1 labelled row): none among the test rows",
        "output 'z' (1 labelled row): none among the validation rows",
    ]
    assert 40 in split.train


def test_same_seed_same_rows() -> None:
    table = pl.DataFrame({"y": ["a", "b"] * 50, "g": [i // 5 for i in range(100)]})
    for method, column in (("row", None), ("group", "g")):
        kwargs: dict[str, Any] = {"method": method, "column": column}
        one, two, other = (split_rows(table, {"y": "binary"}, seed=seed, **kwargs) for seed in (1, 1, 2))
        assert [part.tolist() for part in parts_of(one)] == [part.tolist() for part in parts_of(two)]
        assert one.train.tolist() != other.train.tolist()


def test_targets_and_table_agree() -> None:
    codes = torch.tensor([0, 1, 2, -100] * 15)
    table = pl.DataFrame({"y": [None if code == -100 else int(code) for code in codes]})
    left = split_rows({"y": codes}, {"y": "multiclass"}, seed=3)
    right = split_rows(table, {"y": "multiclass"}, seed=3)
    assert [part.tolist() for part in parts_of(left)] == [part.tolist() for part in parts_of(right)]


def test_a_part_may_be_left_out() -> None:
    split = split_rows(pl.DataFrame({"y": ["a", "b"] * 20}), {"y": "binary"}, validation=0.25, test=0)
    assert [len(part) for part in parts_of(split)] == [30, 10, 0]
    assert split.notes == []


def test_groups_stay_together() -> None:
    groups = [f"g{i % 13}" for i in range(130)]
    split = split_rows(pl.DataFrame({"y": [0.5] * 130, "g": groups}), {"y": "regression"}, method="group", column="g")
    assert_partition(split, 130)
    held = [{groups[i] for i in part} for part in parts_of(split)]
    assert all(held)
    assert not (held[0] & held[1] or held[0] & held[2] or held[1] & held[2])


def test_the_last_rows_are_the_test_rows() -> None:
    times = np.random.default_rng(0).permutation(100)
    days = pl.Series("day", times).cast(pl.Date)
    split = split_rows(
        pl.DataFrame([pl.Series("y", [0.5] * 100), days]), {"y": "regression"}, method="time", column="day"
    )
    assert_partition(split, 100)
    assert [len(part) for part in parts_of(split)] == [70, 15, 15]
    assert times[split.train].max() < times[split.validation].min()
    assert times[split.validation].max() < times[split.test].min()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"validation": 1.0}, "validation: expected a share of at least 0 and below 1, found 1"),
        ({"test": -0.1}, "test: expected a share of at least 0 and below 1, found -0.1"),
        ({"test": float("nan")}, "test: expected a share .* found nan"),
        ({"validation": 0.5, "test": 0.5}, r"validation \+ test: expected less than 1 in sum, found 1"),
        ({"method": "rows"}, r"unknown way to split 'rows'\. Did you mean 'row'\?"),
        (
            {"method": "group", "column": "gruop"},
            r"a split by group needs a column, found 'gruop'\. Did you mean 'group'\?",
        ),
        ({"method": "time"}, "a split by time needs a column, found None"),
        ({"method": "group", "column": "one"}, "column 'one': expected at least 3 groups, one for each part, found 1"),
        ({"method": "group", "column": "holes"}, "column 'holes': expected a group in every row, found None in row 2"),
        ({"method": "time", "column": "group"}, r"column 'group': expected numbers or dates .* found text 'a'"),
        ({"column": "group"}, "a split by row uses no column"),
    ],
)
def test_bad_input(options: Mapping[str, Any], message: str) -> None:
    table = pl.DataFrame(
        {"y": [0.5] * 6, "group": list("abcabc"), "one": ["a"] * 6, "holes": ["a", None, "b", "c", "a", "b"]}
    )
    with pytest.raises(DataError, match=message):
        split_rows(table, {"y": "regression"}, **options)


def test_too_few_rows() -> None:
    with pytest.raises(DataError, match="expected at least 3 rows, one for each part, found 2"):
        split_rows(pl.DataFrame({"y": [1.5, 2.5]}), {"y": "regression"})
    with pytest.raises(DataError, match="expected rows for validation and test, found too few of each class"):
        split_rows(pl.DataFrame({"y": list("abcde")}), {"y": "multiclass"})
    with pytest.raises(DataError, match=r"unknown output 'z'\. Known: y"):
        split_rows(pl.DataFrame({"y": [1.5, 2.5, 3]}), {"z": "regression"})


def test_adult_is_split_in_less_than_a_second(shared: Path) -> None:
    table = read_table(shared / "adult" / "adult.data")
    plans = infer_columns(table, ["label", "marital-status", "native-country"])
    start = time.perf_counter()
    split = split_rows(table, plans)
    assert time.perf_counter() - start < 1
    assert_partition(split, 32561)
    assert all("Holand-Netherlands" in note for note in split.notes)
    assert len(split.notes) == 2
