"""Student's t distribution: two-sided chances and quantiles."""

from __future__ import annotations

import math
from functools import lru_cache
from statistics import NormalDist

_TINY = 1e-300
_LOG_ROOT_PI = 0.5 * math.log(math.pi)
_LARGE = 100.0
"""From here on the ratio of gamma functions comes of its series: their logarithms would cancel digits."""
_MANY = 1e5
"""Degrees of freedom from which on the expansion of the quantile is exact to rounding."""


def two_sided_chance(t: float, freedom: float) -> float:
    """Return P(|T| >= |t|) for Student's t.

    It is the regularised incomplete beta function I_x(freedom / 2, 1 / 2) at x = freedom / (freedom + t^2).

    Args:
        t: The statistic; infinite gives 0.
        freedom: Degrees of freedom, above 0, not necessarily whole.

    Examples:
        >>> round(two_sided_chance(2.776445, 4), 6), two_sided_chance(0.0, 4)
        (0.05, 1.0)
    """
    square = t * t
    if math.isinf(square) or square == 0:
        return 0.0 if square else 1.0
    a, rest = freedom / 2, square / (freedom + square)
    x = freedom / (freedom + square)
    # ln of x^a (1 - x)^(1/2) / B(a, 1/2); log1p keeps the digits of an x near 1
    front = math.exp(-a * math.log1p(square / freedom) + 0.5 * math.log(rest) + _log_gamma_step(a) - _LOG_ROOT_PI)
    if x < (a + 1) / (a + 2.5):
        return front * _fraction(a, 0.5, x) / a
    return 1 - front * _fraction(0.5, a, rest) / 0.5


@lru_cache(maxsize=4096)
def two_sided_quantile(level: float, freedom: float) -> float:
    """Return the t with P(|T| <= t) = `level`.

    By Newton's method: the chance falls with t and is convex, so from the normal quantile, which is below, every step
    stays below. For many degrees of freedom by the first terms of the Cornish-Fisher expansion.

    Args:
        level: Between 0 and 1.
        freedom: Degrees of freedom, above 0.

    Examples:
        >>> round(two_sided_quantile(0.95, 4), 6)
        2.776445
    """
    t = NormalDist().inv_cdf(0.5 + level / 2)
    if freedom > _MANY:
        return t + (t**3 + t) / (4 * freedom) + (5 * t**5 + 16 * t**3 + 3 * t) / (96 * freedom**2)
    scale = _log_gamma_step(freedom / 2) - 0.5 * math.log(math.pi * freedom)
    while True:
        density = math.exp(scale - (freedom + 1) / 2 * math.log1p(t * t / freedom))
        step = (two_sided_chance(t, freedom) - (1 - level)) / (2 * density)
        t += step
        if step <= 1e-13 * t:
            return t


def _log_gamma_step(a: float) -> float:
    """Return ln Γ(a + 1/2) - ln Γ(a)."""
    if a < _LARGE:
        return math.lgamma(a + 0.5) - math.lgamma(a)
    return 0.5 * math.log(a) - 1 / (8 * a) + 1 / (192 * a**3) - 1 / (640 * a**5)


def _fraction(a: float, b: float, x: float) -> float:
    """Return the continued fraction of the incomplete beta function, by Lentz (https://dlmf.nist.gov/8.17#v)."""
    denominator = 1 / _away(1 - (a + b) * x / (a + 1))
    numerator, value, step = 1.0, denominator, 0
    while True:
        step += 1
        even = step * (b - step) * x / ((a + 2 * step - 1) * (a + 2 * step))
        odd = -(a + step) * (a + b + step) * x / ((a + 2 * step) * (a + 2 * step + 1))
        for term in (even, odd):
            denominator = 1 / _away(1 + term * denominator)
            numerator = _away(1 + term / numerator)
            change = numerator * denominator
            value *= change
        if abs(change - 1) < 1e-15:
            return value


def _away(value: float) -> float:
    return value if abs(value) > _TINY else _TINY
