"""A number that is not finite stops training where it stands, or is left out; it never reaches a parameter."""

from __future__ import annotations

import copy
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from training_tasks import LOSSES, Data, make_data, make_model, make_objective, make_trainer, same, state

import multiloss as ml
from multiloss.training import checkpoint

BAD = 40  # a row that the first batch of the dry run does not hold
BATCH = 8
OPTIMIZERS: dict[str, Any] = {
    "sgd": "sgd",
    "momentum": {"name": "sgd", "momentum": 0.9},
    "adam": "adam",
    "adagrad": "adagrad",
    "rmsprop": "rmsprop",  # not fused: the host has to stop it
    "the user's own": lambda groups: torch.optim.Adam(groups, foreach=False, weight_decay=0.1),
}


class Stopped(Exception):
    """The fit was stopped here."""


class StopAfter(ml.Callback):
    def __init__(self, steps: int) -> None:
        self.steps = steps

    def on_step_end(self, fit: Any) -> None:
        if fit.step == self.steps:
            raise Stopped


def infinite(row: int = BAD) -> Data:
    x, y = make_data()
    y["price"][row] = torch.inf
    return x, y


def steps_before(row: int, rows: int = 53, seed: int = 0) -> int:
    order = torch.randperm(rows, generator=torch.Generator().manual_seed(seed * 1_000_003 + 1))
    return int((order == row).nonzero()) // BATCH


def sqrt_at_zero(pred: Tensor, target: Tensor) -> Tensor:
    """A loss that is finite where its gradient is not: the derivative of the square root of 0."""
    return torch.where(target > 50, pred * 0, (pred - target) ** 2 + 1).sqrt()


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("where", ["loss", "gradient"])
@pytest.mark.parametrize("clip", [None, 0.1])
def test_training_stops_with_the_parameters_of_the_last_finite_step(name: str, where: str, clip: float | None) -> None:
    x, y = infinite()
    if where == "gradient":
        y["price"][BAD] = 100.0
    losses = {"price": sqrt_at_zero} if where == "gradient" else {}
    model, stopped = make_model(dropout=0.2), make_model(dropout=0.2)
    last = steps_before(BAD)
    assert last > 0
    options: dict[str, Any] = {"optimizer": OPTIMIZERS[name], "lr": 0.05, "clip": clip}
    trainer = make_trainer(model, make_objective(losses=losses), **options)
    with pytest.raises(ml.NonFiniteError) as error:
        trainer.fit((x, y), epochs=3, batch_size=BATCH)
    with pytest.raises(Stopped):
        make_trainer(stopped, make_objective(losses=losses), callbacks=[StopAfter(last)], **options).fit(
            (x, y), epochs=3, batch_size=BATCH
        )
    assert same(state(model), state(stopped))
    text = str(error.value)
    what = "gradient of the loss" if where == "gradient" else "loss"
    assert f"the {what} of 'price' is not finite in step {last + 1} (epoch 1)" in text
    assert f"The last finite step was {last}; no checkpoint was kept" in text
    assert re.search(rf"in rows {BAD}\b", text), text
    assert ("its target is infinite" in text) == (where == "loss")


def test_the_rows_are_the_users_also_when_some_are_held_out() -> None:
    x, y = make_data(60)
    for row in range(20, 60):  # whichever of them are held out, those that are not are named by their own numbers
        y["price"][row] = torch.inf if row % 2 else y["price"][row]
    with pytest.raises(ml.MultilossError) as error:
        make_trainer(make_model()).fit((x, y), validation=0.5, batch_size=4, seed=2)
    named = re.search(r"in rows ([\d, ]+)", str(error.value))
    assert named is not None
    rows = [int(row) for row in named[1].split(",") if row.strip()]
    assert rows and all(y["price"][row].isinf() for row in rows)


def test_inputs_and_parameters_that_are_not_finite_are_told_apart() -> None:
    x, y = make_data()
    x[BAD, 2] = torch.nan
    with pytest.raises(ml.NonFiniteError, match=rf"an input is not finite in rows {BAD}\b") as error:
        make_trainer(make_model()).fit((x, y), batch_size=BATCH)
    assert all(repr(name) in str(error.value) for name in LOSSES)  # every output reads this row
    x, y = make_data()
    with pytest.raises(ml.NonFiniteError, match=r"diverged|is not finite in rows|out of bounds"):
        make_trainer(make_model(), optimizer="sgd", lr=1e12).fit((x, y), epochs=20, batch_size=BATCH)


def test_a_loader_names_rows_of_the_batch() -> None:
    x, y = infinite(row=10)
    dataset = torch.utils.data.TensorDataset(x, y["price"])
    objective = ml.Objective({"price": "mse"})
    model = ml.HardSharing(ml.MLP(5, [4]), {"price": ml.RegressionHead(4)})
    with pytest.raises(ml.NonFiniteError, match=r"rows of the batch 2\."):
        make_trainer(model, objective).fit(torch.utils.data.DataLoader(dataset, BATCH))


