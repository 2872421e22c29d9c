"""How the tests read a log and look at it."""

from __future__ import annotations

import io
from collections.abc import Iterable

from multiloss.diagnosis.training_log import LogEpoch, TrainingLog, read_log


def read(text: str | bytes, total: str | None = None, parts: list[str] | None = None) -> TrainingLog:
    """Read a log from standard input."""
    data = text if isinstance(text, bytes) else text.encode()
    return read_log(io.BytesIO(data), total=total, parts=parts)


def numbers(epochs: Iterable[LogEpoch]) -> list[tuple[float, float, dict[str, float]]]:
    """Return number, total and parts of each epoch."""
    return [(e.epoch, e.total.value, {name: part.value for name, part in e.parts.items()}) for e in epochs]
