"""The gradient flow of a step equals gradients taken one loss after the other, in float64, in every situation."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

import multiloss as ml
from multiloss.core.flow import PENALTY, GradientFlow, Reach
from multiloss.flow import watch_step
from multiloss.step_losses import StepLosses

ROWS = 12


class Branches(nn.Module):
    """A trunk for all, a branch for `b` and `c`, a head for each."""

    def __init__(self) -> None:
        super().__init__()
        self.trunk, self.branch = nn.Linear(5, 7), nn.Linear(7, 6)
        self.heads = nn.ModuleDict({"a": nn.Linear(7, 1), "b": nn.Linear(6, 2), "c": nn.Linear(6, 1)})

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        z = self.trunk(x).tanh()
        y = self.branch(z).tanh()
        return {"a": self.heads["a"](z), "b": self.heads["b"](y), "c": self.heads["c"](y)}


@pytest.fixture(autouse=True)
def _float64() -> None:
    torch.manual_seed(3)


def make(model: nn.Module) -> tuple[nn.Module, Tensor, dict[str, Tensor]]:
    model = model.double()
    x = torch.randn(ROWS, 5, dtype=torch.float64)
    targets = {"a": torch.randn(ROWS, 1), "b": torch.randn(ROWS, 2) * 3, "c": torch.randn(ROWS, 1)}
    return model, x, {name: target.double() for name, target in targets.items()}


def naive(losses: Mapping[str, Tensor], model: nn.Module) -> dict[str, dict[str, Tensor]]:
    """Return each loss's gradient by parameter: a plain loop of torch, the specification."""
    found = {}
    for name, value in losses.items():
        parameters = [(n, p) for n, p in model.named_parameters() if p.requires_grad]
        gradients = torch.autograd.grad(value, [p for _, p in parameters], retain_graph=True, allow_unused=True)
        found[name] = {n: g for (n, _), g in zip(parameters, gradients, strict=True) if g is not None}
    return found


def flat(gradients: Mapping[str, Tensor], like: Mapping[str, Tensor]) -> Tensor:
    return torch.cat([gradients.get(n, torch.zeros_like(p)).flatten() for n, p in like.items()])


def shared_grad(model: nn.Module) -> Tensor:
    return torch.cat([p.grad.flatten() for n, p in model.named_parameters() if p.grad is not None and "heads" not in n])


def norm(gradients: Mapping[str, Tensor], start: str) -> float:
    own = [g.flatten() for n, g in gradients.items() if n.startswith(start)]
    return float(torch.cat(own).norm()) if own else 0.0


def test_every_number_equals_gradients_taken_one_after_the_other() -> None:
    model, x, targets = make(Branches())
    weights = {"a": 2.0, "b": 0.3, "c": 1.0}
    objective = ml.Objective("mse", loss_weights=weights, penalties=[ml.L2(0.01)])
    losses = objective(model(x), targets, model=model)
    flow = ml.gradient_flow(losses, model)

    weighted = {name: losses[name] * weight for name, weight in weights.items()}
    penalty = 0.01 * sum(p.square().sum() for n, p in model.named_parameters() if "weight" in n)
    assert isinstance(penalty, Tensor)
    gradients = naive({**weighted, PENALTY: penalty}, model)
    shared = {n: p for n, p in model.named_parameters() if not n.startswith("heads")}
    rows = torch.stack([flat(gradients[name], shared) for name in (*weights, PENALTY)])
    update = rows.sum(0)

    assert flow.losses == ("a", "b", "c") and flow.weights == weights
    for name, row in zip((*weights, PENALTY), rows, strict=True):
        assert flow.norms[name] == pytest.approx(float(row.norm()), rel=1e-12)
        assert flow.shares[name] == pytest.approx(float(row @ update / update.square().sum()), rel=1e-10)
    assert sum(flow.shares.values()) == pytest.approx(1.0)
    unit = rows[:3] / rows[:3].norm(dim=1, keepdim=True)
    np.testing.assert_allclose(flow.cosines, (unit @ unit.T).detach().numpy(), atol=1e-12)
    assert flow.condition_number == pytest.approx(float(torch.linalg.cond(rows[:3])), rel=1e-8)
    pairs = [flow.cosines[0][1], flow.cosines[0][2], flow.cosines[1][2]]
    assert flow.conflict_rate == sum(c < 0 for c in pairs) / 3

    assert [(layer.name, layer.parameters, layer.losses) for layer in flow.layers] == [
        ("trunk", 42, ("a", "b", "c")),
        ("branch", 48, ("b", "c")),
    ]
    for layer in flow.layers:
        assert set(layer.norms) == {*layer.losses, PENALTY}
        for name, value in layer.norms.items():
            assert value == pytest.approx(norm(gradients[name], layer.name), rel=1e-12)
    for name, value in flow.heads.items():
        assert value == pytest.approx(norm(gradients[name], f"heads.{name}"), rel=1e-12)
    assert set(flow.reach) == {
        Reach(("a", "b", "c"), 42, ("trunk",)),
        Reach(("b", "c"), 48, ("branch",)),
        Reach(("a",), 8, ("heads.a",)),
        Reach(("b",), 14, ("heads.b",)),
        Reach(("c",), 7, ("heads.c",)),
    }
    assert flow.shared == 90


