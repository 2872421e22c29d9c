from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from multiloss.core.errors import ModelError
from multiloss.nn import ACTIVATIONS, MLP

widths = st.integers(1, 9)


@settings(max_examples=40, deadline=None)
@given(widths, st.lists(widths, max_size=3), st.none() | widths)
def test_shapes_and_parameter_count(in_features: int, hidden: list[int], out_features: int | None) -> None:
    mlp = MLP(in_features, hidden, out_features)
    chain = [in_features, *hidden] + ([] if out_features is None else [out_features])
    assert mlp.out_features == chain[-1]
    assert mlp(torch.zeros(3, in_features)).shape == (3, chain[-1])
    expected = sum(a * b + b for a, b in itertools.pairwise(chain))
    assert sum(parameter.numel() for parameter in mlp.parameters()) == expected


def test_value_is_the_composition_of_its_layers() -> None:
    mlp = MLP(4, [5], 2, activation="tanh").double()
    x = torch.randn(7, 4, dtype=torch.float64)
    first, last = mlp[0], mlp[2]
    assert isinstance(first, nn.Linear) and isinstance(last, nn.Linear)
    expected = (x @ first.weight.T + first.bias).tanh() @ last.weight.T + last.bias
    torch.testing.assert_close(mlp(x), expected)


def test_a_trunk_ends_with_its_activation() -> None:
    assert (MLP(4, [16])(torch.randn(50, 4)) >= 0).all()
    assert (MLP(4, [16], 16)(torch.randn(50, 4)) < 0).any()


def test_order_within_a_layer() -> None:
    layers = [type(layer) for layer in MLP(4, [8], 2, norm="batch", dropout=0.5, activation="gelu")]
    assert layers == [nn.Linear, nn.BatchNorm1d, nn.GELU, nn.Dropout, nn.Linear]
    assert [type(layer) for layer in MLP(4, [8], norm="layer")] == [nn.Linear, nn.LayerNorm, nn.ReLU]


def test_dropout_only_while_training() -> None:
    mlp = MLP(4, [64], dropout=0.5)
    x = torch.randn(2, 4)
    assert not torch.equal(mlp(x), mlp(x))
    mlp.eval()
    assert torch.equal(mlp(x), mlp(x))


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_every_activation(activation: str) -> None:
    assert MLP(3, [4], 2, activation=activation)(torch.randn(5, 3)).isfinite().all()


def test_slices_share_the_layers() -> None:
    mlp = MLP(4, [8, 8])
    front = mlp[:-2]
    assert isinstance(front, nn.Sequential) and len(front) == 2 and front[0] is mlp[0]


def test_all_mistakes_at_once() -> None:
    norm: Any = "btach"
    with pytest.raises(ModelError) as error:
        MLP(0, [8, -1], 2, activation="rleu", dropout=1.0, norm=norm)
    message = str(error.value)
    assert "5 problems" in message
    assert "Did you mean 'relu'?" in message and "Did you mean 'batch'?" in message
    assert "found 0" in message and "found -1" in message and "found 1.0" in message
