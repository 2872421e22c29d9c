"""All causes, in the order in which they are shown where they are equally sure."""

from __future__ import annotations

from collections.abc import Callable

from multiloss.diagnosis.causes.base import CONFIDENCES, Case, Cause
from multiloss.diagnosis.causes.few import not_enough
from multiloss.diagnosis.causes.given import parts_already_weighted
from multiloss.diagnosis.causes.moved import weights_that_moved
from multiloss.diagnosis.causes.other_columns import other_column
from multiloss.diagnosis.causes.penalty import hidden_penalty
from multiloss.diagnosis.causes.replicas import replicas
from multiloss.diagnosis.causes.rounding import rounding
from multiloss.diagnosis.causes.smoothed import smoothed_total
from multiloss.diagnosis.causes.unnamed import unnamed_loss
from multiloss.diagnosis.causes.windows import averaging_windows

_CAUSES: tuple[Callable[[Case], Cause | None], ...] = (
    parts_already_weighted,
    other_column,
    replicas,
    weights_that_moved,
    smoothed_total,
    averaging_windows,
    hidden_penalty,
    unnamed_loss,
    not_enough,
)


def causes_of(case: Case) -> list[Cause]:
    """Return the causes that the log gives evidence for, the surest first.

    A remainder within the printed precision has no other cause than rounding; a cause that explains every epoch
    within it leaves room for no other.
    """
    if all(split.rounding for split in case.splits):
        only = replicas(case) or rounding(case)
        return [] if only is None else [only]
    found = [cause for cause in (tell(case) for tell in _CAUSES) if cause is not None]
    settled = next((cause for cause in found if cause.settles), None)
    if settled is not None:
        return [settled]
    return sorted(found, key=lambda cause: CONFIDENCES.index(cause.confidence))
