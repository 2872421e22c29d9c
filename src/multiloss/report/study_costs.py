"""What one model costs beside several."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from multiloss.report.labels import label
from multiloss.report.parts import Figure, Panel, Table, every
from multiloss.report.study_facts import BASE, Facts
from multiloss.report.study_gains import AROUND, ROW, error_bar, rows_axis, upright


class Kind(NamedTuple):
    """One cost: its name, its key, how it is written, and the key of its ratios where they are measured in pairs."""

    name: str
    key: str
    text: Callable[[float], str]
    ratio: str | None = None


def seconds(value: float) -> str:
    """Return a time as people read it.

    Examples:
        >>> seconds(1.234), seconds(0.0127), seconds(0.000021)
        ('1.23 s', '12.7 ms', '21.0 µs')
    """
    scale, unit = (1, "s") if value >= 1 else (1e3, "ms") if value >= 1e-3 else (1e6, "µs")
    return f"{scale * value:.3g} {unit}" if value * scale >= 100 else f"{scale * value:#.3g} {unit}"


def size(value: float) -> str:
    """Return bytes as people read them.

    Examples:
        >>> size(1_160_456), size(52_000)
        ('1.16 MB', '52.0 kB')
    """
    return f"{value / 1e6:.2f} MB" if value >= 1e5 else f"{value / 1e3:.1f} kB"


def count(value: float) -> str:
    """Return a number of things."""
    return f"{value:,.0f}"


KINDS = (
    Kind("Training in all", "train_seconds", seconds, "train_ratio"),
    Kind("Training, one epoch", "epoch_seconds", seconds, "epoch_ratio"),
    Kind("Prediction, 1 row", "row_seconds", seconds, "row_ratio"),
    Kind("Prediction, 1,000 rows", "batch_seconds", seconds, "batch_ratio"),
    Kind("Parameters", "parameters", count),
    Kind("Multiply-adds of a row", "multiply_adds", count),
    Kind("Memory, 1 row", "row_memory", size),
    Kind("Memory, 1,000 rows", "batch_memory", size),
)


class Amount(NamedTuple):
    """A cost of a variant, and its ratio to that of the separate models."""

    text: str
    ratio: dict[str, float | None]


def amount(costs: Mapping[str, Any], variant: str, kind: Kind) -> Amount:
    """Return one cost of one variant."""
    own, base = costs[variant][kind.key], costs[BASE][kind.key]
    if kind.ratio is None:
        return Amount(kind.text(own), {"mean": own / base if base else None, "low": None, "high": None})
    paired = costs[variant][kind.ratio]
    ends = (None, None) if variant == BASE else (paired["low"], paired["high"])
    return Amount(kind.text(own["value"]), {"mean": paired["value"], "low": ends[0], "high": ends[1]})


def costs_figure(facts: Facts) -> Figure:
    """Draw every cost as a ratio to that of all separate models."""
    panels = [_bars(facts, kind) for kind in KINDS]
    notes = ["Whiskers are the quartiles of the ratios, measured round by round in turns, with one thread."]
    links = facts.all_links(list(facts.study["costs"]))
    name = "Cost of all outputs, as a ratio to separate models"
    return Figure("costs-figure", name, panels, every(panels), notes=notes, table=costs_table(facts), links=links)


def _bars(facts: Facts, kind: Kind) -> Panel:
    costs = facts.study["costs"]
    found = {variant: amount(costs, variant, kind) for variant in costs}
    longest = max([1.0] + [end for own in found.values() for end in own.ratio.values() if end is not None])
    places = list(range(len(found)))
    colours = [facts.colours[variant] for variant in found]
    bars = {
        "type": "bar",
        "orientation": "h",
        "x": [own.ratio["mean"] for own in found.values()],
        "y": places,
        "width": 0.5,
        "marker": {"color": [f"{colour}/75" for colour in colours]},
        "hoverinfo": "skip",
    }
    told = [
        {
            "type": "scatter",
            "mode": "text",
            "x": [max(end for end in own.ratio.values() if end is not None)],
            "y": [row],
            "text": [f" {own.ratio['mean']:.2f}×"],
            "textposition": "middle right",
            "hoverinfo": "skip",
        }
        for row, own in enumerate(found.values())
        if own.ratio["mean"] is not None
    ]
    whiskers = [
        {
            "type": "scatter",
            "mode": "markers",
            "x": [own.ratio["mean"]],
            "y": [row],
            "marker": {"size": 1, "color": "@ink"},
            "error_x": error_bar(own.ratio, "@ink", 1.3),
            "hoverinfo": "skip",
        }
        for row, own in enumerate(found.values())
        if own.ratio["low"] is not None
    ]
    layout = {
        "height": AROUND + (ROW + 4) * len(found) - 24,
        "xaxis": {"range": [0, 1.45 * longest], "tickvals": [0, 0.5, 1], "fixedrange": True},
        "yaxis": rows_axis([f"{label(variant, 18)}<br><b>{own.text}</b>" for variant, own in found.items()]),
        "shapes": [{**upright(1.0), "line": {"color": "@muted", "width": 1, "dash": "dot"}}],
    }
    said = "; ".join(f"{variant} {own.text}{_times(own, variant)}" for variant, own in found.items())
    return Panel([bars, *whiskers, *told], layout, f"{kind.name}: {said}.", kind.name)


def _times(own: Amount, variant: str) -> str:
    return "" if variant == BASE or own.ratio["mean"] is None else f" · {own.ratio['mean']:.2f}×"


def costs_table(facts: Facts) -> Table:
    """Return every cost with its ratio and the quartiles of that."""
    costs = facts.study["costs"]
    rows = []
    for variant in costs:
        cells = []
        for kind in KINDS:
            own = amount(costs, variant, kind)
            low, high = own.ratio["low"], own.ratio["high"]
            cells.append(own.text + _times(own, variant) + (f" ({low:.2f} to {high:.2f})" if low and high else ""))
        rows.append([variant, str(costs[variant]["models"]), *cells])
    columns = ["variant", "models", *(kind.name for kind in KINDS)]
    return Table("Costs of all models of a variant together, and their ratios to separate", columns, rows)
