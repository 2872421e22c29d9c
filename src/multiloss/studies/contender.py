"""The models of a variant, ready to be measured."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from multiloss.config.build import prepare
from multiloss.config.parts import build_trainer
from multiloss.config.schema import Config
from multiloss.core.errors import RunError
from multiloss.data.schema import EncodedTable
from multiloss.training.devices import count_operations
from multiloss.training.forward import evaluating
from multiloss.training.memory import peak_memory
from multiloss.training.trainer import Trainer

HARMLESS = 1e-9  # a learning rate under which nothing diverges; it takes the same time as any other


def stop_at(signals: Sequence[int]) -> None:
    """Raise where a signal was noted."""
    if signals:
        raise RunError("interrupted while costs were measured. Do the same again, and it goes on")


class Contender:
    """The models of one variant, ready to train and to predict.

    Args:
        configs: One for each model.
        signals: Filled by a listener; where it is, the next piece of work raises RunError.
    """

    def __init__(self, configs: Sequence[Config], signals: Sequence[int]) -> None:
        self._signals = signals
        self.trainers: list[Trainer] = []
        self.tables: list[dict[str, EncodedTable]] = []
        self.batch_sizes: list[int] = []
        self.budget = min(config.training.epochs for config in configs)
        for config in configs:
            stop_at(self._signals)
            with tempfile.TemporaryDirectory() as folder:
                experiment = prepare(config, Path(folder) / "run", progress=False)
            complete = experiment.config
            slow = {"threads": 1, "lr": HARMLESS}
            training = complete.training.model_copy(update=slow)
            self.trainers.append(build_trainer(complete.model_copy(update={"training": training}), experiment.model))
            self.tables.append(experiment.parts)
            self.batch_sizes.append(training.batch_size)

    def train(self, epochs: int) -> list[float]:
        """Train every model for some epochs, and return the seconds that one took of each."""
        seconds = []
        for rows, trainer, parts in zip(self.batch_sizes, self.trainers, self.tables, strict=True):
            train, held = parts["train"], parts.get("validation")
            began = time.perf_counter()
            trainer.fit(
                (train.inputs, train.targets),
                validation=None if held is None else (held.inputs, held.targets),
                batch_size=rows,
                epochs=epochs,
                sample_weight=train.sample_weight or None,
            )
            stop_at(self._signals)  # a fit that a signal stopped did fewer epochs than it is divided by
            seconds.append((time.perf_counter() - began) / epochs)
        return seconds

    def predict(self, rows: int) -> None:
        """Predict so many rows with every model."""
        stop_at(self._signals)
        for trainer, parts in zip(self.trainers, self.tables, strict=True):
            with evaluating(trainer.model), torch.inference_mode():
                trainer.caller(_first(parts["train"], rows, trainer.devices.device))

    def multiply_adds(self) -> float:
        """Return those of the forward passes of one row."""
        found = 0.0
        for trainer, parts in zip(self.trainers, self.tables, strict=True):
            with evaluating(trainer.model), torch.inference_mode(), count_operations(trainer.model) as counts:
                trainer.caller(_first(parts["train"], 1, trainer.devices.device))
            found += sum(counts) / 2
        return found

    def memory(self, rows: int) -> int:
        """Return the bytes of all parameters, and of the largest forward pass of so many rows."""
        held = sum(p.numel() * p.element_size() for trainer in self.trainers for p in trainer.model.parameters())
        passes = []
        for trainer, parts in zip(self.trainers, self.tables, strict=True):
            inputs = _first(parts["train"], rows, trainer.devices.device)
            with evaluating(trainer.model), torch.inference_mode():
                passes.append(peak_memory(partial(trainer.caller, inputs), trainer.devices.device))
        return held + max(passes)


def _first(table: EncodedTable, rows: int, device: torch.device) -> dict[str, Tensor]:
    """Return as many rows, from the beginning again where the table has fewer."""
    at = torch.arange(rows) % table.rows
    return {name: value[at].to(device) for name, value in table.inputs.items()}
