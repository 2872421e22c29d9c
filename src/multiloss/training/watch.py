"""Watches which loss moves the shared parameters while a fit runs, at about a hundredth of its time."""

from __future__ import annotations

import logging
import re
from typing import TYPE_CHECKING

from multiloss.core.errors import BalancingError, ObjectiveError
from multiloss.core.flow import GradientFlow
from multiloss.core.losses import Losses
from multiloss.core.records import BalancingRecord
from multiloss.flow import watch_step
from multiloss.step_losses import StepLosses
from multiloss.watched_step import WatchedStep

if TYPE_CHECKING:
    from multiloss.training.fit import Fit

logger = logging.getLogger("multiloss")

LEAST = 200
PER_LOSS = 100
"""Steps between two looks for each loss: a look at two losses takes about one step, on the smallest models three."""


def steps_between(spec: str | None) -> int | None:
    """Return how many steps lie between two looks; 0 for `"auto"`, `None` for none at all.

    Raises:
        ObjectiveError: If the text is none of those expected.

    Examples:
        >>> steps_between("every 100 steps"), steps_between("every step"), steps_between("auto"), steps_between("never")
        (100, 1, 0, None)
    """
    text = "never" if spec is None else str(spec).strip().lower()
    if text in ("never", "auto"):
        return 0 if text == "auto" else None
    found = re.fullmatch(r"every(?: (\d+))? steps?", text)
    if found is None or found[1] == "0":
        raise ObjectiveError(f"watch_gradients: expected 'auto', 'never' or such as 'every 100 steps', found {spec!r}")
    return int(found[1] or 1)


class GradientWatch:
    """Looks at the gradients of every n-th step, the n-th first; what it saw stays on the device until it is read.

    Training is not changed by it: parameters, gradients and random states are as without.

    Args:
        every: Steps between two looks; 0 chooses by the number of losses, so that it costs about 1 %: with one loss
            none at all.
        losses: How many losses there are.
    """

    def __init__(self, every: int, losses: int) -> None:
        self.every = every or (max(LEAST, PER_LOSS * losses) if losses > 1 else 0)
        self._seen: list[tuple[WatchedStep, BalancingRecord | None, int, int]] = []
        self._pending: WatchedStep | None = None

    def before_backward(self, fit: Fit, losses: Losses) -> None:
        """Measure the losses' gradients, if it is time."""
        self._pending = None
        if not self.every or (fit.step + 1) % self.every:
            return
        step = StepLosses(losses, model=fit.model, scaler=fit.devices.scaler)
        if not step.active:
            return
        try:
            self._pending = watch_step(step)
        except (BalancingError, ObjectiveError) as error:  # code that is not ours may be differentiable once only
            self.every = 0
            logger.warning("gradients are not watched: %s", str(error).splitlines()[0])

    def after_backward(self, fit: Fit, balancing: BalancingRecord | None) -> None:
        """Add what a balancing method did."""
        if self._pending is not None:
            self._seen.append((self._pending, balancing, fit.epoch, fit.step))
            self._pending = None

    def read(self) -> list[GradientFlow]:
        """Return what was seen since the last call; a step with NaN or infinity is left out."""
        seen, self._seen = self._seen, []
        flows = (watched.read(record, epoch, step) for watched, record, epoch, step in seen)
        return [flow for flow in flows if flow is not None]
