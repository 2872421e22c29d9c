"""The three jobs that every contender does: data and settings in NumPy, so that no framework is loaded to read them."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

Arrays = dict[str, np.ndarray]


@dataclass(frozen=True)
class Output:
    """How one output is trained: its loss by multiloss's name, its weight, its metric."""

    loss: Literal["mse", "binary_cross_entropy", "cross_entropy"]
    weight: float
    metric: Literal["rmse", "accuracy"]


@dataclass(frozen=True)
class Task:
    """One job: train epochs of `steps` steps, and validate after each where there is a set for it."""

    name: str
    inputs: Arrays
    targets: Arrays
    validation: tuple[Arrays, Arrays] | None
    outputs: dict[str, Output]
    optimizer: Literal["sgd", "rmsprop", "adam"]
    batch_size: int
    epochs_per_round: int
    lr: float = 1e-3
    validation_batch: int = 1024  # no gradient is kept, so nobody validates in small batches who need not

    @property
    def rows(self) -> int:
        return len(next(iter(self.targets.values())))

    @property
    def steps(self) -> int:
        return math.ceil(self.rows / self.batch_size)


def energy() -> Task:
    """Eight building features, two regressions; one output straight off the trunk, one behind another layer."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((768, 8), dtype=np.float32)
    heating = 22 + 6 * np.tanh(x @ rng.standard_normal(8)) + 3 * x[:, 0]
    cooling = 24 + 5 * np.tanh(x @ rng.standard_normal(8)) + 3 * x[:, 1]
    targets = {"y1": heating.astype(np.float32), "y2": cooling.astype(np.float32)}
    return Task(
        name="energy",
        inputs={"x": x[:614]},
        targets={name: y[:614] for name, y in targets.items()},
        validation=({"x": x[614:]}, {name: y[614:] for name, y in targets.items()}),
        outputs={"y1": Output("mse", 2.0, "rmse"), "y2": Output("mse", 1.0, "rmse")},
        optimizer="sgd",
        batch_size=10,
        epochs_per_round=10,
    )


def tickets() -> Task:
    """Keras's functional-API example: two token sequences and a multi-hot vector, a binary and a 4-class output."""
    rng = np.random.default_rng(0)
    return Task(
        name="tickets",
        inputs={
            "title": rng.integers(0, 10_000, (1280, 10)),
            "body": rng.integers(0, 10_000, (1280, 100)),
            "tags": rng.integers(0, 2, (1280, 12)).astype(np.float32),
        },
        targets={
            "priority": rng.integers(0, 2, 1280).astype(np.float32),
            "department": rng.integers(0, 4, 1280),
        },
        validation=None,
        outputs={
            "priority": Output("binary_cross_entropy", 1.0, "accuracy"),
            "department": Output("cross_entropy", 0.2, "accuracy"),
        },
        optimizer="rmsprop",
        batch_size=32,
        epochs_per_round=1,
    )


def fashion() -> Task:
    """96x96 colour images, a category and a colour, each its own convolutional branch from the input."""
    rng = np.random.default_rng(0)
    return Task(
        name="fashion",
        inputs={"image": rng.random((128, 3, 96, 96), dtype=np.float32)},
        targets={"category": rng.integers(0, 4, 128), "color": rng.integers(0, 3, 128)},
        validation=None,
        outputs={
            "category": Output("cross_entropy", 1.0, "accuracy"),
            "color": Output("cross_entropy", 1.0, "accuracy"),
        },
        optimizer="adam",
        batch_size=32,
        epochs_per_round=1,
    )


TASKS: dict[str, Callable[[], Task]] = {"energy": energy, "tickets": tickets, "fashion": fashion}
