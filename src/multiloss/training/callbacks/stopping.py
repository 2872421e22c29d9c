"""When to stop, and which epoch to keep."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torch import Tensor

from multiloss.core.errors import ObjectiveError
from multiloss.training.callbacks.base import Callback, Mode, Monitor
from multiloss.training.history import Logs

if TYPE_CHECKING:
    from multiloss.training.fit import Fit


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
        """Check the key, and begin to count."""
        self.monitor.start(fit)
        self.waited = 0

    def on_epoch_end(self, fit: Fit, logs: Logs) -> None:
        """Count epochs without improvement."""
        self.waited = 0 if self.monitor.better(logs, fit.epoch) else self.waited + 1
        if self.waited >= self.patience:
            watch = self.monitor
            best = "no value" if watch.best is None else f"best {watch.best:.6g} in epoch {watch.best_epoch}"
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
        """Check the key, and forget an earlier fit."""
        self.monitor.start(fit)
        self.parameters = {}

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
