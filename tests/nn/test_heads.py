from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from multiloss.core.decode import decode
from multiloss.core.errors import ModelError
from multiloss.core.types import KINDS, Kind
from multiloss.nn import BinaryHead, MulticlassHead, OrdinalHead, RegressionHead, make_head

SHAPES: list[tuple[Kind, int, list[int]]] = [
    ("regression", 1, []),
    ("regression", 3, [3]),
    ("binary", 1, []),
    ("multiclass", 4, [4]),
    ("multilabel", 1, [1]),
    ("multilabel", 5, [5]),
    ("ordinal", 2, [1]),
    ("ordinal", 4, [3]),
    ("count", 1, []),
]


@pytest.mark.parametrize("hidden", [(), (6,), (6, 7)])
@pytest.mark.parametrize("batch", [1, 5])
@pytest.mark.parametrize(("kind", "size", "shape"), SHAPES)
def test_kind_shape_and_gradients(kind: Kind, size: int, shape: list[int], batch: int, hidden: tuple[int, ...]) -> None:
    head = make_head(kind, 8, size=size, hidden=hidden, activation="tanh")
    raw = head(torch.randn(batch, 8))
    assert head.kind == kind
    assert list(raw.shape) == [batch, *shape]
    raw.square().sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in head.parameters())
    linears = [module for module in head.modules() if isinstance(module, nn.Linear)]
    assert [linear.out_features for linear in linears[:-1]] == list(hidden)


def test_every_kind_has_a_head() -> None:
    assert {kind for kind, _, _ in SHAPES} == set(KINDS)


@settings(max_examples=60, deadline=None)
@given(
    st.integers(2, 8),
    st.integers(0, 1000),
    st.sampled_from([1e-2, 1.0, 30.0]),
)
def test_ordinal_is_ordered_whatever_its_parameters(classes: int, seed: int, size: float) -> None:
    generator = torch.Generator().manual_seed(seed)
    head = OrdinalHead(4, classes)
    with torch.no_grad():
        head.raw_thresholds.normal_(0, size, generator=generator)
    assert (head.thresholds().diff() >= 0).all()
    raw = head(torch.randn(6, 4, generator=generator))
    probabilities = decode("ordinal", raw)
    assert probabilities.shape == (6, classes)
    assert (probabilities >= 0).all()
    torch.testing.assert_close(probabilities.sum(1), torch.ones(6))


@pytest.mark.parametrize("classes", [2, 3, 7])
def test_ordinal_starts_even(classes: int) -> None:
    probabilities = decode("ordinal", -OrdinalHead(4, classes).thresholds()[None])
    torch.testing.assert_close(probabilities, torch.full((1, classes), 1 / classes))


def test_ordinal_is_a_cumulative_link_model() -> None:
    head = OrdinalHead(3, 4).double()
    x = torch.randn(5, 3, dtype=torch.float64)
    first, *steps = head.raw_thresholds.tolist()
    thresholds = [first]
    for step in steps:
        thresholds.append(thresholds[-1] + math.log1p(math.exp(step)))
    score = head.score(x).squeeze(1).tolist()
    expected = torch.tensor([[s - t for t in thresholds] for s in score], dtype=torch.float64)
    torch.testing.assert_close(head(x), expected)


def test_ordinal_learns_the_order() -> None:
    torch.manual_seed(0)
    x = torch.rand(300, 1) * 4
    y = x[:, 0].long()
    head = OrdinalHead(1, 4)
    optimizer = torch.optim.Adam(head.parameters(), lr=0.2)
    above = (y[:, None] > torch.arange(3)).float()
    for _ in range(200):
        optimizer.zero_grad()
        loss: Tensor = nn.functional.binary_cross_entropy_with_logits(head(x), above)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    assert (decode("ordinal", head(x)).argmax(1) == y).float().mean() > 0.95


@pytest.mark.parametrize(
    ("size", "mean", "scale", "expected"),
    [(1, 10.0, 2.0, 12.0), (1, [10.0], [2.0], 12.0), (1, 10.0, 0.0, 11.0), (1, None, None, 1.0)],
)
def test_regression_units(size: int, mean: Any, scale: Any, expected: float) -> None:
    head = RegressionHead(4, size, mean=mean, scale=scale)
    assert head.units().mean.shape == head.units().scale.shape == ()
    assert decode("regression", torch.ones(3), head.units()).tolist() == [expected] * 3


def test_regression_units_of_a_vector_travel_with_the_state() -> None:
    head = RegressionHead(4, 2, mean=[10.0, 20.0], scale=[2.0, 0.0])
    fresh = RegressionHead(4, 2)
    fresh.load_state_dict(head.state_dict())
    assert fresh.units().mean.tolist() == [10.0, 20.0]
    assert fresh.units().scale.tolist() == [2.0, 1.0]
    x = torch.randn(3, 4)
    assert torch.equal(fresh(x), head(x))


def test_regression_returns_standardised_values() -> None:
    torch.manual_seed(0)
    plain = RegressionHead(4)
    torch.manual_seed(0)
    scaled = RegressionHead(4, mean=1e6, scale=1e3)
    x = torch.randn(3, 4)
    assert torch.equal(plain(x), scaled(x))


def test_dropout_is_in_the_hidden_layers() -> None:
    assert any(isinstance(module, nn.Dropout) for module in BinaryHead(4, hidden=[8], dropout=0.5).modules())


def test_refusals() -> None:
    unknown: Any = "ordinals"
    with pytest.raises(ModelError, match="Did you mean 'ordinal'"):
        make_head(unknown, 4)
    with pytest.raises(ModelError, match="regression only"):
        make_head("count", 4, scale=2.0)
    with pytest.raises(ModelError, match="size 1 for a binary"):
        make_head("binary", 4, size=2)
    with pytest.raises(ModelError, match="2 or more classes, found 1"):
        MulticlassHead(4, 1)
    with pytest.raises(ModelError, match="2 or more classes, found 1"):
        make_head("ordinal", 4)
    with pytest.raises(ModelError, match="mean: expected 2 values"):
        RegressionHead(4, 2, mean=[1.0, 2.0, 3.0])
