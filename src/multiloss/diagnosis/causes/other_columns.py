"""A column of the log that is an addend of the total, but does not look like a loss."""

from __future__ import annotations

import numpy as np

from multiloss.diagnosis.causes.base import FEWEST, Case, Cause
from multiloss.diagnosis.causes.confirm import line_for
from multiloss.diagnosis.causes.trends import r2
from multiloss.diagnosis.log_fit import plain

NO_LOSSES = ("lr", "learning", "time", "epoch", "step", "iter", "memory", "speed")


def other_column(case: Case) -> Cause | None:
    """Return the cause where the remainder is a fixed multiple of another column in every epoch."""
    split = case.train
    if len(split) < FEWEST or split.rounding:
        return None
    for name, column in case.others.items():
        if any(word in name.lower() for word in NO_LOSSES) or not np.isfinite(column).all() or not column.any():
            continue
        factor = float(column @ split.values / (column @ column))
        if factor <= 0 or r2(split.values, factor * column) < 0.999:
            continue
        weight = plain(0.999 * factor, 1.001 * factor)
        allowed = split.tolerance + 0.5e-4 * weight
        if np.all(np.abs(split.values - weight * column) <= allowed):
            text = (
                f"The remainder is {weight:.4g} x {name}, a column of the log, in every {case.unit} within the digits: "
                f"{name} is a part of the total. Name it among the parts."
            )
            evidence = {"epochs": len(split), "column": name, "weight": weight}
            confirm = line_for("addends", case.framework)
            return Cause("another column of the log", "high", text, evidence, confirm, settles=True)
    return None
