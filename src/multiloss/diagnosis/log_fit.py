"""Least squares over weights >= 0, how far off they may be, and the plain numbers near them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np

from multiloss.diagnosis.log_series import Series
from multiloss.linalg.gramian import Array
from multiloss.linalg.nonnegative import nonnegative

Source: TypeAlias = Literal["given", "inferred", "undetermined"]

PLAIN = (1.0, 0.5, 2.0, 0.1, 0.2, 10.0, 0.25, 5.0, 0.3, 3.0, 4.0, 0.01, 100.0, 0.4, 0.6, 0.7, 0.75, 0.8, 0.9, 1.5)
"""Weights as people choose them, the likelier first."""

CERTAIN = 0.1
"""A weight is told apart where it is known to a tenth of itself."""


@dataclass(frozen=True)
class Weights:
    """Loss weights and how they were found.

    Args:
        values: One for each part, `[m]`.
        source: Given by the user, inferred from the epochs, or not to be told from the log.
        why: What they rest on, in a sentence.
        exact: Whether they explain the epochs they were inferred from within the printed precision.
        candidates: Plain weights that would explain these epochs as well.
    """

    values: Array
    source: Source
    why: str
    exact: bool = False
    candidates: tuple[tuple[float, ...], ...] = ()


def sizes_of(series: Series, weights: Array) -> Array:
    """Return what the printed precision leaves open in each epoch, above zero, `[n]`."""
    return np.maximum(series.tolerance(weights), np.finfo(np.float64).tiny)


def fit_weights(series: Series, sizes: Array) -> tuple[Array, Array]:
    """Return the least-squares weights in units of the printed precision, and how far off they may be."""
    weights, inverse = solve(series.parts / sizes[:, None], series.total / sizes)
    return weights, 2.0 * np.sqrt(inverse)


def solve(parts: Array, total: Array, *, signed: bool = False) -> tuple[Array, Array]:
    """Return the weights of least squares, >= 0 or signed, and the diagonal of the inverse of the normal matrix."""
    norms = np.linalg.norm(parts, axis=0)
    scale = np.divide(1.0, norms, out=np.zeros_like(norms), where=norms > 0)
    matrix = (parts * scale).T @ (parts * scale)
    if signed:
        weights = np.linalg.lstsq(parts * scale, total, rcond=None)[0] * scale
    else:
        weights = nonnegative(matrix, ((parts * scale).T @ total)[None])[0] * scale
    values, vectors = np.linalg.eigh(matrix)
    small = values < 1e-12 * max(1.0, float(values[-1]))
    inverse = (vectors**2) @ np.divide(1.0, values, out=np.zeros_like(values), where=~small) * scale**2
    inverse[(vectors[:, small] ** 2 > 1e-9).any(axis=1)] = np.inf
    return weights, inverse


def told_apart(weights: Array, margin: Array) -> bool:
    """Return whether every weight is known to a tenth of itself, and those near zero to a hundredth of the largest."""
    if not len(weights) or not np.isfinite(margin).all():
        return False
    size = np.abs(weights)
    return bool(np.all(margin <= CERTAIN * np.maximum(size, CERTAIN * size.max())))


def rounded(weights: Array, margin: Array) -> Array:
    """Return plain numbers within the margins; as people choose them where one is within twice the margin."""
    numbers = []
    for weight, most in zip(weights, margin, strict=True):
        near, far = (plain(weight - k * most, weight + k * most) for k in (1, 2))
        numbers.append(far if near not in PLAIN and far in PLAIN else near)
    return np.array(numbers)


def plain(low: float, high: float) -> float:
    """Return the plainest number between two numbers.

    Examples:
        >>> plain(0.97, 1.04), plain(-0.23, -0.19), plain(0.3312, 0.3318), plain(-0.01, 0.02)
        (1.0, -0.2, 0.3315, 0.0)
    """
    if low <= 0 <= high:
        return 0.0
    if high < 0:
        return -plain(-high, -low)
    for value in PLAIN:
        if low <= value <= high:
            return value
    middle = 0.5 * (low + high)
    for digits in range(1, 8):
        value = float(f"{middle:.{digits - 1}e}")
        if low <= value <= high:
            return value
    return middle


def named(names: Sequence[str], values: Sequence[float] | Array) -> dict[str, float]:
    """Return weights by the name of their part."""
    return {name: float(value) for name, value in zip(names, values, strict=True)}


def as_sum(names: Sequence[str], weights: Sequence[float] | Array) -> str:
    """Return a weighted sum in words.

    Examples:
        >>> as_sum(["a", "b", "c"], [1.0, 0.2, -0.5])
        '1 x a + 0.2 x b - 0.5 x c'
    """
    terms = [f"{weight:+.4g} x {name}" for name, weight in zip(names, weights, strict=True)]
    return " ".join(f"{term[0]} {term[1:]}" for term in terms).removeprefix("+ ")


def percent(share: float) -> str:
    """Return a share as people read it.

    Examples:
        >>> percent(0.98366), percent(-4634.81), percent(0.0)
        ('98.4 %', '-4.63e+05 %', '0.0 %')
    """
    return f"{100 * share:.1f} %" if abs(share) < 10 else f"{100 * share:.3g} %"