def test_a_label_of_an_output_that_is_not_trained_stops_nothing() -> None:
    history = make_trainer(make_model(), make_objective({"price": 0.0}, metrics=False)).fit(
        infinite(), epochs=2, batch_size=BATCH
    )
    assert len(history) == 2


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("where", ["loss", "gradient"])
def test_skipping_leaves_out_that_term_and_nothing_else(name: str, where: str) -> None:
    """One step on one batch: parameters get exactly the gradients of the other losses and of the penalty."""
    x, y = infinite(row=3)
    y["price"][3] = torch.inf if where == "loss" else 100.0
    loss: Any = sqrt_at_zero if where == "gradient" else "mse"
    penalties = [ml.L2(0.01, on="trunk")]
    weights = {"price": 2.0, "kind": 0.5, "sold": 1.0}
    model, without = make_model(), make_model()
    objective = ml.Objective({**LOSSES, "price": loss}, loss_weights=weights, penalties=penalties)
    trainer = make_trainer(model, objective, optimizer=OPTIMIZERS[name], lr=0.05, on_nonfinite="skip")
    trainer._dry_run = lambda source, partial: ml.dry_run(model, make_objective(), x, y)  # type: ignore[method-assign]
    history = trainer.fit((x, y), epochs=1, batch_size=53)
    others = ml.Objective(
        {"price": None, "kind": "cross_entropy", "sold": "binary_cross_entropy"},
        loss_weights={"kind": 0.5, "sold": 1.0},
        penalties=penalties,
    )
    expected = make_trainer(without, others, optimizer=OPTIMIZERS[name], lr=0.05)
    expected.fit((x, {**y, "price": torch.full_like(y["price"], torch.nan)}), epochs=1, batch_size=53)
    for key, value in state(without).items():
        assert torch.allclose(value, state(model)[key], rtol=1e-6, atol=1e-8), key
    record = history.ledger(1)
    assert record["price"].count == 0 and record["price"].contribution == 0
    assert any("price: left out of 1 steps so far, not finite" in line for line in record.outside)
    assert sum(term.contribution for term in record) == pytest.approx(record.total, rel=1e-6)


def test_skipping_goes_on_and_counts() -> None:
    x, y = infinite()
    model = make_model()
    trainer = make_trainer(model, on_nonfinite="skip", lr=0.01)
    history = trainer.fit((x, y), epochs=3, batch_size=BATCH)
    assert len(history) == 3
    assert "price: left out of 3 steps so far, not finite" in history.ledger(3).outside
    counts = history.ledger(3)["price"].count
    assert counts is not None and 53 - BATCH <= counts < 53
    assert all(value.isfinite().all() for value in state(model).values())
    assert history["price_loss"][-1] < history["price_loss"][0]  # type: ignore[operator]


def test_skipping_changes_nothing_where_everything_is_finite() -> None:
    data = make_data(missing=0.3)
    model, other = make_model(dropout=0.2), make_model(dropout=0.2)
    make_trainer(model, on_nonfinite="skip").fit(data, epochs=2, batch_size=BATCH)
    make_trainer(other).fit(data, epochs=2, batch_size=BATCH)
    assert same(state(model), state(other))


