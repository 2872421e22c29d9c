"""One batch before training: every mistake at once, and nothing changed."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from training_tasks import generators, make_data, make_model, make_objective, make_trainer, same, state

import multiloss as ml
from multiloss.training.devices import choose_threads


class Detached(nn.Module):
    """The output `cut` has lost its gradient; BatchNorm and dropout have state of their own."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(5, 6), nn.BatchNorm1d(6), nn.Dropout(0.5))
        self.price, self.kind, self.cut, self.spare = (nn.Linear(6, n) for n in (1, 3, 1, 1))

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        np.random.rand()
        random.random()
        z = self.body(x)
        return {"price": self.price(z), "kind": self.kind(z), "cut": self.cut(z).squeeze(1).detach()}


def test_every_mistake_is_reported_at_once_and_nothing_changes() -> None:
    torch.manual_seed(0)
    model = Detached()
    x = torch.randn(16, 5)
    x[3, 1] = torch.inf
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    optimizer = torch.optim.SGD([p for name, p in model.named_parameters() if "spare" not in name], lr=0.1)
    objective = ml.Objective(
        {"price": "mse", "kind": "cross_entropy", "cut": "mae"},
        metrics={"price": ["accuracy"]},
        penalties=[ml.L2(0.1, on="bodyy")],
    )
    targets = {
        "price": torch.randn(16),  # [16] against [16, 1]
        "kind": torch.full((16,), 3),  # classes 0..2
        "cut": torch.randn(16),
        "pirce": torch.randn(16),
    }
    before, drawn = state(model), generators()

    found = ml.dry_run(model, objective, x, targets, optimizer=optimizer)

    text = "\n".join(found.problems)
    for words in (
        "input 'inputs': expected finite numbers, found NaN or infinity in rows [3]",
        "parameters in no optimizer: spare.weight, spare.bias",
        "targets have 'pirce', which is no output. Did you mean 'price'?",
        "output 'price': expected targets of the outputs' shape (16, 1), found (16,)",
        "output 'kind': expected classes 0..2",
        "output 'cut': it has no gradient",
        "metric 'accuracy' does not fit a regression output",
        "'bodyy'",
    ):
        assert words in text, words
    assert len(found.problems) == 9  # and the loss that is NaN because of the input

    assert same(before, state(model))  # BatchNorm's buffers too
    assert all(p.grad is not None and bool((p.grad == 1).all()) for p in model.parameters())
    assert generators() == drawn


def test_a_trainer_reports_them_in_one_error_and_stays_as_it_was() -> None:
    x, y = make_data(20)
    model = make_model()
    before = state(model)
    trainer = make_trainer(model, make_objective(metrics=False, losses={"price": "huber"}))
    bad = {"price": y["price"][:, None], "kind": y["kind"] + 5, "sold": y["sold"] * 2}
    with pytest.raises(ml.ObjectiveError, match="dry run on one batch: 3 problems") as error:
        trainer.fit((x, bad), epochs=1)
    for name in bad:
        assert f"output '{name}'" in str(error.value)
    assert same(before, state(model))
    trainer.fit((x, y), epochs=1)  # nothing is broken by the refusal


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda x, y: (x, {k: t for k, t in y.items() if k != "price"}), "output 'price' has a loss and no targets"),
        (lambda x, y: (x.double(), y), "the model failed on one batch of inputs inputs .* torch.float64"),
        (lambda x, y: (x[:, :3], y), "the model failed on one batch of inputs inputs"),
        (lambda x, y: (x, {**y, "kind": y["kind"].float()}), "expected integer class indices"),
        (lambda x, y: (x, {**y, "price": y["price"].masked_fill(y["price"] > 0, torch.inf)}), "infinite|infinity"),
        (lambda x, y: (x, {**y, "sold": y["sold"] - 3}), "output 'sold': expected targets 0, 1 or a probability"),
        (lambda x, y: (x.masked_fill(x > 1, torch.nan), y), "input 'inputs': expected finite numbers"),
        (lambda x, y: ({"inputz": x}, y), "the model failed on one batch of inputs inputz"),
        (lambda x, y: ((x, x), y), "the model failed on one batch of inputs 0"),
    ],
)
def test_each_mistake_in_the_data(change: Callable[..., Any], words: str) -> None:
    with pytest.raises(ml.ObjectiveError, match=words):
        make_trainer(make_model()).fit(change(*make_data(20)), batch_size=20)


