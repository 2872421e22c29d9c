"""Another loss on data that joins the total and is not printed."""

from __future__ import annotations

import math

from multiloss.diagnosis.causes.base import Case, Cause, Confidence
from multiloss.diagnosis.causes.confirm import line_for
from multiloss.diagnosis.causes.course import SAME, SMOOTH, course_of, mismatch
from multiloss.diagnosis.causes.penalty import beside_other_weights


def unnamed_loss(case: Case) -> Cause | None:
    """Return the cause where the remainder is above zero and moves as a loss on data does."""
    course = course_of(case.main)
    if course is None or course.flat:
        return None
    apart = mismatch(case)
    rough = course.roughness > SMOOTH
    sure: Confidence = "low"
    if apart is not None:
        sure = "medium" if apart > SAME and (rough or apart > 5 * SAME) and not case.validation.rounding else "low"
    elif rough and not (course.geometric and course.noise <= SAME):
        sure = "medium"
    if sure == "low" and not rough:
        return None
    if not case.told and not course.held and beside_other_weights(case) is not None:
        return None
    evidence = {
        "epochs": len(case.main),
        "share": case.main.share,
        "noise": course.roughness,
        "r2": course.r2,
        "train_validation_apart": apart if apart is not None and math.isfinite(apart) else None,
    }
    told = []
    if rough:
        told.append(f"jumps by {100 * course.roughness:.1f} % from one {case.unit} to the next, as a loss on data does")
    if apart is not None and math.isfinite(apart) and apart > SAME:
        told.append(f"differs between training and validation by {100 * apart:.0f} %")
    said = ", and ".join(told) or "falls otherwise in training than in validation"
    text = f"The remainder is above zero and {said}: another output's loss or an add_loss that is not printed."
    return Cause("another loss that is not printed", sure, text, evidence, line_for("addends", case.framework))
