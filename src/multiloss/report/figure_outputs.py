"""Loss and metrics of every output over the epochs, training and validation."""

from __future__ import annotations

from collections.abc import Mapping

from multiloss.core.records import digits
from multiloss.report.curves import INK, OTHER, SPLITS, Curve, Digest, Measures
from multiloss.report.figure_contributions import coarse
from multiloss.report.labels import COLOURS
from multiloss.report.parts import Figure, Key, Option, Panel, Table, Trace
from multiloss.report.thin import thin

MOST_PANELS = 12
"""So many are shown at once."""
POINTS, FEWEST, MOST = 50_000, 40, 500
"""Points of all curves together, and of one."""
HEIGHT = 240
DASH = {"train": "solid", "validation": "dash"}


def outputs(run: Digest) -> Figure:
    """Draw every measure of every output; where there are many, the largest losses first and the others to choose."""
    found = run.measures
    order = list(found) if len(found) <= COLOURS else [name for name in run.ranked if name in found]
    curves = [curve for own in found.values() for splits in own.values() for curve in splits.values()]
    most = min(max(POINTS // max(len(curves), 1), FEWEST), MOST)
    panels: list[Panel] = []
    options: list[Option] = []
    for name in order:
        shown = run.colours[name] if run.colours[name] != OTHER else INK
        own = [curves_panel(name, measure, splits, shown, most) for measure, splits in found[name].items()]
        options.append(Option(name, list(range(len(panels), len(panels) + len(own))), "One output"))
        panels += [_marked(panel, run.kept) for panel in own]
    if len(order) > 1:
        options.insert(0, _first(options, len(panels)))
    longest = max((len(curve.epochs) for curve in curves), default=0)
    notes = [coarse(longest)] if longest > most else []
    if len(panels) > MOST_PANELS and len(order) > MOST_PANELS:
        notes.append(
            f"{MOST_PANELS} of {len(order)} outputs are shown at first, by share of the total or the gradient."
        )
    keys = [Key("training", INK, "line"), Key("validation", INK, "dash")]
    name = "Losses and metrics"
    return Figure("outputs-figure", name, panels, options, "Output", True, keys, notes, _table(found, order))


def _first(options: list[Option], panels: int) -> Option:
    if panels <= MOST_PANELS:
        return Option("all outputs", list(range(panels)))
    losses = [option.panels[0] for option in options[:MOST_PANELS]]
    return Option(f"losses of the {len(losses)} largest" if len(options) > len(losses) else "all losses", losses)


def curves_panel(name: str, measure: str, splits: Mapping[str, Curve], colour: str, most: int) -> Panel:
    """Draw one measure of one output."""
    data = [trace(curve, SPLITS[split], colour, DASH[split], most) for split, curve in splits.items()]
    said = "; ".join(f"{SPLITS[split]} {change(curve)}" for split, curve in splits.items())
    layout = {"height": HEIGHT, "hovermode": "x unified", "xaxis": {"title": {"text": "epoch"}}}
    return Panel(data, layout, f"{measure} of {name} over the epochs: {said}.", f"{name} · {measure}")


def trace(curve: Curve, name: str, colour: str, dash: str, most: int) -> Trace:
    """Return one curve, with no more than `most` points."""
    kept = thin(curve.values, most)
    return {
        "type": "scatter",
        "mode": "lines" if len(kept) > 1 else "markers",
        "name": name,
        "x": [curve.epochs[i] for i in kept],
        "y": [_seven(curve.values[i]) for i in kept],
        "line": {"color": colour, "width": 2 if dash == "solid" else 1.8, "dash": dash},
        "marker": {"color": colour},
        "hovertemplate": "%{y:.5g}",
    }


def _seven(value: float | None) -> float | None:
    """Return a number with the digits of single precision, in which it was computed; they are most of the page."""
    return None if value is None else float(f"{value:.7g}")


def _marked(panel: Panel, epoch: int | None) -> Panel:
    if epoch is None:
        return panel
    line = {"type": "line", "x0": epoch, "x1": epoch, "y0": 0, "y1": 1, "yref": "paper"}
    text = {"x": epoch, "y": 1, "yref": "paper", "text": "kept", "showarrow": False, "yanchor": "bottom"}
    marks = {
        "shapes": [{**line, "line": {"color": "@muted", "width": 1, "dash": "dot"}}],
        "annotations": [{**text, "font": {"color": "@muted", "size": 11}}],
    }
    return Panel(panel.data, {**panel.layout, **marks}, panel.alt, panel.title)


def change(curve: Curve) -> str:
    """Return where a curve began and ended."""
    first = next((value for value in curve.values if value is not None), None)
    return "no value" if first is None else f"from {digits(first)} to {digits(curve.last)}"


def _table(found: Measures, order: list[str]) -> Table:
    rows = []
    for name in order:
        for measure, splits in found[name].items():
            cells = []
            for split in SPLITS:
                curve = splits.get(split)
                cells += [digits(curve.last), digits(curve.best(measure))] if curve else ["-", "-"]
            rows.append([name, measure, *cells])
    columns = ["output", "measure", *(f"{word}, {when}" for word in SPLITS.values() for when in ("last", "best"))]
    return Table("Last and best value of every measure", columns, rows, right=2)
