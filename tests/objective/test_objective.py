"""The objective: what it takes, what it returns, and every mistake in it, at once."""

from __future__ import annotations

import logging
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import multiloss as ml
from multiloss.core.errors import ObjectiveError
from multiloss.objective import Objective

NAN = float("nan")


def batch(*names: str, rows: int = 4, seed: int = 0) -> dict[str, Tensor]:
    g = torch.Generator().manual_seed(seed)
    return {name: torch.randn(rows, generator=g) for name in names}


def test_the_example_of_the_tickets() -> None:
    """0.7062 x 1.0 + 2.8304 x 0.2 = 1.2723, from losses that have these values."""

    def fixed(value: float) -> Any:
        return lambda pred, target: pred.sum() * 0 + value

    objective = Objective(
        {"priority": fixed(0.7062), "department": fixed(2.8304)}, loss_weights={"priority": 1.0, "department": 0.2}
    )
    losses = objective(batch("priority", "department"), batch("priority", "department"))
    assert str(losses.ledger()) == "total 1.2723 = 1.0 x priority 0.7062 (55.5 %) + 0.2 x department 2.8304 (44.5 %)"


def test_the_example_of_the_readme() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.trunk = nn.Linear(2, 3)
            self.heads = nn.ModuleDict({"priority": nn.Linear(3, 1), "department": nn.Linear(3, 4)})

        def forward(self, x: Tensor) -> dict[str, Tensor]:
            hidden = self.trunk(x)
            return {"priority": self.heads["priority"](hidden)[:, 0], "department": self.heads["department"](hidden)}

    torch.manual_seed(0)
    model, x = Net(), torch.randn(8, 2)
    objective = ml.Objective(
        loss={"priority": "binary_cross_entropy", "department": "cross_entropy"},
        loss_weights={"priority": 1.0, "department": 0.2},
        metrics={"department": ["accuracy"]},
        penalties=[ml.L2(0.01, on="trunk")],
    )
    outputs, targets = model(x), {"priority": torch.ones(8), "department": torch.arange(8) % 4}
    losses = objective(outputs, targets, model=model)
    own = nn.functional.binary_cross_entropy_with_logits(outputs["priority"], targets["priority"])
    own = own + 0.2 * nn.functional.cross_entropy(outputs["department"], targets["department"])
    own = own + 0.01 * model.trunk.weight.square().sum()
    torch.testing.assert_close(losses.total, own)
    assert list(losses) == ["priority", "department", "l2/trunk.weight"] and objective.integer_outputs == {"department"}
    assert [(t.kind, t.count) for t in losses.ledger()] == [("loss", 8), ("loss", 8), ("penalty", None)]


MSE = {"a": "mse", "b": "mse"}
SAME = [
    (MSE, {"loss_weights": {"a": 2.0, "b": 2.0}}),
    (["mse", "mse"], {"loss_weights": [2.0, 2.0]}),
    (("mse", "mse"), {"loss_weights": (2, 2)}),
    ("mse", {"loss_weights": 2.0}),
    ({"name": "mse"}, {"loss_weights": ml.constant(2.0)}),
    (ml.loss("mse"), {"loss_weights": {"schedule": "constant", "value": 2.0}}),
    (lambda p, y: (p - y).square(), {"loss_weights": lambda progress: 2.0}),
    (nn.MSELoss(), {"loss_weights": {"a": 2, "b": 2}}),
]


@pytest.mark.parametrize(("loss", "weights"), SAME)
def test_ways_to_say_the_same(loss: Any, weights: dict[str, Any]) -> None:
    outputs, targets = batch("a", "b"), batch("a", "b", seed=1)
    losses = Objective(loss, **weights)(outputs, targets)
    expected = sum(2 * (outputs[name] - targets[name]).square().mean() for name in "ab")
    torch.testing.assert_close(losses.total, torch.as_tensor(expected))
    assert losses.weights == {"a": 2.0, "b": 2.0}


