"""Where the total of a training log came from: weights, the equation of every epoch, the cause of a remainder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from multiloss.core.errors import ConfigError, DataError, nearest
from multiloss.diagnosis.causes.all import causes_of
from multiloss.diagnosis.causes.base import Case, Cause, Monitored, Remainder
from multiloss.diagnosis.causes.confirm import framework_of
from multiloss.diagnosis.explanation_answer import answer, meaning, meaning_without_total
from multiloss.diagnosis.explanation_equations import Equation, closer, equations, plain
from multiloss.diagnosis.explanation_text import plain_text
from multiloss.diagnosis.log_fit import Source, Weights, named
from multiloss.diagnosis.log_series import Series
from multiloss.diagnosis.log_subtotals import without_subtotals
from multiloss.diagnosis.log_weights import infer_weights
from multiloss.diagnosis.training_log import LogEpoch, TrainingLog

NO_TOTAL = "The log holds parts and no total: what is shown is their weighted sum."


@dataclass(frozen=True)
class Explanation:
    """What the total of a log was made of.

    Args:
        format: What wrote the log.
        source: The file, or "standard input".
        total: The name of the total.
        unit: What a line of the log is: "epoch" or "step".
        weights: The loss weights, by part.
        weights_from: Whether they were given, inferred from the epochs, or cannot be told from the log.
        weights_why: What they rest on.
        candidates: Other weights that explain as much, where they cannot be told apart.
        epochs: The equation of every training epoch.
        validation: The same of validation.
        causes: Why something is unexplained, the surest first.
        answer: The whole in one or two sentences.
        meaning: What it means for whoever trains the model, in sentences.
        notes: What was left out or guessed when the log was read.
        moved: Parts whose weight moves; `weights` has that of the last epoch, the equations have their own.
        bare: Whether the log has no total, so that nothing can be unexplained.

    Examples:
        >>> from multiloss.diagnosis.training_log import Printed
        >>> epoch = LogEpoch(1, Printed(1.2723, 5e-5), {"a": Printed(0.7062, 5e-5), "b": Printed(2.8304, 5e-5)}, {})
        >>> log = TrainingLog("Keras progress output", "train.log", "loss", (epoch,), (), ())
        >>> found = explain_log(log, {"a": 1.0, "b": 0.2})
        >>> print(found.answer)
        loss = 1 x a + 0.2 x b: the parts make the whole total, within the printed digits.
        >>> [cause.cause for cause in found.causes]
        ['rounding']
    """

    format: str
    source: str
    total: str
    unit: str
    weights: dict[str, float]
    weights_from: Source
    weights_why: str
    candidates: tuple[dict[str, float], ...]
    epochs: tuple[Equation, ...]
    validation: tuple[Equation, ...]
    causes: tuple[Cause, ...]
    answer: str
    meaning: tuple[str, ...]
    notes: tuple[str, ...]
    moved: tuple[str, ...] = ()
    bare: bool = False

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain objects, ready for JSON; `None` in place of NaN and infinity."""
        return {
            "source": self.source,
            "format": self.format,
            "total": self.total,
            "parts": list(self.weights),
            "unit": self.unit,
            "weights": self.weights,
            "weights_from": self.weights_from,
            "weights_why": self.weights_why,
            "candidates": list(self.candidates),
            "epochs": [row.to_dict() for row in self.epochs],
            "validation": [row.to_dict() for row in self.validation],
            "causes": [plain(cause.to_dict()) for cause in self.causes],
            "answer": self.answer,
            "meaning": list(self.meaning),
            "notes": list(self.notes),
        }

    def __str__(self) -> str:
        return plain_text(self)


