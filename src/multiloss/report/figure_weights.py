"""What each loss was multiplied with over the epochs, and how many labels were behind it."""

from __future__ import annotations

from collections.abc import Mapping

from multiloss.core.records import TermRecord
from multiloss.report.curves import INK, OTHER, SPLITS, Curve, Digest
from multiloss.report.figure_contributions import MOST_EPOCHS, coarse
from multiloss.report.figure_outputs import trace
from multiloss.report.labels import COLOURS, label
from multiloss.report.parts import Figure, Key, Option, Panel, Table, Trace, every

MOST_BARS = 20
ROW = 38


def weight_curves(run: Digest) -> dict[str, Curve]:
    """Return weight times balancing weight of each loss by epoch of training."""
    found: dict[str, Curve] = {}
    for record in run.splits.get("train", []):
        for term in record:
            if term.kind == "loss":
                curve = found.setdefault(term.name, Curve([], []))
                curve.epochs.append(record.epoch or len(curve.epochs) + 1)
                curve.values.append(term.weight * term.balancing_weight)
    return found


def moves(found: Mapping[str, Curve]) -> bool:
    """Return whether any weight changes during training."""
    return any(len(set(curve.values)) > 1 for curve in found.values())


def weights(run: Digest, found: Mapping[str, Curve]) -> Figure:
    """Draw the weights over the epochs."""
    colour = run.colours
    drawn = [name for name in found if colour[name] != OTHER][:COLOURS]
    data = [trace(found[name], label(name), colour[name], "solid", MOST_EPOCHS) for name in drawn]
    said = "; ".join(f"{name} from {found[name].values[0]:.4g} to {found[name].values[-1]:.4g}" for name in drawn)
    layout = {
        "height": 280,
        "hovermode": "x unified",
        "xaxis": {"title": {"text": "epoch"}},
        "yaxis": {"rangemode": "tozero"},
    }
    panel = Panel(data, layout, f"Weight times balancing weight over the epochs: {said}.")
    longest = max(len(curve.epochs) for curve in found.values())
    notes = [coarse(longest)] if longest > MOST_EPOCHS else []
    if len(drawn) < len(found):
        notes.append(f"{len(drawn)} of {len(found)} outputs are drawn, the largest; the table holds all.")
    keys = [Key(name, colour[name], "line") for name in drawn]
    name = "Weights over the epochs"
    table = weights_table(run)
    return Figure("weights-figure", name, [panel], every([panel]), "Show", True, keys, notes, table)


def weights_table(run: Digest) -> Table:
    """Return the weights of the last epoch."""
    last: list[TermRecord] = [term for term in run.splits["train"][-1] if term.kind == "loss"]
    rows = [
        [t.name, f"{t.weight:.6g}", f"{t.balancing_weight:.4g}", f"{t.weight * t.balancing_weight:.4g}"] for t in last
    ]
    return Table("Weights of the last epoch", ["output", "weight", "balancing weight", "product"], rows)


def label_counts(run: Digest) -> dict[str, dict[str, int]]:
    """Return how many labels were behind each loss at the last epoch, by split and output."""
    found: dict[str, dict[str, int]] = {}
    for split, records in run.splits.items():
        own = {term.name: term.count for term in records[-1] if term.kind == "loss" and term.count is not None}
        if own:
            found[split] = own
    return found


def labels(run: Digest) -> Figure:
    """Draw the label counts, the fewest first where there are many outputs."""
    counts, colour = label_counts(run), run.colours
    panels: list[Panel] = []
    options: list[Option] = []
    notes: list[str] = []
    for split, own in counts.items():
        order = list(own) if len(own) <= COLOURS else sorted(own, key=lambda name: own[name])
        options.append(Option(SPLITS[split], [len(panels)]))
        panels.append(_bars({name: own[name] for name in order[:MOST_BARS]}, colour, SPLITS[split]))
        if len(own) > MOST_BARS and not notes:
            notes.append(f"{MOST_BARS} of {len(own)} outputs are drawn, the fewest labels first; the table holds all.")
    rows = [
        [name, *(f"{own[name]:,}" if name in own else "-" for own in counts.values())]
        for name in run.ranked
        if any(name in own for own in counts.values())
    ]
    table = Table("Labels of an epoch", ["output", *(SPLITS[split] for split in counts)], rows)
    return Figure("labels-figure", "Label counts", panels, options, "Rows of", notes=notes, table=table)


def _bars(counts: dict[str, int], colour: dict[str, str], word: str) -> Panel:
    rows = list(enumerate(counts.items()))
    bars: Trace = {
        "type": "bar",
        "orientation": "h",
        "y": list(range(len(counts))),
        "x": list(counts.values()),
        "width": 0.24,
        "marker": {"color": [colour.get(name, INK) for name in counts], "line": {"width": 0}},
        "hovertemplate": "%{x:,}<extra></extra>",
    }
    place = {"xref": "paper", "yref": "y", "yanchor": "middle", "showarrow": False}
    notes = [{**place, "x": 0, "xanchor": "left", "y": i - 0.42, "text": label(name)} for i, (name, _) in rows]
    notes += [{**place, "x": 1, "xanchor": "right", "y": i - 0.42, "text": f"<b>{n:,}</b>"} for i, (_, n) in rows]
    layout = {
        "height": ROW * len(counts) + 30,
        "margin": {"l": 4, "r": 4, "t": 4, "b": 4},
        "xaxis": {"rangemode": "tozero", "visible": False},
        "yaxis": {"range": [len(counts) - 0.5, -0.8], "visible": False},
        "annotations": notes,
    }
    said = ", ".join(f"{name} {count:,}" for name, count in counts.items())
    return Panel([bars], layout, f"Labels in an epoch of {word}: {said}.")
