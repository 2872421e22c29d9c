"""Stopped or killed at any moment and resumed: the numbers of never having stopped. With real processes."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from training_tasks import make_data, make_model, make_objective, make_trainer, same, state, without_time

import multiloss as ml
from multiloss.core.run_files import read_lines
from multiloss.training import checkpoint

SCRIPT = Path(__file__).with_name("resume_script.py")
LAST = Path("checkpoint", "last.safetensors")
STEPS = 12  # an epoch of the script has


class Server:
    """Processes that train, one after another; see `resume_script.py`."""

    def __init__(self) -> None:
        source = Path(ml.__file__).parents[1]
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(source), "PYTHONWARNINGS": "default"}
        self.process = subprocess.Popen(
            [sys.executable, str(SCRIPT)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        )

    def start(self, folder: Path, kind: str, mode: str, seconds: float = 0.0) -> None:
        """Start one part of a fit."""
        assert self.process.stdin is not None
        self.errors = Path(f"{folder}.errors")
        self.process.stdin.write(f"{folder} {kind} {mode} {seconds}\n")
        self.process.stdin.flush()
        self.code: int | None = None
        self.pid = 0
        self.wait_for(-1)

    def wait_for(self, step: int) -> int:
        """Wait until a step has been done (with -1: until the process is there), or for the end; return the step."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            what, number = line.split()
            if what == "pid":
                self.pid = int(number)
            elif what == "exit":
                self.code = int(number)
                break
            if step < 0 < self.pid or (what == "step" and int(number) >= step):
                return int(number)
        return 0

    def end(self) -> str:
        """Wait for the end of the process, and return what it said on standard error."""
        if self.code is None:
            self.wait_for(10**9)
        return self.errors.read_text()

    def stop_at(self, step: int, number: int, delay: float = 0.0) -> str:
        """Send a signal when a step has been done."""
        if self.wait_for(step):
            time.sleep(delay)
            os.kill(self.pid, number)
        return self.end()

    def finish(self) -> str:
        """Wait for a process that must end well."""
        errors = self.end()
        assert self.code == 0, errors
        return errors


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    server = Server()
    yield server
    server.process.communicate(timeout=60)


