"""Trains in processes of their own, so that a test may stop them.

The script reads lines `FOLDER KIND MODE SECONDS`, forks a process for each (imports take longer than the training) and
says `pid NUMBER`, then what the process says (each step), then `exit CODE`. MODE is `whole` (never stopped), `first`
(stopped by somebody) or `resume`. The end is a checkpoint in FOLDER; errors go to `FOLDER.errors`.
"""

from __future__ import annotations

import os
import sys
import time
import traceback
from pathlib import Path
from typing import Any

import accelerate  # noqa: F401 (imported once, before forking)
import numpy as np
import torch
import torch._dynamo  # (as the first optimiser does)
import torchmetrics  # noqa: F401
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from training_tasks import make_data, make_model, make_objective, make_trainer, state

import multiloss as ml
from multiloss.training import checkpoint

EPOCHS, BATCH, ROWS = 5, 8, 90


class Noisy(Dataset[Any]):
    """Rows with noise from numpy and torch, as augmentation draws it."""

    def __init__(self) -> None:
        self.x, self.y = make_data(ROWS, missing=0.3)

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, index: int) -> tuple[Tensor, dict[str, Tensor]]:
        noise = torch.from_numpy(np.random.normal(0, 0.1, 5).astype(np.float32)) + 0.1 * torch.randn(5)
        return self.x[index] + noise, {name: target[index] for name, target in self.y.items()}


class Tell(ml.Callback):
    """Says each step on standard output, and waits a little so that a signal finds the fit under way."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    def on_step_end(self, fit: Any) -> None:
        print("step", fit.step, flush=True)  # noqa: T201
        time.sleep(self.seconds)


def main(folder: Path, kind: str, mode: str, seconds: float) -> None:
    """Run one part of a fit."""
    schedule = ml.LRSchedule(lambda o: torch.optim.lr_scheduler.CosineAnnealingLR(o, 60), interval="step")
    callbacks = [
        ml.EarlyStopping("val_kind_accuracy", patience=4),
        ml.BestCheckpoint("val_task_loss"),
        schedule,
        Tell(seconds),
    ]
    model = make_model(seed=99 if mode == "resume" else 0, dropout=0.3, norm="batch")
    torch.manual_seed(int(time.time() * 1000) % 2**31)  # no two processes begin with the same generators
    objective = make_objective({"price": ml.ramp(0.5, 1), "kind": 0.5}, penalty=0.01)
    trainer = make_trainer(
        model, objective, callbacks=callbacks, lr=0.02, out=folder, clip=1.0, on_nonfinite="raise",
        checkpoint_seconds=1e9 if mode == "whole" else 0.0,
    )  # fmt: skip
    data: dict[str, Any] = {
        "tensors": make_data(ROWS, missing=0.3),
        "dataset": Noisy(),
        "loader": DataLoader(Noisy(), BATCH, shuffle=True),
        "workers": DataLoader(Noisy(), BATCH, shuffle=True, num_workers=1),
    }
    trainer.fit(data[kind], validation=make_data(40, missing=0.2, seed=1), epochs=EPOCHS, batch_size=BATCH, seed=4,
                resume=mode == "resume")  # fmt: skip
    checkpoint.save(folder / "end", state(model))


def fork(folder: Path, kind: str, mode: str, seconds: float) -> int:
    """Run `main` in a new process and return its identity."""
    pid = os.fork()
    if pid:
        return pid
    os.dup2(os.open(f"{folder}.errors", os.O_WRONLY | os.O_CREAT | os.O_TRUNC), sys.stderr.fileno())
    code = 1
    try:
        main(folder, kind, mode, seconds)
        code = 0
    except BaseException:
        traceback.print_exc()
        raise
    finally:
        sys.stderr.flush()
        os._exit(code)


def serve() -> None:
    """Do what the lines of standard input ask for."""
    for line in sys.stdin:
        folder, kind, mode, seconds = line.split()
        pid = fork(Path(folder), kind, mode, float(seconds))
        print("pid", pid, flush=True)  # noqa: T201
        print("exit", os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)  # noqa: T201


if __name__ == "__main__":
    serve()
