from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import nn

from multiloss.core.errors import ModelError
from multiloss.nn import MLP, BinaryHead, HardSharing, parameter_groups


def model() -> HardSharing:
    return HardSharing(MLP(3, [4, 5]), {"priority": BinaryHead(5), "my type": BinaryHead(5, hidden=[2])})


def rates(module: nn.Module, lr: Any) -> dict[str, float]:
    """Learning rate of each parameter by name; checks that none is in two groups."""
    names = {id(parameter): name for name, parameter in module.named_parameters()}
    found = [(names[id(p)], group["lr"]) for group in parameter_groups(module, lr) for p in group["params"]]
    assert len(found) == len(dict(found))
    return dict(found)


def test_one_rate_for_all() -> None:
    net = model()
    groups = parameter_groups(net, 0.1)
    assert len(groups) == 1 and groups[0]["lr"] == 0.1 and groups[0]["name"] == "default"
    assert all(a is b for a, b in zip(groups[0]["params"], net.parameters(), strict=True))


def test_parts_outputs_and_default() -> None:
    net = model()
    found = rates(net, {"trunk": 1e-4, "priority": 1e-3, "default": 1e-2})
    assert set(found) == {name for name, _ in net.named_parameters()}
    for name, rate in found.items():
        expected = 1e-4 if name.startswith("trunk.") else 1e-3 if name.startswith("heads.priority.") else 1e-2
        assert rate == expected, name


def test_the_longest_path_wins_in_any_order() -> None:
    lr = {"heads": 1.0, "trunk": 2.0, "trunk.0": 3.0, "trunk.0.bias": 4.0, "my type": 5.0}
    for order in (lr, dict(reversed(lr.items()))):
        found = rates(model(), order)
        assert found["trunk.2.weight"] == 2.0 and found["trunk.0.weight"] == 3.0 and found["trunk.0.bias"] == 4.0
        assert found["heads.priority.layers.0.bias"] == 1.0 and found["heads.my type.layers.0.bias"] == 5.0


def test_a_path_ends_at_a_dot() -> None:
    net = nn.ModuleDict({"tower": nn.Linear(1, 1), "tower2": nn.Linear(1, 1)})
    assert rates(net, {"tower": 1.0, "default": 2.0})["tower2.bias"] == 2.0


def test_a_path_goes_before_an_output_of_the_same_name() -> None:
    net = HardSharing(MLP(3, [5]), {"trunk": BinaryHead(5)})
    found = rates(net, {"trunk": 1.0, "heads.trunk": 2.0})
    assert found["trunk.0.bias"] == 1.0 and found["heads.trunk.layers.0.bias"] == 2.0


def test_groups_are_named_in_order_and_never_empty() -> None:
    groups = parameter_groups(model(), {"trunk": 1.0, "trunk.0": 2.0, "trunk.2": 3.0, "heads": 4.0, "default": 5.0})
    assert [group["name"] for group in groups] == ["trunk.0", "trunk.2", "heads"]


def test_an_optimiser_takes_them() -> None:
    net = model()
    optimizer = torch.optim.SGD(parameter_groups(net, {"trunk": 0.0, "heads": 0.1}))
    before = {name: parameter.clone() for name, parameter in net.named_parameters()}
    torch.cat(list(net(torch.rand(4, 3)).values())).sum().backward()  # type: ignore[no-untyped-call]
    optimizer.step()
    moved = {name for name, parameter in net.named_parameters() if not torch.equal(parameter, before[name])}
    assert moved and all(name.startswith("heads.") for name in moved)


def test_frozen_parameters_need_no_rate_but_keep_theirs() -> None:
    net = model()
    net.trunk.requires_grad_(False)
    assert all(name.startswith("heads.") for name in rates(net, {"heads": 1.0}))
    assert rates(net, {"heads": 1.0, "trunk": 2.0})["trunk.0.bias"] == 2.0


def test_wrapped_models_have_the_same_names() -> None:
    compiled: Any = torch.compile(model(), backend="eager")
    assert [group["name"] for group in parameter_groups(compiled, {"trunk": 1.0, "heads": 2.0})] == ["trunk", "heads"]


def test_all_mistakes_at_once() -> None:
    with pytest.raises(ModelError) as error:
        parameter_groups(model(), {"trnk": 1.0, "priority": -1.0, "heads.priority": math.nan})
    message = str(error.value)
    assert "5 problems" in message
    for part in ("-1.0", "nan", "Did you mean 'trunk'?", "two: 'priority' and 'heads.priority'"):
        assert part in message
    for name in ("trunk.0.weight", "trunk.2.bias", "heads.my type.layers.0.weight"):
        assert name in message


@pytest.mark.parametrize("lr", [-1.0, math.inf, "0.1", None])
def test_one_bad_rate(lr: Any) -> None:
    with pytest.raises(ModelError, match="finite learning rate"):
        parameter_groups(model(), lr)
