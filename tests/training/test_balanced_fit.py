"""Fits under every balancing method: accounts that add up, resuming, missing labels, what is not finite."""

from __future__ import annotations

import math
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from training_tasks import LOSSES, make_data, make_model, make_objective, make_trainer, same, state, without_time

import multiloss as ml
from multiloss.balancing.kinds import GramianWeighting, JacobianAggregator, LossWeighting
from multiloss.nn.untouched import untouched

NEEDED: dict[str, dict[str, Any]] = {
    "fixed": {"factors": {"price": 2.0, "kind": 0.5, "sold": 1.0}},
    "epo": {"preference": {"price": 1.0, "kind": 2.0, "sold": 1.0}},
}
METHODS = list(ml.BALANCING_METHODS)
COMPARING = [n for n, m in ml.BALANCING_METHODS.items() if not issubclass(m, LossWeighting)]


def spec(name: str, **options: Any) -> dict[str, Any]:
    return {"name": name, **NEEDED.get(name, {}), **options}


class Interrupt(ml.Callback):
    """Sends the signal of Ctrl-C after a step."""

    def __init__(self, step: int) -> None:
        self.step = step

    def on_step_end(self, fit: Any) -> None:
        if fit.step == self.step:
            signal.raise_signal(signal.SIGINT)


@pytest.mark.parametrize("name", METHODS)
def test_every_method_trains_with_missing_labels_and_its_account_adds_up(name: str) -> None:
    objective = make_objective({"price": 0.7, "kind": 1.3}, penalty=0.01)
    trainer = make_trainer(make_model(norm="batch", dropout=0.1), objective, balancing=spec(name), lr=1e-3)
    history = trainer.fit(make_data(64, missing=0.4), epochs=3, batch_size=8, validation=0.25)
    for record in history.ledgers:
        assert math.fsum(term.contribution for term in record) == pytest.approx(record.total, rel=1e-6)
        assert not any(term.kind == "unexplained" for term in record)
        if record.split == "validation":
            assert all(term.balancing_weight == 1.0 for term in record)
            assert not any(line.startswith("balancing") for line in record.outside) or record.outside
    lines = history.ledger(3).outside
    assert any(line.startswith(f"balancing {name}") for line in lines)
    assert all(value.isfinite().all() for value in state(trainer.model).values())


@pytest.mark.parametrize("name", [name for name in METHODS if ml.resolve_balancing(spec(name)).remembers])
def test_a_fit_that_was_interrupted_goes_on_with_the_same_numbers(name: str, tmp_path: Path) -> None:
    data = make_data(64, missing=0.3)

    def fit(folder: Path, *callbacks: Any, resume: bool = False) -> tuple[ml.Trainer, ml.History]:
        model = make_model(dropout=0.2)
        trainer = make_trainer(model, balancing=spec(name), lr=1e-2, out=folder, callbacks=callbacks)
        return trainer, trainer.fit(data, epochs=3, batch_size=8, validation=0.25, resume=resume)

    whole, expected = fit(tmp_path / "whole")
    fit(tmp_path / "parts", Interrupt(8))
    parts, found = fit(tmp_path / "parts", resume=True)
    assert without_time(found.rows) == without_time(expected.rows)
    assert same(state(whole.model), state(parts.model))
    assert whole.balancing is not None and parts.balancing is not None
    assert str(whole.balancing.state_dict()) == str(parts.balancing.state_dict())


def test_resuming_with_another_method_is_refused(tmp_path: Path) -> None:
    make_trainer(make_model(), balancing="dwa", out=tmp_path).fit(make_data(), epochs=1)
    with pytest.raises(ml.RunError, match="balancing"):
        make_trainer(make_model(), balancing="rlw", out=tmp_path).fit(make_data(), epochs=2, resume=True)


@pytest.mark.parametrize("name", [n for n in ("upgrad", "graddrop", "uncertainty") if n in METHODS])
@pytest.mark.parametrize("where", ["loss", "gradient"])
def test_one_loss_that_is_not_finite_is_named(name: str, where: str) -> None:
    trainer, data = _broken(name, where, "raise")
    before = state(trainer.model)
    with pytest.raises(ml.NonFiniteError, match=r"'price' is not finite in step 1"):
        trainer.fit(data, epochs=1, batch_size=53)
    assert same(before, state(trainer.model))


