"""Penalties: values, names, what they leave out, and what they refuse."""

from __future__ import annotations

import copy
import gc
import weakref
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from multiloss.core.errors import ObjectiveError
from multiloss.objective.penalty import (
    L1,
    L2,
    Activity,
    CustomPenalty,
    Elastic,
    Penalty,
    resolve_penalty,
)

NAN = float("nan")


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.trunk = nn.Sequential(nn.Linear(3, 4), nn.LayerNorm(4), nn.Linear(4, 4))
        self.trunk_b = nn.Linear(4, 4)
        self.heads = nn.ModuleDict({"price": nn.Linear(4, 1), "kind": nn.Linear(4, 2)})
        self.double()

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        shared = self.trunk_b(self.trunk(x))
        return {name: head(shared) for name, head in self.heads.items()}


@pytest.fixture
def net() -> Net:
    torch.manual_seed(0)
    return Net()


def total(penalty: Penalty, model: nn.Module) -> Tensor:
    return torch.stack([coefficient * value for coefficient, value in penalty.terms(model).values()]).sum()


def by_hand(model: nn.Module, names: list[str], power: int) -> float:
    state = dict(model.named_parameters())
    return float(sum(abs(w) ** power for name in names for w in state[name].flatten().tolist()))


TRUNK = ["trunk.0.weight", "trunk.2.weight"]
HEADS = ["heads.price.weight", "heads.kind.weight"]
EVERY = [*TRUNK, "trunk_b.weight", *HEADS]


@pytest.mark.parametrize(
    ("on", "biases", "names"),
    [
        (None, False, EVERY),
        ("trunk", False, TRUNK),
        ("trunk.0", False, ["trunk.0.weight"]),
        ("trunk.0.weight", False, ["trunk.0.weight"]),
        ("heads.*.weight", False, HEADS),
        ("heads.*", False, HEADS),
        ("*price", False, ["heads.price.weight"]),
        ("trunk*", False, [*TRUNK, "trunk_b.weight"]),
        (
            "trunk",
            True,
            ["trunk.0.weight", "trunk.0.bias", "trunk.1.weight", "trunk.1.bias", "trunk.2.weight", "trunk.2.bias"],
        ),
        ("heads.*.bias", True, ["heads.price.bias", "heads.kind.bias"]),
    ],
)
def test_what_is_summed_and_its_names(net: Net, on: str | None, biases: bool, names: list[str]) -> None:
    for power, penalty in ((1, L1(0.3, on, biases)), (2, L2(0.3, on, biases))):
        terms = penalty.terms(net)
        assert list(terms) == [f"l{power}/{name}" for name in names]
        assert {coefficient for coefficient, _ in terms.values()} == {0.3}
        for name, (_, value) in zip(names, terms.values(), strict=True):
            assert value.item() == pytest.approx(by_hand(net, [name], power), rel=1e-12)
    both = Elastic(0.1, 0.2, on, biases)
    assert list(both.terms(net)) == [f"l1/{name}" for name in names] + [f"l2/{name}" for name in names]
    expected = 0.1 * by_hand(net, names, 1) + 0.2 * by_hand(net, names, 2)
    assert total(both, net).item() == pytest.approx(expected, rel=1e-12)


def test_gradient_is_the_textbook_one(net: Net) -> None:
    weight = net.trunk_b.weight
    assert torch.equal(torch.autograd.grad(total(L2(0.5, "trunk_b"), net), weight)[0], weight)
    assert torch.equal(torch.autograd.grad(total(L1(0.5, "trunk_b"), net), weight)[0], 0.5 * weight.sign())


def test_frozen_weights_are_left_out_as_long_as_they_are_frozen(net: Net) -> None:
    penalty = L2(0.1, "trunk")
    assert len(penalty.terms(net)) == 2
    net.trunk[0].requires_grad_(False)
    assert list(penalty.terms(net)) == ["l2/trunk.2.weight"]
    net.trunk.requires_grad_(False)
    assert penalty.terms(net) == {}
    net.trunk.requires_grad_(True)
    assert len(penalty.terms(net)) == 2


def test_value_does_not_depend_on_grad_mode(net: Net) -> None:
    with torch.no_grad():
        value = total(L2(0.1), net)
    assert torch.equal(value, total(L2(0.1), net))


