"""The tables, what is trained on them, and what is right to say of the shared model."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

import numpy as np

Columns: TypeAlias = dict[str, np.ndarray]
NONE, BETTER, WORSE = "no difference", "better", "worse"
BETTER_BY_SIZE, WORSE_BY_SIZE = "better, by size", "worse, by size"
"""A claim beside which the verdict says that it may be the size, not the sharing."""
VALIDATION = 60


@dataclass(frozen=True)
class Truth:
    """A kind of table, the model that is trained on it, and what is right to say.

    Attributes:
        columns: Draws a table.
        right: What may be said of each output.
        rows: For training and for test, beside those for validation.
        null: How it is made that nothing differs: separate runs have seeds of their own, or the shared configuration
            plays both parts. Such a truth is missed where more is claimed than the level allows.
        times: Repeats in place of each one that is asked for.
    """

    columns: Callable[[np.random.Generator, int], Columns]
    right: Mapping[str, Collection[str]]
    rows: tuple[int, int]
    trunk: list[int]
    training: dict[str, Any]
    weights: dict[str, float] = field(default_factory=dict)
    seeds: int = 5
    null: Literal["own seeds", "relabelled"] | None = None
    times: int = 1

    @property
    def total(self) -> int:
        """All rows of the table."""
        return sum(self.rows) + VALIDATION


def helps(draw: np.random.Generator, rows: int) -> Columns:
    inputs = draw.normal(size=(rows, 40))
    outputs = np.tanh(1.5 * inputs @ _directions(draw, 40, 1)) + 0.5 * draw.normal(size=(rows, 2))
    outputs[::2, 0] = np.nan
    return _named(inputs, outputs)


def size(draw: np.random.Generator, rows: int) -> Columns:
    inputs = draw.normal(size=(rows, 20))
    signal = np.tanh(inputs @ _directions(draw, 20, 1))
    return _named(inputs, signal + draw.normal(size=(rows, 2)))


def hurts(draw: np.random.Generator, rows: int) -> Columns:
    inputs = draw.normal(size=(rows, 4))
    opposed = 0.2 * inputs[:, 1::2]
    signals = [np.tanh(1.5 * (inputs[:, ::2] + sign * opposed)).sum(1) for sign in (1, -1)]
    return _named(inputs, np.stack(signals, 1) + 0.5 * draw.normal(size=(rows, 2)))


def nothing(draw: np.random.Generator, rows: int) -> Columns:
    inputs = draw.normal(size=(rows, 4))
    return _named(inputs, inputs @ draw.normal(size=(4, 2)) + draw.normal(size=(rows, 2)))


def same(draw: np.random.Generator, rows: int) -> Columns:
    inputs = draw.normal(size=(rows, 4))
    return _named(inputs, np.tanh(inputs @ draw.normal(size=(4, 2))) + 0.3 * draw.normal(size=(rows, 2)))


def _directions(draw: np.random.Generator, inputs: int, count: int) -> np.ndarray:
    """Return orthogonal directions of length 1, `[inputs, count]`."""
    return np.linalg.qr(draw.normal(size=(inputs, count)))[0]


def _named(inputs: np.ndarray, outputs: np.ndarray) -> Columns:
    named = {f"x{i}": column for i, column in enumerate(inputs.T)}
    return named | {f"y{i}": column for i, column in enumerate(outputs.T, 1)}


TRUTHS = {
    "helps": Truth(
        helps,
        {"y1": [BETTER], "y2": [BETTER, NONE]},
        rows=(400, 1000),
        trunk=[1],
        training={"epochs": 15, "lr": 0.03, "batch_size": 20},
        weights={"y1": 0.5},
    ),
    "size": Truth(
        size,
        {"y1": [BETTER_BY_SIZE], "y2": [BETTER_BY_SIZE]},
        rows=(300, 1000),
        trunk=[10],
        training={"epochs": 25, "lr": 0.04, "batch_size": 50, "keep": "last"},
        seeds=12,
    ),
    "hurts": Truth(
        hurts,
        {"y1": [WORSE_BY_SIZE], "y2": [WORSE_BY_SIZE]},
        rows=(300, 2000),
        trunk=[2],
        training={"epochs": 15, "lr": 0.04, "batch_size": 20},
        seeds=7,
    ),
    "nothing": Truth(
        nothing,
        {"y1": [NONE], "y2": [NONE]},
        rows=(120, 200),
        trunk=[16],
        training={"epochs": 12, "lr": {"trunk": 0.0, "default": 0.02}, "batch_size": 16, "keep": "last"},
        null="own seeds",
        times=3,
    ),
    "same": Truth(
        same,
        {"y1": [NONE], "y2": [NONE]},
        rows=(100, 200),
        trunk=[16],
        training={"epochs": 10, "lr": 0.02, "batch_size": 16},
        null="relabelled",
        times=10,
    ),
}