@pytest.mark.parametrize("name", [n for n in ("upgrad", "graddrop", "uncertainty") if n in METHODS])
@pytest.mark.parametrize("where", ["loss", "gradient"])
def test_one_loss_that_is_not_finite_is_left_out(name: str, where: str) -> None:
    trainer, data = _broken(name, where, "skip")
    history = trainer.fit(data, epochs=2, batch_size=53)
    assert "price: left out of 2 steps so far, not finite" in history.ledger(2).outside
    assert history.ledger(2)["kind"].count == 53
    assert all(value.isfinite().all() for value in state(trainer.model).values())


def root_at_zero(pred: Tensor, target: Tensor) -> Tensor:
    """Finite, with an infinite gradient where a target says so."""
    return torch.where(target == 100.0, (pred * 0).sqrt(), (pred - target).square())


def _broken(name: str, where: str, on_nonfinite: Any) -> tuple[ml.Trainer, Any]:
    x, y = make_data()
    y["price"][3] = torch.inf if where == "loss" else 100.0
    loss: Any = root_at_zero if where == "gradient" else "mse"
    model = make_model()
    objective = ml.Objective({**LOSSES, "price": loss})
    trainer = make_trainer(model, objective, balancing=spec(name), on_nonfinite=on_nonfinite)
    trainer._dry_run = lambda source, partial: ml.dry_run(model, make_objective(), *make_data())  # type: ignore[method-assign]
    return trainer, (x, y)


def test_a_second_look_at_the_batch_leaves_batch_norm_and_the_random_state_alone() -> None:
    """FAMO whose weights cannot move is the plain sum of log losses: it must see the same dropout and statistics."""
    data = make_data(64)
    models = []
    for balancing in (spec("famo", lr=1e-12), None):
        model = make_model(norm="batch", dropout=0.5)
        trainer = make_trainer(model, balancing=balancing, lr=0.0, optimizer="sgd")
        trainer.fit(data, epochs=2, batch_size=8)
        models.append((state(model), torch.rand(1)))
    assert same(models[0][0], models[1][0])
    assert torch.equal(models[0][1], models[1][1])


def test_untouched_puts_every_buffer_back() -> None:
    norm = nn.BatchNorm1d(3)
    before = state(norm)
    with pytest.raises(ValueError), untouched(norm):
        norm(torch.randn(4, 3))
        raise ValueError
    assert same(before, state(norm))


def test_methods_on_held_out_losses_ask_for_them() -> None:
    with pytest.raises(ml.BalancingError, match="expected validation data, found none"):
        make_trainer(make_model(), balancing="coba").fit(make_data(), epochs=1)


def test_unknown_methods_options_and_engines_are_refused_at_once() -> None:
    with pytest.raises(ml.BalancingError, match="Did you mean 'pcgrad'"):
        make_trainer(make_model(), balancing="pcgard")
    with pytest.raises(ml.BalancingError, match="unknown option 'cc'"):
        make_trainer(make_model(), balancing={"name": "cagrad", "cc": 1.0})
    with pytest.raises(ml.BalancingError, match="every: expected"):
        make_trainer(make_model(), balancing={"name": "cagrad", "every": 0})
    with pytest.raises(ml.BalancingError, match="Did you mean 'sequential'"):
        make_trainer(make_model(), balancing="cagrad", engine="sequentially")


@pytest.mark.parametrize("name", [n for n in COMPARING if issubclass(ml.BALANCING_METHODS[n], GramianWeighting)])
def test_every_ten_steps_works_for_every_method_with_weights(name: str) -> None:
    model = make_model()
    trainer = make_trainer(model, balancing=spec(name, every=10, ema=0.5))
    trainer.fit(make_data(64, missing=0.2), epochs=2, batch_size=8)
    assert all(value.isfinite().all() for value in state(model).values())


@pytest.mark.parametrize("name", [n for n in COMPARING if issubclass(ml.BALANCING_METHODS[n], JacobianAggregator)])
def test_methods_without_weights_refuse_to_reuse_them(name: str) -> None:
    with pytest.raises(ml.BalancingError, match="every gradient in every step"):
        make_trainer(make_model(), balancing=spec(name, every=10))