def test_tied_weight_counts_once_under_either_name(net: Net) -> None:
    net.trunk_b.weight = net.get_parameter("trunk.2.weight")
    assert [name for name in L2(0.1).terms(net) if name.startswith("l2/trunk")] == [
        "l2/trunk.0.weight",
        "l2/trunk.2.weight",
    ]
    assert list(L2(0.1, "trunk_b").terms(net)) == ["l2/trunk_b.weight"]


def test_exchanged_parts_are_seen(net: Net) -> None:
    penalty = L2(0.1, "heads")
    penalty.terms(net)
    net.heads["kind"] = nn.Linear(4, 9)
    _, value = penalty.terms(net)["l2/heads.kind.weight"]
    assert value.item() == pytest.approx(by_hand(net, ["heads.kind.weight"], 2))
    net.heads["kind"] = nn.Sequential(nn.Linear(4, 9))
    assert list(penalty.terms(net)) == ["l2/heads.price.weight", "l2/heads.kind.0.weight"]


def test_two_models_and_no_model_kept_alive(net: Net) -> None:
    penalty = L2(0.1)
    other = nn.Linear(2, 2)
    assert list(penalty.terms(other)) == ["l2/weight"]
    assert len(penalty.terms(net)) == len(EVERY)
    gone = weakref.ref(other)
    del other
    gc.collect()
    assert gone() is None


@pytest.mark.parametrize(
    ("penalty", "words"),
    [
        (L2(0.1, "trunck"), ["on='trunck', which names none", "Did you mean 'trunk'?"]),
        (L1(0.1, "heads.prise"), ["Did you mean 'heads.price'?"]),
        (L2(0.1, "tru"), ["on='tru', which names none"]),
        (L2(0.1, "heads.*.bias"), ["found only biases and scales (heads.price.bias, heads.kind.bias)", "biases=True"]),
    ],
)
def test_a_part_that_does_not_exist(net: Net, penalty: Penalty, words: list[str]) -> None:
    with pytest.raises(ObjectiveError) as error:
        penalty.terms(net)
    assert [word for word in words if word not in str(error.value)] == []


@pytest.mark.parametrize("bad", [-1.0, NAN, float("inf"), True, "0.1"])
def test_coefficients(bad: float) -> None:
    makers: list[Callable[[], Penalty]] = [
        lambda: L1(bad),
        lambda: L2(bad),
        lambda: Activity(bad, on="trunk"),
        lambda: CustomPenalty("mine", lambda model: torch.zeros(()), bad),
    ]
    for maker in makers:
        with pytest.raises(ObjectiveError, match="coefficient: expected a finite number of 0 or more, found"):
            maker()
    with pytest.raises(ObjectiveError, match=r"(?s)2 problems.*l1: .*l2: "):
        Elastic(bad, bad)


@pytest.mark.parametrize("norm", ["l1", "l2"])
def test_activity_is_the_mean_over_samples_of_the_sum_over_features(net: Net, norm: str) -> None:
    penalty = Activity(0.3, on="trunk", norm=norm)
    penalty.attach(net)
    x = torch.randn(5, 3, dtype=torch.float64)
    net(x)
    ((name, (coefficient, value)),) = penalty.terms(net).items()
    z = net.trunk(x)
    expected = (z.abs() if norm == "l1" else z**2).sum(1).mean()
    assert (name, coefficient) == ("activity/trunk", 0.3)
    torch.testing.assert_close(value, expected)
    assert torch.autograd.grad(value, net.get_parameter("trunk.0.weight"))[0].ne(0).any()


def test_activity_by_pattern_follows_the_last_pass(net: Net) -> None:
    penalty = Activity(1.0, on="heads.*")
    penalty.attach(net)
    penalty.attach(net)
    net(torch.randn(9, 3, dtype=torch.float64))
    outputs = net(torch.randn(5, 3, dtype=torch.float64))
    terms = penalty.terms(net)
    assert list(terms) == ["activity/heads.price", "activity/heads.kind"]
    for name, output in outputs.items():
        torch.testing.assert_close(terms[f"activity/heads.{name}"][1], output.square().sum() / 5)
    assert torch.equal(penalty.terms(net)["activity/heads.kind"][1], terms["activity/heads.kind"][1])