def explain_log(log: TrainingLog, weights: Mapping[str, float] | None = None) -> Explanation:
    """Explain where the total of a log came from.

    Args:
        log: A training log, read by `read_log`.
        weights: Loss weights by part; a part that is not named has 1. Without any they are inferred.

    Returns:
        Weights, the equation of every epoch, the causes of a remainder with their evidence, and what they mean.

    Raises:
        ConfigError: If a weight is no finite number, or names no part of the log.
        DataError: If the log has no part beside the total, or no epoch where all of them are finite.
    """
    names = tuple(dict.fromkeys(name for row in (*log.train, *log.validation) for name in row.parts))
    if not names:
        raise DataError(
            f"{log.source}: expected losses printed beside the total {log.total!r}, found none. "
            "Name their columns with --parts"
        )
    notes = list(log.notes)
    if weights is None:
        names, dropped = without_subtotals((*log.train, *log.validation), names)
        notes += dropped
    train, validation = Series.read(log.train, names), Series.read(log.validation, names)
    total, bare = log.total, not (np.isfinite(train.total).any() or np.isfinite(validation.total).any())
    if bare:
        total = total or "sum of the parts"
        own = np.ones(len(names)) if weights is None else _given(weights, names).values
        train, validation = train.summed(own), validation.summed(own)
    whole = train.whole(), validation.whole()
    if not len(whole[0]) and not len(whole[1]):
        raise DataError(
            f"{log.source}: expected an {log.unit} whose total and parts ({', '.join(names)}) are all finite numbers, "
            "found none. Choose the columns with --total and --parts"
        )
    if weights is not None:
        chosen = _given(weights, names)
    elif bare:
        chosen = Weights(
            np.ones(len(names)), "undetermined", "1 is assumed for each: the log holds no total", exact=True
        )
    else:
        chosen = infer_weights(*whole)
    case = Case(
        names,
        Remainder(whole[0], chosen.values),
        Remainder(whole[1], chosen.values),
        weights is not None,
        chosen.source != "undetermined",
        framework_of(log.format),
        log.unit,
        _others(log, train),
        _monitored(log, total, names),
    )
    causes = tuple(causes_of(case))
    course = next((cause.weights for cause in causes if cause.weights is not None), None)
    shown = chosen
    moved: tuple[str, ...] = ()
    by_epoch = [np.tile(chosen.values, (len(series), 1)) for series in (train, validation)]
    if course is not None:
        both = zip((train, validation), by_epoch, strict=True)
        by_epoch = [closer(series, own, course(series.epoch)) for series, own in both]
        own = course(case.main.epoch)
        moved = tuple(name for k, name in enumerate(names) if np.ptp(own[:, k]))
        why = f"that of {', '.join(moved)} moves: its last value here, that of each {log.unit} in the table"
        shown = replace(chosen, values=own[-1], source="inferred", why=why)
    return Explanation(
        log.format,
        log.source,
        total,
        log.unit,
        named(names, shown.values),
        shown.source,
        shown.why,
        tuple(named(names, candidate) for candidate in chosen.candidates),
        equations(train, by_epoch[0], names, bare),
        equations(validation, by_epoch[1], names, bare),
        causes,
        NO_TOTAL if bare else answer(total, case, chosen, causes),
        tuple(meaning_without_total(total, case) if bare else meaning(total, case, chosen, causes)),
        (*notes, *_left_out(log, len(whole[0]) + len(whole[1]))),
        moved,
        bare,
    )


def _given(weights: Mapping[str, float], names: tuple[str, ...]) -> Weights:
    found = {name if name in names else name.removesuffix("_loss"): weight for name, weight in weights.items()}
    problems = [
        f"expected the name of a part, found {name!r}. {nearest(name, names)}" for name in found if name not in names
    ]
    problems += [
        f"expected a finite number as the weight of {name}, found {weight!r}"
        for name, weight in found.items()
        if not np.isfinite(weight)
    ]
    if problems:
        raise ConfigError(problems, "weights")
    left = [name for name in names if name not in found]
    why = f"given; 1 for {', '.join(left)}, which no weight was given for" if left else "given"
    return Weights(np.array([float(found.get(name, 1.0)) for name in names]), "given", why)


def _others(log: TrainingLog, train: Series) -> dict[str, np.ndarray[Any, np.dtype[np.float64]]]:
    """Return the other columns of the training epochs that are whole."""
    whole = np.isfinite(train.total) & np.isfinite(train.parts).all(axis=1)
    rows = [row for row, kept in zip(log.train, whole, strict=True) if kept]
    names = dict.fromkeys(name for row in rows for name in row.metrics)
    return {name: np.array([row.metrics.get(name, np.nan) for row in rows], dtype=np.float64) for name in names}


def _monitored(log: TrainingLog, total: str, names: tuple[str, ...]) -> Monitored:
    """Return what the total and the parts of validation, or else of training, are called in the log."""
    if not log.validation:
        return Monitored(total, tuple(log.columns.get(name, name) for name in names))
    whole = log.validation_total or (total if total.startswith("val") else f"val_{total}")
    return Monitored(whole, tuple(log.validation_columns.get(name, f"val_{name}") for name in names))


def _left_out(log: TrainingLog, whole: int) -> list[str]:
    rows: tuple[LogEpoch, ...] = (*log.train, *log.validation)
    left = len(rows) - whole
    if not left:
        return []
    return [
        f"{left} of {len(rows)} {log.unit}s have a total or a part that is missing or not finite: left out of the fit"
    ]
