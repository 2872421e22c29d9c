"""A remainder that the printed digits leave open."""

from __future__ import annotations

import numpy as np

from multiloss.diagnosis.causes.base import Case, Cause

EXACT = 1e-12
"""A remainder below this part of the total is the arithmetic's own."""


def rounding(case: Case) -> Cause | None:
    """Return the cause where every remainder is within the printed precision and one is not zero."""
    values = np.concatenate([np.abs(split.values) for split in case.splits])
    allowed = np.concatenate([split.tolerance for split in case.splits])
    size = max(float(np.abs(split.total).max()) for split in case.splits)
    if not all(split.rounding for split in case.splits) or values.max() <= EXACT * size:
        return None
    largest = int(np.argmax(values))
    return Cause(
        "rounding",
        "high",
        f"The remainder is never larger than the digits that the log rounded away: at most {values[largest]:.2g}, "
        f"where rounding allows {allowed[largest]:.2g}.",
        {"largest": float(values[largest]), "allowed": float(allowed[largest]), "epochs": len(values)},
        "print the losses with more digits, such as f'{loss:.8f}'",
        settles=True,
    )
