"""Too few epochs for the course of a remainder to say anything."""

from __future__ import annotations

import numpy as np

from multiloss.diagnosis.causes.base import FEWEST, Case, Cause
from multiloss.diagnosis.causes.confirm import line_for
from multiloss.diagnosis.log_fit import percent


def not_enough(case: Case) -> Cause | None:
    """Return what is known where there is a remainder and fewer than `FEWEST` epochs."""
    split = case.main
    n = len(split)
    if n >= FEWEST or not n or all(one.rounding for one in case.splits):
        return None
    beyond = split.values[np.abs(split.values) > split.tolerance]
    size = f"{percent(split.share)} of the total"
    said = f"The total and the parts differ by {size}, in both directions."
    if np.all(beyond > 0):
        said = (
            f"The total is larger than the parts by {size}: something is added and not printed, or a weight is larger."
        )
    elif np.all(beyond < 0):
        said = f"The total is smaller than the parts by {size}: a weight is smaller, or a term is below zero."
    text = f"{said} {n} {case.unit}{'s are' if n > 1 else ' is'} not enough to tell why; {FEWEST} or more would be."
    evidence = {"epochs": n, "needed": FEWEST, "share": split.share}
    return Cause("not enough epochs", "low", text, evidence, line_for("addends", case.framework))
