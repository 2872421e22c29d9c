from __future__ import annotations

import collections
import dataclasses
import warnings
from collections.abc import Mapping
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor, nn

from multiloss.core.errors import ModelError
from multiloss.nn import MLP, BinaryHead, HardSharing, Inputs, ModelCaller, unwrap

X, Y = torch.ones(4, 2), torch.full((4, 2), 3.0)


class Returns(nn.Module):
    """Return one thing whatever is asked."""

    def __init__(self, value: Any) -> None:
        super().__init__()
        self.value = value

    def forward(self, inputs: Any) -> Any:
        return self.value


class TwoInputs(nn.Module):
    def forward(self, title: Tensor, body: Tensor, *, factor: Tensor | None = None) -> dict[str, Tensor]:
        return {"difference": title - body if factor is None else (title - body) * factor}


class OneMapping(nn.Module):
    def forward(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return {"difference": batch["title"] - batch["body"]}


class AnyKeywords(nn.Module):
    def forward(self, *args: Any, **kwargs: Any) -> dict[str, Tensor]:
        return {"positional": torch.tensor(len(args)), "by_name": torch.tensor(len(kwargs))}


class Pair(NamedTuple):
    a: Any
    b: Any


@dataclasses.dataclass
class Record:
    a: Any
    b: Any


@pytest.mark.parametrize(
    "value",
    [{"a": X, "b": Y}, collections.OrderedDict(a=X, b=Y), Pair(X, Y), Record(X, Y)],
    ids=["dict", "mapping", "named tuple", "dataclass"],
)
def test_outputs_by_name(value: Any) -> None:
    caller = ModelCaller(Returns(value))
    for _ in range(2):
        outputs = caller(X)
        assert type(outputs) is dict and list(outputs) == ["a", "b"]
        assert outputs["a"] is X and outputs["b"] is Y
    for _ in range(2):
        assert list(ModelCaller(Returns(value), ["b"])(X)) == ["b"]


@pytest.mark.parametrize("value", [(X, Y), [X, Y]], ids=["tuple", "list"])
def test_outputs_by_position(value: Any) -> None:
    outputs = ModelCaller(Returns(value), ["a", "b"])(X)
    assert list(outputs) == ["a", "b"] and outputs["a"] is X and outputs["b"] is Y


@pytest.mark.parametrize("names", [["a"], "a"])
def test_one_tensor(names: Any) -> None:
    outputs = ModelCaller(Returns(X), names)(X)
    assert list(outputs) == ["a"] and outputs["a"] is X


def test_a_dict_is_handed_on_untouched() -> None:
    value = {"a": X}
    caller = ModelCaller(Returns(value))
    caller(X)
    assert caller(X) is value


@pytest.mark.parametrize(
    ("model", "inputs"),
    [
        (TwoInputs(), (X, Y)),
        (TwoInputs(), [X, Y]),
        (TwoInputs(), {"body": Y, "title": X}),
        (TwoInputs(), {"body": Y, "title": X, "factor": torch.ones(())}),
        (OneMapping(), {"body": Y, "title": X}),
    ],
    ids=["tuple", "list", "by name", "keyword only", "one mapping"],
)
def test_inputs(model: nn.Module, inputs: Inputs) -> None:
    assert torch.equal(ModelCaller(model)(inputs)["difference"], X - Y)


def test_inputs_may_change_their_form_between_calls() -> None:
    caller = ModelCaller(TwoInputs())
    forms: list[Inputs] = [(X, Y), {"title": X, "body": Y}, [X, Y]]
    assert all(torch.equal(caller(form)["difference"], X - Y) for form in forms)


def test_open_signatures_get_the_mapping_as_one_argument() -> None:
    outputs = ModelCaller(AnyKeywords())({"title": X, "body": Y})
    assert outputs["positional"] == 1 and outputs["by_name"] == 0


def test_compiled_models_are_called_by_the_signature_inside() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        compiled: Any = torch.compile(TwoInputs(), backend="eager")
        outputs = ModelCaller(compiled)({"title": X, "body": Y})
    assert torch.equal(outputs["difference"], X - Y)


def test_unwrap_reaches_the_innermost_module() -> None:
    model = TwoInputs()
    wrapped: Any = torch.compile(nn.DataParallel(model), backend="eager")
    assert unwrap(wrapped) is model
    assert unwrap(model) is model


def test_hard_sharing_is_called_like_any_model() -> None:
    model = HardSharing(MLP(2, [4]), {"a": BinaryHead(4), "b": BinaryHead(4)})
    assert {name: output.shape for name, output in ModelCaller(model)(X).items()} == {"a": (4,), "b": (4,)}


@pytest.mark.parametrize(
    ("value", "names", "message"),
    [
        ((X, Y), None, "found 2 by position.*output_names="),
        (X, None, "found 1 by position"),
        ((X, Y), ["a", "b", "c"], r"expected 3 outputs \(a, b, c\), found 2"),
        (X, ["a", "b"], r"expected 2 outputs \(a, b\), found 1"),
        ({"a": X, "b": 3.0}, None, "expected a tensor for output 'b', found float"),
        ((X, None), ["a", "b"], "expected a tensor for output 'b', found NoneType"),
        (3.0, ["a"], "expected a tensor for output 'a', found float"),
        ({"price": X}, ["prise"], "Did you mean 'price'"),
        ({"loss": X, "a.b": X}, None, "(?s)2 problems.*'loss'.*'a.b'"),
        ({}, None, "at least one output"),
    ],
)
def test_refusals(value: Any, names: list[str] | None, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        ModelCaller(Returns(value), names)(X)


def test_bad_output_names_are_refused_before_any_call() -> None:
    with pytest.raises(ModelError, match=r"(?s)2 problems.*'a' again.*'x.y'"):
        ModelCaller(nn.Linear(1, 1), ["a", "a", "x.y"])


def test_extra_outputs_that_are_no_tensors_can_be_left_out() -> None:
    caller = ModelCaller(Returns({"logits": X, "hidden": [X, Y]}), ["logits"])
    for _ in range(2):
        assert list(caller(X)) == ["logits"]