@pytest.mark.parametrize("losses", [{"b": "mae", "a": "mse"}, {"a": "mse", "b": "mae"}, ["mse", "mae"]])
def test_lists_follow_the_order_of_the_outputs_and_not_of_another_argument(losses: Any) -> None:
    objective = Objective(losses, loss_weights=[2.0, 5.0], metrics=[["mae"], ["mse", "r2"]])
    outputs, targets = batch("a", "b"), batch("b", "a", seed=1)
    found = objective(outputs, targets)
    assert found.weights == {"a": 2.0, "b": 5.0}
    torch.testing.assert_close(found["a"], (outputs["a"] - targets["a"]).square().mean())
    torch.testing.assert_close(found["b"], (outputs["b"] - targets["b"]).abs().mean())
    assert objective.metrics == {"a": ("mae",), "b": ("mse", "r2")} and objective.outputs == ("a", "b")


@pytest.mark.parametrize(
    ("metrics", "expected"),
    [
        (None, {}),
        ("mae", {"a": ("mae",), "b": ("mae",)}),
        (["mae", "r2"], {"a": ("mae", "r2"), "b": ("mae", "r2")}),
        ({"b": "mae"}, {"b": ("mae",)}),
        ({"b": ["mae", "r2"]}, {"b": ("mae", "r2")}),
        ([["mae"], []], {"a": ("mae",), "b": ()}),
        ([["mae"], None], {"a": ("mae",), "b": ()}),
        ([], {"a": (), "b": ()}),
    ],
)
def test_ways_to_name_metrics(metrics: Any, expected: dict[str, tuple[str, ...]]) -> None:
    objective = Objective(MSE, metrics=metrics)
    objective.bind(["a", "b"])
    assert objective.metrics == expected


def test_an_output_called_schedule_is_an_output() -> None:
    objective = Objective({"schedule": "mse", "a": "mse"}, loss_weights={"schedule": 0.5}, metrics={"schedule": "mae"})
    assert objective(batch("schedule", "a"), batch("schedule", "a")).weights == {"schedule": 0.5, "a": 1.0}


def test_a_loss_of_none_is_predicted_and_said_once(caplog: pytest.LogCaptureFixture) -> None:
    objective = Objective({"a": "mse", "b": None}, metrics={"b": ["mae"], "c": "mae"})
    with caplog.at_level(logging.WARNING, logger="multiloss"):
        for _ in range(2):
            losses = objective(batch("a", "b", "c"), batch("a", "b", "c"))
            objective.bind(["a", "b", "c"])
    assert [record.message for record in caplog.records] == ["no loss for output b, c: predicted, not trained"]
    assert list(losses) == ["a"] and losses.absent == ()
    assert set(objective.metrics) == {"b", "c"}


WRONG: list[tuple[dict[str, Any], list[str]]] = [
    (
        {
            "loss": {"price": "msee", "kind": 3, "loss": "mse", "a.b": "mse"},
            "loss_weights": {"prise": 1, "kind": -1},
            "metrics": {"price": ["maee", nn.Linear], "kind": [3]},
            "penalties": [{"name": "l3", "coefficient": 1}, 7],
            "reduction": "mean",
        },
        [
            "reduction: expected 'labelled' or 'batch', found 'mean'", "Did you mean 'l2'", "found 7",
            "other than 'loss'", "use 'a_b'", "loss of 'price': expected the name of a loss, found 'msee'",
            "loss of 'kind'", "loss_weights has 'prise', which is no output with a loss. Did you mean 'price'?",
            "loss_weights of 'kind'", "metrics of 'price': unknown metric 'maee'. Did you mean 'mae'?",
            "found <class 'torch.nn.modules.linear.Linear'>; call it: Linear(...)", "metrics of 'kind'",
        ],
    ),
    ({"loss": {}}, ["a loss for at least one output"]),
    ({"loss": {"a": None}}, ["a loss for at least one output"]),
    ({"loss": {"a/b": "mse"}}, ["use 'a_b'"]),
    ({"loss": MSE, "penalties": 7}, ["expected a penalty"]),
    ({"loss": "mse", "reduction": "sum"}, ["found 'sum'"]),
]  # fmt: skip


@pytest.mark.parametrize(("arguments", "words"), WRONG)
def test_every_mistake_at_once(arguments: dict[str, Any], words: list[str]) -> None:
    with pytest.raises(ObjectiveError) as caught:
        Objective(**arguments)
    assert [word for word in words if word not in str(caught.value)] == []
    if len(words) > 1:
        assert f"{len(words)} problems" in str(caught.value)


