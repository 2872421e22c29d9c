"""What may look at a fit and change its course."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

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
        """Check the key before training, and forget an earlier fit.

        Raises:
            ObjectiveError: If the logs will have no such key, or nobody knows which direction is better.
        """
        self.best, self.best_epoch = None, 0
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


def direction(key: str, metrics: dict[str, Any]) -> bool | None:
    """Return whether a higher value of `[val_]<output>_<metric>` is better; `None` if nobody knows."""
    plain = key.removeprefix("val_")
    for output in sorted(metrics, key=len, reverse=True):
        if plain.startswith(f"{output}_"):
            return higher_is_better(plain[len(output) + 1 :], metrics[output])
    return None
