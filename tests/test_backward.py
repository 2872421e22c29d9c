"""The door: `.grad` is autograd's of the weighted sum, and what cannot be differentiated is refused."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

import multiloss as ml
from multiloss.core.errors import ObjectiveError
from multiloss.objective import Ledger, Objective

NAN, INF = float("nan"), float("inf")


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.trunk = nn.Linear(3, 4)
        self.a, self.b = nn.Linear(4, 1), nn.Linear(4, 1)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        hidden = self.trunk(x).tanh()
        return {"a": self.a(hidden)[:, 0], "b": self.b(hidden)[:, 0]}


@pytest.fixture
def net() -> Net:
    torch.manual_seed(0)
    return Net().double()


X = torch.randn(12, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
Y = torch.randn(12, dtype=torch.float64, generator=torch.Generator().manual_seed(2))


def squares(net: nn.Module, x: Tensor = X, y: Tensor = Y) -> dict[str, Tensor]:
    return {name: (pred - y).square().mean() for name, pred in net(x).items()}


def gradients(net: nn.Module) -> dict[str, Tensor | None]:
    return {name: None if p.grad is None else p.grad.clone() for name, p in net.named_parameters()}


def close(found: dict[str, Tensor | None], expected: dict[str, Tensor | None]) -> None:
    assert found.keys() == expected.keys()
    for name, gradient in expected.items():
        other = found[name]
        assert (gradient is None) == (other is None), name
        if gradient is not None and other is not None:
            torch.testing.assert_close(other, gradient, rtol=1e-12, atol=1e-14)


@settings(max_examples=25, deadline=None)
@given(st.dictionaries(st.sampled_from("ab"), st.sampled_from([0.0, 1.0, 0.3, 7, 1e-8, 1e8])))
def test_gradient_is_autograds_of_the_weighted_sum(weights: dict[str, float]) -> None:
    torch.manual_seed(0)
    net = Net().double()
    record = ml.backward(squares(net), weights=weights)
    found = gradients(net)
    net.zero_grad()
    losses = squares(net)
    total = sum(weights.get(name, 1.0) * loss for name, loss in losses.items() if weights.get(name, 1.0))
    if isinstance(total, Tensor):
        total.backward()  # type: ignore[no-untyped-call]
        assert record.total is not None and record.total.item() == pytest.approx(total.item(), rel=1e-12)
    close(found, gradients(net))
    assert [(t.name, t.kind, t.weight, t.labels) for t in record.terms] == [
        (name, "loss", float(weights.get(name, 1.0)), None) for name in "ab"
    ]
    assert not any(t.value.requires_grad for t in record.terms)


def test_weight_zero_costs_no_gradient(net: Net) -> None:
    ml.backward(squares(net), weights={"b": 0})
    assert net.b.weight.grad is None and net.a.weight.grad is not None


def test_all_weights_zero_moves_nothing(net: Net) -> None:
    record = ml.backward(squares(net), weights={"a": 0, "b": 0})
    assert record.total is not None and record.total.item() == 0
    assert all(p.grad is None for p in net.parameters())


def test_gradients_accumulate_three_plus_one(net: Net) -> None:
    parts = [(slice(0, 3), 3), (slice(3, 6), 3), (slice(6, 9), 3), (slice(9, 12), 3)]
    for cut, _ in parts:
        ml.backward(squares(net, X[cut], Y[cut]), weights={"a": 1 / 4, "b": 0.5 / 4})
    accumulated = gradients(net)
    net.zero_grad()
    ml.backward(squares(net), weights={"b": 0.5})
    close(accumulated, gradients(net))


def test_unequal_parts_accumulate_by_their_size(net: Net) -> None:
    for cut, part in ((slice(0, 9), 9 / 12), (slice(9, 12), 3 / 12)):
        ml.backward(squares(net, X[cut], Y[cut]), weights={"a": part, "b": 2 * part})
    accumulated = gradients(net)
    net.zero_grad()
    ml.backward(squares(net), weights={"b": 2})
    close(accumulated, gradients(net))


def test_an_objectives_losses_bring_their_weights(net: Net) -> None:
    objective = Objective("mse", loss_weights={"b": 0.25}, penalties=[ml.L2(0.1, on="trunk")])
    record = ml.backward(objective(net(X), {"a": Y, "b": Y}, model=net))
    found = gradients(net)
    net.zero_grad()
    own = squares(net)
    total = own["a"] + 0.25 * own["b"] + 0.1 * net.trunk.weight.square().sum()
    total.backward()  # type: ignore[no-untyped-call]
    close(found, gradients(net))
    assert [(t.name, t.kind, t.weight) for t in record.terms] == [
        ("a", "loss", 1.0), ("b", "loss", 0.25), ("l2/trunk.weight", "penalty", 0.1),
    ]  # fmt: skip
    with pytest.raises(ObjectiveError, match=r"objective\.loss_weights\[name\]"):
        ml.backward(objective(net(X), {"a": Y, "b": Y}, model=net), weights={"a": 1})


def test_a_batch_without_labels_moves_nothing(net: Net) -> None:
    objective = Objective("mse")
    nothing = torch.full_like(Y, NAN)
    record = ml.backward(objective(net(X), {"a": nothing, "b": nothing}))
    assert record.total is None and record.terms == () and record.absent == ("a", "b")
    assert all(p.grad is None for p in net.parameters())


def test_the_graph_may_be_kept(net: Net) -> None:
    losses = squares(net)
    ml.backward(losses, retain_graph=True)
    once = gradients(net)
    ml.backward(losses)
    close(gradients(net), {name: None if g is None else 2 * g for name, g in once.items()})
    with pytest.raises(RuntimeError, match="backward through the graph a second time"):
        ml.backward(losses)


def test_a_scaler_scales_the_gradient_and_not_the_record(net: Net) -> None:
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.0)
    record = ml.backward(squares(net), weights={"b": 0.5}, scaler=scaler)
    scaled = gradients(net)
    scaler.unscale_(optimizer)
    unscaled = gradients(net)
    net.zero_grad()
    plain = ml.backward(squares(net), weights={"b": 0.5})
    close(unscaled, gradients(net))
    close(scaled, {name: None if g is None else 1024 * g for name, g in gradients(net).items()})
    assert record.total is not None and plain.total is not None and torch.equal(record.total, plain.total)
    ml.backward({"a": torch.tensor(1.0)}, weights={"a": 0}, scaler=scaler)  # nothing to scale


def test_one_element_is_a_scalar_and_the_ledger_reads_it() -> None:
    w = torch.tensor([2.0], requires_grad=True)
    ledger = Ledger()
    ledger.add(ml.backward({"a": w * 3, "b": (w**2).sum()}, weights={"b": 0.5}))
    assert ledger.epoch().total == 8.0 and w.grad is not None and w.grad.item() == 5.0


def test_a_parameter_may_itself_be_a_loss() -> None:
    w = torch.tensor(2.0, requires_grad=True)
    ml.backward({"a": w})
    assert w.grad is not None and w.grad.item() == 1.0


def test_a_negative_total_is_a_total() -> None:
    s = torch.tensor(-3.0, requires_grad=True)  # the log variance of an uncertainty-weighted loss
    record = ml.backward({"a": 0.5 * torch.exp(-s) * 0.01, "log_variance": 0.5 * s})
    ledger = Ledger()
    ledger.add(record)
    account = ledger.epoch()
    assert account.total < 0 and [t.kind for t in account] == ["loss", "loss"]
    assert sum(t.share or 0 for t in account) == pytest.approx(1)
    assert s.grad is not None and s.grad.item() == pytest.approx(0.5 - 0.5 * 0.01 * 20.0855, rel=1e-4)


BAD: list[tuple[Any, Any, str]] = [
    ({"a": torch.ones(2)}, None, r"loss 'a': expected a scalar tensor of floats, found torch.float32 of shape \(2,\)"),
    ({"a": 0.5}, None, "found float"),
    ({"a": torch.tensor(1)}, None, "found torch.int64"),
    ({"price": torch.tensor(1.0)}, {"prise": 1}, "unknown loss 'prise'. Did you mean 'price'"),
    ({"a": torch.tensor(1.0)}, {"a": -1}, "weight of 'a': expected a finite number >= 0, found -1"),
    ({"a": torch.tensor(1.0)}, {"a": NAN}, "found nan"),
    ({"a": torch.tensor(1.0)}, {"a": INF}, "found inf"),
    ({"a": torch.tensor(1.0)}, {"a": True}, "found True"),
    ({"a": torch.tensor(1.0)}, {"a": "1"}, "found '1'"),
    ({"a": torch.tensor(1.0)}, {"a": torch.tensor(1.0)}, "found tensor"),
    ({"a": torch.tensor(1.0)}, None, "expected losses that depend on a parameter, found none in a"),
]


@pytest.mark.parametrize(("losses", "weights", "words"), BAD)
def test_what_is_refused(losses: Any, weights: Any, words: str) -> None:
    with pytest.raises(ObjectiveError, match=words):
        ml.backward(losses, weights)


def test_everything_wrong_is_said_at_once() -> None:
    with pytest.raises(ObjectiveError, match="4 problems"):
        ml.backward({"a": torch.ones(2), "b": torch.tensor(1)}, {"c": 1.0, "a": -1.0})


def test_detached_outputs_are_refused(net: Net) -> None:
    with torch.no_grad():
        losses = squares(net)
    with pytest.raises(ObjectiveError, match=r"a, b.*detached"):
        ml.backward(losses)