def test_a_step_with_no_finite_loss_at_all_moves_nothing() -> None:
    x, y = make_data(16)
    y["price"][8:] = torch.inf
    model = make_model()
    loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(x, y["price"]), 8)

    class Single(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = model

        def forward(self, x: Tensor) -> Tensor:
            outputs: dict[str, Tensor] = self.inner(x)
            return outputs["price"]

    optimizer = {"name": "adamw", "weight_decay": 0.1}
    states: list[dict[str, Tensor]] = []

    class Keep(ml.Callback):
        def on_step_end(self, fit: Any) -> None:
            states.append(state(model))

    make_trainer(
        Single(), ml.Objective({"price": "mse"}), output_names=["price"], optimizer=optimizer, on_nonfinite="skip",
        callbacks=[Keep()],
    ).fit(loader)  # fmt: skip
    assert same(states[0], states[1])


def test_the_last_good_checkpoint_stays(tmp_path: Path) -> None:
    data = infinite()
    last = steps_before(BAD)
    trainer = make_trainer(make_model(), out=tmp_path / "run", checkpoint_seconds=0.0)
    with pytest.raises(ml.NonFiniteError, match=f"the last good checkpoint is in {re.escape(str(tmp_path))}"):
        trainer.fit(data, batch_size=BATCH)
    saved = checkpoint.load(tmp_path / "run" / "checkpoint" / "last.safetensors")
    assert saved["progress"][1] == last
    assert same(saved["model"], state(trainer.model))

    x, y = data
    y["price"][BAD] = 0.0  # mended
    whole = make_model()
    expected = make_trainer(whole).fit((x, y), batch_size=BATCH)
    other = make_model(seed=7)
    history = make_trainer(other, out=tmp_path / "run").fit((x, y), batch_size=BATCH, resume=True)
    assert same(state(whole), state(other))
    assert history["loss"] == expected["loss"]


def test_a_watched_fit_costs_the_optimizer_nothing() -> None:
    optimizer = torch.optim.Adam(make_model().parameters(), fused=True)
    model = make_model()
    own = torch.optim.Adam(model.parameters(), fused=True)
    make_trainer(model, optimizer=own).fit(make_data())
    assert vars(own).keys() == vars(optimizer).keys()


def test_double_precision_and_mixed_types_are_watched() -> None:
    x, y = infinite()
    targets = {"price": y["price"].double(), "kind": y["kind"], "sold": y["sold"].double()}
    model = make_model().double()
    with pytest.raises(ml.NonFiniteError, match="'price'"):
        make_trainer(model).fit((x.double(), targets), batch_size=BATCH)
    mixed = make_model()
    with pytest.raises(ml.NonFiniteError, match="'price'"):
        make_trainer(mixed, make_objective(metrics=False)).fit((x, {**y, "price": targets["price"]}), batch_size=BATCH)


def test_the_guard_sees_what_a_plain_look_sees() -> None:
    from multiloss.training.guard import Guard

    for bad in (None, 0, 1, 2):
        layers = [nn.Linear(3, 2), nn.Linear(2, 2).double(), nn.Embedding(4, 2, sparse=True)]
        parameters = [p for layer in layers for p in layer.parameters()]
        z = layers[0](torch.ones(1, 3)).double()
        (layers[1](z).sum() + layers[2](torch.tensor([1, 2])).sum()).backward()
        grads = copy.deepcopy([p.grad for p in parameters])
        if bad is not None:
            grad = layers[bad].weight.grad
            assert isinstance(grad, Tensor)
            (grad._values() if grad.is_sparse else grad)[0, 0] = torch.nan
        guard = Guard(torch.optim.SGD(parameters), torch.device("cpu"), sparse=True)
        guard.watch(torch.tensor(1.0))
        assert guard.tripped() == (bad is not None)
        if bad is None:
            same_values = (torch.equal(a.to_dense(), p.grad.to_dense()) for a, p in zip(grads, parameters, strict=True)
                           if a is not None and p.grad is not None)  # fmt: skip
            assert all(same_values)
            guard.watch(torch.tensor(torch.inf))
            assert guard.tripped()
            guard.clear()
            assert not guard.tripped()


@pytest.mark.parametrize("name", ["sgd", "momentum", "adam", "adamw", "adagrad"])
@pytest.mark.parametrize("every", [2, 3, 16])
def test_looking_seldom_as_on_an_accelerator_stops_at_the_same_step(
    monkeypatch: pytest.MonkeyPatch, name: str, every: int
) -> None:
    """There the host looks only now and then; the fused optimiser reads the flag itself."""
    from multiloss.training import fit
    from multiloss.training.guard import Guard

    class Seldom(Guard):
        def __init__(self, *args: Any) -> None:
            super().__init__(*args)
            self.every = every

    data, last = infinite(), steps_before(BAD)
    model, stopped = make_model(), make_model()
    options: dict[str, Any] = {"optimizer": OPTIMIZERS.get(name, name), "lr": 0.05}
    with pytest.raises(Stopped):
        make_trainer(stopped, callbacks=[StopAfter(last)], **options).fit(data, epochs=3, batch_size=BATCH)
    monkeypatch.setattr(fit, "Guard", Seldom)
    with pytest.raises(ml.NonFiniteError) as error:
        make_trainer(model, **options).fit(data, epochs=3, batch_size=BATCH)
    assert same(state(model), state(stopped))
    assert f"the loss of 'price' is not finite in step {last + 1} (epoch 1)" in str(error.value)
    assert re.search(rf"its target is infinite in rows {BAD}\b", str(error.value))
    assert f"The last finite step was {last};" in str(error.value)


def test_an_optimizer_that_cannot_read_the_flag_is_watched_in_every_step() -> None:
    from multiloss.training.guard import Guard

    parameters = [nn.Parameter(torch.zeros(2))]
    accelerator = torch.device("meta")
    assert Guard(torch.optim.Adam(parameters, fused=True), accelerator).every > 1
    for optimizer in (torch.optim.RMSprop(parameters), torch.optim.Adam(parameters, foreach=True)):
        assert Guard(optimizer, accelerator).every == 1
        assert not hasattr(optimizer, "found_inf")
