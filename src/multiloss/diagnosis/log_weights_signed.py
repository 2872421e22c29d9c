"""Loss weights of either sign: a total that subtracts a part, such as an entropy bonus, or a constant."""

from __future__ import annotations

import numpy as np

from multiloss.diagnosis.log_fit import Weights, plain, sizes_of, solve, told_apart
from multiloss.diagnosis.log_series import Series
from multiloss.linalg.gramian import Array

MORE = 3
"""Epochs beyond the numbers fitted: signed weights fit more by chance."""


def signed_weights(train: Series, validation: Series, *, constant: bool = False) -> Weights | None:
    """Return fixed weights of either sign that explain every epoch within the printed precision.

    Args:
        train: Training epochs, all finite.
        validation: Validation epochs, all finite.
        constant: Whether each split may hold a constant beside them, of either sign.
    """
    series = train.and_(validation)
    found = _fit(series, _constants(train, validation) if constant else np.zeros((len(series), 0)))
    if found is None:
        return None
    weights, margin, constants = found
    if not told_apart(weights, margin):
        return None
    values = np.array([plain(weight - most, weight + most) for weight, most in zip(weights, margin, strict=True)])
    left = np.abs(series.unexplained(values) - constants)
    values = values if np.all(left <= 1.5 * series.tolerance(values)) else weights
    if not constant and not np.any(values < 0):
        return None
    below = int((values < 0).sum())
    signs = "" if not below else f": fixed weights, {'one' if below == 1 else below} of them negative"
    where = "beside a constant" if constant else "within the printed digits"
    exact = not constant and series.fits(values)
    return Weights(values, "inferred", f"they explain {len(series)} epochs {where}{signs}", exact=exact)


def signed_fit(train: Series, validation: Series) -> bool:
    """Return whether fixed weights of either sign beside a constant of each split explain every epoch."""
    return _fit(train.and_(validation), _constants(train, validation)) is not None


def _fit(series: Series, columns: Array) -> tuple[Array, Array, Array] | None:
    """Return weights, how far off they may be, and what the columns add to each epoch; `None` where they do not fit."""
    m = series.parts.shape[1]
    if series.different() < m + columns.shape[1] + MORE:
        return None
    weights = np.ones(m)
    for _ in range(2):
        sizes = sizes_of(series, weights)
        both = np.column_stack([series.parts, columns])
        solution, inverse = solve(both / sizes[:, None], series.total / sizes, signed=True)
        weights = solution[:m]
    constants: Array = columns @ solution[m:]
    if np.any(np.abs(series.unexplained(weights) - constants) > 1.5 * series.tolerance(weights)):
        return None
    return weights, 2.0 * np.sqrt(inverse[:m]), constants


def _constants(train: Series, validation: Series) -> Array:
    """Return which split each epoch belongs to, `[n, splits]`."""
    split = np.repeat([0, 1], [len(train), len(validation)])
    columns: Array = (split[:, None] == np.unique(split)).astype(np.float64)
    return columns
