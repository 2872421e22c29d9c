"""Raw outputs to predictions, and what counts as a label."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from multiloss.core.decode import decode
from multiloss.core.labels import labelled
from multiloss.core.types import KINDS, Units

RAW = torch.randn(5, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def test_probabilities() -> None:
    assert torch.allclose(decode("binary", RAW[:, 0]), 1 / (1 + (-RAW[:, 0]).exp()))
    assert torch.allclose(decode("multilabel", RAW), 1 / (1 + (-RAW).exp()))
    classes = decode("multiclass", RAW)
    assert torch.allclose(classes, RAW.exp() / RAW.exp().sum(1, keepdim=True))
    assert torch.allclose(decode("count", RAW[:, 0]), RAW[:, 0].exp())


@given(st.lists(st.floats(-30, 30), min_size=1, max_size=6))
def test_ordinal_is_the_difference_of_neighbours(logits: list[float]) -> None:
    falling = sorted(logits, reverse=True)
    above = [1.0, *(1 / (1 + math.exp(-x)) for x in falling), 0.0]
    expected = [a - b for a, b in itertools.pairwise(above)]
    found = decode("ordinal", torch.tensor([falling], dtype=torch.float64))[0]
    assert found.tolist() == pytest.approx(expected, abs=1e-12) and found.sum().item() == pytest.approx(1)


def test_ordinal_out_of_order_has_no_negative_probability() -> None:
    assert decode("ordinal", torch.tensor([[-2.0, 3.0]])).min() >= 0


def test_units_touch_regressions_only() -> None:
    units = Units(torch.tensor([10.0, 20.0, 30.0]), torch.tensor([2.0, 3.0, 4.0]))
    expected = RAW * torch.tensor([2.0, 3.0, 4.0]).double() + torch.tensor([10.0, 20.0, 30.0]).double()
    found = decode("regression", RAW, units)
    assert torch.equal(found, expected) and found.dtype == torch.float64
    assert decode("regression", RAW) is RAW
    for kind in KINDS:
        raw = RAW if kind in ("multiclass", "multilabel", "ordinal") else RAW[:, 0]
        if kind != "regression":
            assert torch.equal(decode(kind, raw, units), decode(kind, raw))


def test_labelled() -> None:
    nan = float("nan")
    assert labelled(torch.tensor([[1.0, nan], [-100.0, math.inf]])).tolist() == [[True, False], [True, True]]
    assert labelled(torch.tensor([3, -100, -1])).tolist() == [True, False, True]
    assert labelled(torch.tensor([3, -100, -1]), ignore_index=-1).tolist() == [True, True, False]
    assert labelled(torch.tensor([True, False])).tolist() == [True, True]
    assert labelled(torch.tensor([1, 255], dtype=torch.uint8), 255).tolist() == [True, False]
    for dtype in (torch.float16, torch.bfloat16, torch.float64):
        assert labelled(torch.tensor([nan, 0.0], dtype=dtype)).tolist() == [False, True]
