"""Traps that other libraries fell into, each taken from a thread, and the hot path without a word to the host."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

import multiloss as ml
from multiloss.objective import Ledger, Objective, Progress, ramp

NAN = float("nan")
OUTPUTS = ("a", "b")


class Net(nn.Module):
    def __init__(self, names: tuple[str, ...] = OUTPUTS) -> None:
        super().__init__()
        self.trunk = nn.Linear(3, 4)
        self.heads = nn.ModuleDict({name: nn.Linear(4, 1) for name in names})

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        hidden = self.trunk(x).tanh()
        return {name: head(hidden)[:, 0] for name, head in self.heads.items()}


@pytest.fixture
def net() -> Net:
    torch.manual_seed(0)
    return Net().double()


X = torch.randn(8, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def labels(seed: int = 2) -> dict[str, Tensor]:
    rows = torch.randn(2, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    return dict(zip(OUTPUTS, rows, strict=True))


def gradients(net: nn.Module, objective: Objective, x: Tensor, targets: dict[str, Tensor]) -> dict[str, Any]:
    net.zero_grad()
    objective(net(x), targets, model=net).total.backward()  # type: ignore[no-untyped-call]
    return {name: None if p.grad is None else p.grad.clone() for name, p in net.named_parameters()}


@pytest.mark.parametrize("loss", ["mse", "binary_cross_entropy", lambda p, y: (p - y).square().mean()])
@pytest.mark.parametrize("weight", [1.0, 0.3, 0.0])
def test_a_missing_label_in_one_head_leaves_the_rest_as_without_that_row(net: Net, loss: Any, weight: float) -> None:
    targets = {name: target.sigmoid() for name, target in labels().items()}
    objective = Objective({"a": "mse", "b": loss}, loss_weights={"b": weight})
    targets["b"][3] = NAN
    found = gradients(net, objective, X, targets)
    rows = torch.arange(8) != 3
    only_a = gradients(net, Objective({"a": "mse", "b": None}), X, targets)
    only_b = gradients(
        net, Objective({"b": loss, "a": None}, loss_weights={"b": weight}), X[rows], {"b": targets["b"][rows]}
    )
    assert torch.equal(found["heads.a.weight"], only_a["heads.a.weight"])
    if weight:
        torch.testing.assert_close(found["heads.b.weight"], only_b["heads.b.weight"], rtol=1e-13, atol=1e-16)
        together = only_a["trunk.weight"] + only_b["trunk.weight"]
        torch.testing.assert_close(found["trunk.weight"], together, rtol=1e-13, atol=1e-15)
    else:
        assert found["heads.b.weight"] is None and torch.equal(found["trunk.weight"], only_a["trunk.weight"])
    assert all(g is None or bool(g.isfinite().all()) for g in found.values())


def test_weight_zero_is_logged_and_builds_no_graph(net: Net) -> None:
    objective = Objective("mse", loss_weights={"b": 0.0})
    losses = objective(net(X), labels())
    assert not losses["b"].requires_grad and losses["a"].requires_grad
    line = losses.ledger()["b"]
    expected = (net(X)["b"] - labels()["b"]).square().mean().item()
    assert line.value == pytest.approx(expected)
    assert (line.weight, line.contribution, line.share, line.count) == (0.0, 0.0, 0.0, 8)
    objective.loss_weights["b"] = ramp(0, 1, epochs=1)
    assert not objective(net(X), labels())["b"].requires_grad
    assert objective(net(X), labels(), progress=Progress(0, 1, 4, 2))["b"].requires_grad


def test_a_whole_of_weight_zero_whose_part_has_one_keeps_its_graph(net: Net) -> None:
    def parts(pred: Tensor, target: Tensor) -> dict[str, Tensor]:
        return {"ce": (pred - target).square(), "kl": pred.square().mean()}

    objective = Objective({"a": parts, "b": "mse"}, loss_weights={"a": 0.0, "a/kl": 0.5})
    losses = objective(net(X), labels())
    assert losses.weights == {"a/ce": 0.0, "a/kl": 0.5, "b": 1.0}
    found = gradients(net, objective, X, labels())
    net.zero_grad()
    outputs = net(X)
    (0.5 * outputs["a"].square().mean() + (outputs["b"] - labels()["b"]).square().mean()).backward()
    for name, parameter in net.named_parameters():
        torch.testing.assert_close(found[name], parameter.grad, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("how", ["nan", "key"])
def test_a_batch_without_a_label_for_one_output(net: Net, how: str) -> None:
    targets = labels()
    if how == "nan":
        targets["b"][:] = NAN
    else:
        del targets["b"]
    objective = Objective("mse", loss_weights={"b": 0.25})
    losses = objective(net(X), targets)
    assert losses.absent == ("b",) and list(losses) == ["a"]
    found = gradients(net, objective, X, targets)
    assert found["heads.b.weight"] is None and found["heads.b.bias"] is None
    line = losses.ledger()["b"]
    assert (line.value, line.count, line.contribution, line.weight) == (None, 0, 0.0, 0.25)
    assert "b 0 (no label)" in str(losses.ledger())


def test_no_label_at_all_in_a_batch_and_in_an_epoch(net: Net) -> None:
    objective, ledger = Objective("mse", loss_weights={"a": 2.0, "b": 0.5}), Ledger()
    nothing = {name: torch.full((8,), NAN, dtype=torch.float64) for name in OUTPUTS}
    for targets in (nothing, {}, labels() | {"b": nothing["b"]}):
        losses = objective(net(X), targets)
        losses.total.backward()  # type: ignore[no-untyped-call]
        ledger.add(losses.record())
    record = ledger.epoch()
    assert record.steps == 3 and (record["b"].value, record["b"].count, record["b"].weight) == (None, 0, 0.5)
    assert record["a"].count == 8 and record["a"].contribution == pytest.approx(record.total)
    assert record["a"].note is not None and "2 of 3 steps had no label" in record["a"].note
    assert net.heads["b"].weight.grad is None
    ledger.add(objective(net(X), nothing).record())
    empty = ledger.whole()
    assert empty.total == 0.0 and [term.share for term in empty] == [None, None]


def test_keras_rule_for_weights_of_zero_differs_by_the_part_that_is_left(net: Net) -> None:
    weight = torch.zeros(8)
    weight[0] = 1.0
    outputs, targets = net(X), labels()
    by = {
        rule: Objective("mse", reduction=rule)(outputs, targets, sample_weight={"a": weight}).ledger()
        for rule in ("labelled", "batch")
    }
    one = (outputs["a"][0] - targets["a"][0]).square().item()
    assert by["labelled"]["a"].value == pytest.approx(one) and by["batch"]["a"].value == pytest.approx(one / 8)
    assert [record.reduction for record in by.values()] == ["labelled", "batch"]
    assert by["labelled"]["b"].value == by["batch"]["b"].value


@pytest.mark.parametrize("order", list(itertools.permutations(["a", "b", "c"])))
def test_the_order_of_names_does_not_matter(order: tuple[str, ...]) -> None:
    g = torch.Generator().manual_seed(0)
    outputs = {name: torch.randn(6, generator=g) for name in "abc"}
    targets = {name: torch.randn(6, generator=g) for name in "abc"}
    specs, weights = {"a": "mse", "b": "mae", "c": "huber"}, {"a": 1.0, "b": 0.2, "c": 3.0}
    objective = Objective(
        {name: specs[name] for name in order},
        loss_weights={name: weights[name] for name in reversed(order)},
    )
    losses = objective(outputs, {name: targets[name] for name in reversed(order)})
    plain = Objective(specs, loss_weights=weights)(outputs, targets)
    assert {name: value.item() for name, value in losses.items()} == {name: v.item() for name, v in plain.items()}
    assert losses.weights == plain.weights
    torch.testing.assert_close(losses.total, plain.total)


def test_a_penalty_on_frozen_weights_is_in_no_total(net: Net) -> None:
    objective = Objective("mse", penalties=[ml.L2(0.1)])
    net.trunk.requires_grad_(False)
    losses = objective(net(X), labels(), model=net)
    assert [name for name in losses if "/" in name] == ["l2/heads.a.weight", "l2/heads.b.weight"]
    gradients(net, objective, X, labels())
    assert net.trunk.weight.grad is None


def test_loss_weights_never_touch_penalties(net: Net) -> None:
    for weight in (0.0, 1.0, 100.0):
        objective = Objective("mse", loss_weights=weight, penalties=[ml.L2(0.1, on="trunk")])
        record = objective(net(X), labels(), model=net).ledger()
        assert record["l2/trunk.weight"].weight == 0.1
        assert record.penalty == pytest.approx(0.1 * net.trunk.weight.square().sum().item())


def test_names_with_spaces_and_letters_of_all_kinds() -> None:
    names = ("heating load", "größe", "a-b", "losses", "penalty")
    outputs = {name: torch.ones(4) for name in names}
    losses = Objective("mae", loss_weights=dict.fromkeys(names, 2.0))(outputs, {n: torch.zeros(4) for n in names})
    assert losses.total.item() == 10.0
    assert "2.0 x heating load 1.0000 (20.0 %)" in str(losses.ledger())


def test_three_plus_one_accumulated_is_the_whole(net: Net) -> None:
    objective = Objective("mse", loss_weights={"b": 0.5})
    whole = gradients(net, objective, X, labels())
    net.zero_grad()
    for start in range(0, 8, 2):
        cut = slice(start, start + 2)
        losses = objective(net(X[cut]), {name: target[cut] for name, target in labels().items()})
        ml.backward({"part": losses.total}, weights={"part": 1 / 4})
    for name, parameter in net.named_parameters():
        torch.testing.assert_close(parameter.grad, whole[name], rtol=1e-12, atol=1e-15)


def test_one_metric_on_two_outputs_keeps_them_apart() -> None:
    objective = Objective("mse", metrics="mae")
    outputs = {"a": torch.zeros(4), "b": torch.zeros(4)}
    objective(outputs, {"a": torch.ones(4), "b": torch.ones(4)})
    metrics = objective.output_metrics(dict.fromkeys(OUTPUTS, "regression"), dict.fromkeys(OUTPUTS, 1), {})
    metrics.add(outputs, {"a": torch.full((4,), 1.0), "b": torch.full((4,), 3.0)})
    assert metrics.compute() == {"a_mae": 1.0, "b_mae": 3.0}


def test_validation_before_training_leaves_no_inference_tensor_behind(net: Net) -> None:
    objective = Objective({"a": {"name": "binary_cross_entropy", "pos_weight": 2.0}, "b": "mse"})
    targets = {name: target.sigmoid() for name, target in labels().items()}
    with torch.inference_mode():
        objective(net(X), targets).ledger()
    assert all(g is not None for g in gradients(net, objective, X, targets).values())


# -------------------------------------------------------------------------------- nothing asks the device

ASKS = ("_local_scalar_dense", "item", "nonzero", "is_nonzero", "masked_select", "equal", "_unique2", "unique_dim")


class NoQuestions(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Fails where the host would wait for the device: a number, a truth, or a shape that depends on values."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.overloadpacket.__name__
        indexed = name == "index" and any(i is not None and i.dtype == torch.bool for i in args[1])
        assert name not in ASKS and not indexed, f"{func} asks the device"
        return func(*args, **(kwargs or {}))


@contextmanager
def nothing_asked() -> Iterator[None]:
    with NoQuestions():  # type: ignore[no-untyped-call]
        yield


def test_the_guard_notices_questions() -> None:
    for question in (lambda x: x.item(), lambda x: bool(x.any()), lambda x: x[x > 0], lambda x: x.nonzero()):
        with pytest.raises(AssertionError, match="asks the device"), nothing_asked():
            question(torch.ones(()))


HOT: dict[str, tuple[str, tuple[int, ...], Tensor]] = {
    "r": ("mse", (6,), torch.randn(6)),
    "v": ("huber", (6, 3), torch.randn(6, 3)),
    "y": ("binary_cross_entropy", (6,), torch.rand(6)),
    "k": ("cross_entropy", (6, 4), torch.arange(6) % 4),
    "o": ("ordinal", (6, 3), torch.arange(6) % 4),
    "g": ("gaussian_nll", (6, 2), torch.randn(6)),
    "c": ("cosine", (6, 3), torch.randn(6, 3)),
    "f": ("focal", (6, 4), torch.arange(6) % 4),
}


@pytest.mark.parametrize("reduction", ["labelled", "batch"])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("missing", [0, 2, 6])
@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_the_hot_path_asks_nothing(device: str, missing: int, weighted: bool, reduction: Any) -> None:
    model = nn.Sequential(nn.Linear(3, 2)).to(device)
    whole = {name: case[2].clone() for name, case in HOT.items()}
    objective = Objective(
        {name: case[0] for name, case in HOT.items()},
        loss_weights={"r": ramp(0, 1, epochs=1), "v": 0.0, "y": 0.3},
        penalties=[ml.L2(0.1), ml.L1(0.1)],
        metrics={"r": ["mae"], "k": ["accuracy"]},
        reduction=reduction,
    )
    # the first call looks at the batch once, on the CPU
    objective({name: torch.zeros(case[1]) for name, case in HOT.items()}, whole, model=nn.Sequential(nn.Linear(3, 2)))
    for target in whole.values():
        target[:missing] = NAN if target.is_floating_point() else -100
    counts = {name: count(target) for name, target in whole.items()}
    targets = {name: target.to(device) for name, target in whole.items()}
    weight = {name: torch.ones(6, device=device) for name in whole} if weighted else None
    metrics = objective.output_metrics({"r": "regression", "k": "multiclass"}, {"r": 1, "k": 4}, {})
    ledger = Ledger()
    with nothing_asked():
        for step in range(3):
            outputs = {name: torch.zeros(case[1], device=device, requires_grad=True) for name, case in HOT.items()}
            losses = objective(
                outputs, targets, model=model, sample_weight=weight, counts=counts, progress=Progress(0, step, 9, 2)
            )
            ledger.add(ml.backward(losses))
            metrics.add(outputs, targets)
    assert len(ledger._window) == 3
    if missing == 6 and reduction == "labelled":
        assert losses.absent == tuple(HOT)
    elif missing < 6:
        assert outputs["k"].grad is not None and outputs["v"].grad is None


def count(target: Tensor) -> int:
    missing = target.isnan() if target.is_floating_point() else target == -100
    return int((~missing).sum())


def test_a_function_of_ones_own_asks_nothing_where_no_label_is_missing() -> None:
    objective = Objective({"y": lambda p, y: (p - y).square()})
    pred, target = torch.zeros(4, requires_grad=True), torch.ones(4)
    objective({"y": pred}, {"y": target}, counts={"y": 4})
    with nothing_asked():
        for weight in (None, {"y": torch.rand(4)}):
            ml.backward(objective({"y": pred}, {"y": target}, sample_weight=weight, counts={"y": 4}))
