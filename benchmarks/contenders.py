"""The contenders of this process: `multiloss.Trainer` and the hand-written loop."""

from __future__ import annotations

import torch

import multiloss as ml
from benchmarks import models
from benchmarks.hand_loop import HandLoop
from benchmarks.measure import timed
from benchmarks.tasks import Arrays, Task


class TrainerContender:
    """`multiloss.Trainer.fit`, called once per round; nothing is switched off but the progress display."""

    name = "multiloss"

    def __init__(self, task: Task, threads: int, watch_gradients: str = "auto") -> None:
        self.task, self.threads, self.calls = task, threads, 0
        objective = ml.Objective(
            loss={name: output.loss for name, output in task.outputs.items()},
            loss_weights={name: output.weight for name, output in task.outputs.items()},
            metrics={name: [output.metric] for name, output in task.outputs.items()},
        )
        self.trainer = ml.Trainer(
            models.build(task.name),
            objective,
            optimizer=task.optimizer,
            lr=task.lr,
            device="cpu",
            threads=threads,
            progress=False,
            watch_gradients=watch_gradients,
        )
        self.data = _pair(task.inputs, task.targets)
        self.validation = None if task.validation is None else _pair(*task.validation)

    def round(self, epochs: int) -> tuple[float, float]:
        """Train; return the seconds it took and the last epoch's loss."""
        torch.set_num_threads(self.threads)
        self.calls += 1
        return timed(lambda: self._fit(epochs))

    def _fit(self, epochs: int) -> float:
        history = self.trainer.fit(
            self.data,
            validation=self.validation,
            epochs=epochs,
            batch_size=self.task.batch_size,
            seed=self.calls,
        )
        return float(history["loss"][-1])


class HandLoopContender:
    """The loop of `hand_loop.py`."""

    name = "hand loop"

    def __init__(self, task: Task, threads: int) -> None:
        self.threads, self.loop = threads, HandLoop(task, models.build(task.name))

    def round(self, epochs: int) -> tuple[float, float]:
        """Train; return the seconds it took and the last epoch's loss."""
        torch.set_num_threads(self.threads)
        return timed(lambda: self.loop.fit(epochs)[-1]["loss"])


def _pair(inputs: Arrays, targets: Arrays) -> tuple[torch.Tensor | dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    """Tensors over the arrays' own memory; a single input is a tensor, as a user would hand it over."""
    x = {name: torch.from_numpy(array) for name, array in inputs.items()}
    y = {name: torch.from_numpy(array) for name, array in targets.items()}
    return (next(iter(x.values())) if len(x) == 1 else x), y