LATE: list[tuple[dict[str, Any], list[str]]] = [
    ({"loss": ["mse"]}, ["loss: expected 2 entries (price, kind), found 1"]),
    (
        {"loss": ["mse", "msee"], "loss_weights": [1.0, -1.0, 2.0], "metrics": [["mae"]]},
        ["found 'msee'", "loss_weights: expected 2 entries", "metrics: expected 2 entries"],
    ),
    (
        {"loss": "mse", "loss_weights": {"prise": 1.0}},
        ["'prise', which is no output with a loss. Did you mean 'price'"],
    ),
    ({"loss": {"prise": "mse"}}, ["output 'prise' is not one of the model's. Did you mean 'price'"]),
    ({"loss": {"prise": "mse"}, "loss_weights": [1.0]}, ["loss has 'prise', which is no output. Did you mean 'price'"]),
    (
        {"loss": {"price": "mse"}, "metrics": {"knd": "mae", "prce": "mae"}},
        ["output 'knd' is not one of the model's. Did you mean 'kind'", "'prce'"],
    ),
    ({"loss": "mse", "metrics": {"price/x": "mae"}}, ["metrics has 'price/x', which is no output"]),
]


@pytest.mark.parametrize(("arguments", "words"), LATE)
def test_mistakes_that_only_the_model_shows(arguments: dict[str, Any], words: list[str]) -> None:
    objective = Objective(**arguments)
    for _ in range(2):  # the second call says so again
        with pytest.raises(ObjectiveError) as caught:
            objective(batch("price", "kind"), batch("price", "kind"))
        assert [word for word in words if word not in str(caught.value)] == []
        assert len(words) == 1 or f"{len(words)} problems" in str(caught.value)


def test_targets_nobody_predicts() -> None:
    with pytest.raises(ObjectiveError, match=r"targets have 'knd', which is no output. Did you mean 'kind'"):
        Objective(["mse", "mse"])(batch("price", "kind"), batch("price", "knd"))


def test_an_output_that_stops_coming() -> None:
    objective = Objective("mse")
    objective(batch("a", "b"), batch("a", "b"))
    with pytest.raises(ObjectiveError, match="loss for output 'b', which the model did not return"):
        objective(batch("a"), batch("a"))


SHAPES: list[tuple[Any, tuple[int, ...], Tensor, str]] = [
    ("mse", (4, 1), torch.zeros(4), r"found \(4,\), which would broadcast to \(4, 4\)"),
    ("mse", (4,), torch.zeros(4, 1), r"found \(4, 1\), which would broadcast to \(4, 4\)"),
    ("binary_cross_entropy", (4, 1), torch.zeros(4), r"broadcast to \(4, 4\)"),
    ("huber", (4,), torch.zeros(5), r"found \(5,\)"),
    ("cross_entropy", (4, 3), torch.zeros(4, 1, dtype=torch.long), r"found \(4, 1\)"),
    ("cross_entropy", (4,), torch.rand(4), r"one logit per class"),
    ("cross_entropy", (4,), torch.zeros(4, dtype=torch.long), r"one logit per class"),
    ("cross_entropy", (4, 3), torch.tensor([0, 1, 2, 3]), r"expected classes 0..2"),
    ({"name": "quantile", "quantiles": [0.1, 0.5, 0.9]}, (4, 3), torch.zeros(4, 3), r"found \(4, 3\)"),
    ("gaussian_nll", (2, 2), torch.zeros(2, 2), r"found \(2, 2\)"),
    (lambda p, y: (p - y).square().mean(), (4, 1), torch.zeros(4), r"broadcast to \(4, 4\)"),
    (nn.MSELoss(), (4,), torch.zeros(4, 1), r"broadcast to \(4, 4\)"),
]


@pytest.mark.parametrize("missing", [False, True])
@pytest.mark.parametrize(("loss", "shape", "target", "words"), SHAPES)
def test_shapes_that_would_broadcast_are_refused_at_the_first_call(
    loss: Any, shape: tuple[int, ...], target: Tensor, words: str, missing: bool
) -> None:
    target = target.clone()
    if missing:
        target[0] = NAN if target.is_floating_point() else -100
    objective = Objective({"y": loss})
    for _ in range(2):
        with pytest.raises(ObjectiveError, match=f"output 'y': .*{words}"):
            objective({"y": torch.zeros(*shape)}, {"y": target})


def test_a_function_of_ones_own_may_take_other_shapes() -> None:
    objective = Objective({"y": nn.CrossEntropyLoss()})
    assert objective({"y": torch.zeros(4, 3)}, {"y": torch.tensor([0, 1, 2, -100])}).total.item() == pytest.approx(
        1.0986, abs=1e-4
    )


