"""Differences as shares of a baseline, with intervals that count that the baseline is chance too."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from multiloss.core.errors import DataError
from multiloss.linalg.gramian import Array
from multiloss.studies.crossed import Layout, components, components_of
from multiloss.studies.difference import LEVEL, Difference, difference
from multiloss.studies.student import chance
from multiloss.studies.units import Codes, labelled, units_of

DOUBLINGS = 64
"""After so many steps outwards, each twice the last, a set of ratios is taken for unbounded."""


def relative_difference(a: Array, b: Array, level: float = LEVEL, groups: Codes | None = None) -> Difference | None:
    r"""Return mean(a) / mean(b) - 1 with its interval, or None where no such size is known.

    The test is that of `paired_difference`, and the interval Fieller's: the ratios $\rho$ for which
    the interval of $a - \rho b$ has 0 in it, less 1. So p is below 1 - `level` exactly where the interval leaves out 0.
    It counts that the baseline is chance too, and its pairing with `a`. Deviations and degrees of freedom are those of
    $(a_{sr} - \rho b_{sr}) / \bar b$, the linearised ratio.

    Simulated with 5 seeds whose errors differ by 25 % in size, and 30 to 300 rows, the true change is above the
    interval in 0.6 to 2.4 % and below it in 0.8 to 1.9 %, where linearisation has 4.1 to 4.5 % and 1.3 to 1.7 %.

    Rules: None where mean(b) is not above 0, or is so close to it, for its interval, that ratios of any size are
    inside. Of scores of which none is below 0 the interval does not reach below -1.

    Args:
        a: Scores of one variant, `[seeds, rows]`.
        b: Those of the baseline.
        level: Of the interval.
        groups: As in `paired_difference`.

    Raises:
        DataError: As `paired_difference`.

    Examples:
        >>> b = np.array([[10.0, 11.0, 12.0], [10.5, 11.5, 12.0]])
        >>> found = relative_difference(0.9 * b, b)
        >>> round(found.mean, 6), round(found.low, 6), round(found.high, 6)
        (-0.1, -0.1, -0.1)
    """
    first, second, rows = labelled(a, b)
    base = float(second.mean())
    if base <= 0:
        return None
    units = units_of(len(rows), groups).taken(rows)
    change = float((first - second).mean()) / base
    residual, baseline = units.fold(first - second - change * second), units.fold(second)
    ends = _fieller(residual, baseline, change, level)
    if ends is None:
        return None
    found = difference(residual / base, change, level, units.name)
    plain = units.fold(first - second)
    p = chance(change * base, components(plain).parts(*plain.shape))
    low = max(ends[0], -1.0) if first.min() >= 0 else ends[0]
    return replace(found, low=low, high=ends[1], p=p)


def _fieller(residual: Array, baseline: Array, change: float, level: float) -> tuple[float, float] | None:
    """Return the ends of all changes for which the interval of a - (1 + change) b has 0 in it; None without an end.

    Args:
        residual: a - (1 + change) b for the change found, so that its mean is 0.
        baseline: b.
        change: The one found.
        level: Of the interval.
    """
    own, base = Layout.of(residual), Layout.of(baseline)
    squares, crossed, base_squares = own.products(own), own.products(base), base.products(base)
    mean, (seeds, rows) = float(baseline.mean()), residual.shape

    def half(move: float) -> float:
        terms = zip(squares, crossed, base_squares, strict=True)
        moved = [mine - 2 * move * both + move * move * its for mine, both, its in terms]
        return components_of(moved, seeds, rows).half_width(seeds, rows, level)

    def inside(other: float) -> bool:
        return mean * abs(other - change) <= half(other - change)

    step = half(0.0) / mean or 1.0
    low, high = _end(inside, change, -step), _end(inside, change, step)
    return None if low is None or high is None else (low, high)


def _end(inside: Callable[[float], bool], start: float, step: float) -> float | None:
    """Return the last number inside from `start` on in the direction of `step`; None where there is none.

    A change of 0 that lies in this direction is asked for by itself, so that the interval is that of the test even
    where what is inside had gaps.
    """
    near, far = start, start + step
    if start * step < 0:
        if inside(0.0):
            near, far = 0.0, step
        else:
            far = 0.0
    for _ in range(DOUBLINGS):
        if not inside(far):
            break
        near, step = far, 2 * step
        far += step
    else:
        return None
    while min(near, far) < (middle := (near + far) / 2) < max(near, far):
        near, far = (middle, far) if inside(middle) else (near, middle)
    return near


def mean_relative_difference(
    pairs: Sequence[tuple[Array, Array]],
    higher_is_better: Sequence[bool],
    level: float = LEVEL,
    groups: Codes | None = None,
) -> Difference | None:
    r"""Return Δm of the means over seeds and rows (see `delta_m`) with an interval that covers both chances.

    By linearisation: with the ratio $\rho_t$ of the means of an output, its part of Δm varies as
    $\pm (a_{sr} - \rho_t b_{sr}) / (T \bar b)$ does. The parts are added row by row, a row without the label of an
    output having none of it, and the interval is that of `paired_difference` for the sum. So it counts that outputs
    are scored on the same rows by the same models.

    Simulated with three outputs that do not differ, 5 seeds, 60 rows and a quarter of the labels missing, 95 % covers
    95 %, where an interval over the seeds' own Δm covers 62 %.

    Args:
        pairs: Scores of variant and baseline of each output, `[seeds, rows]`, all on the same seeds and rows; NaN where
            a row has no label for the output.
        higher_is_better: The direction of each.
        level: Of the interval.
        groups: As in `paired_difference`.

    Returns:
        The difference, above 0 better, or None where the mean of a baseline is not above 0.

    Raises:
        DataError: As `paired_difference`, if nothing is given, or not all outputs have the same seeds and rows.

    Examples:
        >>> b = np.array([[1.0, 2.0, np.nan], [2.0, 3.0, np.nan]])
        >>> c = np.array([[4.0, 1.0, 5.0], [3.0, 2.0, 6.0]])
        >>> round(mean_relative_difference([(0.75 * b, b), (0.5 * c, c)], [False, True]).mean, 6)
        -0.125
    """
    shapes = {np.shape(own) for pair in pairs for own in pair}
    if len(pairs) != len(higher_is_better) or len(shapes) != 1:
        raise DataError(
            f"expected pairs of scores of the same shape and a direction for each, found {len(pairs)} pairs, "
            f"{len(higher_is_better)} directions and shapes {sorted(shapes)}. Score all outputs on the same seeds and "
            "rows, with NaN where a label is missing"
        )
    known = [labelled(a, b) for a, b in pairs]
    values, baselines = ([float(own[i].mean()) for own in known] for i in (0, 1))
    if min(baselines) <= 0:
        return None
    some = np.logical_or.reduce([rows for _, _, rows in known])
    units = units_of(len(some), groups).taken(some)
    total = np.zeros((len(known[0][0]), units.total))
    for (first, second, rows), value, base, up in zip(known, values, baselines, higher_is_better, strict=True):
        share = (first - value / base * second) / base * (1 if up else -1) / len(known)
        total += units.among(rows[some]).fold(share)
    return difference(total, delta_m(values, baselines, higher_is_better), level, units.name)


def delta_m(values: Sequence[float], baseline: Sequence[float], higher_is_better: Sequence[bool]) -> float:
    r"""Return the mean relative improvement over outputs, Δm, as a share: above 0 is better.

    $$\Delta_m = \frac{1}{T} \sum_{t=1}^{T} (-1)^{l_t} \frac{M_t - B_t}{|B_t|},$$

    with $l_t = 1$ where lower is better, for T outputs, $M_t$ the value and $B_t$ that of the single-task baseline
    (Maninis et al. 2019, https://arxiv.org/abs/1904.08918; Vandenhende et al. 2021, https://arxiv.org/abs/2004.13379).
    An output of several metrics counts once: average its terms first.

    Others differ: the papers of Nash-MTL and FAMO turn the sign, so that less is better. LibMTL's documentation divided
    by the new value where its code divides by the baseline (https://github.com/median-research-group/LibMTL/issues/65),
    and it takes the direction as bare 0 and 1, in which a metric turned round shows in no error; here it is a named
    boolean.

    Args:
        values: One for each output.
        baseline: The same of the separate models; none 0.
        higher_is_better: The direction of each.

    Raises:
        DataError: If the lengths differ, nothing is given, or a baseline is 0.

    Examples:
        >>> delta_m([0.75, 1.0], [1.0, 2.0], [True, False])
        0.125
    """
    if not len(values) == len(baseline) == len(higher_is_better) or not values:
        raise DataError(
            f"expected a value, a baseline and a direction for each output, found {len(values)}, {len(baseline)} and "
            f"{len(higher_is_better)}. Give one of each"
        )
    if 0 in baseline:
        raise DataError("expected baselines other than 0, found 0. A relative change from 0 has no size: leave it out")
    changes = (
        (value - base) / abs(base) * (1 if up else -1)
        for value, base, up in zip(values, baseline, higher_is_better, strict=True)
    )
    return math.fsum(changes) / len(values)
