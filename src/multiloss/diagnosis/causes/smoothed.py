"""A total that is smoothed over epochs or steps, beside parts that are not, or the other way round."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from multiloss.diagnosis.causes.base import Case, Cause, Remainder
from multiloss.diagnosis.causes.confirm import line_for
from multiloss.linalg.gramian import Array

FEWEST_SMOOTHED = 6
LONGEST_WINDOW = 50


class Smoothing(NamedTuple):
    """A way of smoothing, and how well it turns one series into the other."""

    kind: str
    text: str
    r2: float
    evidence: dict[str, float]
    exact: bool


def smoothed_total(case: Case) -> Cause | None:
    """Return the cause where one side is the other, smoothed."""
    split = case.main
    if len(split) < FEWEST_SMOOTHED or split.share == 0:
        return None
    total, parts = split.total, split.explained
    found = [(smoothing, "the total", "the parts") for smoothing in _smoothings(parts, total, split)]
    found += [(smoothing, "the parts", "the total") for smoothing in _smoothings(total, parts, split)]
    if not found:
        return None
    best, smooth, raw = max(found, key=lambda item: (item[0].exact, item[0].r2))
    if not best.exact and (best.r2 < 0.98 or len(split) < 10 or _decays(split) <= 4 * (1 - best.r2)):
        return None
    whose = f"{smooth} {'is' if smooth == 'the total' else 'are'}".capitalize()
    text = f"{whose} {best.text} of {raw}: that explains {100 * best.r2:.1f} % of the remainder's variance."
    return Cause(
        "smoothed total beside raw parts" if smooth == "the total" else "smoothed parts beside a raw total",
        "high" if best.exact else "medium",
        text,
        {"epochs": len(split), "smoothing": best.kind, "r2": best.r2, **best.evidence},
        line_for("same moment", case.framework),
        settles=best.exact,
    )


def _decays(split: Remainder) -> float:
    """Return how badly a remainder that shrinks by itself, as a penalty does, fits: unexplained variance over all."""
    before, now = split.values[:-1], split.values[1:]
    size = float(before @ before)
    rest = now - before * (float(before @ now) / size if size > 0 else 0.0)
    return float(rest @ rest) / max(float(now @ now), 1e-300)


def _smoothings(raw: Array, smooth: Array, split: Remainder) -> list[Smoothing]:
    allowed = 2.0 * split.tolerance
    unexplained = smooth - raw
    found = [one for one in (_exponential(raw, smooth, allowed),) if one is not None]
    n = len(raw)
    sums = np.concatenate([[0.0], np.cumsum(raw)])
    for size in range(2, min(n // 2, LONGEST_WINDOW) + 1):
        mean = (sums[size:] - sums[:-size]) / size
        text = f"the mean of the last {size} {{}}"
        found.append(_compared("moving mean", text, mean, smooth[size - 1 :], unexplained, allowed, {"window": size}))
    whole = sums[1:] / np.arange(1, n + 1)
    found.append(_compared("mean so far", "the mean so far", whole[1:], smooth[1:], unexplained, allowed, {}))
    return [one._replace(text=one.text.format("values")) for one in found]


def _exponential(raw: Array, smooth: Array, allowed: Array) -> Smoothing | None:
    """Fit s' = (1 - a) s + a r, with both factors free first: a decay towards nothing in particular is no smoothing."""
    before, now, new = smooth[:-1], smooth[1:], raw[1:]
    columns = np.column_stack([before, new])
    factors, _, rank, _ = np.linalg.lstsq(columns, now, rcond=None)
    if rank < 2:
        return None
    rest = now - columns @ factors
    spread = max(float(np.sqrt(rest @ rest / max(len(now) - 2, 1))), float(allowed.mean()) / 2)
    errors = spread * np.sqrt(np.diag(np.linalg.inv(columns.T @ columns)))
    if factors[1] < 5 * errors[1] or abs(factors.sum() - 1) > max(3 * float(errors.sum()), 0.01):
        return None
    gain, step = new - before, now - before
    factor = float(gain @ step / (gain @ gain))
    if not 0.002 < factor < 0.95:
        return None
    text = f"an exponential average, with a weight of {factor:.3g} for the newest value,"
    fitted = before + factor * gain
    moved = float(step @ step)
    result = _compared("exponential", text, fitted, now, smooth - raw, allowed, {"factor": factor})
    steps = 1 - float(((now - fitted) ** 2).sum()) / moved if moved > 0 else 0.0
    return result._replace(r2=min(result.r2, steps))


def _compared(
    kind: str, text: str, fitted: Array, smooth: Array, unexplained: Array, allowed: Array, evidence: dict[str, float]
) -> Smoothing:
    rest = smooth - fitted
    own = unexplained[-len(rest) :]
    size = float(own @ own)
    r2 = 1 - float(rest @ rest) / size if size > 0 else 0.0
    return Smoothing(kind, text, r2, evidence, bool(np.all(np.abs(rest) <= allowed[-len(rest) :])))