def test_cost_measures_and_changes_nothing() -> None:
    x, y = make_data()
    model = make_model(norm="batch", dropout=0.1)
    model(x)["price"].sum().backward()
    before, gradients = (
        state(model),
        {k: None if p.grad is None else p.grad.clone() for k, p in model.named_parameters()},
    )
    random = torch.get_rng_state()
    prices = ml.cost(model, make_objective(), (x, y), balancing=["uncertainty", "upgrad", "famo"])
    assert same(before, state(model)) and torch.equal(random, torch.get_rng_state())
    for key, parameter in model.named_parameters():
        expected = gradients[key]
        assert (parameter.grad is None) == (expected is None)
        assert expected is None or torch.equal(parameter.grad, expected)  # type: ignore[arg-type]
    assert [(p.method, p.engine) for p in prices[:2]] == [("plain sum", None), ("uncertainty", None)]
    assert {p.engine for p in prices if p.method == "upgrad"} == set(ml.GRADIENT_ENGINES)
    measured = [p for p in prices if p.problem is None]
    assert all(p.time_ratio and p.time_ratio > 0 and p.memory_ratio and p.memory_ratio > 0 for p in measured)
    assert "upgrad" in str(prices)


def test_cost_leaves_a_method_of_yours_alone_and_counts_steps_between_estimates() -> None:
    x, y = make_data()
    method = ml.Uncertainty()
    method.expect(["price", "kind", "sold"])
    before = str(method.state_dict())
    ml.cost(make_model(), make_objective(), (x, y), balancing=method)
    assert str(method.state_dict()) == before
    counts = []

    class Counting(ml.UPGrad):
        def weigh(self, gramian: Any, losses: Any) -> Any:
            counts.append(len(losses))
            return super().weigh(gramian, losses)

    original = ml.BALANCING_METHODS["upgrad"]
    registry = dict(ml.BALANCING_METHODS) | {"upgrad": Counting}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("multiloss.balancing.registry.BALANCING_METHODS", registry)
        ml.cost(
            make_model(), make_objective(), (x, y), balancing={"name": "upgrad", "every": 5}, engines=["sequential"]
        )
    assert ml.BALANCING_METHODS["upgrad"] is original
    assert len(counts) >= 4  # the first step, one in the measured memory, one in each of two timed rounds


def test_a_skipped_gradient_leaves_no_trace_in_the_method() -> None:
    """The step is taken again without the bad loss: the method must have seen it once, and one loss fewer."""
    trainer, data = _broken("uncertainty", "gradient", "skip")
    trainer.fit(data, epochs=3, batch_size=53)
    assert trainer.balancing is not None
    steps = trainer.balancing.state_dict()["s_adam"][:, 2]
    assert steps.tolist() == [0.0, 3.0, 3.0]  # price was left out of each, the others were seen three times


def test_misspelt_options_by_loss_are_found_before_the_first_step() -> None:
    for balancing in (
        {"name": "upgrad", "preference": {"price": 2.0, "sould": 1.0}},
        {"name": "fixed", "factors": {"prise": 1.0}},
    ):
        with pytest.raises(ml.BalancingError, match=r"Did you mean '(sold|price)'"):
            make_trainer(make_model(), balancing=balancing).fit(make_data(), epochs=1)


def test_options_in_order_mean_the_order_of_the_objective() -> None:
    x, y = make_data()
    y["price"][:] = torch.nan  # the first output is never seen
    trainer = make_trainer(make_model(), balancing={"name": "fixed", "factors": [1.0, 2.0, 3.0]})
    record = trainer.fit((x, y), epochs=1).ledger(1)
    assert (record["kind"].balancing_weight, record["sold"].balancing_weight) == (2.0, 3.0)


@pytest.mark.parametrize("batches", [2, 3])
def test_several_batches_work_with_batch_normalisation_on_short_last_batches(batches: int) -> None:
    model = make_model(norm="batch")
    make_trainer(model, balancing={"name": "modo", "batches": batches}).fit(make_data(37), epochs=1, batch_size=16)
    assert all(value.isfinite().all() for value in state(model).values())


def test_resuming_with_another_engine_is_refused(tmp_path: Path) -> None:
    make_trainer(make_model(), balancing="upgrad", out=tmp_path).fit(make_data(), epochs=1)
    with pytest.raises(ml.RunError, match="balancing"):
        trainer = make_trainer(make_model(), balancing="upgrad", engine="features", out=tmp_path)
        trainer.fit(make_data(), epochs=2, resume=True)