def jsonl(folder: Path) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Return the records of a run without times."""
    parts = [[json.loads(line) for line in (folder / name).read_text().splitlines()] for name in
             ("history.jsonl", "ledger.jsonl")]  # fmt: skip
    return without_time(parts[0]), parts[1]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, server: Server) -> dict[str, Path]:
    """Runs that were never stopped, one for each kind of data."""
    folders = {kind: tmp_path_factory.mktemp(kind) / "run" for kind in ("tensors", "dataset", "loader", "workers")}
    for kind, folder in folders.items():
        server.start(folder, kind, "whole")
        server.finish()
    return folders


def compare(folder: Path, expected: Path) -> None:
    """Assert that two runs have the same records and the same parameters, buffers and best epoch at the end."""
    assert jsonl(folder) == jsonl(expected)
    assert [row["epoch"] for row in jsonl(folder)[0]] == [1, 2, 3, 4, 5]
    assert len(jsonl(folder)[1]) == 10
    assert same(checkpoint.load(folder / "end"), checkpoint.load(expected / "end"))
    ends = [checkpoint.load(path / LAST) for path in (folder, expected)]
    assert same(ends[0]["model"], ends[1]["model"])
    assert [name for name, _ in ends[0]["callbacks"]] == ["EarlyStopping", "BestCheckpoint", "LRSchedule", "Tell"]
    assert ends[0]["callbacks"][0] == ends[1]["callbacks"][0]
    assert same(ends[0]["callbacks"][1][1]["parameters"], ends[1]["callbacks"][1][1]["parameters"])
    assert ends[0]["progress"][:3] == ends[1]["progress"][:3] == [6, 60, 0]
    assert not list(folder.rglob("*.tmp"))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "number", "steps"),
    [
        ("tensors", signal.SIGKILL, [7, 31]),
        ("tensors", signal.SIGINT, [STEPS, 30]),
        ("tensors", signal.SIGTERM, [1, 5]),
        ("dataset", signal.SIGKILL, [17]),
        ("dataset", signal.SIGTERM, [29]),
        ("loader", signal.SIGKILL, [9, 40]),
        ("loader", signal.SIGINT, [20]),
        ("workers", signal.SIGKILL, [17]),
    ],
)
def test_a_stopped_run_resumed_is_the_run_that_never_stopped(
    server: Server, whole: dict[str, Path], tmp_path: Path, kind: str, number: int, steps: list[int]
) -> None:
    folder, mode = tmp_path / "run", "first"
    for step in steps:
        server.start(folder, kind, mode, seconds=0.02)
        errors = server.stop_at(step, number)
        if number == signal.SIGKILL:
            assert server.code == -signal.SIGKILL
        else:
            assert server.code == 0, errors
            assert f"stopped by {signal.Signals(number).name} in epoch" in errors
            assert f"saved in {folder}; fit(..., resume=True) goes on" in errors
        progress = checkpoint.load(folder / LAST)["progress"]
        assert step - 1 <= progress[1] < 60  # no more than the step under way was lost
        assert len(read_lines(folder / "history.jsonl")) in (progress[0] - 1, progress[0])
        mode = "resume"
    server.start(folder, kind, "resume")
    assert "Warning" not in server.finish()
    compare(folder, whole[kind])


@pytest.mark.slow
def test_killed_while_writing_a_checkpoint_is_always_readable(
    server: Server, tmp_path: Path, whole: dict[str, Path]
) -> None:
    """Every step writes one, so a kill a moment after a step mostly falls into a write."""
    rng, folder = random.Random(0), tmp_path / "run"
    steps, kills = 0, 0
    while steps < 50:
        server.start(folder, "tensors", "resume" if (folder / "run.json").exists() else "first")
        server.stop_at(steps + rng.randint(1, 4), signal.SIGKILL, delay=rng.uniform(0.0, 0.01))
        assert server.code == -signal.SIGKILL, server.end()
        kills += 1
        if (folder / LAST).exists():
            progress = checkpoint.load(folder / LAST)["progress"]
            assert progress[1] >= steps
            steps = progress[1]
    assert kills >= 10
    server.start(folder, "tensors", "resume")
    server.finish()
    compare(folder, whole["tensors"])


class Stop(Exception):
    """As good as a kill, for what is on disk."""


class StopAt(ml.Callback):
    def __init__(self, step: int) -> None:
        self.step = step

    def on_step_end(self, fit: Any) -> None:
        if fit.step == self.step:
            raise Stop


@pytest.mark.parametrize("step", [2, 3, 7, 8, 9, 13, 20])
@pytest.mark.parametrize("skip", ["raise", "skip"])
def test_any_step_will_do(tmp_path: Path, step: int, skip: Any) -> None:
    """In one process: broken off after any step, with metrics, clipping and weights that move, and resumed."""
    data, held = make_data(missing=0.4), make_data(20, seed=1)
    weights = {"price": ml.ramp(0.5, 2), "sold": ml.piecewise({0: 1, 2: 0.5})}

    def run(model: ml.HardSharing, *callbacks: ml.Callback, resume: bool = False, out: Path | None) -> ml.History:
        plateau = ml.LRSchedule(lambda o: torch.optim.lr_scheduler.ReduceLROnPlateau(o, patience=0), monitor="loss")
        trainer = make_trainer(
            model, make_objective(weights, penalty=0.01), callbacks=[plateau, *callbacks], out=out, clip=0.5,
            checkpoint_seconds=0.0, on_nonfinite=skip, optimizer={"name": "sgd", "momentum": 0.9}, lr=0.05,
        )  # fmt: skip
        return trainer.fit(data, validation=held, epochs=3, batch_size=8, seed=11, resume=resume)

    whole, broken, resumed = make_model(dropout=0.3), make_model(dropout=0.3), make_model(seed=5, dropout=0.3)
    expected = run(whole, out=None)
    with pytest.raises(Stop):
        run(broken, StopAt(step), out=tmp_path)
    history = run(resumed, resume=True, out=tmp_path)
    assert without_time(history) == without_time(expected)
    assert [r.to_dict() for r in history.ledgers] == [r.to_dict() for r in expected.ledgers]
    assert same(state(resumed), state(whole))


def test_weights_that_were_set_are_set_again(tmp_path: Path) -> None:
    class Turn(ml.Callback):
        def on_step_end(self, fit: Any) -> None:
            if fit.step == 2:
                fit.objective.loss_weights["kind"] = 0.25

    with pytest.raises(Stop):
        make_trainer(make_model(), callbacks=[Turn(), StopAt(4)], out=tmp_path, checkpoint_seconds=0.0).fit(
            make_data(), batch_size=8
        )
    resumed = make_trainer(make_model(), out=tmp_path)
    history = resumed.fit(make_data(), batch_size=8, resume=True)
    whole = make_trainer(make_model(), callbacks=[Turn()]).fit(make_data(), batch_size=8)
    assert resumed.objective.loss_weights["kind"] == 0.25
    assert without_time(history) == without_time(whole)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_finishes_the_step_and_says_how_to_go_on(
    tmp_path: Path, number: int, caplog: pytest.LogCaptureFixture
) -> None:
    class Signal(ml.Callback):
        ended: list[bool]

        def on_step_end(self, fit: Any) -> None:
            if fit.step == 10:
                os.kill(os.getpid(), number)

        def on_fit_end(self, fit: Any) -> None:
            self.ended = [fit.finished]

    watch, best = Signal(), ml.BestCheckpoint("loss")
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    model = make_model()
    history = make_trainer(model, callbacks=[watch, best], out=tmp_path).fit(make_data(), epochs=3, batch_size=8)
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before
    assert len(history) == 1 and watch.ended == [False]
    assert history.stopped == f"{signal.Signals(number).name} in epoch 2 after 10 steps"
    assert f"saved in {tmp_path}; fit(..., resume=True) goes on" in caplog.text
    saved = checkpoint.load(tmp_path / LAST)
    assert saved["progress"][:3] == [2, 10, 3]
    assert same(saved["model"], state(model))  # not the best epoch's: the fit goes on from here
    unsaved = make_trainer(make_model(), callbacks=[Signal()]).fit(make_data(), epochs=3, batch_size=8)
    assert unsaved.stopped and "not saved: no out= folder" in caplog.text


def test_a_fit_in_another_thread_needs_no_signals(tmp_path: Path) -> None:
    import threading

    found: list[ml.History] = []
    thread = threading.Thread(target=lambda: found.append(make_trainer(make_model()).fit(make_data())))
    thread.start()
    thread.join()
    assert len(found[0]) == 1
