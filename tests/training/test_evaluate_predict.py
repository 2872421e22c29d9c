"""`evaluate` is the whole set at once; `predict` speaks the user's units and touches nothing."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from training_tasks import make_data, make_model, make_objective, make_trainer, same, state

import multiloss as ml


def rich_model() -> ml.HardSharing:
    """One output of every kind."""
    torch.manual_seed(0)
    heads: dict[str, nn.Module] = {
        "number": ml.RegressionHead(8, mean=100.0, scale=20.0),
        "pair": ml.RegressionHead(8, 2, mean=[1.0, -1.0], scale=[2.0, 3.0]),
        "yes": ml.BinaryHead(8),
        "kind": ml.MulticlassHead(8, 4),
        "tags": ml.MultilabelHead(8, 3),
        "grade": ml.OrdinalHead(8, 5),
        "visits": ml.CountHead(8),
    }
    return ml.HardSharing(ml.MLP(5, [8], dropout=0.5, norm="batch"), heads)


RICH = ml.Objective(
    {"number": "mse", "pair": "mse", "yes": "binary_cross_entropy", "kind": "cross_entropy",
     "tags": "binary_cross_entropy", "grade": "ordinal", "visits": "poisson"}
)  # fmt: skip


@pytest.mark.parametrize("penalty", [0.0, 0.1])
def test_evaluate_is_the_whole_set_at_once_whatever_the_batches(penalty: float) -> None:
    x, y = make_data(83, missing=0.6)
    model = make_model(dropout=0.3, norm="batch")
    weights = {"price": 2.0, "kind": 0.5}
    trainer = make_trainer(model, make_objective(weights, penalty))
    trainer.fit((x, y), epochs=2)
    found = {size: trainer.evaluate((x, y), batch_size=size) for size in (1, 7, 83, 1000)}

    model.double().eval()
    with torch.no_grad():
        outputs = model(x.double())
    rows = {name: ~t.isnan() if t.is_floating_point() else t != -100 for name, t in y.items()}
    expected = {
        "price_loss": F.mse_loss(outputs["price"][rows["price"]], y["price"][rows["price"]].double()),
        "kind_loss": F.cross_entropy(outputs["kind"][rows["kind"]], y["kind"][rows["kind"]]),
        "sold_loss": F.binary_cross_entropy_with_logits(
            outputs["sold"][rows["sold"]], y["sold"][rows["sold"]].double()
        ),
    }
    task = 2.0 * expected["price_loss"] + 0.5 * expected["kind_loss"] + expected["sold_loss"]
    layers: Any = model.trunk
    cost = penalty * sum(p.square().sum() for p in layers.parameters() if p.dim() > 1)
    expected |= {
        "task_loss": task,
        "loss": task + cost,
        "price_mae": (outputs["price"] - y["price"])[rows["price"]].abs().mean(),
        "kind_accuracy": (outputs["kind"].argmax(1) == y["kind"])[rows["kind"]].double().mean(),
    }
    for size, logs in found.items():
        assert set(logs) == {*expected, "sold_auroc", *(["penalty"] if penalty else [])}
        for key, value in expected.items():
            assert logs[key] == pytest.approx(value.item(), rel=2e-5), (size, key)
        assert sum(t.contribution for t in logs.ledger) == pytest.approx(logs.ledger.total, rel=1e-12)
        assert logs.ledger.total == logs["loss"]
        assert [logs.ledger[name].count for name in y] == [int(rows[name].sum()) for name in y]


def test_evaluate_takes_sample_weights_and_outputs_without_labels() -> None:
    x, y = make_data(20)
    trainer = make_trainer(make_model())
    kept = torch.arange(20) % 2 == 0
    half = trainer.evaluate((x[kept], {name: t[kept] for name, t in y.items()}))
    weighted = trainer.evaluate((x, y), sample_weight=kept.float(), batch_size=3)
    for name in y:
        assert weighted[f"{name}_loss"] == pytest.approx(half[f"{name}_loss"], rel=1e-5)
    alone = trainer.evaluate(x, {"price": y["price"]})
    assert alone["kind_loss"] is None and alone["sold_auroc"] is None
    assert alone["price_loss"] == pytest.approx(trainer.evaluate(x, y)["price_loss"], rel=1e-6)


@pytest.mark.parametrize("batch_size", [1, 7, 1024])
def test_predictions_are_in_the_users_units(batch_size: int) -> None:
    model = rich_model()
    x = torch.randn(20, 5)
    trainer = make_trainer(model, RICH)
    found, raw = trainer.predict(x, batch_size=batch_size), trainer.predict(x, batch_size=batch_size, raw=True)
    model.eval()
    with torch.no_grad():
        outputs = model(x)
    for name, value in raw.items():
        assert torch.allclose(value, outputs[name], atol=1e-5), name
    shapes = {name: tuple(value.shape) for name, value in found.items()}
    assert shapes == {"number": (20,), "pair": (20, 2), "yes": (20,), "kind": (20, 4), "tags": (20, 3),
                      "grade": (20, 5), "visits": (20,)}  # fmt: skip
    assert torch.allclose(found["number"], outputs["number"] * 20 + 100, atol=1e-4)
    assert torch.allclose(found["pair"], outputs["pair"] * torch.tensor([2.0, 3.0]) + torch.tensor([1.0, -1.0]))
    assert torch.allclose(found["yes"], outputs["yes"].sigmoid(), atol=1e-6)
    assert torch.allclose(found["tags"], outputs["tags"].sigmoid(), atol=1e-6)
    assert torch.allclose(found["visits"], outputs["visits"].exp(), atol=1e-5)
    for name in ("kind", "grade"):
        assert (found[name] >= 0).all()
        assert torch.allclose(found[name].sum(1), torch.ones(20), atol=1e-5)
    assert all(value.device.type == "cpu" and not value.requires_grad for value in found.values())


def test_metrics_are_in_the_users_units() -> None:
    model = ml.HardSharing(ml.MLP(5, [4]), {"y": ml.RegressionHead(4, mean=1000.0, scale=50.0)})
    x, y = torch.randn(30, 5), torch.randn(30)  # the target is standardised, as the head is
    trainer = make_trainer(model, ml.Objective({"y": "mse"}, metrics={"y": ["mae"]}))
    error = (trainer.predict(x)["y"] - (y * 50 + 1000)).abs().mean()
    assert trainer.evaluate(x, {"y": y})["y_mae"] == pytest.approx(error.item(), rel=1e-4)


def test_evaluate_and_predict_touch_nothing() -> None:
    x, y = make_data(20)
    model = make_model(dropout=0.5, norm="batch")
    trainer = make_trainer(model)
    trainer.fit((x, y))
    layers: Any = model.trunk
    frozen = next(module for module in layers.modules() if isinstance(module, nn.BatchNorm1d))
    model.train()
    frozen.eval()  # as one does to fine-tune
    (model(x)["price"].sum()).backward()
    before = state(model), torch.get_rng_state(), [p.grad.clone() for p in model.parameters() if p.grad is not None]
    modes = {name: module.training for name, module in model.named_modules()}
    trainer.evaluate(x, y)
    trainer.predict(x)
    with pytest.raises(ml.MultilossError):
        trainer.predict(torch.zeros(3, 99))
    assert same(before[0], state(model))
    assert torch.equal(before[1], torch.get_rng_state())
    after = [p.grad for p in model.parameters() if p.grad is not None]
    assert all(torch.equal(a, b) for a, b in zip(before[2], after, strict=True))
    assert modes == {name: module.training for name, module in model.named_modules()}


def test_predict_before_any_fit_and_without_an_objective_for_an_output() -> None:
    model = make_model()
    trainer = make_trainer(model, ml.Objective({"price": "mse"}))
    found = trainer.predict(torch.randn(4, 5))
    assert torch.allclose(found["kind"].sum(1), torch.ones(4))  # the head says what it is
    assert ((found["sold"] > 0) & (found["sold"] < 1)).all()


def test_predictions_follow_targets_seen_in_training() -> None:
    """The loss of a model without kinds says what its output is, whichever came first, predict or fit."""

    class Plain(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(5, 4)

        def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            raw = self.layer(x)
            return raw[:, 0], raw[:, 1:]

    x, y = make_data(20)
    objective = ml.Objective({"sold": "binary_cross_entropy", "kind": "cross_entropy"})
    trainer = make_trainer(Plain(), objective, output_names=["sold", "kind"])
    first = trainer.predict(x)
    assert torch.allclose(first["kind"].sum(1), torch.ones(20)) and first["sold"].max() < 1
    trainer.fit((x, {"sold": y["sold"], "kind": y["kind"]}), epochs=1)
    assert trainer.predict(x)["kind"].shape == (20, 3)


def test_predict_says_what_does_not_fit() -> None:
    trainer = make_trainer(make_model())
    with pytest.raises(ml.DataError, match=r"inputs \(3, 99\) torch.float32"):
        trainer.predict(torch.zeros(3, 99))
    with pytest.raises(ml.DataError, match="at least one row"):
        trainer.predict(torch.zeros(0, 5))
    with pytest.raises(ml.DataError, match="batch_size"):
        trainer.predict(torch.zeros(3, 5), batch_size=0)
    with pytest.raises(ml.DataError, match="expected numbers"):
        trainer.predict("table.csv")
