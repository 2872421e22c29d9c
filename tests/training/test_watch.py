"""Watching gradients while a fit runs: what is recorded, that it changes nothing, and that it survives interruption."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from training_tasks import make_data, make_model, make_objective, make_trainer, same, state

import multiloss as ml
from multiloss.core.run_records import RunRecords
from multiloss.training.fit import Fit
from multiloss.training.watch import GradientWatch


def lines(folder: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in (folder / "gradients.jsonl").read_text().splitlines()]


def test_training_is_the_same_watched_or_not() -> None:
    def trained(watch: str) -> dict[str, Tensor]:
        trainer = make_trainer(
            make_model(dropout=0.3, norm="batch"), make_objective(penalty=0.01), watch_gradients=watch
        )
        trainer.fit(make_data(missing=0.3), epochs=3)
        return state(trainer.model)

    assert same(trained("never"), trained("every step"))


def test_every_nth_step_is_recorded_with_its_place(tmp_path: Path) -> None:
    trainer = make_trainer(make_model(), make_objective(penalty=0.01), watch_gradients="every 3 steps", out=tmp_path)
    history = trainer.fit(make_data(), epochs=4, batch_size=16)  # 53 rows: 4 steps an epoch
    assert [(flow.epoch, flow.step) for flow in history.flows] == [(1, 2), (2, 5), (3, 8), (3, 11), (4, 14)]
    assert [line["step"] for line in lines(tmp_path)] == [2, 5, 8, 11, 14]
    assert RunRecords.read(tmp_path).flows == history.flows
    first = history.flows[0]
    assert first.losses == ("price", "kind", "sold") and [layer.name for layer in first.layers] == ["trunk.0"]
    assert sum(first.shares.values()) == pytest.approx(1.0, abs=1e-6) and "penalty" in first.norms


def test_the_first_step_is_that_of_a_bare_loop() -> None:
    trainer = make_trainer(make_model(), make_objective(), watch_gradients="every step")
    x, targets = make_data()
    watched = trainer.fit((x, targets), epochs=1, batch_size=len(x)).flows[0]
    model = make_model()
    bare = ml.gradient_flow(make_objective()(model(x), targets), model)
    assert watched.norms == pytest.approx(bare.norms, rel=1e-5)  # rows in another order
    assert watched.cosines[0] == pytest.approx(bare.cosines[0], abs=1e-5)


def test_balancing_weights_are_those_of_the_step() -> None:
    trainer = make_trainer(make_model(), make_objective(), balancing="cagrad", watch_gradients="every step")
    history = trainer.fit(make_data(), epochs=1, batch_size=64)
    flow, ledger = history.flows[0], history.ledger(1)
    assert flow.method == "cagrad"
    for name, weight in flow.balancing_weights.items():
        assert weight == pytest.approx(ledger[name].balancing_weight) and weight != 1.0


def test_a_step_without_labels_of_one_output_has_one_loss_fewer() -> None:
    x, targets = make_data()
    targets["price"][:] = torch.nan
    trainer = make_trainer(make_model(), make_objective(), watch_gradients="every step")
    flow = trainer.fit((x, targets), epochs=1, batch_size=64).flows[0]
    assert flow.losses == ("kind", "sold") and flow.absent == ("price",)


def test_auto_is_every_two_hundred_steps_rarer_with_many_losses_and_never_with_one() -> None:
    assert [GradientWatch(0, m).every for m in (1, 2, 3, 40)] == [0, 200, 300, 4000]
    one = ml.Trainer(
        ml.HardSharing(ml.MLP(5, [4]), {"price": ml.RegressionHead(4)}), ml.Objective("mse"), progress=False
    )
    x, targets = make_data()
    assert one.fit((x, {"price": targets["price"]}), epochs=1).flows == []


@pytest.mark.parametrize("wrong", ["sometimes", "every 0 steps", "every -3 steps", ""])
def test_another_word_is_refused(wrong: str) -> None:
    with pytest.raises(ml.ObjectiveError, match="watch_gradients: expected 'auto', 'never' or"):
        make_trainer(make_model(), make_objective(), watch_gradients=wrong)


def test_resuming_gives_the_lines_of_a_fit_that_never_stopped(tmp_path: Path) -> None:
    class Stop(ml.Callback):
        def on_step_end(self, fit: Fit) -> None:
            if fit.step == 6:
                fit._note_signal(2)

    def trainer(name: str, *callbacks: ml.Callback) -> ml.Trainer:
        own = {"watch_gradients": "every 2 steps", "out": tmp_path / name}
        return make_trainer(make_model(), make_objective(), callbacks=callbacks, **own)

    trainer("whole").fit(make_data(), epochs=3, batch_size=16)
    trainer("cut", Stop()).fit(make_data(), epochs=3, batch_size=16)
    assert [line["step"] for line in lines(tmp_path / "cut")] == [1, 3, 5]
    history = trainer("cut").fit(make_data(), epochs=3, batch_size=16, resume=True)
    assert lines(tmp_path / "cut") == lines(tmp_path / "whole")
    assert [flow.step for flow in history.flows] == [1, 3, 5, 7, 9, 11]


class Refusing(torch.autograd.Function):
    """A function whose first backward pass fails, as code that is not ours may."""

    calls = 0

    @staticmethod
    def forward(ctx: object, x: Tensor) -> Tensor:
        return x.clone()

    @staticmethod
    def backward(ctx: object, gradient: Tensor) -> Tensor:
        Refusing.calls += 1
        if Refusing.calls == 1:
            raise RuntimeError("this backward pass is not for looking")
        return gradient


def test_a_model_that_cannot_be_watched_is_trained_all_the_same(caplog: pytest.LogCaptureFixture) -> None:
    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = make_model()

        def forward(self, x: Tensor) -> dict[str, Tensor]:
            return {name: Refusing.apply(out) for name, out in self.inner(x).items()}  # type: ignore[no-untyped-call]

    trainer = make_trainer(Model(), make_objective(), watch_gradients="every step")
    history = trainer.fit(make_data(), epochs=2)
    assert history.flows == [] and len(history) == 2
    said = [record.getMessage() for record in caplog.records if "not watched" in record.getMessage()]
    assert len(said) == 1 and said[0].startswith("gradients are not watched: expected a model that can be")
    assert "this backward pass is not for looking" in said[0]


class Breaking(ml.Callback):
    """A loss that is infinite from the third step on."""

    factor = 1.0

    def on_step_end(self, fit: Fit) -> None:
        self.factor = torch.inf if fit.step >= 2 else 1.0

    def loss(self, pred: Tensor, target: Tensor) -> Tensor:
        return (pred - target).abs() * self.factor


def test_steps_that_are_not_finite_leave_no_line() -> None:
    breaking = Breaking()
    objective = make_objective(losses={"sold": breaking.loss}, metrics=False)
    options = {"watch_gradients": "every step", "on_nonfinite": "skip", "callbacks": [breaking]}
    history = make_trainer(make_model(), objective, **options).fit(make_data(), epochs=1, batch_size=16)
    assert [flow.step for flow in history.flows] == [0, 1]
