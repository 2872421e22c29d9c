"""What a training log says, whatever wrote it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple


class Printed(NamedTuple):
    """A number as it stood in a log: the true value lies within `value` ± `half`."""

    value: float
    """May be NaN or infinite."""
    half: float
    """Half a unit of its last printed digit; 0 where all digits of a float were printed."""


@dataclass(frozen=True)
class LogEpoch:
    """What a log says of one epoch, or one step.

    Args:
        epoch: Its number, as the log says, else 1, 2, ...
        total: The total loss; NaN in a log that holds parts only.
        parts: The losses printed beside it, by output.
        metrics: Everything else that is a number.
    """

    epoch: float
    total: Printed
    parts: dict[str, Printed]
    metrics: dict[str, float]


@dataclass(frozen=True)
class TrainingLog:
    """A training log, read.

    Args:
        format: What wrote it, such as "Keras progress output".
        source: The file's name, or "standard input".
        total: The name of the total's column; empty in a log that holds parts only.
        train: Training, in order.
        validation: Validation, in order.
        notes: What was left out or guessed, in sentences.
        unit: What a line of it is: "epoch" or "step".
        columns: The columns of the parts of training, by output; empty where the parts are called as in the log.
        validation_total, validation_columns: The same names of validation.
    """

    format: str
    source: str
    total: str
    train: tuple[LogEpoch, ...]
    validation: tuple[LogEpoch, ...]
    notes: tuple[str, ...]
    unit: str = "epoch"
    columns: Mapping[str, str] = field(default_factory=dict)
    validation_total: str = ""
    validation_columns: Mapping[str, str] = field(default_factory=dict)
