"""A penalty on weights or activities that joins the total and is not printed."""

from __future__ import annotations

import math

import numpy as np

from multiloss.diagnosis.causes.base import Case, Cause, Confidence
from multiloss.diagnosis.causes.confirm import line_for
from multiloss.diagnosis.causes.course import SAME, SMOOTH, Course, course_of, mismatch
from multiloss.diagnosis.log_weights_beside import course_beside

VERY_SMOOTH = 0.002


def hidden_penalty(case: Case) -> Cause | None:
    """Return the cause where the remainder is above zero and runs as a function of the parameters does."""
    course = course_of(case.main)
    if course is None:
        return None
    if not case.told and not course.flat and course.roughness > SMOOTH and not course.held:
        beside = beside_other_weights(case)
        if beside is not None:
            return beside
    apart = mismatch(case)
    only_training = bool(len(case.validation)) and case.validation.rounding and case.main is case.train
    sure = _confidence(case, course, None if only_training else apart)
    if sure is None:
        return None
    n = len(case.main)
    evidence: dict[str, float | str | bool | None] = {
        "epochs": n,
        "share": case.main.share,
        "shape": "geometric" if course.geometric else "flat" if course.flat else _direction(course),
        "rate_per_epoch" if case.unit == "epoch" else "rate_per_step": course.rate,
        "r2": course.r2,
        "r2_straight_line": course.r2_straight,
        "noise": course.noise,
        "train_validation_apart": apart if apart is not None and math.isfinite(apart) else None,
        "parts_held": course.held,
    }
    texts = [_shape(case, course, evidence)]
    if only_training:
        texts.append("Validation holds nothing beyond its parts, so it is added in training only.")
    elif apart is not None and apart <= SAME:
        texts.append(
            f"It is the same in training and validation up to {100 * apart:.2g} %: it depends on the parameters, "
            "not on the data."
        )
    return Cause("hidden penalty", sure, " ".join(texts), evidence, line_for("penalty", case.framework))


def beside_other_weights(case: Case) -> Cause | None:
    """Return the cause where weights other than those assumed leave a remainder that is geometric."""
    found = course_beside(case.train.series, case.validation.series)
    n = len(case.main)
    if found is None or found.freedom < 4 or found.noise > SMOOTH or found.level > 0.1 or found.speed < 0.1:
        return None
    share = float(found.rest[0] / case.main.total[0])
    if share < 0.2:
        return None
    rate = math.exp(-found.speed / float(np.ptp(np.concatenate([split.epoch for split in case.splits]))))
    weights = " + ".join(f"{weight:.2g} x {name}" for name, weight in zip(case.names, found.weights, strict=True))
    text = (
        f"With weights of about {weights}, which the log does not determine, the remainder falls by the same factor in "
        f"every {case.unit}, x {rate:.4f}, up to {100 * found.noise:.2g} %: as a squared penalty (L2) does under plain "
        "SGD. Give the weights with --weights to be sure."
    )
    evidence = {
        "epochs": n,
        "share": share,
        "shape": "geometric",
        "rate_per_epoch" if case.unit == "epoch" else "rate_per_step": rate,
        "noise": found.noise,
        "about": {name: float(weight) for name, weight in zip(case.names, found.weights, strict=True)},
    }
    return Cause("hidden penalty", "medium", text, evidence, line_for("penalty", case.framework))


def _confidence(case: Case, course: Course, apart: float | None) -> Confidence | None:
    n, share = len(case.main), case.main.share
    quiet = course.roughness <= max(VERY_SMOOTH, 0.3 * course.parts_roughness)
    if apart is not None:
        if apart > 5 * SAME:
            return None
        if apart > SAME:
            return "low"
        smooth = course.roughness <= SMOOTH or (course.geometric and share >= 0.5)
        return "high" if smooth else "medium"
    if course.flat:
        return "high" if n >= 6 else "medium"
    if course.geometric:
        clear = course.r2 > 0.995 and abs(course.bend) <= 0.2 and course.noise <= SAME and quiet
        clear = clear and (share >= 0.5 or course.roughness <= VERY_SMOOTH)
        return "high" if n >= 8 and clear else "medium" if course.noise <= SAME and n >= 5 else "low"
    return "medium" if course.roughness <= SMOOTH and quiet and n >= 6 else "low"


def _direction(course: Course) -> str:
    if course.values[-1] > course.values[0]:
        return "rising"
    return "falling, faster at first" if course.bend > 0 else "falling"


def _shape(case: Case, course: Course, evidence: dict[str, float | str | bool | None]) -> str:
    unit = case.unit
    if course.flat:
        return (
            "The remainder is above zero and does not move: a penalty on frozen weights, or a constant that is added."
        )
    if not course.geometric:
        why = "as a penalty does under an adaptive optimiser (Adam), a changing learning rate, or near its balance"
        if course.values[-1] > course.values[0]:
            why = "as a penalty does while the weights grow"
        return (
            f"The remainder is above zero and {_direction(course)}, from {course.values[0]:.4g} to "
            f"{course.values[-1]:.4g}, {why}. It is not geometric (R² {course.r2:.3f})."
        )
    product = -math.log(course.rate) / 4
    half_life = math.log(2) / -math.log(course.rate)
    steps = product / 1e-4
    key = "lr_coefficient_steps" if unit == "epoch" else "lr_coefficient"
    evidence.update({"half_life": half_life, key: product})
    means = f"learning rate x coefficient x steps per epoch = {product:.3g}"
    if unit == "epoch":
        evidence["example"] = f"SGD 0.01, L2 0.01, {steps:.0f} steps per epoch"
        means += f" (such as 0.01 x 0.01 x {steps:.0f} steps, the defaults of Keras)"
    else:
        means = f"learning rate x coefficient x steps = {product:.3g} for each {unit} that the log counts"
    held = "; the parts held at their first value, since the total does not follow their jumps" if course.held else ""
    return (
        f"The remainder falls by the same factor in every {unit}, x {course.rate:.4f}, half in {half_life:.1f} {unit}s "
        f"(R² {course.r2:.4f}; a straight line {course.r2_straight:.3f}{held}). A squared penalty (L2) under plain SGD "
        f"does exactly that; it would mean {means}."
    )
