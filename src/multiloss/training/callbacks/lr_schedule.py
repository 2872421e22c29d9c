"""Learning-rate schedules of torch as a callback."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal

from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

from multiloss.core.errors import ObjectiveError, nearest
from multiloss.training.callbacks.base import Callback
from multiloss.training.history import Logs

if TYPE_CHECKING:
    from multiloss.training.fit import Fit


class LRSchedule(Callback):
    """A learning-rate schedule of torch.

    Args:
        make: Builds the schedule from the optimiser: `lambda o: torch.optim.lr_scheduler.StepLR(o, 10)`.
        interval: Whether it moves after every `epoch` or every `step`.
        monitor: The key that `ReduceLROnPlateau` watches.
    """

    def __init__(
        self,
        make: Callable[[Optimizer], LRScheduler],
        *,
        interval: Literal["epoch", "step"] = "epoch",
        monitor: str = "val_task_loss",
    ) -> None:
        if interval not in ("epoch", "step"):
            raise ObjectiveError(f"interval: expected 'epoch' or 'step', found {interval!r}")
        self.make, self.interval, self.monitor = make, interval, monitor
        self.schedule: LRScheduler | None = None

    def on_fit_start(self, fit: Fit) -> None:
        """Build the schedule, once for an optimiser."""
        if self.schedule is None or self.schedule.optimizer is not fit.optimizer:
            self.schedule = self.make(fit.optimizer)
        if isinstance(self.schedule, ReduceLROnPlateau) and self.monitor not in fit.keys:
            raise ObjectiveError(
                f"monitor {self.monitor!r} is not a key of the logs. {nearest(self.monitor, fit.keys)}"
            )

    def on_step_end(self, fit: Fit) -> None:
        """Move after a step, if asked to."""
        if self.interval == "step" and self.schedule is not None:
            self.schedule.step()

    def on_epoch_end(self, fit: Fit, logs: Logs) -> None:
        """Move after an epoch, if asked to."""
        if isinstance(self.schedule, ReduceLROnPlateau):
            value = logs.get(self.monitor)
            if value is not None:
                self.schedule.step(value)
        elif self.interval == "epoch" and self.schedule is not None:
            self.schedule.step()

    def state_dict(self) -> dict[str, Any]:
        """Return the schedule's own state."""
        state = {} if self.schedule is None else self.schedule.state_dict()
        return {
            key: value
            for key, value in state.items()
            if isinstance(value, int | float | str | list | type(None) | Tensor)
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the schedule's own state."""
        if self.schedule is not None:
            self.schedule.load_state_dict(state)
