"""Device, precision, threads and trackers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from training_tasks import make_data, make_model, make_objective, make_trainer, same, state

import multiloss as ml
from multiloss.training.devices import SMALL_STEP, choose_threads, use_threads


def test_bfloat16_trains_and_evaluates_on_the_cpu() -> None:
    model, exact = make_model(), make_model()
    trainer = make_trainer(model, precision="bf16", lr=0.02)
    history = trainer.fit(make_data(80), validation=0.25, epochs=4, batch_size=8)
    full = make_trainer(exact, lr=0.02).fit(make_data(80), validation=0.25, epochs=4, batch_size=8)
    assert all(p.dtype == torch.float32 for p in model.parameters())
    assert not same(state(model), state(exact))
    assert history["loss"][-1] < history["loss"][0]  # type: ignore[operator]
    assert history["loss"] == pytest.approx(full["loss"], rel=0.05)
    for record in history.ledgers:
        assert sum(term.contribution for term in record) == pytest.approx(record.total, rel=1e-6)
    assert trainer.predict(make_data()[0])["kind"].dtype == torch.float32


def test_trackers_are_told_every_key(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    trainer = make_trainer(make_model(), make_objective(penalty=0.01), trackers=["tensorboard"], out=tmp_path)
    history = trainer.fit(make_data(), validation=0.25, epochs=3)
    files = list(tmp_path.rglob("events.out.tfevents.*"))
    told: dict[str, list[float]] = {}
    for file in files:
        events = EventAccumulator(str(file))
        events.Reload()
        for key in events.Tags()["scalars"]:
            told[key] = [event.value for event in events.Scalars(key)]
            assert [event.step for event in events.Scalars(key)] == [1, 2, 3]
    assert set(told) >= set(history.rows[0]) - {"epoch"}
    for key in ("loss", "val_task_loss", "kind_accuracy", "lr", "price_loss"):
        assert told[key] == pytest.approx(history[key], rel=1e-5)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"trackers": ["tensorbord"]}, "unknown tracker 'tensorbord'. Did you mean 'tensorboard'"),
        ({"precision": "float16"}, "precision: expected 'no', 'bf16' or 'fp16', found 'float16'"),
        ({"device": "gpu"}, "device: expected 'auto' or a torch device that is here, found 'gpu'"),
        ({"device": torch.device("cuda:7")}, "found 'cuda:7'"),
    ],
)
def test_what_is_unknown_is_refused(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ml.ObjectiveError, match=words):
        make_trainer(make_model(), **options)


def test_everything_wrong_is_said_at_once() -> None:
    with pytest.raises(ml.ObjectiveError, match="devices: 3 problems"):
        make_trainer(make_model(), trackers=["board"], precision="half", device="gpu")


@pytest.mark.skipif(torch.cuda.is_available(), reason="an accelerator can do it")
def test_float16_on_a_cpu_is_refused() -> None:
    with pytest.raises(ml.ObjectiveError, match="precision: expected an accelerator for 'fp16'"):
        make_trainer(make_model(), precision="fp16")


def test_a_tracker_that_is_not_installed_is_not_silently_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(ml.MissingExtraError, match="pip install wandb"):
        make_trainer(make_model(), trackers=["wandb"])


class Threads(ml.Callback):
    """Remembers with how many threads a step was done."""

    seen = 0

    def on_step_end(self, fit: Any) -> None:
        self.seen = torch.get_num_threads()


@pytest.mark.parametrize(("threads", "during"), [("auto", 1), (3, 3)])
def test_threads_are_chosen_by_the_size_of_the_model_and_put_back(threads: int | str, during: int) -> None:
    watch = Threads()
    with use_threads(2):
        make_trainer(make_model(), threads=threads, callbacks=[watch]).fit(make_data())
        assert torch.get_num_threads() == 2
    assert watch.seen == during


def test_a_large_model_takes_every_core() -> None:
    import os

    assert choose_threads(SMALL_STEP)[0] == len(os.sched_getaffinity(0))
    assert "every core" in choose_threads(SMALL_STEP)[1]
    watch = Threads()
    wide = ml.HardSharing(ml.MLP(5, [600, 600]), {"price": ml.RegressionHead(600)})
    x, y = make_data(128)
    make_trainer(wide, ml.Objective({"price": "mse"}), callbacks=[watch]).fit(x, {"price": y["price"]}, batch_size=128)
    assert watch.seen == len(os.sched_getaffinity(0))


def test_two_trainers_may_differ_in_precision() -> None:
    first = make_trainer(make_model(), precision="bf16")
    second = make_trainer(make_model())
    first.fit(make_data())
    second.fit(make_data())
    assert (first.devices.precision, second.devices.precision) == ("bf16", "no")
    expected = make_model()
    make_trainer(expected).fit(make_data())
    assert same(state(second.model), state(expected))