def test_the_update_is_what_backward_puts_into_grad() -> None:
    model, x, targets = make(Branches())
    objective = ml.Objective("mse", loss_weights={"b": 0.1}, penalties=[ml.L2(0.05)])
    losses = objective(model(x), targets, model=model)
    flow = ml.gradient_flow(losses, model)
    assert all(p.grad is None for p in model.parameters())
    ml.backward(losses)
    trunk = torch.cat(
        [p.grad.flatten() for n, p in model.named_parameters() if p.grad is not None and "heads" not in n]
    )
    length = sum(flow.shares[name] * float(trunk.square().sum()) for name in flow.rows)
    assert length == pytest.approx(float(trunk.square().sum()), rel=1e-10)
    # <g_k, u> = share_k |u|^2 for the gradient that the optimiser sees
    again = objective(model(x), targets, model=model)
    own = naive({"b": again["b"] * 0.1}, model)["b"]
    shared = {n: p for n, p in model.named_parameters() if "heads" not in n}
    assert flow.shares["b"] == pytest.approx(float(flat(own, shared) @ trunk / trunk.square().sum()), rel=1e-10)


def test_balancing_weights_scale_the_rows() -> None:
    model, x, targets = make(Branches())
    losses = ml.Objective("mse")(model(x), targets)
    plain = watch_step(StepLosses(losses, model=model))
    record = ml.backward(losses, balancing="mgda", model=model).balancing
    assert record is not None and record.weights is not None
    before, after = plain.read(), plain.read(record)
    assert before is not None and after is not None and after.method == "mgda"
    for name, weight in zip(record.losses, record.weights.tolist(), strict=True):
        assert after.balancing_weights[name] == weight
        assert after.norms[name] == pytest.approx(weight * before.norms[name], abs=1e-12)
        head = torch.cat(
            [p.grad.flatten() for p in model.get_submodule(f"heads.{name}").parameters() if p.grad is not None]
        )
        assert after.heads[name] == pytest.approx(float(head.norm()), rel=1e-10)
    combined = torch.cat(
        [p.grad.flatten() for n, p in model.named_parameters() if "heads" not in n and p.grad is not None]
    )
    gramian = np.array(after.cosines) * np.outer(list(after.norms.values()), list(after.norms.values()))
    assert gramian.sum() == pytest.approx(float(combined.square().sum()), rel=1e-8)


def test_frozen_layers_and_missing_labels_are_said() -> None:
    model, x, targets = make(Branches())
    assert isinstance(model, Branches)
    model.trunk.requires_grad_(False)
    targets["a"][:] = torch.nan
    flow = ml.gradient_flow(ml.Objective("mse")(model(x), targets), model)
    assert flow.frozen == 42 and flow.absent == ("a",) and flow.losses == ("b", "c")
    assert [layer.name for layer in flow.layers] == ["branch"]
    text = str(flow)
    assert "42 frozen parameters" in text and "a: no label" in text


def test_outputs_that_share_nothing_are_two_models_in_one() -> None:
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.colour, self.kind = nn.Linear(5, 1), nn.Linear(5, 2)

        def forward(self, x: Tensor) -> dict[str, Tensor]:
            return {"a": self.colour(x), "b": self.kind(x)}

    model, x, targets = make(Two())
    losses = ml.Objective({"a": "mse", "b": "mse"})(model(x), {k: targets[k] for k in "ab"})
    flow = ml.gradient_flow(losses, model)
    assert flow.alone == ("a", "b") and not flow.losses and not flow.layers and flow.shared == 0
    assert str(flow) == "a, b share no parameter: these are two models in one"
    gradients = naive(losses, model)
    assert flow.heads == pytest.approx({"a": norm(gradients["a"], "colour"), "b": norm(gradients["b"], "kind")})
    assert set(flow.reach) == {Reach(("a",), 6, ("colour",)), Reach(("b",), 12, ("kind",))}


