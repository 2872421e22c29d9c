"""The total over the epochs as a stack of contributions, penalties apart."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

from multiloss.core.records import LedgerRecord, exact_sum
from multiloss.report.curves import INK, OTHER, PENALTY, SPLITS, UNEXPLAINED, Digest
from multiloss.report.labels import label, number, percent, shown
from multiloss.report.parts import Figure, Key, Option, Panel, Table, Trace
from multiloss.report.thin import thin

MOST_EPOCHS = 400
HEIGHT = 340


class Layer(NamedTuple):
    """One layer of the stack, epoch by epoch."""

    name: str
    colour: str
    amounts: list[float]
    hatched: bool = False


def layers(records: list[LedgerRecord], colour: Mapping[str, str]) -> list[Layer]:
    """Return what the totals of some epochs are made of; at each epoch the layers add up to the total."""
    rest = [name for name, own in colour.items() if own == OTHER]
    place = dict.fromkeys(rest, f"{len(rest)} other outputs")
    kinds = {"penalty": ("penalties", PENALTY), "unexplained": ("unexplained", UNEXPLAINED)}
    drawn = {place.get(name, name): own for name, own in colour.items()}
    amounts: dict[tuple[str, str], list[list[float]]] = {("loss", name): [[] for _ in records] for name in drawn}
    amounts |= {(kind, name): [[] for _ in records] for kind, (name, _) in kinds.items()}
    for i, record in enumerate(records):
        for term in record:
            name = kinds[term.kind][0] if term.kind in kinds else place.get(term.name, term.name)
            amounts[term.kind, name][i].append(term.contribution)
    sums = {key: list(map(exact_sum, own)) for key, own in amounts.items()}
    found = [Layer(name, own, sums["loss", name]) for name, own in drawn.items()]
    found += [Layer(name, own, sums[kind, name], True) for kind, (name, own) in kinds.items()]
    return [layer for layer in found if any(layer.amounts)]


def stack(records: list[LedgerRecord], colour: Mapping[str, str], *, shares: bool, title: str = "") -> Panel:
    """Draw one split."""
    totals = [number(record.total) for record in records]
    kept = [records[i] for i in thin(totals, MOST_EPOCHS)]
    areas = [record for record in kept if not _broken(record)]  # what is not a number would be drawn as 0
    data: list[Trace] = []
    for layer in layers(areas, colour):
        amounts: list[float | None] = list(layer.amounts)
        if shares:
            amounts = [a / r.total if r.total else None for a, r in zip(layer.amounts, areas, strict=True)]
        data.append(_area(layer, [record.epoch for record in areas], amounts, shares=shares))
    if not shares:
        epochs = [record.epoch for record in kept]
        total = {"type": "scatter", "mode": "lines", "name": "total", "x": epochs, "y": [number(r.total) for r in kept]}
        data.append({**total, "line": {"color": INK, "width": 1.5}, "hovertemplate": "%{y:.5g}"})
    layout = {
        "height": HEIGHT,
        "hovermode": "x unified",
        "xaxis": {"title": {"text": "epoch"}},
        "yaxis": {"tickformat": ".0%", "range": [0, 1]} if shares and _positive(data) else {"rangemode": "tozero"},
    }
    return Panel(data, layout, _alt(records, colour), title)


def _broken(record: LedgerRecord) -> bool:
    return not all(map(math.isfinite, [record.total, *(term.contribution for term in record)]))


def _area(layer: Layer, epochs: list[int | None], amounts: list[float | None], *, shares: bool) -> Trace:
    fill = {"fillpattern": {"shape": "/", "size": 6, "solidity": 0.35, "fgcolor": layer.colour, "bgcolor": "@page"}}
    return {
        "type": "scatter",
        "mode": "lines",
        "stackgroup": "total",
        "name": label(layer.name),
        "x": epochs,
        "y": amounts,
        "line": {"color": layer.colour, "width": 0.8},
        **(fill if layer.hatched else {"fillcolor": f"{layer.colour}/72"}),
        "hovertemplate": "%{y:.1%}" if shares else "%{y:.5g}",
    }


def _positive(data: list[Trace]) -> bool:
    return all(value is None or value >= 0 for trace in data for value in trace["y"])


def _alt(records: list[LedgerRecord], colour: Mapping[str, str]) -> str:
    first, last = records[0], records[-1]
    total = number(last.total) or 0.0
    parts = [(layer.name, layer.amounts[0]) for layer in layers([last], colour)]
    said = ", ".join(f"{name} {percent(amount / total if total else None)}" for name, amount in parts)
    return (
        f"Stacked areas: the total goes from {shown(first.total)} at epoch {first.epoch} to "
        f"{shown(last.total)} at epoch {last.epoch}, made of {said}."
    )


def stack_keys(run: Digest) -> list[Key]:
    """Return the legend of the stack."""
    own = layers([run.records[0], run.records[-1]], run.colours)
    return [Key(layer.name, layer.colour, "hatched" if layer.hatched else "area") for layer in own]


def contributions(run: Digest) -> Figure:
    """Draw what the total was made of over the epochs, as amounts and as shares."""
    panels: list[Panel] = []
    options: list[Option] = []
    for split, records in run.splits.items():
        word = SPLITS[split]
        options += [Option(word, [len(panels)]), Option(f"{word}, as shares", [len(panels) + 1])]
        panels += [stack(records, run.colours, shares=shares) for shares in (False, True)]
    longest = max(map(len, run.splits.values()))
    notes = [coarse(longest)] if longest > MOST_EPOCHS else []
    broken = {SPLITS[split]: sum(map(_broken, records)) for split, records in run.splits.items()}
    notes += [f"Epochs that are not a number in {word}, and are not drawn: {n:,}." for word, n in broken.items() if n]
    own = [*stack_keys(run), Key("total", INK, "line")]
    name = "Contributions over the epochs"
    table = _table(run.records, run.colours)
    return Figure("contributions-figure", name, panels, options, keys=own, notes=notes, table=table)


def coarse(epochs: int) -> str:
    """Return the sentence that says what a drawing of many epochs leaves out."""
    return (
        f"Of {epochs:,} epochs the first, the last, and the lowest and highest of each stretch between are drawn; "
        "the records hold all."
    )


def _table(records: list[LedgerRecord], colour: Mapping[str, str]) -> Table:
    ends = [records[0], *records[-1:]] if len(records) > 1 else records
    own = layers(ends, colour)
    rows = [[layer.name, *map(shown, layer.amounts)] for layer in own]
    rows.append(["total", *(shown(record.total) for record in ends)])
    columns = ["term", *(f"epoch {record.epoch}" for record in ends)]
    return Table("Contributions of the first and the last epoch", columns, rows)
