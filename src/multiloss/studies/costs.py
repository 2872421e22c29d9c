"""What one model costs beside several: parameters, arithmetic, time and memory, measured in turns in one run."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any, NamedTuple

import numpy as np

from multiloss.config.schema import Config
from multiloss.studies.contender import Contender, stop_at
from multiloss.training.devices import use_threads
from multiloss.training.signals import on_signal

ROUNDS = 9
BATCH = 1000
SECONDS = 0.02  # a prediction that takes less is repeated for as long
TRAINING_SECONDS = 0.5  # epochs that take less are measured several at once, as a fit begins only once


@dataclass(frozen=True)
class Measured:
    """A number and how far it spreads over the rounds.

    Args:
        value: The median.
        low: The lower quartile of the rounds.
        high: The upper quartile.
    """

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Cost:
    """What a variant costs: one model, or one for each output together.

    Args:
        models: How many models.
        parameters: Numbers that are trained.
        multiply_adds: Of a forward pass of one row, matrix products alone.
        epoch_seconds: One epoch of training, all models.
        train_seconds: Training in all: the epochs of each model, until it stops, in the time that one of its takes.
        row_seconds: Prediction of one row, all models.
        batch_seconds: Prediction of `BATCH` rows, all models.
        row_memory: Bytes of all parameters and of the largest forward pass of one row.
        batch_memory: The same of `BATCH` rows.
        epoch_ratio, train_ratio, row_ratio, batch_ratio: To the separate models, pair by pair of the rounds.
    """

    models: int
    parameters: int
    multiply_adds: float
    epoch_seconds: Measured
    train_seconds: Measured
    row_seconds: Measured
    batch_seconds: Measured
    row_memory: int
    batch_memory: int
    epoch_ratio: Measured
    train_ratio: Measured
    row_ratio: Measured
    batch_ratio: Measured

    def to_dict(self) -> dict[str, Any]:
        """Return plain numbers, as `costs.json` holds them."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Cost:
        """Return what `to_dict` wrote."""
        own: dict[str, Any] = {key: Measured(**v) if isinstance(v, dict) else v for key, v in data.items()}
        return cls(**own)


class Model(NamedTuple):
    """A model to measure.

    Args:
        config: Its configuration.
        epochs: How many epochs it trains until it stops; a mean over seeds.
    """

    config: Config
    epochs: float


def measure_costs(
    variants: Mapping[str, Sequence[Model]], *, base: str = "separate", rounds: int = ROUNDS
) -> dict[str, Cost]:
    """Measure every variant in turns, one thread, so that a drift of the machine meets all alike.

    Args:
        variants: The models of each variant; those of one seed.
        base: The variant that ratios are to.
        rounds: How often each is measured.

    Raises:
        RunError: If a signal came; what was measured until then is not kept.
    """
    signals: list[int] = []
    with use_threads(1), on_signal(signals.append):
        contenders = {name: Contender([model.config for model in models], signals) for name, models in variants.items()}
        first = [sum(contender.train(1)) for contender in contenders.values()]  # and what is done once only
        at_once = min(
            math.ceil(TRAINING_SECONDS / min(first)), *(contender.budget for contender in contenders.values())
        )
        epochs = _in_turns(contenders, lambda c: c.train(at_once), rounds)  # [rounds, models]
        times = {
            "epoch": {name: own.sum(1) for name, own in epochs.items()},
            "train": {name: own @ [model.epochs for model in variants[name]] for name, own in epochs.items()},
            "row": _in_turns(contenders, lambda c: _seconds(lambda: c.predict(1)), rounds),
            "batch": _in_turns(contenders, lambda c: _seconds(lambda: c.predict(BATCH)), rounds),
        }
        found = {
            name: Cost(
                models=len(contender.trainers),
                parameters=sum(p.numel() for t in contender.trainers for p in t.model.parameters()),
                multiply_adds=contender.multiply_adds(),
                row_memory=contender.memory(1),
                batch_memory=contender.memory(BATCH),
                **{f"{kind}_seconds": _measured(own[name]) for kind, own in times.items()},
                **{f"{kind}_ratio": _measured(own[name] / own[base]) for kind, own in times.items()},
            )
            for name, contender in contenders.items()
        }
        stop_at(signals)
        return found


def _in_turns(
    contenders: Mapping[str, Contender], work: Callable[[Contender], float | list[float]], rounds: int
) -> dict[str, np.ndarray]:
    seconds: dict[str, list[float | list[float]]] = {name: [] for name in contenders}
    names = list(contenders)
    for turn in range(rounds):
        for name in names if turn % 2 == 0 else names[::-1]:
            seconds[name].append(work(contenders[name]))
    return {name: np.array(own) for name, own in seconds.items()}


def _seconds(work: Callable[[], object]) -> float:
    """Return the time of one call; short ones are repeated."""
    calls, began = 0, time.perf_counter()
    while True:
        work()
        calls += 1
        passed = time.perf_counter() - began
        if passed >= SECONDS:
            return passed / calls


def _measured(values: np.ndarray) -> Measured:
    low, high = np.quantile(values, [0.25, 0.75])
    return Measured(float(median(values)), float(low), float(high))