def test_a_loss_of_its_own_beside_two_that_share() -> None:
    model, x, targets = make(Branches())
    other = nn.Linear(5, 1).double()
    losses = {**ml.Objective("mse")(model(x), targets), "d": other(x).square().mean()}
    flow = ml.gradient_flow(losses, nn.ModuleDict({"model": model, "other": other}))
    assert flow.alone == ("d",) and flow.losses == ("a", "b", "c")
    assert flow.heads["d"] == pytest.approx(norm(naive({"d": losses["d"]}, other)["d"], ""))
    assert Reach(("d",), 6, ("other",)) in flow.reach


def test_a_bare_loop_needs_no_model() -> None:
    model, x, targets = make(Branches())
    outputs = model(x)
    losses = {name: (outputs[name] - targets[name]).square().mean() for name in targets}
    bare, named = ml.gradient_flow(losses, weights={"a": 3.0}), ml.gradient_flow(losses, model, weights={"a": 3.0})
    assert bare.norms == pytest.approx(named.norms) and bare.shared == named.shared
    assert [layer.name for layer in bare.layers] == [
        *("parameter 1 [7, 5]", "parameter 2 [7]", "parameter 3 [6, 7]", "parameter 4 [6]"),
    ]
    sentence = "the gradient that moves them is 3 x a's + 1 x b's + 1 x c's"
    assert sentence in str(bare) and "42 parameters shared by a, b, c: one set" in str(bare)


def test_a_record_comes_back_from_its_line() -> None:
    model, x, targets = make(Branches())
    flow = ml.gradient_flow(ml.Objective("mse", penalties=[ml.L2(0.1)])(model(x), targets, model=model), model)
    assert GradientFlow.from_dict(json.loads(json.dumps(flow.to_dict()))) == flow


def test_what_does_not_fit_into_memory_is_left_out_and_said(monkeypatch: pytest.MonkeyPatch) -> None:
    model, x, targets = make(Branches())
    losses = ml.Objective("mse")(model(x), targets)
    monkeypatch.setattr("multiloss.flow.MOST_NUMBERS", 3 * 60)  # room for the branch, not for the trunk
    flow = ml.gradient_flow(losses, model)
    assert [layer.name for layer in flow.layers] == ["trunk", "branch"] and flow.left_out == 35
    assert flow.shared == 90  # who shares what is known all the same
    monkeypatch.setattr("multiloss.flow.MOST_NUMBERS", 0)
    assert ml.gradient_flow(losses, model).left_out == 90


def test_not_a_number_is_an_error_of_its_own() -> None:
    model, x, targets = make(Branches())
    losses = dict(ml.Objective("mse")(model(x), targets))
    with pytest.raises(ml.NonFiniteError, match="found NaN or infinity"):
        ml.gradient_flow({**losses, "b": losses["b"] * torch.inf}, model)


def test_losses_that_cancel_each_other_have_no_shares() -> None:
    w = torch.ones(3, dtype=torch.float64, requires_grad=True)
    flow = ml.gradient_flow({"up": w.sum(), "down": (1 - w).sum()})
    assert flow.shares == {} and flow.norm_shares == {"up": 0.5, "down": 0.5} and flow.conflict_rate == 1.0
    assert flow.condition_number is None


@pytest.mark.slow
def test_a_model_compiled_as_a_whole_is_watched_at_its_trunk() -> None:
    heads = {"a": ml.RegressionHead(6), "b": ml.RegressionHead(6)}
    model, x, targets = make(ml.HardSharing(ml.MLP(5, [6]), heads))
    own = {"a": targets["a"][:, 0], "b": targets["c"][:, 0]}
    objective = ml.Objective("mse", penalties=[ml.L2(0.01)])
    plain = ml.gradient_flow(objective(model(x), own, model=model), model)
    compiled: Any = torch.compile(model, backend="aot_eager")
    flow = ml.gradient_flow(objective(compiled(x), own, model=model), compiled)
    assert flow.norms == pytest.approx(plain.norms) and flow.heads == pytest.approx(plain.heads)
    assert flow.reach == (Reach(("a", "b"), 36, ("trunk.0",)),)  # who reaches the heads, its graph does not say


def test_a_gradient_scaler_changes_nothing() -> None:
    model, x, targets = make(Branches())
    losses = ml.Objective("mse", penalties=[ml.L2(0.01)])(model(x), targets, model=model)
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    scaled, plain = (watch_step(StepLosses(losses, model=model, scaler=s)).read() for s in (scaler, None))
    assert scaled is not None and plain is not None
    assert scaled.norms == pytest.approx(plain.norms) and scaled.heads == pytest.approx(plain.heads)


