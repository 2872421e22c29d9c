"""Parts that are printed weighted already, or with other weights than given."""

from __future__ import annotations

import numpy as np

from multiloss.diagnosis.causes.base import Case, Cause
from multiloss.diagnosis.causes.confirm import line_for
from multiloss.diagnosis.log_fit import as_sum, named
from multiloss.diagnosis.log_weights import infer_weights


def parts_already_weighted(case: Case) -> Cause | None:
    """Return the cause where the weights that the user gave do not make the total, and others do."""
    if not case.given or all(split.rounding for split in case.splits):
        return None
    ones = np.ones(len(case.names))
    series = case.train.series.and_(case.validation.series)
    if series.fits(ones):
        return Cause(
            "parts already weighted",
            "high" if len(series) > 1 else "medium",
            f"The plain sum of the parts is the total in all {len(series)} {case.unit}s, within the printed digits: "
            "the parts were multiplied by their weights before they were printed. Leave the weights out.",
            {"epochs": len(series), "weights": dict.fromkeys(case.names, 1.0)},
            line_for("weights", case.framework),
            settles=True,
        )
    found = infer_weights(case.train.series, case.validation.series)
    if not series.fits(found.values, slack=1.5):
        return None
    told = found.source == "inferred"
    where = f"all {len(series)} {case.unit}s" if len(series) > 1 else f"the one {case.unit}"
    text = f"The total is {as_sum(case.names, found.values)} in {where}, within the printed digits"
    doubt = "" if told else f", though {found.why}"
    return Cause(
        "other weights than given",
        "high" if told else "low",
        f"{text}{doubt}. Perhaps some parts were multiplied by their weights before they were printed.",
        {"epochs": len(series), "weights": named(case.names, found.values)},
        line_for("weights", case.framework),
        settles=told,
    )
