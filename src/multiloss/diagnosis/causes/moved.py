"""Weights that moved while the model trained."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from multiloss.diagnosis.causes.base import FEWEST, Case, Cause, Confidence
from multiloss.diagnosis.causes.confirm import line_for
from multiloss.diagnosis.causes.trends import roughness
from multiloss.diagnosis.log_fit import PLAIN, as_sum, plain
from multiloss.diagnosis.log_series import Series
from multiloss.diagnosis.log_weights import exact_weights
from multiloss.diagnosis.log_weights_signed import signed_fit
from multiloss.linalg.gramian import Array

MOST_PIECES, MOST_ROWS = 4, 400


def weights_that_moved(case: Case) -> Cause | None:
    """Return the cause where no fixed weights make the total, but weights that change over the epochs do."""
    series = case.main.series.thinned(MOST_ROWS)
    if len(series) < FEWEST:
        return None
    return _logged(case) or _moving(case, series) or _pieces(case, series) or _settled(case, series) or _below(case)


def _logged(case: Case) -> Cause | None:
    """A column of the log is the weight of a part."""
    if case.main is not case.train:
        return None
    series = case.main.series
    for name, column in case.others.items():
        if not np.isfinite(column).all() or np.ptp(column) == 0:
            continue
        for k, part in enumerate(case.names):
            weights = np.broadcast_to(case.main.weights, series.parts.shape).copy()
            weights[:, k] = column
            rest = np.abs(series.total - (series.parts * weights).sum(axis=1))
            allowed = series.tolerance(case.main.weights) + _half(column) * np.abs(series.parts[:, k])
            if np.all(rest <= allowed) and np.abs((column - 1) * series.parts[:, k]).max() > 5 * allowed.max():
                evidence = {"epochs": len(series), "part": part, "column": name, "from": column[0], "to": column[-1]}
                text = (
                    f"With the column {name} as the weight of {part}, every {case.unit} is explained within the digits."
                )
                return _cause(case, "high", text, evidence, _at(series.epoch, weights))
    return None


def _at(epoch: Array, weights: Array) -> Callable[[Array], Array]:
    """Return the weights at any epoch: those of the last epoch that is not later."""
    order = np.argsort(epoch, kind="stable")

    def of(epochs: Array) -> Array:
        found: Array = weights[order[np.clip(np.searchsorted(epoch[order], epochs, side="right") - 1, 0, None)]]
        return found

    return of


def _half(column: Array) -> float:
    """Return half a unit of the last digit that a column seems to have been printed with."""
    for digits in range(8):
        if np.all(np.abs(np.round(column, digits) - column) <= 1e-12 * np.abs(column)):
            return 0.5 * 10.0**-digits if digits >= 3 else 0.0
    return 0.0


def _moving(case: Case, series: Series) -> Cause | None:
    """One weight runs along a straight line, for the whole log or until it stays; the others are as assumed."""
    n = len(series)
    for k, part in enumerate(case.names):
        own, half = series.parts[:, k], series.parts_half[:, k]
        if n < 5 or np.any(np.abs(own) <= 4 * half):
            continue
        others = case.main.weights.copy()
        others[k] = 0.0
        weight = (series.total - series.parts @ others) / own
        open_ = series.tolerance(others) / np.abs(own) + np.abs(weight) * half / np.abs(own)
        if np.any(weight < -open_) or np.ptp(weight) <= 8 * np.median(open_):
            continue
        for end in range(n, 2, -1):
            if end < 5 and (n - end < 2 or n < 6 or plain(weight[-1] - open_[-1], weight[-1] + open_[-1]) not in PLAIN):
                break
            slope, start = np.polyfit(series.epoch[:end], weight[:end], 1, w=1 / open_[:end])
            straight = np.abs(weight[:end] - start - slope * series.epoch[:end]) <= 1.5 * open_[:end]
            stays = np.abs(weight[end:] - weight[-1]) <= 2 * open_[end:]
            if straight.all() and stays.all() and abs(slope) * np.ptp(series.epoch[:end]) > 8 * np.median(open_):
                evidence = {
                    "epochs": n,
                    "part": part,
                    "from": weight[0],
                    "to": weight[-1],
                    "until": series.epoch[end - 1],
                }
                text = (
                    f"The weight of {part} runs along a straight line from {weight[0]:.3g} to {weight[end - 1]:.3g} at "
                    f"{case.unit} {series.epoch[end - 1]:g}: with it every {case.unit} is explained within the digits."
                )
                turn, level = series.epoch[end - 1], plain(weight[-1] - open_[-1], weight[-1] + open_[-1])
                places = int(np.ceil(np.log10(2 / np.median(open_))))  # a digit beyond what the print leaves open

                def of(
                    epochs: Array,
                    k: int = k,
                    start: float = start,
                    slope: float = slope,
                    turn: float = turn,
                    level: float = level,
                    places: int = places,
                ) -> Array:
                    found = np.tile(case.main.weights, (len(epochs), 1))
                    own = np.where(epochs <= turn, start + slope * epochs, level)
                    found[:, k] = np.round(own, places) + 0.0  # no -0
                    return found

                return _cause(case, "high" if end >= 5 else "medium", text, evidence, of if end >= 5 else None)
    return None


def _pieces(case: Case, series: Series) -> Cause | None:
    """The weights are fixed for a while, then others."""
    n, m = series.parts.shape
    pieces: list[tuple[int, int, Array]] = []
    start = 0
    while start < n:
        piece = _longest(series, start, m + 2)
        if piece is None or len(pieces) == MOST_PIECES:
            return None
        pieces.append((start, *piece))
        start = piece[0]
    if len(pieces) < 2:
        return None
    said = [
        f"{series.epoch[a]:g} to {series.epoch[b - 1]:g}: {as_sum(case.names, weights)}" for a, b, weights in pieces
    ]
    evidence = {"epochs": n, "pieces": said}
    text = f"No fixed weights make the total, but these do, within the digits: {case.unit}s " + "; ".join(said) + "."
    starts, weights = np.array([series.epoch[a] for a, _, _ in pieces]), np.array([own for _, _, own in pieces])
    return _cause(case, "high", text, evidence, _at(starts, weights))


def _longest(series: Series, start: int, fewest: int) -> tuple[int, Array] | None:
    """Return the end and the weights of the longest run of epochs from `start` that fixed weights explain."""
    index = np.arange(len(series))
    end, weights = start, None
    low, high = start + fewest, len(series)
    while low <= high:
        middle = (low + high) // 2
        fits, told = exact_weights(series.where((index >= start) & (index < middle)))
        if fits:
            end, weights, low = middle, told, middle + 1
        else:
            high = middle - 1
    return None if weights is None else (end, weights)


def _settled(case: Case, series: Series) -> Cause | None:
    """From some epoch on, or up to one, the weights explain everything; in the others they do not."""
    fits = np.abs(series.unexplained(case.main.weights)) <= series.tolerance(case.main.weights)
    n, unit = len(series), case.unit
    first, last = int(np.argmin(fits)), n - int(np.argmin(fits[::-1]))
    longest = max(first, n - last)
    if fits.all() or longest < max(FEWEST, n // 3):
        return None
    late = n - last >= first
    epoch = series.epoch[last if late else first - 1]
    others = slice(0, last) if late else slice(first, n)
    share = (series.unexplained(case.main.weights) / series.total)[others]
    if (~fits[others]).mean() < 0.8:
        return None
    evidence = {"epochs": n, "explained": longest, "turn": epoch, "largest_share": share[np.argmax(np.abs(share))]}
    when, why = ("From", "a weight that warms up, or a term that is only there at first")
    if not late:
        when, why = ("Up to", "a weight that changes there, or a term that begins there")
    text = (
        f"{when} {unit} {epoch:g} the parts explain every {unit} within the digits, in the others they do not: {why}."
    )
    return _cause(case, "medium", text, evidence)


def _below(case: Case) -> Cause | None:
    """The total is below the parts: by another factor in every epoch, or by a term of its own."""
    split = case.main
    total, parts = split.total, split.explained
    beyond = np.abs(split.values) > split.tolerance
    below = float(((split.values < 0) & beyond).mean())
    if np.any(parts <= 0) or below < 0.8:
        return None
    negative = float((total < -split.tolerance).mean())
    factor = total / parts
    change = float(np.ptp(factor)) / max(float(np.abs(factor).max()), 1e-12)
    noise = roughness(factor) / max(float(np.ptp(factor)), 1e-12)
    evidence = {"epochs": len(split), "below": below, "negative": negative, "from": factor[0], "to": factor[-1]}
    inferred = case.told and not case.given
    if negative or inferred or signed_fit(case.train.series, case.validation.series):
        where = f"below zero in {100 * negative:.0f} %" if negative else f"below the parts in {100 * below:.0f} %"
        text = (
            f"The total is {where} of the {case.unit}s: it holds a term that can be negative: an entropy bonus, a "
            "likelihood, or log-variances."
        )
        own = {name: float(value) for name, value in evidence.items()} | {"epochs": len(split)}
        return Cause("negative term that is not printed", "low", text, own, line_for("addends", case.framework))
    if change < 0.1 or split.share < 0.05:
        return None
    sure: Confidence = "medium" if noise < 0.1 else "low"
    text = (
        f"The total is below the sum of the parts, {factor[0]:.3g} times it at first and {factor[-1]:.3g} times at "
        "last, and no fixed weights fit, beside a constant either: they are scheduled or learned, as in annealing or "
        "uncertainty weighting."
    )
    return _cause(case, sure, text, evidence)


def _cause(
    case: Case,
    sure: Confidence,
    text: str,
    evidence: dict[str, object],
    weights: Callable[[Array], Array] | None = None,
) -> Cause:
    own = {name: float(value) if isinstance(value, np.floating) else value for name, value in evidence.items()}
    confirm = line_for("weights", case.framework)
    return Cause("weights that moved", sure, text, own, confirm, weights is not None, weights)