class Layers(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.trunk, self.head = nn.Linear(2, 2), nn.Linear(2, 1)


def test_two_penalties_of_one_name() -> None:
    model = Layers()
    arguments: tuple[Any, ...] = (batch("y"), batch("y", seed=1))
    objective = Objective({"y": "mse"}, penalties=[ml.L2(0.1), ml.L2(1.0, on="head")])
    with pytest.raises(ObjectiveError, match=r"every term of the total once, found l2/head.weight again.*not overlap"):
        objective(*arguments, model=model)
    apart = Objective({"y": "mse"}, penalties=[ml.L2(0.1, on="trunk"), ml.L2(1.0, on="head"), ml.L1(1.0)])
    assert len(apart(*arguments, model=model)) == 5
    own = Objective({"y": "mse"}, penalties=[ml.CustomPenalty("y", lambda m: m.get_parameter("trunk.weight").sum())])
    with pytest.raises(ObjectiveError, match="found y again"):
        own(*arguments, model=model)
    lambdas = Objective({"y": "mse"}, penalties=[lambda m: next(m.parameters()).sum()] * 2)
    with pytest.raises(ObjectiveError, match=r"found <lambda> again.*CustomPenalty\(name, function\)"):
        lambdas(*arguments, model=model)


def test_one_penalty_needs_no_list_and_every_penalty_needs_the_model() -> None:
    model = Layers()
    one: Any
    for one in (ml.L2(0.1), {"name": "l2", "coefficient": 0.1}, lambda m: m.get_parameter("trunk.weight").sum()):
        assert len(Objective({"y": "mse"}, penalties=one).penalties) == 1
    with pytest.raises(ObjectiveError, match=r"penalty 'l2' needs the model: call objective\(..., model=model\)"):
        Objective({"y": "mse"}, penalties=[ml.L2(0.1)])(batch("y"), batch("y"))
    frozen = Objective({"y": "mse"}, penalties=[ml.L2(0.1, on="trunk")])
    model.trunk.requires_grad_(False)
    assert list(frozen(batch("y"), batch("y"), model=model)) == ["y"]


def test_activities_are_heard_while_attached() -> None:
    model = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 1))
    objective = Objective({"y": "mse"}, penalties=[ml.Activity(0.5, on="0")])
    objective.attach(model)
    x = torch.ones(4, 2)
    losses = objective({"y": model(x)[:, 0]}, batch("y"), model=model)
    expected = model[0](x).square().sum() / 4
    torch.testing.assert_close(losses["activity/0"], expected)
    objective.detach()
    with pytest.raises(ObjectiveError, match="attach"):
        objective({"y": model(x)[:, 0]}, batch("y"), model=model)


@pytest.mark.parametrize(
    ("loss", "pred", "target", "kind"),
    [
        ("mse", (4,), torch.zeros(4), "regression"),
        ("cross_entropy", (4, 3), torch.zeros(4, dtype=torch.long), "multiclass"),
        ("binary_cross_entropy", (4, 3), torch.zeros(4, 3), "multilabel"),
        (None, (4,), torch.zeros(4), "regression"),
        (None, (4, 3), torch.zeros(4, dtype=torch.long), "multiclass"),
        (None, (4,), torch.zeros(4, dtype=torch.bool), "binary"),
        (nn.MSELoss(), (4,), torch.zeros(4), "regression"),
    ],
)
def test_what_an_output_predicts(loss: Any, pred: tuple[int, ...], target: Tensor, kind: str) -> None:
    assert Objective({"y": loss, "other": "mse"}).kind("y", torch.zeros(*pred), target) == kind


def test_metrics_come_from_the_objective_with_the_point_of_a_distribution() -> None:
    objective = Objective({"y": "gaussian_nll"}, metrics="mae")
    metrics = objective.output_metrics({"y": "regression"}, {"y": 2}, {})
    metrics.add({"y": torch.tensor([[1.0, 9.0], [2.0, 9.0]])}, {"y": torch.tensor([1.5, NAN])})
    assert metrics.compute() == {"y_mae": 0.5}
    other = objective.output_metrics({"y": "regression"}, {"y": 2}, {}, only={"y": ("rmse",)})
    assert list(other.metrics["y"]) == ["rmse"]
