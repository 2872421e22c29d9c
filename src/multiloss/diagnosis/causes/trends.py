"""The course of a series: straight lines, their R², and how jagged it is."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from multiloss.linalg.gramian import Array


class Line(NamedTuple):
    """A least-squares line."""

    slope: float
    intercept: float
    r2: float


def line(x: Array, y: Array) -> Line:
    """Return the least-squares line; R² is 0 where y is constant.

    Examples:
        >>> line(np.array([1.0, 2.0, 3.0]), np.array([3.0, 5.0, 7.0])).r2
        1.0
    """
    dx, dy = x - x.mean(), y - y.mean()
    spread = float(dx @ dx)
    slope = float(dx @ dy) / spread if spread > 0 else 0.0
    return Line(slope, float(y.mean() - slope * x.mean()), r2(y, y.mean() + slope * dx))


def r2(y: Array, fitted: Array) -> float:
    """Return the part of the variance of y that `fitted` explains; 0 where y is constant."""
    total = float(((y - y.mean()) ** 2).sum())
    return 1.0 - float(((y - fitted) ** 2).sum()) / total if total > 0 else 0.0


def bend(x: Array, y: Array) -> float:
    """Return how much the slope changes over the series, relative to the slope: 0 for a straight line.

    It is the change of the slope from the first to the last point over twice the mean slope.
    """
    half = 0.5 * (x.max() - x.min())
    if half == 0:
        return 0.0
    square, slope, _ = np.polynomial.polynomial.polyfit((x - x.min()) / half - 1, y, 2)[::-1]
    return float("inf") if slope == 0 else 2 * float(square / abs(slope))


def roughness(y: Array) -> float:
    """Return the spread of the noise on a smooth course, from its differences of the orders that leave least of it."""
    if len(y) < 4:
        return float("nan")
    orders = range(2, 3 + min(2, len(y) - 4))
    # differences of order k of white noise have the variance (2k)! / (k!)^2
    spreads = [np.median(np.abs(np.diff(y, k))) / 0.6745 / math.sqrt(math.comb(2 * k, k)) for k in orders]
    return float(min(spreads))
