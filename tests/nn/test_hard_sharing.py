from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from multiloss.core.errors import ModelError
from multiloss.nn import MLP, BinaryHead, HardSharing, OrdinalHead, RegressionHead, TableEncoder

ODD_NAMES = ["type", "keys", "items", "float", "train", "children", "heads", "forward", "two words", "größe"]


def size(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def test_case_c3_in_one_expression() -> None:
    model = HardSharing(MLP(8, [128, 128]), heads={"y1": RegressionHead(128), "y2": RegressionHead(128, hidden=[64])})
    assert size(model.trunk) == 8 * 128 + 128 + 128 * 128 + 128
    assert size(model.heads["y1"]) == 128 + 1
    assert size(model.heads["y2"]) == 128 * 64 + 64 + 64 + 1
    assert size(model) == size(model.trunk) + size(model.heads["y1"]) + size(model.heads["y2"])
    outputs = model(torch.randn(10, 8))
    assert list(outputs) == ["y1", "y2"] == list(model.output_names)
    assert all(output.shape == (10,) for output in outputs.values())


def test_outputs_are_heads_of_the_features() -> None:
    model = HardSharing(MLP(3, [4]), {"a": RegressionHead(4), "b": nn.Linear(4, 1)})
    x = torch.randn(5, 3)
    features, outputs = model.features(x), model(x)
    assert torch.equal(features, model.trunk(x))
    assert torch.equal(outputs["a"], model.heads["a"](features))
    assert outputs["b"].shape == (5, 1)


def test_trunk_gets_the_sum_and_a_head_its_own_gradient() -> None:
    model = HardSharing(MLP(3, [4], activation="tanh"), {"a": RegressionHead(4), "b": RegressionHead(4)}).double()
    outputs = model(torch.randn(5, 3, dtype=torch.float64))
    trunk = list(model.trunk.parameters())
    losses = [outputs[name].square().mean() for name in ("a", "b")]
    alone = [torch.autograd.grad(loss, trunk, retain_graph=True) for loss in losses]
    other_head = list(model.heads["b"].parameters())
    reached = torch.autograd.grad(losses[0], other_head, retain_graph=True, allow_unused=True)
    assert [gradient is None for gradient in reached] == [True, True]
    (losses[0] + losses[1]).backward()
    for parameter, a, b in zip(trunk, *alone, strict=True):
        torch.testing.assert_close(parameter.grad, a + b)


def test_encoder_stands_before_the_trunk() -> None:
    encoder = TableEncoder(2, [4], mean=[1.0, 2.0])
    model = HardSharing(MLP(encoder.out_features, [6]), {"a": BinaryHead(6)}, encoder=encoder)
    inputs = {"numbers": torch.randn(5, 2), "categories": torch.zeros(5, 1, dtype=torch.int64)}
    assert torch.equal(model.features(inputs), model.trunk(encoder(inputs)))
    assert {name.split(".")[0] for name in model.state_dict()} == {"encoder", "trunk", "heads"}


def test_kinds_and_units() -> None:
    heads = {"a": RegressionHead(4, mean=3.0, scale=2.0), "b": OrdinalHead(4, 3), "c": nn.Linear(4, 1)}
    model = HardSharing(MLP(3, [4]), heads)
    assert model.kinds() == {"a": "regression", "b": "ordinal"}
    units = model.units()
    assert list(units) == ["a"] and units["a"].mean == 3.0 and units["a"].scale == 2.0


def test_odd_names_live_a_whole_life() -> None:
    model = HardSharing(MLP(3, [4]), {name: BinaryHead(4) for name in ODD_NAMES})
    assert model.output_names == tuple(ODD_NAMES)
    names = [name for name, _ in model.named_parameters()]
    assert all(f"heads.{name}.layers.0.weight" in names for name in ODD_NAMES)
    fresh = HardSharing(MLP(3, [4]), {name: BinaryHead(4) for name in ODD_NAMES})
    fresh.load_state_dict(model.state_dict())
    x = torch.randn(5, 3)
    expected = model.eval()(x)
    for other in (fresh, copy.deepcopy(model)):
        assert all(torch.equal(output, expected[name]) for name, output in other(x).items())
    model.double().train().requires_grad_(False)
    assert all(p.dtype == torch.float64 and not p.requires_grad for p in model.parameters())
    assert model.get_submodule("heads.type") is model.heads["type"]
    assert model.get_submodule("heads.keys.layers.0") is model.get_submodule("heads")["keys"].layers[0]  # type: ignore[index]
    assert model.get_parameter("heads.type.layers.0.weight").shape == (1, 4)
    with pytest.raises(AttributeError, match=r"heads\.nobody"):
        model.get_submodule("heads.nobody")


def test_only_the_trunk_can_be_replaced_functionally_with_odd_names() -> None:
    model = HardSharing(MLP(3, [4]), {"type": BinaryHead(4)})
    zeros = {name: torch.zeros_like(p) for name, p in model.named_parameters() if name.startswith("trunk")}
    outputs: dict[str, Tensor] = torch.func.functional_call(model, zeros, (torch.randn(5, 3),))
    bias = model.get_parameter("heads.type.layers.0.bias")
    torch.testing.assert_close(outputs["type"], bias.expand(5))


def test_all_bad_names_at_once() -> None:
    heads: dict[Any, Any] = {"loss": BinaryHead(4), "a.b": BinaryHead(4), "": BinaryHead(4), "training": None}
    with pytest.raises(ModelError) as error:
        HardSharing(MLP(3, [4]), heads)
    message = str(error.value)
    assert "5 problems" in message
    for part in ("'loss'", "'a.b'", "found ''", "'training'", "heads['training'] to be a torch.nn.Module"):
        assert part in message


def test_refuses_no_heads_and_parts_that_are_no_modules() -> None:
    part: Any = len
    with pytest.raises(ModelError, match=r"(?s)at least one head.*trunk to be.*encoder to be"):
        HardSharing(part, {}, encoder=part)
