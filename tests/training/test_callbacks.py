"""What watches a fit: early stopping, the best epoch, learning rates, a user's own."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.optim.lr_scheduler import (
    CosineAnnealingLR,
    ExponentialLR,
    LambdaLR,
    MultiStepLR,
    OneCycleLR,
    ReduceLROnPlateau,
    SequentialLR,
    StepLR,
)
from training_tasks import make_data, make_model, make_objective, make_trainer, same, state

import multiloss as ml
from multiloss.training.callbacks import Monitor, direction


class Script(ml.Callback):
    """Puts values into the logs, as if the epochs had gone so."""

    def __init__(self, key: str, values: list[float | None]) -> None:
        self.key, self.values = key, values

    def on_epoch_end(self, fit: Any, logs: dict[str, float | None]) -> None:
        logs[self.key] = self.values[fit.epoch - 1]


def fit(*callbacks: ml.Callback, epochs: int = 6, **options: Any) -> tuple[ml.History, ml.HardSharing]:
    model = make_model()
    trainer = make_trainer(model, callbacks=callbacks, lr=0.05)
    return trainer.fit(make_data(40), validation=0.25, epochs=epochs, batch_size=8, **options), model


@pytest.mark.parametrize(
    ("key", "values", "epochs"),
    [
        ("val_loss", [3.0, 2.0, 2.5, 2.1, 1.0, 1.0], 4),
        ("val_task_loss", [3.0, 2.0, 1.0, 0.5, 0.4, 0.3], 6),
        ("val_kind_accuracy", [0.5, 0.6, 0.7, 0.65, 0.7, 0.9], 5),
        ("val_price_mae", [3.0, 4.0, 5.0, 0.0, 0.0, 0.0], 3),
        ("loss", [3.0, None, None, 2.0, 1.0, 0.5], 3),
        ("loss", [float("nan"), 3.0, 2.0, float("nan"), float("nan"), 0.5], 5),
    ],
)
def test_early_stopping_goes_the_way_of_its_key(key: str, values: list[float | None], epochs: int) -> None:
    history, _ = fit(Script(key, values), ml.EarlyStopping(key, patience=2))
    assert len(history) == epochs
    assert (history.stopped is None) == (epochs == 6)
    if history.stopped:
        assert f"{key} has not improved for 2 epochs (best" in history.stopped


def test_early_stopping_at_zero_says_so_and_min_delta_counts() -> None:
    history, _ = fit(Script("val_loss", [0.0] * 6), ml.EarlyStopping("val_loss", patience=1))
    assert history.stopped is not None and "best 0 in epoch 1" in history.stopped
    history, _ = fit(
        Script("val_loss", [1.0, 0.95, 0.91, 0.5, 0.5, 0.5]), ml.EarlyStopping("val_loss", patience=2, min_delta=0.1)
    )
    assert len(history) == 3


@pytest.mark.parametrize("callback", [ml.EarlyStopping, ml.BestCheckpoint])
def test_a_key_that_will_not_come_is_refused_before_training(callback: Any) -> None:
    with pytest.raises(ml.ObjectiveError, match=r"is not a key of the logs\. Did you mean 'val_price_mae'"):
        fit(callback("val_pric_mae"))
    with pytest.raises(ml.ObjectiveError, match="expected mode='min' or 'max'"):
        fit(callback("lr"))
    history, _ = fit(callback("lr", mode="max"), epochs=2)
    assert len(history) == 2
    with pytest.raises(ml.ObjectiveError, match="mode: expected"):
        callback("loss", mode="up")
    with pytest.raises(ml.ObjectiveError, match="val_task_loss"):  # the default, without validation
        make_trainer(make_model(), callbacks=[callback()]).fit(make_data())


def test_a_refused_monitor_leaves_no_folder(tmp_path: Any) -> None:
    trainer = make_trainer(make_model(), callbacks=[ml.EarlyStopping("val_los")], out=tmp_path / "run")
    with pytest.raises(ml.ObjectiveError, match="val_los"):
        trainer.fit(make_data())
    assert list(tmp_path.iterdir()) == []


def test_the_direction_of_a_key() -> None:
    metrics = {"a": ["mae"], "a_b": ["accuracy", "r2"]}
    assert direction("val_a_b_accuracy", metrics) is True
    assert direction("a_b_r2", metrics) is True
    assert direction("a_mae", metrics) is False
    assert direction("a_b_nothing", metrics) is None
    assert direction("seconds", metrics) is None


def test_an_object_of_torchmetrics_brings_its_direction() -> None:
    import torchmetrics

    objective = ml.Objective({"sold": "binary_cross_entropy"}, metrics={"sold": [torchmetrics.MeanSquaredError()]})
    x, y = make_data(20)
    trainer = make_trainer(make_model(), objective, callbacks=[ml.EarlyStopping("sold_mean_squared_error")])
    trainer.fit(x, {"sold": y["sold"]})


def test_the_best_epoch_comes_back() -> None:
    states: list[dict[str, torch.Tensor]] = []

    class Keep(ml.Callback):
        def on_epoch_end(self, fit: Any, logs: Any) -> None:
            states.append(state(fit.model))

    values: list[float | None] = [3.0, 1.0, 2.0, 1.0]
    best = ml.BestCheckpoint("val_loss")
    _, model = fit(Keep(), Script("val_loss", values), best, epochs=4)
    assert best.epoch == 2 and best.monitor.best == 1.0
    assert same(state(model), states[1])
    states.clear()
    best = ml.BestCheckpoint("val_loss", restore=False)
    _, model = fit(Keep(), Script("val_loss", values), best, epochs=4)
    assert same(state(model), states[3]) and same(best.parameters, states[1])


def test_a_second_fit_begins_to_count_anew() -> None:
    stop, best = ml.EarlyStopping("loss", patience=2, mode="max"), ml.BestCheckpoint("loss", mode="max")
    trainer = make_trainer(make_model(), callbacks=[stop, best], lr=0.05)
    assert len(trainer.fit(make_data(), epochs=6)) == 3  # the loss falls, so the first epoch was the "best"
    assert len(trainer.fit(make_data(), epochs=6)) == 3
    assert best.epoch == 1


def test_a_users_own_callback_sees_every_step() -> None:
    seen: list[Any] = []

    class Watch(ml.Callback):
        def on_fit_start(self, fit: Any) -> None:
            seen.append(("start", fit.steps_per_epoch, fit.epochs, fit.folder))

        def on_step_end(self, fit: Any) -> None:
            seen.append((fit.epoch, fit.step_in_epoch, fit.step))
            assert fit.model.training

        def on_epoch_end(self, fit: Any, logs: Any) -> None:
            seen.append(("epoch", logs["epoch"], fit.history.rows[-1] is logs))
            if fit.epoch == 2:
                fit.stop("enough")

        def on_fit_end(self, fit: Any) -> None:
            seen.append(("end", fit.finished))

    history = make_trainer(make_model(), callbacks=[Watch()]).fit(make_data(20), epochs=9, batch_size=10)
    assert seen == [("start", 2, 9, None), (1, 1, 1), (1, 2, 2), ("epoch", 1, True), (2, 1, 3), (2, 2, 4),
                    ("epoch", 2, True), ("end", True)]  # fmt: skip
    assert history.stopped == "enough"


def test_the_end_is_told_also_after_an_error() -> None:
    ends: list[bool] = []

    class Fails(ml.Callback):
        def on_step_end(self, fit: Any) -> None:
            raise RuntimeError("my own")

        def on_fit_end(self, fit: Any) -> None:
            ends.append(fit.finished)

    before = torch.get_num_threads(), torch.get_rng_state()
    trainer = make_trainer(make_model(), callbacks=[Fails()])
    with pytest.raises(RuntimeError, match="my own"):
        trainer.fit(make_data())
    assert ends == [False]
    assert torch.get_num_threads() == before[0] and torch.equal(torch.get_rng_state(), before[1])
    assert not hasattr(trainer.optimizer, "found_inf")


SCHEDULES: dict[str, tuple[Any, str]] = {
    "step": (lambda o: StepLR(o, 2, gamma=0.1), "epoch"),
    "milestones": (lambda o: MultiStepLR(o, [1, 3]), "epoch"),
    "exponential by step": (lambda o: ExponentialLR(o, 0.9), "step"),
    "cosine by step": (lambda o: CosineAnnealingLR(o, 20), "step"),
    "one cycle": (lambda o: OneCycleLR(o, 0.1, total_steps=24), "step"),
    "lambda": (lambda o: LambdaLR(o, lambda epoch: 0.5**epoch), "epoch"),
    "sequence": (lambda o: SequentialLR(o, [ExponentialLR(o, 0.5), StepLR(o, 1)], [2]), "epoch"),
}


@pytest.mark.parametrize("name", SCHEDULES)
def test_learning_rates_are_those_of_torch(name: str) -> None:
    make, interval = SCHEDULES[name]
    history, _ = fit(ml.LRSchedule(make, interval=interval), epochs=5)  # type: ignore[arg-type]
    optimizer = torch.optim.Adam([torch.zeros(1, requires_grad=True)], lr=0.05)
    schedule = make(optimizer)
    rates = []
    for _ in range(5):
        for _ in range(4):
            optimizer.step()
            if interval == "step":
                schedule.step()
        rates.append(optimizer.param_groups[0]["lr"])
        if interval == "epoch":
            schedule.step()
    assert history["lr"] == pytest.approx(rates, rel=1e-12)  # logged as the epoch was trained


@pytest.mark.parametrize("name", SCHEDULES)
def test_a_schedule_goes_on_from_its_state(name: str, tmp_path: Any) -> None:
    from multiloss.training import checkpoint

    make, _ = SCHEDULES[name]
    rates: list[list[float]] = []
    for pause in (None, 3):
        optimizer = torch.optim.Adam([torch.zeros(1, requires_grad=True)], lr=0.05)
        callback, seen = ml.LRSchedule(make), []
        callback.schedule = make(optimizer)
        for step in range(6):
            if step == pause:
                saved = {"schedule": callback.state_dict(), "optimizer": optimizer.state_dict()}
                checkpoint.save(tmp_path / "s", saved)
                restored = checkpoint.load(tmp_path / "s")
                optimizer = torch.optim.Adam([torch.zeros(1, requires_grad=True)], lr=0.05)
                callback = ml.LRSchedule(make)
                callback.schedule = make(optimizer)
                optimizer.load_state_dict(restored["optimizer"])
                callback.load_state_dict(restored["schedule"])
            optimizer.step()
            assert callback.schedule is not None
            callback.schedule.step()
            seen.append(optimizer.param_groups[0]["lr"])
        rates.append(seen)
    assert rates[0] == rates[1]


def test_a_plateau_watches_its_key() -> None:
    script = Script("val_loss", [3.0, 3.0, 3.0, 1.0, 1.0, 1.0])
    history, _ = fit(script, ml.LRSchedule(lambda o: ReduceLROnPlateau(o, factor=0.1, patience=0), monitor="val_loss"))
    assert history["lr"] == pytest.approx([0.05, 0.05, 0.005, 0.0005, 0.0005, 0.00005])
    with pytest.raises(ml.ObjectiveError, match="Did you mean 'val_loss'"):
        fit(ml.LRSchedule(lambda o: ReduceLROnPlateau(o), monitor="val_los"))
    with pytest.raises(ml.ObjectiveError, match="interval"):
        ml.LRSchedule(lambda o: StepLR(o, 1), interval="batch")  # type: ignore[arg-type]


def test_a_penalty_that_rules_the_loss_is_mentioned_once(caplog: pytest.LogCaptureFixture) -> None:
    make_trainer(make_model(), make_objective(penalty=10.0)).fit(make_data(), validation=0.2, epochs=3)
    mentions = [record.message for record in caplog.records if "is penalty" in record.message]
    assert len(mentions) == 1 and "val_task_loss" in mentions[0]


def test_monitor_remembers_the_first_of_equals() -> None:
    monitor = Monitor("loss", "min")
    assert [monitor.better({"loss": value}, i) for i, value in enumerate([2.0, 2.0, 1.0], 1)] == [True, False, True]
    assert (monitor.best, monitor.best_epoch) == (1.0, 3)
