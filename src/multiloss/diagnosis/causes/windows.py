"""Total and parts that were averaged over different windows, or taken at different moments."""

from __future__ import annotations

import math

import numpy as np

from multiloss.diagnosis.causes.base import Case, Cause, Confidence
from multiloss.diagnosis.causes.confirm import line_for
from multiloss.diagnosis.causes.trends import roughness
from multiloss.linalg.gramian import Array

FEWEST_WINDOWS, FEWEST_SURE = 6, 10
LARGEST_SHARE, LARGEST_AROUND = 0.3, 0.05
CLEAR_SHARE = 0.15
TINY_SHARE = 0.03
MOSTLY = 0.6


def averaging_windows(case: Case) -> Cause | None:
    """Return the cause where the remainder is small and around zero, or follows the change of the parts."""
    split = case.main
    n, share = len(split), split.share
    rest = split.values
    if n < FEWEST_WINDOWS or share > LARGEST_SHARE:
        return None
    spread = float(rest.std())
    above = float((rest > 0).mean())
    around = 0.15 <= above <= 0.85 and abs(float(rest.mean())) <= max(0.6, 2 / math.sqrt(n)) * spread
    around = around and share <= LARGEST_AROUND
    r2, factor, when = _follows_the_change(rest, split.explained)
    follows = r2 >= 0.6 and 0.2 <= (-factor if when == "before" else factor) <= 1.0
    tiny = share <= TINY_SHARE and 0.05 <= above <= 0.95
    if not (around or follows or tiny) or (np.abs(rest) > split.tolerance).mean() < MOSTLY:
        return None
    sure: Confidence = (
        "high" if follows and share <= CLEAR_SHARE and r2 >= (0.8 if around else 0.9) and n >= FEWEST_SURE else "medium"
    )
    sure = sure if around or follows else "low"
    parts, total = roughness(split.explained), roughness(split.total)
    evidence = {
        "epochs": n,
        "share": share,
        "mean": float(rest.mean()),
        "spread": spread,
        "above_zero": above,
        "r2_of_the_change": r2,
        "factor_of_the_change": factor,
        "roughness_total": total,
        "roughness_parts": parts,
    }
    return Cause(
        "different averaging windows",
        sure,
        _text(case, evidence, follows, around or tiny, when),
        evidence,
        line_for("same moment", case.framework),
    )


def _follows_the_change(rest: Array, parts: Array) -> tuple[float, float, str]:
    """Return R² and factor of the remainder as a multiple of the parts' change, to this epoch or to the next."""
    change = np.diff(parts)
    best = (0.0, 0.0, "before")
    for own, when in ((rest[1:], "before"), (rest[:-1], "after")):
        size = float(change @ change)
        if size == 0 or not own.any():
            continue
        factor = float(own @ change) / size
        left = own - factor * change
        r2 = 1 - float(left @ left) / float(own @ own)
        if r2 > best[0]:
            best = (r2, factor, when)
    return best


def _text(case: Case, evidence: dict[str, float], follows: bool, around: bool, when: str) -> str:
    unit = case.unit
    texts = []
    if around:
        texts.append(
            f"The remainder is small ({100 * evidence['share']:.2g} % of the total) and of both signs: above zero in "
            f"{100 * evidence['above_zero']:.0f} % of the {unit}s. The total and the parts are then means over "
            "different steps, or means of means with an unequal last batch."
        )
    if case.framework == "detectron2":
        texts.append("detectron2 prints the median of the last 20 iterations of each, and medians do not add up.")
    if follows:
        last = f"the {unit} before" if when == "before" else f"the next {unit}"
        texts.append(
            f"It is {evidence['factor_of_the_change']:.2f} times the change of the parts from or to {last} "
            f"(R² {evidence['r2_of_the_change']:.2f}): one side is taken later than the other, such as the mean during "
            f"the {unit} beside the value at its end."
        )
    return " ".join(texts)
