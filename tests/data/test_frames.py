"""Data frames of numbers as tensors."""

from __future__ import annotations

import pandas as pd
import polars as pl
import pytest
import torch

from multiloss.core.errors import DataError
from multiloss.data.frames import frame_inputs, frame_targets, is_frame

COLUMNS = {
    "size": [1.0, 2.5, None],
    "rooms": [1, 2, 3],
    "new": [True, False, True],
    "price": [10.0, None, 30.0],
    "kind": [0, None, 2],
    "text": ["a", "b", "c"],
}


@pytest.fixture(params=["polars", "pandas", "pandas nullable"])
def frame(request: pytest.FixtureRequest) -> object:
    if request.param == "polars":
        return pl.DataFrame(COLUMNS)
    table = pd.DataFrame(COLUMNS)
    return table.convert_dtypes() if request.param == "pandas nullable" else table


def test_what_a_frame_is(frame: object) -> None:
    assert is_frame(frame)
    assert not is_frame(COLUMNS) and not is_frame(torch.zeros(2)) and not is_frame(pd.Series([1.0]))


def test_inputs_are_every_other_column(frame: object) -> None:
    inputs = frame_inputs(frame, leave_out=["price", "kind", "text"])
    assert inputs.dtype == torch.float32
    assert torch.equal(inputs.nan_to_num(-1.0), torch.tensor([[1.0, 1, 1], [2.5, 2, 0], [-1, 3, 1]]))


def test_targets_keep_what_is_missing(frame: object) -> None:
    targets = frame_targets(frame, ["price", "kind", "rooms", "absent"], ["kind"])
    assert list(targets) == ["price", "kind", "rooms"]
    assert targets["price"].nan_to_num(-1.0).tolist() == [10.0, -1.0, 30.0]
    assert targets["kind"].dtype == torch.int64 and targets["kind"].tolist() == [0, -100, 2]
    assert targets["rooms"].dtype == torch.float32
    assert frame_targets(frame, ["kind"], ["kind"], ignore_index=-1)["kind"].tolist() == [0, -1, 2]


def test_columns_that_hold_no_numbers_are_named(frame: object) -> None:
    with pytest.raises(DataError, match="found text in 'text'"):
        frame_inputs(frame, leave_out=["price"])
    with pytest.raises(DataError, match="no column beside the outputs"):
        frame_inputs(frame, leave_out=list(COLUMNS))
    with pytest.raises(DataError, match="2 problems") as error:
        frame_targets(frame, ["text", "size", "price"], ["size"])
    assert "column 'text': expected numbers" in str(error.value)
    assert "column 'size': expected class indices 0, 1, ..., found fractions" in str(error.value)
