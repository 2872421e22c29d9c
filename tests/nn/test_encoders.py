from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from multiloss.core.errors import ModelError
from multiloss.nn import TableEncoder, embedding_dim

Table = tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]


def slow_encode(encoder: TableEncoder, numbers: npt.NDArray[np.float64], codes: npt.NDArray[np.int64]) -> list[Any]:
    """Encode value by value, in float64."""
    rows = []
    mean, scale, missing = encoder.mean.tolist(), encoder.scale.tolist(), encoder.missing.tolist()
    tables = [embedding.weight.tolist() for embedding in encoder.embeddings if isinstance(embedding, nn.Embedding)]
    for number_row, code_row in zip(numbers, codes, strict=True):
        row = [0.0 if math.isnan(v) else (v - m) / s for v, m, s in zip(number_row, mean, scale, strict=True)]
        row += [float(math.isnan(number_row[column])) for column in missing]
        for code, table in zip(code_row, tables, strict=True):
            row += [0.0] * len(table[0]) if code == 0 else table[code]
        rows.append(row)
    return rows


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_equals_the_slow_way(data: st.DataObject) -> None:
    p = data.draw(st.integers(0, 4), "numbers")
    cardinalities = data.draw(st.lists(st.integers(2, 6), min_size=p == 0, max_size=3), "cardinalities")
    missing = data.draw(st.lists(st.integers(0, p - 1), unique=True), "missing") if p else []
    rng = np.random.default_rng(data.draw(st.integers(0, 1000), "seed"))
    encoder = TableEncoder(
        p, cardinalities, mean=rng.normal(0, 9, p), scale=rng.choice([0.0, math.nan, 0.5, 7.0], p), missing=missing
    ).double()
    numbers = np.where(rng.random((5, p)) < 0.3, np.nan, rng.normal(3, 9, (5, p)))
    codes = rng.integers(0, [*cardinalities], (5, len(cardinalities)))
    inputs = {}
    if p:
        inputs["numbers"] = torch.from_numpy(numbers)
    if cardinalities:
        inputs["categories"] = torch.from_numpy(codes)
    features = encoder(inputs)
    assert features.shape == (5, encoder.out_features)
    np.testing.assert_allclose(features.detach().numpy(), np.array(slow_encode(encoder, numbers, codes)), rtol=1e-12)


def test_constant_and_empty_columns_stay_finite() -> None:
    encoder = TableEncoder(3, mean=[4.0, math.nan, 0.0], scale=[0.0, math.nan, 2.0])
    assert encoder.scale.tolist() == [1.0, 1.0, 2.0]
    assert encoder({"numbers": torch.tensor([[4.0, math.nan, 6.0]])}).tolist() == [[0.0, 0.0, 3.0]]


def test_infinite_numbers_are_not_hidden() -> None:
    features = TableEncoder(2)({"numbers": torch.tensor([[math.inf, -math.inf]])})
    assert features.tolist() == [[math.inf, -math.inf]]


def test_inputs_are_left_alone() -> None:
    numbers = torch.tensor([[1.0, math.nan]])
    TableEncoder(2, mean=[3.0, 3.0], missing=[1])({"numbers": numbers})
    assert numbers[0, 0] == 1.0 and numbers[0, 1].isnan()


def test_gradients_are_finite_and_zero_where_missing() -> None:
    encoder = TableEncoder(2, [4], scale=[2.0, 0.5], missing=[0])
    numbers = torch.tensor([[1.0, 2.0], [math.nan, 5.0]], requires_grad=True)
    encoder({"numbers": numbers, "categories": torch.tensor([[2], [1]])}).sum().backward()
    assert numbers.grad is not None
    assert numbers.grad.tolist() == [[0.5, 2.0], [0.0, 2.0]]
    assert all(p.grad is not None and p.grad.isfinite().all() for p in encoder.parameters())


def test_unknown_stays_zero_and_missing_is_learnt() -> None:
    encoder = TableEncoder(0, [5], embedding_dims=[3])
    embedding = encoder.embeddings[0]
    assert isinstance(embedding, nn.Embedding)
    assert not embedding.weight[:2].any()
    optimizer = torch.optim.Adam(encoder.parameters(), lr=0.1, weight_decay=0.1)
    for _ in range(3):
        optimizer.zero_grad()
        (encoder({"categories": torch.tensor([[0], [1], [2]])}) - 1).square().sum().backward()
        optimizer.step()
    assert not embedding.weight[0].any()
    assert embedding.weight[1].all()


def test_state_carries_the_preprocessing() -> None:
    trained = TableEncoder(2, [4], mean=[1.0, 2.0], scale=[3.0, 4.0], missing=[1])
    fresh = TableEncoder(2, [4], missing=[0])
    fresh.load_state_dict(trained.state_dict())
    inputs = {"numbers": torch.tensor([[5.0, math.nan]]), "categories": torch.tensor([[3]])}
    assert torch.equal(fresh(inputs), trained(inputs))


def test_embedding_dims_grow_and_stop() -> None:
    dims = [embedding_dim(c) for c in range(2, 500)]
    assert dims == sorted(dims) and dims[0] == 1 and dims[-1] == 16
    assert TableEncoder(0, [10, 3]).out_features == embedding_dim(10) + embedding_dim(3)


def test_constructor_names_all_mistakes() -> None:
    with pytest.raises(ModelError) as error:
        TableEncoder(2, [1], missing=[2], embedding_dims=[3, 0])
    for part in (
        "4 problems",
        "category 0, found 1",
        "found [2]",
        "expected 1 embedding_dims, found 2",
        "found [3, 0]",
    ):
        assert part in str(error.value)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"numbers": 0}, "at least one column"),
        ({"numbers": 2, "missing": [1, 1]}, "different positions"),
        ({"numbers": 2, "mean": [1.0]}, "mean: expected 2 values"),
        ({"numbers": 2, "scale": [1.0, -1.0]}, "scale: expected values of 0 or more"),
    ],
)
def test_constructor_refuses(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ModelError, match=message):
        TableEncoder(**options)


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ({"number": torch.zeros(3, 2)}, "expected the key 'numbers'"),
        ({"numbers": torch.zeros(3, 1)}, r"expected numbers of shape \[B, 2\], found \[3, 1\]"),
        ({"numbers": torch.zeros(3, 2)}, "expected the key 'categories'"),
    ],
)
def test_call_refuses(inputs: dict[str, torch.Tensor], message: str) -> None:
    with pytest.raises(ModelError, match=message):
        TableEncoder(2, [4])(inputs)
