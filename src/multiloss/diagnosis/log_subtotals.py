"""Columns of a log that are the sum of other columns: with them no weights can be told."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np

from multiloss.diagnosis.log_series import Series
from multiloss.diagnosis.training_log import LogEpoch

FEWEST, MOST_PARTS = 4, 12


def without_subtotals(rows: Sequence[LogEpoch], names: tuple[str, ...]) -> tuple[tuple[str, ...], list[str]]:
    """Return the parts without those that are the plain sum of two or more others in every epoch, and notes on them.

    Args:
        rows: Epochs of training and validation.
        names: The parts.
    """
    series = Series.read(rows, names)
    series = series.where(np.array(np.isfinite(series.parts).all(axis=1), dtype=np.bool_))
    kept = list(names)
    notes: list[str] = []
    if not 3 <= len(names) <= MOST_PARTS or len(np.unique(series.parts, axis=0)) < FEWEST:
        return names, notes
    for k, name in enumerate(names):
        others = [i for i, other in enumerate(names) if i != k and other in kept]
        moves = [i for i in others if np.any(series.parts[:, i] != 0)]
        groups = (group for size in range(2, len(moves) + 1) for group in itertools.combinations(moves, size))
        group = next((group for group in groups if _is_sum(series, k, group)), None)
        if group is not None and np.ptp(series.parts[:, k]):
            kept.remove(name)
            added = " + ".join(names[i] for i in group)
            notes.append(f"{name} is {added} in every epoch, a subtotal: it is left out of the parts")
    return tuple(kept), notes


def _is_sum(series: Series, k: int, group: tuple[int, ...]) -> bool:
    whole, own = series.parts[:, k], series.parts[:, list(group)]
    allowed = series.parts_half[:, k] + series.parts_half[:, list(group)].sum(axis=1) + 5e-6 * np.abs(own).sum(axis=1)
    large = np.abs(own).min(axis=1) > 4 * allowed  # each of them must be seen in the sum
    return bool(np.all(np.abs(whole - own.sum(axis=1)) <= allowed)) and bool(large.any())
