"""The loss weights behind a training log: those that explain every epoch within the printed precision."""

from __future__ import annotations

import itertools

import numpy as np

from multiloss.diagnosis.log_fit import PLAIN, Weights, fit_weights, plain, sizes_of, solve, told_apart
from multiloss.diagnosis.log_series import Series
from multiloss.diagnosis.log_weights_beside import SMALL, beside_a_constant, beside_a_course, beside_a_curve, nearly
from multiloss.diagnosis.log_weights_signed import signed_weights
from multiloss.linalg.gramian import Array

MOST_GUESSES = 20_000
GUESSED = (*PLAIN[:3], 0.0, *PLAIN[3:])
"""A part may be printed and not added."""

COARSE = 0.02
"""Printed digits that leave this much of the total open fit almost any weights."""

MOST_ROWS = 1000
"""Epochs, or steps, that are looked at where looking at all of them would add nothing."""


def infer_weights(train: Series, validation: Series) -> Weights:
    """Return the weights that make the total from the parts, if the log determines them.

    Args:
        train: Training epochs, all finite.
        validation: Validation epochs, all finite; the same weights hold there.
    """
    both = train.and_(validation)
    splits = [("", both)]
    if len(train) and len(validation):
        splits += [("validation ", validation), ("training ", train)]
    for name, series in splits:
        if name and series.different() < series.parts.shape[1] + 2:
            continue
        found = _exact(series, name)
        if found is not None and (not name or found.source == "inferred"):
            return found
    ones = np.ones(both.parts.shape[1])
    if len(both) < 2:
        return Weights(ones, "undetermined", "one epoch cannot determine them; 1 is assumed for each")
    fewer = train.thinned(MOST_ROWS), validation.thinned(MOST_ROWS)
    for attempt in (signed_weights, beside_a_constant, _beside_any_constant, beside_a_course, beside_a_curve, nearly):
        found = attempt(*fewer)
        if found is not None:
            return found
    rest = both.unexplained(ones)
    small = bool(np.abs(rest).mean() <= SMALL * np.abs(both.total).mean())
    why = "1 is assumed for each: " + (
        "it leaves a small remainder, and others may leave as little"
        if small
        else "what is in no part hides them, or the parts change too little to tell"
    )
    return Weights(ones, "undetermined", why)


def _beside_any_constant(train: Series, validation: Series) -> Weights | None:
    return signed_weights(train, validation, constant=True)


def _exact(series: Series, where: str) -> Weights | None:
    """Return weights that explain every epoch within the printed precision, if there are any."""
    m, n = series.parts.shape[1], series.different()
    ones = np.ones(m)
    simple = next((w for w in (ones, ones / m) if series.fits(w)), None)
    why = f"they explain {len(series)} {where}epochs within the printed digits"
    least, margin = fit_weights(series, sizes_of(series, ones))
    least, margin = fit_weights(series, sizes_of(series, least))
    counts = (np.abs(series.parts) > series.parts_half).any(axis=0)
    determined = told_apart(least[counts], margin[counts]) and (n > 1 or m == 1)
    if simple is not None and determined:
        return Weights(simple, "inferred", why, exact=True)
    if determined and n > 1 and series.fits(least, slack=1.5):
        snapped = np.where(counts, _snapped(series, least, margin), 1.0)
        if n > counts.sum() or all(weight in PLAIN for weight in snapped):
            return Weights(snapped, "inferred", why, exact=True)
    return _undetermined(series, simple, n)


def exact_weights(series: Series) -> tuple[bool, Array | None]:
    """Return whether fixed weights explain every epoch within the printed precision, and they, where told apart."""
    ones = np.ones(series.parts.shape[1])
    least, margin = fit_weights(series, sizes_of(series, ones))
    least, margin = fit_weights(series, sizes_of(series, least))
    if not series.fits(least, slack=1.5):
        return False, None
    if not told_apart(least, margin):
        return True, None
    return True, ones if series.fits(ones) else _snapped(series, least, margin)


def _undetermined(series: Series, simple: Array | None, n: int) -> Weights | None:
    """Return the plainest weights that fit, where several do."""
    m = series.parts.shape[1]
    size = float(np.abs(series.total).mean())
    coarse = float(series.tolerance(np.ones(m)).mean()) > COARSE * size
    guesses = [] if coarse or n + (m == 2) < 2 else _guesses(series)
    if simple is not None:
        guesses = [tuple(map(float, simple)), *(guess for guess in guesses if guess != tuple(simple))]
    if not guesses:
        return None
    why = "the parts move together, which does not tell the weights apart"
    if m == 1 or coarse:
        why = "too few digits are printed to be sure of the weights"
    elif n == 1:
        why = "one epoch is" if len(series) == 1 else "all epochs hold the same numbers, which are"
        why += " one equation: it does not tell the weights apart"
    elif n < m:
        why = f"{n} epochs are fewer equations than weights"
    plainest = "; these are the plainest that fit"
    return Weights(np.array(guesses[0]), "undetermined", why + plainest, exact=True, candidates=tuple(guesses[:5]))


def _guesses(series: Series) -> list[tuple[float, ...]]:
    """Return the plain weights that fit, the plainest first."""
    m = series.parts.shape[1]
    values = GUESSED[: next((k for k in range(len(GUESSED), 0, -1) if k**m <= MOST_GUESSES), 1)]
    if len(values) < 4:
        return []
    grid = np.array(list(itertools.product(range(len(values)), repeat=m)))
    weights = np.array(values)[grid]
    fits = np.ones(len(grid), dtype=bool)
    for row in range(len(series)):
        one = series.where(np.arange(len(series)) == row)
        left = weights[fits]
        slack = np.abs(one.total - left @ one.parts[0])
        size = np.abs(one.total) + left @ np.abs(one.parts[0])
        fits[fits] = slack <= one.total_half + left @ one.parts_half[0] + 5e-6 * size
        if not fits.any():
            return []
    order = np.argsort(grid[fits].sum(axis=1) + 2 * (grid[fits] > 0).sum(axis=1), kind="stable")
    return [tuple(map(float, w)) for w in weights[fits][order]]


def _snapped(series: Series, weights: Array, margin: Array) -> Array:
    """Return plain numbers near `weights`, the surest first and the others fitted anew beside them."""
    values, open_ = weights.copy(), list(range(len(weights)))
    while open_:
        k = open_[int(np.argmin(margin[open_] / np.maximum(values[open_], 1e-12)))]
        values[k] = plain(values[k] - margin[k], values[k] + margin[k])
        open_.remove(k)
        if open_:
            sizes = sizes_of(series, values)
            rest = (series.total - series.parts @ np.where(np.isin(np.arange(len(values)), open_), 0.0, values)) / sizes
            values[open_], inverse = solve(series.parts[:, open_] / sizes[:, None], rest)
            margin = margin.copy()
            margin[open_] = 2.0 * np.sqrt(inverse)
    return values if series.fits(values) else weights