def test_activity_of_a_module_called_twice_counts_twice() -> None:
    class Twins(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.tower = nn.Identity()

        def forward(self, a: Tensor, b: Tensor) -> Tensor:
            return torch.sub(self.tower(a), self.tower(b))

    model, penalty = Twins(), Activity(1.0, on="tower", norm="l1")
    penalty.attach(model)
    for _ in range(2):
        model(torch.ones(2, 3), 2 * torch.ones(2, 3))
        assert penalty.terms(model)["activity/tower"][1] == 9.0
    model.tower(torch.ones(2, 1))
    assert penalty.terms(model)["activity/tower"][1] == 1.0


def test_activity_forgets_a_pass_that_failed() -> None:
    model = nn.Sequential(nn.Identity(), nn.Linear(2, 1))
    penalty = Activity(1.0, on="0", norm="l1")
    penalty.attach(model)
    with pytest.raises(RuntimeError):
        model(torch.ones(1, 3))
    model(torch.ones(1, 2))
    assert penalty.terms(model)["activity/0"][1] == 2.0


def test_activity_errors(net: Net) -> None:
    penalty = Activity(1.0, on="trunk")
    with pytest.raises(ObjectiveError, match=r"expected to be attached to this model; call attach\(model\)"):
        penalty.terms(net)
    penalty.attach(net)
    with pytest.raises(ObjectiveError, match="expected a forward pass, found none"):
        penalty.terms(net)
    with pytest.raises(ObjectiveError, match="attached to this model"):
        penalty.terms(copy.deepcopy(net))
    penalty.detach()
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in net.modules())
    with pytest.raises(ObjectiveError, match="Did you mean 'trunk'"):
        Activity(1.0, on="trunc").attach(net)
    with pytest.raises(ObjectiveError, match=r"(?s)2 problems.*coefficient.*norm: expected 'l1' or 'l2', found 'l3'"):
        Activity(-1.0, on="trunk", norm="l3")


def test_activity_of_no_tensor() -> None:
    model = nn.Sequential(nn.LSTM(2, 2))
    Activity(1.0, on="0").attach(model)
    with pytest.raises(ObjectiveError, match="module '0' to return a tensor, found tuple"):
        model(torch.zeros(1, 1, 2))


def test_moving_to_another_model_leaves_the_first(net: Net) -> None:
    penalty, other = Activity(1.0, on="trunk"), Net()
    penalty.attach(net)
    penalty.attach(other)
    net(torch.zeros(1, 3, dtype=torch.float64))
    with pytest.raises(ObjectiveError, match="expected a forward pass"):
        penalty.terms(other)


def test_custom(net: Net) -> None:
    def size(model: nn.Module) -> Tensor:
        return torch.stack([p.norm() for p in model.parameters()]).sum()

    penalty = resolve_penalty(size)
    ((name, (coefficient, value)),) = penalty.terms(net).items()
    assert (name, coefficient) == ("size", 1.0)
    assert torch.equal(value, size(net))
    with pytest.raises(ObjectiveError, match=r"penalty 'wide': expected a scalar tensor, found shape \(2,\)"):
        CustomPenalty("wide", lambda model: torch.zeros(2)).terms(net)


def test_what_resolves(net: Net) -> None:
    penalty = L2(0.1)
    assert resolve_penalty(penalty) is penalty
    from_mapping = resolve_penalty({"name": "L2", "coefficient": 0.1, "on": "trunk"})
    assert from_mapping.terms(net) == L2(0.1, "trunk").terms(net)
    assert isinstance(resolve_penalty({"name": "elastic", "l1": 0.1, "l2": 0.2}), Elastic)
    assert isinstance(resolve_penalty({"name": "activity", "coefficient": 1, "on": "a", "norm": "l1"}), Activity)


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        (
            {"name": "l3", "coefficient": 1},
            ["found {'name': 'l3'", "Did you mean 'l", "Known: activity, elastic, l1, l2"],
        ),
        ({"coefficient": 1}, ["expected {'name': name, ...}"]),
        (
            {"name": "l2", "coeficient": 1},
            ["2 problems", "'coeficient'; known: coefficient, on, biases", "expected 'coefficient', found none"],
        ),
        (
            {"name": "l2", "coefficient": -1},
            ["penalty 'l2': coefficient: expected a finite number of 0 or more, found -1"],
        ),
        (0.1, ["expected a penalty", "found 0.1"]),
        (L2, ["expected a penalty"]),
    ],
)
def test_what_does_not_resolve(spec: object, words: list[str]) -> None:
    with pytest.raises(ObjectiveError) as error:
        resolve_penalty(spec)
    assert [word for word in words if word not in str(error.value)] == []
