"""Student's t distribution: two-sided chances and quantiles, also where two variances are estimated and added."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from statistics import NormalDist
from typing import NamedTuple

_TINY = 1e-300
_LOG_ROOT_PI = 0.5 * math.log(math.pi)
_LARGE = 100.0
"""From here on the ratio of gamma functions comes of its series: their logarithms would cancel digits."""
_MANY = 1e5
"""Degrees of freedom from which on the expansion of the quantile is exact to rounding."""

_CLOSE = 1e-12
"""Relative difference of two chances that are taken for equal."""


class Part(NamedTuple):
    """An estimated variance, above 0, that is one part of the variance of a mean, and its degrees of freedom."""

    variance: float
    freedom: float


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


def half_width(level: float, parts: Sequence[Part]) -> float:
    r"""Return half the interval of a mean whose variance is the sum of `parts`: $\sqrt{\sum_k t_k^2 v_k}$.

    Each part has Student's quantile $t_k$ of its own degrees of freedom. For independent parts the interval covers at
    least `level`, whatever their true sizes (Banerjee, Sankhya 22, 1960, 357-358), and exactly it where one part is
    all. Student's with Satterthwaite's degrees of freedom does not: a small variance that is underestimated takes its
    few degrees out of the formula, and far in the tail that costs most.

    Args:
        level: Between 0 and 1.
        parts: None of them is a width of 0.

    Examples:
        >>> round(half_width(0.95, [Part(1.0, 4)]), 6), round(half_width(0.95, [Part(0.5, 4), Part(0.5, 4)]), 6)
        (2.776445, 2.776445)
    """
    return math.sqrt(sum(part.variance * two_sided_quantile(level, part.freedom) ** 2 for part in parts))


def chance(mean: float, parts: Sequence[Part]) -> float:
    """Return the p of a mean whose variance is the sum of one or two `parts`: `half_width(1 - p, parts)` is |mean|.

    Args:
        mean: Its distance from what is tested.
        parts: At most two; with none, p is 0 or, of a mean of 0, 1.

    Examples:
        >>> round(chance(2.776445, [Part(1.0, 4)]), 6), chance(0.0, []), chance(1.0, [])
        (0.05, 1.0, 0.0)
    """
    if not parts or mean == 0:
        return 0.0 if mean else 1.0
    if len(parts) == 1:
        return two_sided_chance(mean / math.sqrt(parts[0].variance), parts[0].freedom)
    few, many = sorted(parts, key=lambda part: part.freedom)

    def chances(ratio: float) -> tuple[float, float]:
        """Return the chances of both quantiles, where that of `many` is `ratio` of that of `few`."""
        t = abs(mean) / math.sqrt(few.variance + many.variance * ratio * ratio)
        return two_sided_chance(t, few.freedom), two_sided_chance(ratio * t, many.freedom)

    # the ratio at which both are equal, by the Illinois method; the more degrees, the smaller the quantile, so it is
    # between 0 and 1
    low, high = (0.0, -1.0), (1.0, _apart(*chances(1.0)))
    if high[1] <= _CLOSE:
        return chances(1.0)[0]
    side = 0
    while True:
        ratio = (low[0] * high[1] - high[0] * low[1]) / (high[1] - low[1])
        found = chances(ratio)
        apart = _apart(*found)
        if abs(apart) <= _CLOSE or not low[0] < ratio < high[0]:
            return found[0]
        if apart > 0:
            high, low = (ratio, apart), (low[0], low[1] / 2 if side > 0 else low[1])
        else:
            low, high = (ratio, apart), (high[0], high[1] / 2 if side < 0 else high[1])
        side = 1 if apart > 0 else -1


def _apart(first: float, second: float) -> float:
    """Return how far the first chance is above the second, between -1 and 1; 0 where both are too small for a float."""
    return (first - second) / (first + second) if first + second else 0.0


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
