"""`Trainer.fit` is a hand-written loop, bit for bit, and its history is what a hand would have written down."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from training_tasks import (
    Data,
    generators,
    make_data,
    make_model,
    make_objective,
    make_trainer,
    same,
    state,
    without_time,
)

import multiloss as ml

SEED, BATCH, EPOCHS = 3, 8, 3
Numbers = list[dict[str, float]]


def masked(values: Tensor, mask: Tensor) -> Tensor:
    return torch.where(mask, values, 0).sum() / int(mask.sum())


def hand_losses(outputs: dict[str, Tensor], targets: dict[str, Tensor]) -> dict[str, tuple[Tensor, int]]:
    """Return the mean over labelled samples and their number; the slow obvious way."""
    found: dict[str, tuple[Tensor, int]] = {}
    for name, fill in (("price", 0.0), ("kind", 0), ("sold", 0.0)):
        pred, target = outputs[name], targets[name]
        mask = target != -100 if name == "kind" else ~target.isnan()
        if not mask.any():
            continue
        if mask.all():
            complete: dict[str, Callable[..., Tensor]] = {
                "price": F.mse_loss, "kind": F.cross_entropy, "sold": F.binary_cross_entropy_with_logits,
            }  # fmt: skip
            found[name] = complete[name](pred, target), len(target)
            continue
        target = target.masked_fill(~mask, fill)
        pred = pred.masked_fill(~mask if name != "kind" else ~mask[:, None], 0)
        elementwise: dict[str, Callable[..., Tensor]] = {
            "price": F.mse_loss, "kind": F.cross_entropy, "sold": F.binary_cross_entropy_with_logits,
        }  # fmt: skip
        found[name] = masked(elementwise[name](pred, target, reduction="none"), mask), int(mask.sum())
    return found


def hand_loop(
    model: ml.HardSharing,
    optimizer: torch.optim.Optimizer,
    data: Data,
    weights: Callable[[int], dict[str, float]],
    penalty: float,
    clip: float | None,
) -> Numbers:
    x, targets = data
    steps = -(-len(x) // BATCH)
    torch.manual_seed(SEED)
    model.train()
    logs: Numbers = []
    for epoch in range(1, EPOCHS + 1):
        order = torch.randperm(len(x), generator=torch.Generator().manual_seed(SEED * 1_000_003 + epoch))
        sums, counts, totals = dict.fromkeys(targets, 0.0), dict.fromkeys(targets, 0), 0.0
        for step, rows in enumerate(torch.split(order, BATCH)):
            outputs = model(x[rows])
            now = weights((epoch - 1) * steps + step)
            total = torch.zeros(())
            for name, (value, count) in hand_losses(outputs, {k: t[rows] for k, t in targets.items()}).items():
                sums[name] += value.item() * count
                counts[name] += count
                if now[name]:
                    total = total + now[name] * value
            if penalty:
                layers: Any = model.trunk
                for weight in [p for p in layers.parameters() if p.dim() > 1]:
                    total = total + penalty * weight.square().sum()
            optimizer.zero_grad()
            total.backward()  # type: ignore[no-untyped-call]
            if clip is not None:
                nn.utils.clip_grad_norm_(model.parameters(), clip)
            optimizer.step()
            totals += total.item()
        logs.append({"loss": totals / steps, **{f"{name}_loss": sums[name] / counts[name] for name in sums}})
    return logs


def one(step: int) -> dict[str, float]:
    return {"price": 1.0, "kind": 1.0, "sold": 1.0}


def moving(step: int) -> dict[str, float]:
    steps = -(-53 // BATCH)
    return {"price": 2.0, "kind": min(1.0, step / steps / 2), "sold": 0.25 if step >= steps else 1.0}


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
@pytest.mark.parametrize(
    ("missing", "weights", "given", "penalty", "clip", "dropout"),
    [
        (0.0, one, None, 0.0, None, 0.0),
        (0.4, one, None, 0.01, None, 0.0),
        (0.85, one, None, 0.0, None, 0.3),
        (0.3, moving, {"price": 2.0, "kind": ml.ramp(0, 1, epochs=2), "sold": ml.piecewise({0: 1.0, 1: 0.25})}, 0.01,
         0.5, 0.2),
    ],
    ids=["plain", "missing and penalty", "few labels and dropout", "everything"],
)  # fmt: skip
def test_fit_is_a_hand_written_loop(
    optimizer: str,
    missing: float,
    weights: Callable[[int], dict[str, float]],
    given: Any,
    penalty: float,
    clip: float | None,
    dropout: float,
) -> None:
    data, model = make_data(missing=missing), make_model(dropout=dropout)
    by_hand = copy.deepcopy(model)
    hand: torch.optim.Optimizer = (
        torch.optim.SGD(by_hand.parameters(), lr=0.05, momentum=0.9 if clip is None else 0.0, fused=True)
        if optimizer == "sgd"
        else torch.optim.Adam(by_hand.parameters(), lr=0.01, fused=True)
    )
    if optimizer == "sgd" and clip is None:
        for parameter in by_hand.parameters():  # torch's fused SGD fails if only some have had a gradient
            hand.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)
    expected = hand_loop(by_hand, hand, data, weights, penalty, clip)

    spec: Any = {"name": "sgd", "momentum": 0.9 if clip is None else 0.0} if optimizer == "sgd" else "adam"
    trainer = make_trainer(
        model,
        make_objective(given, penalty),
        optimizer=spec,
        lr=0.05 if optimizer == "sgd" else 0.01,
        clip=clip,
        threads=torch.get_num_threads(),
    )
    history = trainer.fit(data, epochs=EPOCHS, batch_size=BATCH, seed=SEED)

    assert same(state(model), state(by_hand))
    for row, wanted in zip(history.rows, expected, strict=True):
        for key, value in wanted.items():
            assert row[key] == pytest.approx(value, rel=2e-6), key


def test_the_keys_are_those_of_keras() -> None:
    class Keys(ml.Callback):
        def on_fit_start(self, fit: Any) -> None:
            self.keys = fit.keys

    watch = Keys()
    history = make_trainer(make_model(), make_objective(penalty=0.01), callbacks=[watch]).fit(
        make_data(missing=0.2), validation=0.25, epochs=2
    )
    own = [
        "loss", "price_loss", "kind_loss", "sold_loss", "penalty", "price_mae", "kind_accuracy", "sold_auroc",
    ]  # fmt: skip
    expected = ["epoch", *own, *(f"val_{key}" for key in own), "val_task_loss", "lr", "seconds"]
    assert sorted(history.rows[0]) == sorted(expected) == sorted(watch.keys)
    assert history["epoch"] == [1.0, 2.0]
    for row in history:
        assert row["val_loss"] == pytest.approx((row["val_task_loss"] or 0) + (row["val_penalty"] or 0))


@pytest.mark.parametrize("validation", [None, 0.2])
@pytest.mark.parametrize("penalty", [0.0, 0.1])
@pytest.mark.parametrize("several", [False, True])
def test_promised_keys_are_the_keys_that_come(validation: float | None, penalty: float, several: bool) -> None:
    class Keys(ml.Callback):
        def on_fit_start(self, fit: Any) -> None:
            self.keys = fit.keys

    def two(pred: Tensor, target: Tensor) -> dict[str, Tensor]:
        return {"near": (pred - target).abs(), "far": (pred - target) ** 2}

    watch = Keys()
    objective = make_objective(penalty=penalty, losses={"price": two} if several else {})
    lr: Any = {"trunk": 1e-3, "default": 1e-2} if several else 1e-3
    history = make_trainer(make_model(), objective, callbacks=[watch], lr=lr).fit(make_data(), validation=validation)
    assert sorted(history.rows[0]) == sorted(watch.keys)
    if several:
        assert "price/near_loss" in watch.keys
        assert history["lr_default"] == [1e-2]


def test_the_same_seed_gives_the_same_numbers_and_another_does_not() -> None:
    runs = {}
    for name, seed in (("a", 5), ("again", 5), ("other", 6)):
        model = make_model(dropout=0.2)
        torch.manual_seed(hash(name) % 1000)  # what the caller did with the generators before must not matter
        history = make_trainer(model).fit(make_data(missing=0.2), validation=0.2, epochs=3, batch_size=8, seed=seed)
        runs[name] = without_time(history), state(model)
    assert runs["a"][0] == runs["again"][0]
    assert same(runs["a"][1], runs["again"][1])
    assert runs["a"][0] != runs["other"][0]


def test_fit_leaves_the_callers_generators_alone() -> None:
    x, y = make_data()
    dataset = torch.utils.data.TensorDataset(x, y["price"])
    loader = torch.utils.data.DataLoader(dataset, 8, shuffle=True)
    model = ml.HardSharing(ml.MLP(5, [4], dropout=0.5), {"price": ml.RegressionHead(4)})
    before = generators()
    make_trainer(model, ml.Objective({"price": "mse"})).fit(loader, validation=loader)
    assert generators() == before


def test_fitting_twice_goes_on() -> None:
    data, model, twice = make_data(), make_model(), make_model()
    whole = make_trainer(model, lr=0.01)
    whole.fit(data, epochs=2, seed=1)
    parts = make_trainer(twice, lr=0.01)
    parts.fit(data, epochs=1, seed=1)
    middle = state(twice)
    parts.fit(data, epochs=1, seed=1)
    assert not same(state(twice), middle)
    assert parts.optimizer.state_dict()["state"][0]["step"] == whole.optimizer.state_dict()["state"][0]["step"] == 4


def test_weights_set_between_steps_act_at_once_and_are_recorded() -> None:
    class Turn(ml.Callback):
        def on_step_end(self, fit: Any) -> None:
            if fit.step == 2:
                fit.objective.loss_weights["kind"] = 0.0

    objective = make_objective(metrics=False)
    model = make_model()
    history = make_trainer(model, objective, callbacks=[Turn()]).fit(make_data(32), epochs=1, batch_size=8)
    record = history.ledger(1)
    assert record["kind"].weight == pytest.approx(0.5)  # 1, 1, 0, 0
    assert sum(term.contribution for term in record) == pytest.approx(record.total, rel=1e-6)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"epochs": 0}, "epochs"),
        ({"resume": True}, "out="),
        ({"validation": 0.0}, "fraction"),
        ({"validation": 1.5}, "fraction"),
    ],
)
def test_arguments_of_fit_that_mean_nothing(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ml.MultilossError, match=words):
        make_trainer(make_model()).fit(make_data(), **options)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"on_nonfinite": "ignore"}, "on_nonfinite"),
        ({"clip": 0.0}, "clip"),
        ({"threads": 0}, "threads"),
        ({"optimizer": "adamm"}, "Did you mean 'adam'"),
        ({"optimizer": {"name": "sgd", "momentumm": 0.9}}, "momentumm"),
        ({"lr": -1.0}, "learning rate"),
        ({"lr": {"trunkk": 1e-3, "default": 1e-3}}, "Did you mean 'trunk'"),
    ],
)
def test_arguments_of_a_trainer_that_mean_nothing(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ml.MultilossError, match=words):
        make_trainer(make_model(), **options)


@pytest.mark.parametrize("spec", ["sgd", "rmsprop", "adamw", "adagrad", "nadam", "adamax", "adadelta", "radam"])
def test_every_named_optimizer_trains(spec: str) -> None:
    lr = 1.0 if spec == "adadelta" else 0.05
    history = make_trainer(make_model(), optimizer=spec, lr=lr).fit(make_data(), epochs=6, batch_size=8)
    assert history["loss"][-1] < history["loss"][0]  # type: ignore[operator]


def test_rates_by_part_and_a_built_optimizer_are_used() -> None:
    model = make_model()
    before = state(model)
    make_trainer(model, lr={"trunk": 0.0, "price": 1e-2, "default": 1e-3}, optimizer="sgd").fit(make_data())
    after = state(model)
    assert all(torch.equal(before[name], after[name]) == name.startswith("trunk") for name in before if "mean" not in
               name and "scale" not in name)  # fmt: skip

    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    trainer = make_trainer(model, optimizer=optimizer)
    trainer.fit(make_data())
    assert trainer.optimizer is optimizer
    assert trainer.history is not None
    assert trainer.history["lr"] == [0.1]


@pytest.mark.parametrize("spec", ["sgd", {"name": "sgd", "momentum": 0.9}, {"name": "sgd", "weight_decay": 0.1}])
def test_sparse_embeddings_train_as_dense_ones_do(spec: Any) -> None:
    index = torch.randint(0, 4, (32,), generator=torch.Generator().manual_seed(0))
    ends = []
    for sparse in (False, True):
        if sparse and isinstance(spec, dict) and "weight_decay" in spec:
            continue  # torch: weight decay has no meaning for sparse gradients
        torch.manual_seed(0)
        embedding = nn.Embedding(4, 1, sparse=sparse)
        trainer = make_trainer(embedding, ml.Objective({"y": "mse"}), output_names=["y"], optimizer=spec, lr=0.1)
        trainer.fit((index, {"y": index.float()[:, None]}), epochs=2, batch_size=8)
        ends.append(state(embedding)["weight"])
    assert torch.allclose(ends[0], ends[-1], atol=1e-6)


def test_momentum_begins_with_the_first_gradient_of_a_parameter() -> None:
    """An output without labels in the first batches: its head's momentum begins later, as in torch's plain SGD."""
    x, y = make_data(32)
    y["price"][:16] = torch.nan
    model, by_hand = make_model(), make_model()
    make_trainer(model, optimizer={"name": "sgd", "momentum": 0.9, "nesterov": True}, lr=0.1).fit(
        torch.utils.data.DataLoader(torch.utils.data.StackDataset(x, torch.utils.data.StackDataset(**y)), 8),  # type: ignore[arg-type]
        epochs=2,
    )
    optimizer = torch.optim.SGD(by_hand.parameters(), lr=0.1, momentum=0.9, nesterov=True)
    for _ in range(2):
        for rows in torch.split(torch.arange(32), 8):
            optimizer.zero_grad()
            losses = hand_losses(by_hand(x[rows]), {k: t[rows] for k, t in y.items()})
            torch.stack([value for value, _ in losses.values()]).sum().backward()  # type: ignore[no-untyped-call]
            optimizer.step()
    for name, value in state(by_hand).items():
        assert torch.allclose(state(model)[name], value, atol=1e-7), name
