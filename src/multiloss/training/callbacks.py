"""What may look at a fit and change its course."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

from multiloss.core.errors import ObjectiveError, nearest
from multiloss.objective.metrics import higher_is_better
from multiloss.training.history import Logs

if TYPE_CHECKING:
    from multiloss.training.fit import Fit

Mode: TypeAlias = Literal["auto", "min", "max"]


class Callback:
    """Base of callbacks: override what you need. `state_dict` makes a resumed fit go on as if never stopped."""

    def on_fit_start(self, fit: Fit) -> None:
        """Run before the first step; `fit.keys` are the keys that each epoch's logs will have."""

    def on_step_end(self, fit: Fit) -> None:
        """Run after each step of the optimiser. Reading a tensor here makes the device wait."""

    def on_epoch_end(self, fit: Fit, logs: Logs) -> None:
        """Run after each epoch and its validation."""

    def on_fit_end(self, fit: Fit) -> None:
        """Run once at the end, also when training was interrupted or failed."""

    def state_dict(self) -> dict[str, Any]:
        """Return tensors and plain values to save."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` returned."""


class Monitor:
    """Watches one key of the logs and knows which direction is better.

    Args:
        key: A key of the logs, such as `val_task_loss` or `val_price_mae`.
        mode: `min`, `max`, or `auto`: losses fall, metrics as torchmetrics says.
        min_delta: Change that counts as better.
    """

    def __init__(self, key: str, mode: Mode = "auto", min_delta: float = 0.0) -> None:
        if mode not in ("auto", "min", "max"):
            raise ObjectiveError(f"mode: expected 'auto', 'min' or 'max', found {mode!r}")
        self.key, self.mode, self.min_delta = key, mode, abs(min_delta)
        self.best: float | None = None
        self.best_epoch = 0

    def start(self, fit: Fit) -> None:
        """Check the key before training.

        Raises:
            ObjectiveError: If the logs will have no such key, or nobody knows which direction is better.
        """
        if self.key not in fit.keys:
            raise ObjectiveError(f"monitor {self.key!r} is not a key of the logs. {nearest(self.key, fit.keys)}")
        if self.mode == "auto":
            higher = False if self.key.endswith("loss") or self.key == "penalty" else fit.direction(self.key)
            if higher is None:
                raise ObjectiveError(
                    f"monitor {self.key!r}: expected mode='min' or 'max', because its direction is unknown"
                )
            self.mode = "max" if higher else "min"

    def better(self, logs: Logs, epoch: int) -> bool:
        """Return whether the value is the best so far, and remember it; a missing value is not."""
        value = logs.get(self.key)
        if value is None or math.isnan(value):
            return False
        gain = math.inf if self.best is None else (value - self.best) * (1 if self.mode == "max" else -1)
        if gain > self.min_delta:
            self.best, self.best_epoch = value, epoch
            return True
        return False


class EarlyStopping(Callback):
    """Stop when a key has not improved for some epochs.

    Args:
        monitor: A key of the logs; `val_task_loss` watches the outputs without the penalties.
        patience: Epochs without improvement after which training stops.
        min_delta: Change that counts as improvement.
        mode: Direction; found from the key by default.
    """

    def __init__(
        self, monitor: str = "val_task_loss", *, patience: int = 10, min_delta: float = 0.0, mode: Mode = "auto"
    ) -> None:
        if patience < 1:
            raise ObjectiveError(f"patience: expected at least 1 epoch, found {patience}")
        self.monitor, self.patience, self.waited = Monitor(monitor, mode, min_delta), patience, 0

    def on_fit_start(self, fit: Fit) -> None:
        """Check the key, and say once when it is mostly penalty."""
        self.monitor.start(fit)

    def on_epoch_end(self, fit: Fit, logs: Logs) -> None:
        """Count epochs without improvement."""
        self.waited = 0 if self.monitor.better(logs, fit.epoch) else self.waited + 1
        if self.waited >= self.patience:
            best = (
                f"best {self.monitor.best:.6g} in epoch {self.monitor.best_epoch}" if self.monitor.best else "no value"
            )
            fit.stop(f"{self.monitor.key} has not improved for {self.waited} epochs ({best})")

    def state_dict(self) -> dict[str, Any]:
        """Return the best value and the wait."""
        return {"best": self.monitor.best, "best_epoch": self.monitor.best_epoch, "waited": self.waited}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the best value and the wait."""
        self.monitor.best, self.monitor.best_epoch = state["best"], state["best_epoch"]
        self.waited = state["waited"]


class BestCheckpoint(Callback):
    """Remember the parameters of the best epoch, and put them back at the end.

    Args:
        monitor: A key of the logs.
        mode: Direction; found from the key by default.
        restore: Whether the model ends with the best parameters.
    """

    def __init__(self, monitor: str = "val_task_loss", *, mode: Mode = "auto", restore: bool = True) -> None:
        self.monitor, self.restore = Monitor(monitor, mode), restore
        self.parameters: dict[str, Tensor] = {}

    @property
    def epoch(self) -> int:
        """The best epoch so far; 0 before the first."""
        return self.monitor.best_epoch

    def on_fit_start(self, fit: Fit) -> None:
        """Check the key."""
        self.monitor.start(fit)

    def on_epoch_end(self, fit: Fit, logs: Logs) -> None:
        """Copy the parameters when the epoch is the best."""
        if self.monitor.better(logs, fit.epoch):
            self.parameters = {name: value.detach().clone() for name, value in fit.model.state_dict().items()}

    def on_fit_end(self, fit: Fit) -> None:
        """Put the best parameters back, unless the fit will go on later."""
        if self.restore and self.parameters and fit.finished:
            fit.model.load_state_dict(self.parameters)

    def state_dict(self) -> dict[str, Any]:
        """Return the best value and the parameters."""
        return {"best": self.monitor.best, "best_epoch": self.epoch, "parameters": self.parameters}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the best value and the parameters."""
        self.monitor.best, self.monitor.best_epoch = state["best"], state["best_epoch"]
        self.parameters = state["parameters"]


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


def direction(key: str, metrics: dict[str, Any]) -> bool | None:
    """Return whether a higher value of `[val_]<output>_<metric>` is better; `None` if nobody knows."""
    plain = key.removeprefix("val_")
    for output in sorted(metrics, key=len, reverse=True):
        if plain.startswith(f"{output}_"):
            return higher_is_better(plain[len(output) + 1 :], metrics[output])
    return None
