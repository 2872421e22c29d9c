"""What a person sees while a fit runs."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from multiloss.core.records import digits
from multiloss.training.callbacks.base import Callback
from multiloss.training.history import Logs

if TYPE_CHECKING:
    from multiloss.training.fit import Fit

REDRAW_SECONDS = 0.1
WIDE = 76  # characters from which on there is room for bars
METRICS_WIDTH, BESIDE_BARS = 36, 28  # characters of metrics that share a line, so that 80 columns are enough


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
        """Find out whether there is a terminal."""
        from rich.console import Console

        self.console = self.console or Console(stderr=True)

    def on_step_end(self, fit: Fit) -> None:
        """Move the bar, at most ten times a second."""
        if self._live is not None:
            if time.monotonic() - self._drawn > REDRAW_SECONDS:
                self._redraw(fit)
        elif self.console.is_terminal:
            self._open(fit)

    def on_epoch_end(self, fit: Fit, logs: Logs) -> None:
        """Show the epoch's values."""
        if self._live is None:
            self.console.print(plain_line(fit, logs), markup=False, highlight=False, soft_wrap=True)
        elif time.monotonic() - self._drawn > REDRAW_SECONDS:
            self._redraw(fit)

    def on_fit_end(self, fit: Fit) -> None:
        """Close the display, leaving the last table."""
        if self._live is not None:
            self._live.stop()
            self._live = None
            if fit.history.rows:
                self.console.print(self._table(fit))

    def _open(self, fit: Fit) -> None:
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
            TextColumn("{task.description}"), BarColumn(20), MofNCompleteColumn(), TextColumn("steps"),
            TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn(), console=self.console,
        )  # fmt: skip
        total = fit.steps_per_epoch * fit.epochs
        self._task = self._bar.add_task(_epoch(fit), total=total or None, completed=fit.step)
        self._live = Live(self._bar, console=self.console, auto_refresh=False, transient=True)
        self._live.start()

    def _redraw(self, fit: Fit) -> None:
        from rich.console import Group

        self._drawn = time.monotonic()
        self._bar.update(self._task, description=_epoch(fit), completed=fit.step)
        shown = Group(self._table(fit), self._bar) if fit.history.rows else self._bar
        self._live.update(shown, refresh=True)

    def _table(self, fit: Fit) -> Any:
        ledger = fit.history.ledger()
        shares: dict[str, float] = {}
        for term in ledger:
            name = term.name.split("/")[0] if term.kind == "loss" else term.kind
            shares[name] = shares.get(name, 0.0) + (term.share or 0.0)
        flow = fit.history.flows[-1].norm_shares if fit.history.flows else {}
        return logs_table(fit.history.rows[-1], fit.objective.outputs, fit.epochs, shares, flow, self.console.width)


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


def logs_table(
    logs: Logs,
    outputs: tuple[str, ...],
    epochs: int,
    shares: Mapping[str, float] | None = None,
    gradients: Mapping[str, float] | None = None,
    width: int = 80,
) -> Any:
    """Return a table that fits a narrow terminal: a row for each output, training beside validation.

    Args:
        logs: Of one epoch.
        outputs: Their names.
        epochs: How many there will be.
        shares: Share of the training total by output, and `penalty`.
        gradients: Share of the norms of the shared parameters' gradients by output, and `penalty`.
        width: Characters of a line; bars are left out where there are few.

    Examples:
        >>> from rich.console import Console
        >>> logs = {"epoch": 2, "loss": 1.5, "a_loss": 1.5, "a_mae": 0.9, "val_loss": 2, "val_a_loss": 2,
        ...         "val_task_loss": 2, "val_a_mae": 1, "lr": 0.1, "seconds": 3.0}
        >>> Console(width=60).print(logs_table(logs, ("a",), epochs=5))
        epoch 2/5, 3.00 s, lr 0.1
                 loss  val loss  metrics: training / validation
        a      1.5000    2.0000  mae 0.9000 / 1.0000
        total  1.5000    2.0000
        >>> two = {"epoch": 2, "loss": 1.5, "a_loss": 1.0, "b_loss": 0.5, "lr": 0.1, "seconds": 3.0}
        >>> shares, flow = {"a": 0.667, "b": 0.333}, {"a": 0.03, "b": 0.97}
        >>> Console(width=60).print(logs_table(two, ("a", "b"), 5, shares, flow))
        epoch 2/5, 3.00 s, lr 0.1
                 loss  share     gradient  metrics
        a      1.0000  ██  67 %  ▏   3 %
        b      0.5000  █   33 %  ██▉ 97 %
        total  1.5000
    """
    from rich.table import Table
    from rich.text import Text

    held = "val_loss" in logs
    title = f"epoch {logs['epoch']:.0f}/{epochs}, {logs['seconds'] or 0:.2f} s, lr {logs['lr']:.3g}"
    table = Table(title=title, title_justify="left", title_style="", box=None, padding=(0, 2, 0, 0), pad_edge=False)
    table.add_column("", no_wrap=True, max_width=20 if width >= WIDE else 12)
    table.add_column("loss", justify="right", no_wrap=True)
    if held:
        table.add_column("val loss", justify="right", no_wrap=True)
    told = (("share", shares), ("gradient", gradients)) if width >= WIDE else ()  # metrics go before bars
    bars = {title: part for title, part in told if part and len(part) > 1}
    for title in bars:
        table.add_column(title, no_wrap=True)
    table.add_column("metrics: training / validation" if held else "metrics")

    def numbers(key: str) -> list[str]:
        return [digits(logs[k]) for k in ([key, f"val_{key}"] if held else [key]) if k in logs]

    def row(label: str, loss: str, others: dict[str, str]) -> None:
        cells = numbers(loss) or [""] * (1 + held)
        parts = [f"{name} {' / '.join(numbers(key))}" for name, key in others.items()]
        wide = sum(map(len, parts)) > (BESIDE_BARS if bars else METRICS_WIDTH)
        shown = [bar(part[label]) if label in part else "" for part in bars.values()]
        table.add_row(Text(label), *cells, *shown, Text(("\n" if wide else ", ").join(parts)))

    for name in outputs:
        own = _own_keys(logs, name, outputs)
        row(name, own.pop("loss", ""), own)
    if "penalty" in logs:
        row("penalty", "penalty", {})
    row("total", "loss", {"without penalty": "val_task_loss"} if held and "penalty" in logs else {})
    return table


def bar(share: float) -> str:
    """Return a share as a bar of three characters, and in words.

    Examples:
        >>> bar(0.5), bar(0.999), bar(-0.1)
        ('█▌  50 %', '███ 100 %', '    -10 %')
    """
    if not math.isfinite(share):
        return "-"
    eighths = round(8 * 3 * min(max(share, 0.0), 1.0))
    cells = "█" * (eighths // 8) + ("", *"▏▎▍▌▋▊▉")[eighths % 8]
    return f"{cells:3} {100 * share:.0f} %"


def _own_keys(logs: Logs, name: str, outputs: tuple[str, ...]) -> dict[str, str]:
    """Return the output's keys by what is left of them without its name."""
    longer = tuple(f"{other}_" for other in outputs if other != name and other.startswith(name))
    keys = [key for key in logs if key.startswith((f"{name}_", f"{name}/")) and not (longer and key.startswith(longer))]
    return {key[len(name) :].lstrip("_/"): key for key in keys}
