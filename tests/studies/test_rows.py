from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from torch import Tensor, tensor

from multiloss.core.errors import RunError
from multiloss.core.types import Kind
from multiloss.studies.rows import ROWS, read_rows, row_scores, write_rows

nan = math.nan


def equal(found: Tensor, expected: list[float]) -> None:
    assert found.dtype == torch.float64
    torch.testing.assert_close(found, tensor(expected, dtype=torch.float64), equal_nan=True)


@pytest.mark.parametrize("kind", ["regression", "count"])
def test_numbers_are_scored_by_their_distance(kind: Kind) -> None:
    scores = row_scores(kind, tensor([1.0, 5.0, 2.0]), tensor([4.0, 5.0, nan]))
    assert list(scores) == ["mae", "mse"]
    equal(scores["mae"], [3.0, 0.0, nan])
    equal(scores["mse"], [9.0, 0.0, nan])


def test_a_class_of_two_by_the_probability_of_the_positive_one() -> None:
    scores = row_scores("binary", tensor([0.8, 0.8, 0.5, 0.1]), tensor([1.0, 0.0, 1.0, nan]))
    equal(scores["accuracy"], [1.0, 0.0, 0.0, nan])  # 0.5 is not above 0.5, as the metric has it
    equal(scores["log_loss"], [-math.log(0.8), -math.log(0.2), math.log(2), nan])


@pytest.mark.parametrize("kind", ["multiclass", "ordinal"])
def test_a_class_of_several_by_the_probability_of_the_right_one(kind: Kind) -> None:
    chances = tensor([[0.5, 0.3, 0.2], [0.1, 0.2, 0.7], [1.0, 0.0, 0.0]])
    scores = row_scores(kind, chances, tensor([0, 1, -100]))
    equal(scores["accuracy"], [1.0, 0.0, nan])
    equal(scores["log_loss"], [math.log(2), math.log(5), nan])


def test_several_labels_by_their_mean_over_those_that_are_there() -> None:
    chances, labels = tensor([[0.9, 0.4], [0.9, 0.4], [0.5, 0.5]]), tensor([[1.0, 1.0], [nan, 0.0], [nan, nan]])
    scores = row_scores("multilabel", chances, labels)
    equal(scores["accuracy"], [0.5, 1.0, nan])
    equal(scores["log_loss"], [-(math.log(0.9) + math.log(0.4)) / 2, -math.log(0.6), nan])


def test_a_probability_of_zero_costs_much_and_not_infinitely_much() -> None:
    for scores in (
        row_scores("binary", tensor([0.0]), tensor([1.0])),
        row_scores("multiclass", tensor([[1.0, 0.0]]), tensor([1])),
    ):
        equal(scores["log_loss"], [52 * math.log(2)])
        equal(scores["accuracy"], [0.0])


def test_rows_come_back_from_the_folder_or_an_error_says_why(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"could not read .*No such file.*Run the study again"):
        read_rows(tmp_path)
    rows = {f"test/{name}/mae": torch.arange(3, dtype=torch.float64) / 7 for name in ("b", "a price")}
    write_rows(tmp_path, rows)
    found = read_rows(tmp_path)
    assert list(found) == ["test/a price/mae", "test/b/mae"]
    assert all(torch.equal(found[name], values) for name, values in rows.items())
    (tmp_path / ROWS).write_bytes(b"nothing")
    with pytest.raises(RunError, match="is damaged"):
        read_rows(tmp_path)
