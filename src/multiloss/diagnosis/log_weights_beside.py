"""Loss weights behind a log whose total holds more than its parts: beside a constant, a penalty or a smooth course."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from multiloss.diagnosis.log_fit import PLAIN, Weights, rounded, sizes_of, solve, told_apart
from multiloss.diagnosis.log_series import Series
from multiloss.linalg.gramian import Array

SMALL = 0.05
"""A remainder this small, relative to the total, may be one of averaging."""

BESIDE = "with them the total follows the jumps of the parts, beside a smooth remainder"

NOISE, MOST_NOISE = 0.003, 0.03
"""How far a penalty strays from its course, and how far it may, relative to itself."""


def beside_a_constant(train: Series, validation: Series) -> Weights | None:
    """Return weights that explain every epoch within the printed precision beside a constant of each split."""
    series, own = _both(train, validation, more=2)
    if not len(series):
        return None
    m = series.parts.shape[1]
    sizes = sizes_of(series, np.ones(m))
    solution, inverse = solve(np.column_stack([series.parts, own]) / sizes[:, None], series.total / sizes)
    weights, margin = solution[:m], 2.0 * np.sqrt(inverse[:m])
    rest = np.abs(series.unexplained(weights) - own @ solution[m:])
    if np.any(rest > 1.5 * series.tolerance(weights)) or not told_apart(weights, margin):
        return None
    return Weights(rounded(weights, margin), "inferred", f"they explain {len(series)} epochs beside a constant")


class Course(NamedTuple):
    """A remainder that falls geometrically to a level, and the weights that leave it."""

    misfit: float
    speed: float
    """Minus the logarithm of its factor from the first epoch to the last."""
    weights: Array
    inverse: Array
    rest: Array
    """The remainder, `[n]`."""
    level: float
    """The largest level that it falls to, relative to the remainder at the first epoch."""
    noise: float
    """How far the total is off, relative to the remainder."""
    freedom: int


def course_beside(train: Series, validation: Series) -> Course | None:
    """Return the weights >= 0 and the geometric remainder that fit best; `None` with too few epochs.

    The remainder has one factor in both splits and an amplitude and a level, which may be 0, in each.
    """
    series, own = _both(train, validation, more=4)
    if not len(series):
        return None
    m, n = series.parts.shape[1], len(series)
    ages = series.epoch - series.epoch.min()
    ages = ages / ages.max() if ages.any() else ages
    rest = np.abs(series.unexplained(np.ones(m)))
    freedom = n - m - 2 * own.shape[1] - 1
    for _ in range(2):
        sizes = np.sqrt(sizes_of(series, np.ones(m)) ** 2 + (NOISE * rest) ** 2)

        def course(speed: float, sizes: Array = sizes) -> Course:
            columns = np.column_stack([series.parts, own * np.exp(-speed * ages)[:, None], own])
            solution, inverse = solve(columns / sizes[:, None], series.total / sizes)
            left = (series.total - columns @ solution) / sizes
            rest = columns[:, m:] @ solution[m:]
            level = float(solution[m + own.shape[1] :].max()) / max(float(rest[0]), 1e-300)
            spread = float(np.sqrt(left @ left / max(freedom, 1)))
            return Course(spread, speed, solution[:m], inverse[:m], rest, level, NOISE * spread, freedom)

        found = min(map(course, np.arange(0.05, 14.0, 1.0)), key=_misfit)
        for width in (1 / 3, 1 / 9, 1 / 27, 1 / 81, 1 / 243):
            near = found.speed + width * np.array([-2.0, -1.0, 1.0, 2.0])
            found = min([found, *map(course, near)], key=_misfit)
        rest = found.rest
    return found


def _misfit(course: Course) -> float:
    return course.misfit


def beside_a_course(train: Series, validation: Series) -> Weights | None:
    """Return weights beside a remainder that falls geometrically to a level, as a penalty does."""
    course = course_beside(train, validation)
    if course is None or course.freedom < 1 or course.noise > MOST_NOISE:
        return None
    margin = (2.5 + 4 / course.freedom) * max(course.misfit, 0.6) * np.sqrt(course.inverse)
    return Weights(rounded(course.weights, margin), "inferred", BESIDE) if told_apart(course.weights, margin) else None


def _both(train: Series, validation: Series, more: int) -> tuple[Series, Array]:
    """Return the epochs of the splits that have `more` than parts, and which split each belongs to, `[n, splits]`."""
    rows = [series for series in (train, validation) if len(series) >= series.parts.shape[1] + more]
    if not rows:
        return train.where(np.zeros(len(train), dtype=bool)), np.zeros((0, 0))
    split = np.repeat(np.arange(len(rows)), [len(row) for row in rows])
    series = rows[0] if len(rows) == 1 else rows[0].and_(rows[1])
    return series, (split[:, None] == np.arange(len(rows))).astype(np.float64)


def beside_a_curve(train: Series, validation: Series) -> Weights | None:
    """Return weights that the jumps of the parts show in the total, beside a remainder that is smooth over epochs."""
    rows = [_detrended(series) for series in (train, validation) if len(series) >= series.parts.shape[1] + 5]
    if not rows:
        return None
    total = np.concatenate([row[0] for row in rows])
    parts = np.concatenate([row[1] for row in rows])
    freedom = sum(row[2] for row in rows) - parts.shape[1]
    rounding = train.and_(validation).tolerance(np.ones(parts.shape[1])).mean() / np.sqrt(3)
    if freedom < 3 or not total.any():
        return None
    weights, inverse = solve(parts, total)
    rest = total - parts @ weights
    spread = max(float(np.sqrt(rest @ rest / freedom)), float(rounding))
    margin = 4 * spread * np.sqrt(inverse)
    if rest @ rest > 0.1 * (total @ total) or not told_apart(weights, margin):
        return None
    return Weights(rounded(weights, margin), "inferred", BESIDE)


def nearly(train: Series, validation: Series) -> Weights | None:
    """Return weights that leave a small remainder of both signs: those of 1, unless others are far better."""
    series = train.and_(validation)
    n, m = series.parts.shape
    ones = np.ones(m)
    size = np.abs(series.total).mean()
    rest = series.unexplained(ones)
    if n < m + 4 or size == 0 or ((rest > 0).mean() > 0.9 and rest.mean() > 0.02 * size):
        return None
    weights, inverse = solve(series.parts, series.total)
    left = series.unexplained(weights)
    spread, before = (float(np.sqrt(one @ one / (n - m))) for one in (left, rest))
    margin = 2.5 * spread * np.sqrt(inverse)
    if spread > SMALL * size or not told_apart(weights, 0.7 * margin):
        return None
    why = "they fit all epochs up to a small remainder of both signs"
    if np.all(np.abs(weights - 1) <= margin):
        return Weights(ones, "inferred", why)
    values = rounded(weights, margin)
    unbiased = abs(float(left.mean())) <= 3 * spread / np.sqrt(n)
    if before <= max(SMALL * size, 5 * spread) or not unbiased or not np.isin(values, PLAIN).all():
        return None
    return Weights(values, "inferred", why)


def _detrended(series: Series) -> tuple[Array, Array, int]:
    """Return total `[n]` and parts `[n, m]` without their smooth course over the epochs, and the rows that count."""
    n, m = series.parts.shape
    degree = min(8, max(1, (n - m) // 3))
    x = np.linspace(-1.0, 1.0, n) if n > 1 else np.zeros(n)
    basis = np.linalg.qr(np.polynomial.legendre.legvander(x, degree))[0]
    both = np.column_stack([series.total, series.parts])
    both = both - basis @ (basis.T @ both)
    return both[:, 0], both[:, 1:], n - degree - 1
