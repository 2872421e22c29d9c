"""What a person sees while a fit runs."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from multiloss.core.records import digits
from multiloss.training.callbacks.base import Callback
from multiloss.training.history import Logs

if TYPE_CHECKING:
    from multiloss.training.fit import Fit

REDRAW_SECONDS = 0.1


class ProgressDisplay(Callback):
    """A bar with the time left and a table of every output's loss and metrics; plain lines where there is no terminal.

    Values are those of the last whole epoch: reading the step under way would make the device wait.

    Args:
        console: A rich console; standard error by default.
    """

    def __init__(self, console: Any = None) -> None:
        self.console = console
        self._live: Any = None
        self._drawn = 0.0

    def on_fit_start(self, fit: Fit) -> None:
        """Open the display."""
        from rich.console import Console

        self.console = self.console or Console(stderr=True)
        self._steps = fit.steps_per_epoch * fit.epochs
        if self.console.is_terminal:
            from rich.live import Live
            from rich.progress import (
                BarColumn,
                MofNCompleteColumn,
                Progress,
                TextColumn,
                TimeElapsedColumn,
                TimeRemainingColumn,
            )

            self._bar = Progress(
                TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("steps"),
                TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn(), console=self.console,
            )  # fmt: skip
            self._task = self._bar.add_task(_epoch(fit), total=self._steps or None, completed=fit.step)
            self._live = Live(self._bar, console=self.console, auto_refresh=False, transient=True)
            self._live.start()

    def on_step_end(self, fit: Fit) -> None:
        """Move the bar, at most ten times a second."""
        if self._live is not None:
            now = time.monotonic()
            if now - self._drawn > REDRAW_SECONDS:
                self._drawn = now
                self._bar.update(self._task, description=_epoch(fit), completed=fit.step)
                self._live.refresh()

    def on_epoch_end(self, fit: Fit, logs: Logs) -> None:
        """Show the epoch's values."""
        if self._live is None:
            self.console.print(plain_line(fit, logs), markup=False, highlight=False, soft_wrap=True)
            return
        from rich.console import Group

        self._live.update(Group(logs_table(logs, fit.objective.outputs), self._bar))

    def on_fit_end(self, fit: Fit) -> None:
        """Close the display, leaving the last table."""
        if self._live is not None:
            self._live.stop()
            self._live = None
            if fit.history.rows:
                self.console.print(logs_table(fit.history.rows[-1], fit.objective.outputs))


def _epoch(fit: Fit) -> str:
    return f"epoch {min(fit.epoch, fit.epochs)}/{fit.epochs}"


def plain_line(fit: Fit, logs: Logs) -> str:
    """Return an epoch in one line."""
    shown = " ".join(
        f"{key} {digits(value)}"
        for key, value in logs.items()
        if key not in ("epoch", "seconds", "lr") and not key.startswith("lr_")
    )
    return f"epoch {fit.epoch}/{fit.epochs}  {shown}  {logs['seconds'] or 0:.2f} s"


def logs_table(logs: Logs, outputs: tuple[str, ...]) -> Any:
    """Return a table: a row for each output, a column for each of its numbers, training beside validation."""
    from rich.table import Table

    held = any(key.startswith("val_") for key in logs)
    own = {name: _own_keys(logs, name, outputs) for name in outputs}
    columns = list(dict.fromkeys(key for keys in own.values() for key in keys))
    table = Table(
        title=f"epoch {logs['epoch']:.0f}  {logs['seconds'] or 0:.2f} s",
        title_justify="left",
        box=None,
        padding=(0, 2, 0, 0),
    )
    table.add_column("")
    for column in columns:
        table.add_column(column, justify="right")
        if held:
            table.add_column(f"val_{column}", justify="right", style="bold")

    def row(label: str, keys: dict[str, str]) -> None:
        cells = []
        for column in columns:
            key = keys.get(column)
            cells += [digits(logs.get(key)) if key else ""]
            cells += [digits(logs.get(f"val_{key}")) if key else ""] if held else []
        table.add_row(label, *cells)

    for name in outputs:
        row(name, own[name])
    if "penalty" in logs:
        row("penalty", {"loss": "penalty"})
    row("total", {"loss": "loss"})
    return table


def _own_keys(logs: Logs, name: str, outputs: tuple[str, ...]) -> dict[str, str]:
    """Return the output's keys by what is left of them without its name."""
    longer = tuple(f"{other}_" for other in outputs if other != name and other.startswith(name))
    keys = [key for key in logs if key.startswith((f"{name}_", f"{name}/")) and not (longer and key.startswith(longer))]
    return {key[len(name) :].lstrip("_/"): key for key in keys}
