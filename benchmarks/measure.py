"""Timing and statistics of paired rounds. Loads no framework."""

from __future__ import annotations

import gc
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np


def timed(work: Callable[[], float]) -> tuple[float, float]:
    """Return the seconds that `work` took with the garbage collector off, and what it returned."""
    gc.collect()
    gc.disable()
    try:
        start = time.perf_counter()
        result = work()
        return time.perf_counter() - start, result
    finally:
        gc.enable()


class Contender(Protocol):
    """Whatever trains for so many epochs and goes on from there the next time."""

    name: str

    def round(self, epochs: int) -> tuple[float, float]:
        """Train; return the seconds it took and the last epoch's loss."""


@dataclass(frozen=True)
class Ratio:
    """The median of per-pair ratios, a bootstrap 95 % interval of that median, and the quartiles of the pairs."""

    median: float
    low: float
    high: float
    quartile1: float
    quartile3: float


def ratio(numerator: list[float], denominator: list[float]) -> Ratio:
    """Summarise `numerator[i] / denominator[i]`, pair by pair."""
    pairs = np.array(numerator) / np.array(denominator)
    samples = np.random.default_rng(0).choice(pairs, (10_000, len(pairs)))
    low, high = np.quantile(np.median(samples, 1), [0.025, 0.975])
    quartile1, quartile3 = np.quantile(pairs, [0.25, 0.75])
    return Ratio(*(float(value) for value in (np.median(pairs), low, high, quartile1, quartile3)))


def checked(contender: Contender, epochs: int) -> tuple[float, float]:
    """Run one round and refuse its time if the training it timed has diverged."""
    seconds, loss = contender.round(epochs)
    if not math.isfinite(loss):
        raise ArithmeticError(f"{contender.name}: the loss is {loss}, so its time means nothing")
    return seconds, loss


def alternate(first: Contender, second: Contender, rounds: int, epochs: int) -> tuple[list[float], list[float]]:
    """Time pairs of rounds in the order A B, B A, A B, ..., so that a slow drift of the machine cancels."""
    seconds: tuple[list[float], list[float]] = ([], [])
    for pair in range(rounds):
        for which in (0, 1) if pair % 2 == 0 else (1, 0):
            seconds[which].append(checked((first, second)[which], epochs)[0])
    return seconds