def test_names_that_do_not_match_do_not_hide_the_other_mistakes() -> None:
    x, y = make_data(20)
    objective = ml.Objective({"prize": "mse", "kind": "cross_entropy", "sold": "binary_cross_entropy"})
    found = ml.dry_run(make_model(), objective, x, {"kind": y["kind"] + 7, "sold": y["sold"]})
    text = "\n".join(found.problems)
    assert "'prize'" in text and "Did you mean 'price'?" in text
    assert "output 'kind': expected classes 0..2" in text


def test_a_users_loss_that_fails_is_named() -> None:
    def broken(pred: Tensor, target: Tensor) -> Tensor:
        raise KeyError("weights")

    def infinite(pred: Tensor, target: Tensor) -> Tensor:
        return (pred - target).abs() / 0

    x, y = make_data(20)
    found = ml.dry_run(make_model(), make_objective(metrics=False, losses={"price": broken, "sold": infinite}), x, y)
    assert found.problems == [
        "output 'price': its loss failed on one batch: KeyError: 'weights'",
        "output 'sold': loss 'sold' is inf on the first batch",
    ]


def test_frozen_models_and_weights_of_zero() -> None:
    x, y = make_data(20)
    model = make_model().requires_grad_(False)
    assert "every one frozen" in ml.dry_run(model, make_objective(), x, y).problems[0]

    class Cut(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = make_model()

        def forward(self, x: Tensor) -> dict[str, Tensor]:
            outputs: dict[str, Tensor] = self.inner(x)
            return {**outputs, "sold": outputs["sold"].detach()}

    assert len(ml.dry_run(Cut(), make_objective(), x, y).problems) == 1
    assert ml.dry_run(Cut(), make_objective({"sold": 0.0}), x, y).problems == []  # it is not to be trained


def test_an_output_without_labels_in_the_batch_is_still_looked_at() -> None:
    x, y = make_data(20)
    y["price"] = torch.full((20,), torch.nan)
    found = ml.dry_run(make_model(), make_objective(), x, y)
    assert found.problems == []
    assert found.terms == ("kind", "sold", "price")
    partial = ml.dry_run(make_model(), make_objective(), x, {"kind": y["kind"]}, partial=True)
    assert partial.problems == []


def test_buffers_that_a_model_makes_on_the_way_are_no_trouble() -> None:
    class Lazy(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(2, 1)

        def forward(self, x: Tensor) -> dict[str, Tensor]:
            self.register_buffer("cache", x.mean(0))
            return {"y": self.layer(x).squeeze(1)}

    assert ml.dry_run(Lazy(), ml.Objective({"y": "mse"}), torch.zeros(3, 2), {"y": torch.zeros(3)}).problems == []


def test_penalties_on_activities_are_attached_and_let_go() -> None:
    x, y = make_data(20)
    model = make_model()
    objective = ml.Objective({"price": "mse"}, penalties=[ml.Activity(0.1, on="trunk")])
    assert ml.dry_run(model, objective, x, {"price": y["price"]}).problems == []
    assert not model._forward_hooks and not model._forward_pre_hooks
    make_trainer(model, objective).fit(x, {"price": y["price"]})
    assert not model._forward_hooks and not model._forward_pre_hooks


@pytest.mark.parametrize(
    ("model", "x", "operations"),
    [
        (nn.Linear(10, 3), torch.zeros(4, 10), 2 * 4 * 30),
        (nn.Conv2d(2, 5, 3, padding=1), torch.zeros(2, 2, 8, 8), 2 * 2 * 64 * 5 * 2 * 9),
        (nn.Sequential(nn.Embedding(100, 8), nn.Linear(8, 2)), torch.zeros(4, 6, dtype=torch.long), 2 * 24 * 16),
    ],
)
def test_operations_are_counted(model: nn.Module, x: Tensor, operations: float) -> None:
    from multiloss.training.devices import count_operations

    with count_operations(model) as counts:
        model(x)
    assert sum(counts) == operations
    assert choose_threads(operations)[0] == 1
    assert not any(module._forward_hooks for module in model.modules())
