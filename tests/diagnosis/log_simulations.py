"""Training logs whose total is known to the last digit: one maker for each cause of a remainder."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from multiloss.diagnosis.training_log import LogEpoch, Printed, TrainingLog

Array: TypeAlias = npt.NDArray[np.float64]
Random: TypeAlias = np.random.Generator
Maker: TypeAlias = Callable[[Random, int, int, bool], TrainingLog]


def printed(value: float, digits: int = 4) -> Printed:
    """Return a number as a log with that many decimals prints it."""
    return Printed(round(float(value), digits), 0.5 * 10.0**-digits)


def as_printed(text: str) -> Printed:
    """Return what `text` says, in plain decimals."""
    return Printed(float(text), 0.5 * 10.0 ** -len(text.partition(".")[2]))


def log_of(
    total: Sequence[float] | Array,
    parts: Array,
    validation: tuple[Array, Array] | None = None,
    *,
    digits: int = 4,
    metrics: Mapping[str, Sequence[float] | Array] | None = None,
    form: str = "Keras progress output",
    unit: str = "epoch",
) -> TrainingLog:
    """Return a log of a total `[n]` and parts `[n, m]`, named a, b, ..."""

    def rows(
        total: Sequence[float] | Array, parts: Array, others: Mapping[str, Sequence[float] | Array]
    ) -> list[LogEpoch]:
        return [
            LogEpoch(
                float(i + 1),
                printed(total[i], digits),
                {chr(97 + k): printed(value, digits) for k, value in enumerate(parts[i])},
                {name: float(column[i]) for name, column in others.items()},
            )
            for i in range(len(parts))
        ]

    own = rows(total, parts, metrics or {})
    other = [] if validation is None else rows(*validation, {})
    return TrainingLog(form, "train.log", "loss", tuple(own), tuple(other), (), unit)


def curve(rng: Random, n: int, noise: float) -> Array:
    """Return a learning curve: exponential or a power of the epoch, to a floor, with noise."""
    epoch = np.arange(n)
    start = rng.uniform(0.3, 3.0)
    floor = rng.uniform(0.05, 0.3) * start
    exponential, power = np.exp(-epoch / rng.uniform(1, 8)), (1.0 + epoch) ** -rng.uniform(0.4, 1.2)
    falls = exponential if rng.random() < 0.5 else power
    return np.asarray((floor + (start - floor) * falls) * np.exp(rng.normal(0, noise, n)), dtype=np.float64)


def parts_of(rng: Random, n: int, m: int) -> Array:
    """Return m learning curves, `[n, m]`."""
    noise = rng.uniform(0.01, 0.08)
    return np.stack([curve(rng, n, noise) for _ in range(m)], axis=1)


def held_out(rng: Random, parts: Array) -> Array:
    """Return the same losses on other data: noisier, larger, the more so the longer training went."""
    larger = 1 + rng.uniform(0.02, 0.3, parts.shape[1])
    result: Array = parts * np.exp(rng.normal(0, 0.03, parts.shape)) * larger + np.linspace(0, 0.1, len(parts))[:, None]
    return result


def weights_of(rng: Random, m: int) -> Array:
    """Return loss weights as people choose them."""
    return rng.choice([1.0, 1.0, 0.5, 0.2, 2.0, 0.1, 0.3, 5.0], m)


def nothing_left(rng: Random, n: int, m: int, validation: bool) -> TrainingLog:
    """A weighted sum, and nothing else."""
    parts, weights = parts_of(rng, n, m), weights_of(rng, m)
    other = held_out(rng, parts)
    return log_of(parts @ weights, parts, (other @ weights, other) if validation else None)


def penalty(rng: Random, n: int, m: int, validation: bool) -> TrainingLog:
    """L2 under plain SGD: geometric; training holds its mean over the epoch, validation its value at the end."""
    parts = parts_of(rng, n, m)
    rate, start, epoch = rng.uniform(0.8, 0.97), rng.uniform(2, 20) * parts.sum(axis=1).mean(), np.arange(n)
    own = start * rate ** (epoch + 0.5) * np.exp(rng.normal(0, 0.0005, n))
    other = held_out(rng, parts)
    return log_of(
        parts.sum(axis=1) + own,
        parts,
        (other.sum(axis=1) + start * rate ** (epoch + 1.0), other) if validation else None,
    )


def constant(rng: Random, n: int, m: int, validation: bool) -> TrainingLog:
    """A penalty on frozen weights."""
    parts, weights, level = parts_of(rng, n, m), weights_of(rng, m), rng.uniform(0.5, 10)
    other = held_out(rng, parts)
    return log_of(parts @ weights + level, parts, (other @ weights + level, other) if validation else None)


def unnamed(rng: Random, n: int, m: int, validation: bool) -> TrainingLog:
    """The loss of an output that is not printed."""
    parts = parts_of(rng, n, m)
    hidden = curve(rng, n, rng.uniform(0.01, 0.05)) * rng.uniform(1, 10)
    other, other_hidden = held_out(rng, parts), held_out(rng, hidden[:, None])[:, 0]
    return log_of(parts.sum(axis=1) + hidden, parts, (other.sum(axis=1) + other_hidden, other) if validation else None)


def exponential(rng: Random, n: int, m: int, validation: bool) -> TrainingLog:
    """An exponential average of the sum, beside the parts as they are."""
    parts = parts_of(rng, n, m)
    share, sums = rng.uniform(0.05, 0.6), parts.sum(axis=1)
    total = [sums[0] * rng.uniform(1, 1.5)]
    for value in sums[1:]:
        total.append((1 - share) * total[-1] + share * value)
    return log_of(total, parts)


def moving_mean(rng: Random, n: int, m: int, validation: bool) -> TrainingLog:
    """The mean of the last sums, beside the parts as they are."""
    parts, size = parts_of(rng, n, m), int(rng.integers(2, 6))
    sums = parts.sum(axis=1)
    return log_of([sums[max(0, i - size + 1) : i + 1].mean() for i in range(n)], parts)


def windows(rng: Random, n: int, m: int, validation: bool) -> TrainingLog:
    """A total that was averaged over other steps than the parts: a little off, either way."""
    parts = parts_of(rng, n, m)
    return log_of(parts.sum(axis=1) * np.exp(rng.normal(0, rng.uniform(0.002, 0.03), n)), parts)


def end_of_epoch(rng: Random, n: int, m: int, validation: bool) -> TrainingLog:
    """A total that is the mean over the epoch, beside parts that were taken at its end."""
    steps = 50
    time = np.arange(0, n, 1 / steps)
    curves = []
    for _ in range(m):
        start = rng.uniform(0.3, 3.0)
        floor = rng.uniform(0.05, 0.3) * start
        curves.append(floor + (start - floor) * np.exp(-time / rng.uniform(2, 8)))
    values = np.stack(curves, axis=1) * np.exp(np.cumsum(rng.normal(0, 0.004, (len(time), m)), axis=0))
    epochs = values.reshape(n, steps, m)
    return log_of(epochs.sum(axis=2).mean(axis=1), epochs[:, -1])


def annealed(rng: Random, n: int, m: int, validation: bool) -> TrainingLog:
    """The last weight rises from 0 to 1 over some epochs, and stays."""
    parts = parts_of(rng, n, m)
    weights = np.ones((n, m))
    weights[:, -1] = np.minimum(1, np.arange(n) / rng.integers(3, n - 1))
    return log_of((parts * weights).sum(axis=1), parts)


def stepped(rng: Random, n: int, m: int, validation: bool) -> TrainingLog:
    """The last weight is another from some epoch on."""
    parts = parts_of(rng, n, m)
    weights = np.ones((n, m))
    weights[int(rng.integers(m + 3, n - m - 3)) :, -1] = rng.choice([0.1, 0.5, 2, 5])
    return log_of((parts * weights).sum(axis=1), parts)


def uncertainty(rng: Random, n: int, m: int, validation: bool) -> TrainingLog:
    """Weights exp(-s) that follow the losses, and the log-variances s themselves."""
    parts = parts_of(rng, n, m)
    logs, total = np.zeros(m), []
    for row in parts:
        logs = logs + 0.4 * (np.log(row) - logs)
        total.append(float((np.exp(-logs) * row + logs).sum()))
    return log_of(total, parts)


def replicated(rng: Random, n: int, m: int, validation: bool) -> TrainingLog:
    """The sum over 2, 4 or 8 replicas in training; the plain sum in validation."""
    parts = parts_of(rng, n, m)
    other = held_out(rng, parts)
    return log_of(rng.choice([2, 4, 8]) * parts.sum(axis=1), parts, (other.sum(axis=1), other) if validation else None)


def replicated_penalty(rng: Random, n: int, m: int, validation: bool) -> TrainingLog:
    """A penalty that each of 2, 4 or 8 replicas adds again in training."""
    parts = parts_of(rng, n, m)
    own = 5 * rng.uniform(0.9, 0.99) ** np.arange(n)
    other = held_out(rng, parts)
    return log_of(parts.sum(axis=1) + rng.choice([2, 4, 8]) * own, parts, (other.sum(axis=1) + own, other))