@pytest.mark.parametrize("method", [name for name in ml.BALANCING_METHODS if name != "fixed"])
def test_under_every_method_the_flow_is_what_moved_the_parameters(method: str) -> None:
    heads = {name: ml.RegressionHead(12) for name in "abc"}
    model = ml.HardSharing(ml.MLP(5, [12]), heads).double()
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    x = torch.randn(64, 5, dtype=torch.float64)
    targets = {"a": x[:, 0], "b": 3 * x[:, 1] + x[:, 2], "c": x[:, 3] ** 2 - 3 * x[:, 0]}
    objective = ml.Objective("mse", loss_weights={"a": 1.0, "b": 0.5, "c": 1.0})
    trainer = ml.Trainer(
        model, objective, balancing=method, watch_gradients="every step", optimizer="sgd", lr=1.0, progress=False,
        device="cpu",
    )  # fmt: skip
    (flow,) = trainer.fit((x, targets), validation=0.25, epochs=1, batch_size=48).flows

    def moved(start: str) -> float:
        return norm({name: before[name] - p.detach() for name, p in model.named_parameters()}, start)

    rows = np.array([flow.norms[name] for name in flow.losses])
    update = float(np.sqrt(rows @ np.array(flow.cosines) @ rows))
    assert flow.sums == (method not in ("graddrop", "moco", "db_mtl"))
    if flow.sums:
        assert update == pytest.approx(moved("trunk"), rel=1e-5)
        assert "the gradient that moves them is" in str(flow) and sum(flow.shares.values()) == pytest.approx(1)
    else:
        assert f"{method} combines their gradients by a rule of its own" in str(flow) and flow.shares == {}
    if method not in ("sdmgrad", "modo"):  # which give the heads the mean over several batches
        for name in "abc":
            assert flow.heads[name] == pytest.approx(moved(f"heads.{name}"), rel=1e-5)


class Rerun(nn.Module):
    """A trunk with batch normalisation that is computed again in each backward pass."""

    def __init__(self) -> None:
        super().__init__()
        self.trunk = nn.Sequential(nn.Linear(5, 6), nn.BatchNorm1d(6), nn.Dropout(0.3))
        self.heads = nn.ModuleDict({"a": nn.Linear(6, 1), "b": nn.Linear(6, 2), "c": nn.Linear(6, 1)})

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        z = checkpoint(self.trunk, x, use_reentrant=False)
        return {name: head(z) for name, head in self.heads.items()}


def test_a_look_leaves_no_trace_in_buffers_and_random_numbers() -> None:
    model, x, targets = make(Rerun())
    losses = ml.Objective("mse")(model(x), targets)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    random = torch.get_rng_state()
    flow = ml.gradient_flow(losses, model)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert torch.equal(torch.get_rng_state(), random)
    assert flow.norms["a"] == pytest.approx(norm(naive({"a": losses["a"]}, model)["a"], "trunk"), rel=1e-10)


def test_a_buffer_that_is_part_of_the_graph_is_not_written_to() -> None:
    class Scaled(Branches):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("scale", torch.full((5,), 2.0))

        def forward(self, x: Tensor) -> dict[str, Tensor]:
            return super().forward(x * self.get_buffer("scale") * self.trunk.weight.sum())

    model, x, targets = make(Scaled())
    losses = ml.Objective("mse")(model(x), targets)
    ml.gradient_flow(losses, model)
    ml.backward(losses)  # would refuse a saved tensor that was written to


def test_another_model_and_a_name_that_is_taken_are_refused() -> None:
    model, x, targets = make(Branches())
    losses = dict(ml.Objective("mse")(model(x), targets))
    with pytest.raises(ml.BalancingError, match="holds none of the 4 parameters that they share"):
        ml.gradient_flow(losses, nn.Linear(3, 3))
    with pytest.raises(ml.ObjectiveError, match="a loss called 'penalty'"):
        ml.gradient_flow({"penalty": losses["a"], "b": losses["b"]}, model)
    for nothing in ({}, {"a": losses["a"]}):
        with pytest.raises(ml.ObjectiveError, match="found none"):
            ml.gradient_flow(nothing, model, weights=dict.fromkeys(nothing, 0.0))


def test_a_pass_that_works_once_is_an_error_that_says_what_to_do() -> None:
    model, x, _ = make(Branches())
    assert isinstance(model, Branches)
    x.requires_grad_()
    z = checkpoint(lambda x: model.trunk(x).tanh(), x, use_reentrant=True)
    losses = {name: (model.heads["a"](z) * factor).square().mean() for name, factor in (("a", 1.0), ("b", 2.0))}
    with pytest.raises(ml.BalancingError, match="use_reentrant=False can"):
        ml.gradient_flow(losses, model)
