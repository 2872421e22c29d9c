"""The equation of an epoch as a waterfall: every addend begins where the one before it ended."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import NamedTuple

from multiloss.core.records import LedgerRecord, TermRecord, digits, exact_sum
from multiloss.report.curves import INK, OTHER, PENALTY, SPLITS, UNEXPLAINED, Digest
from multiloss.report.labels import label, number, percent
from multiloss.report.parts import Figure, Option, Panel, Table, Trace
from multiloss.report.thin import spaced

MOST_ADDENDS, MOST_PENALTIES, MOST_EPOCHS = 12, 3, 8
ROW = 50
"""Height of one row in pixels."""


class Addend(NamedTuple):
    """One bar of the waterfall."""

    name: str
    amount: float
    colour: str
    factor: str = ""
    hatched: bool = False


def addends(record: LedgerRecord, colour: Mapping[str, str]) -> list[Addend]:
    """Return what a total is made of, the largest losses first; what there is no room for is added up in a line."""
    losses = sorted((t for t in record if t.kind == "loss"), key=lambda t: -abs(number(t.contribution) or 0.0))
    rows = [Addend(t.name, _amount(t), colour.get(t.name, OTHER), _factor(t)) for t in losses[:MOST_ADDENDS]]
    rest = losses[MOST_ADDENDS:]
    if rest:
        rows.append(Addend(f"{len(rest)} other outputs", exact_sum([_amount(t) for t in rest]), OTHER))
    terms = [term for term in record if term.kind == "penalty"]
    if len(terms) <= MOST_PENALTIES:
        rows += [Addend(t.name, _amount(t), PENALTY, "", True) for t in terms]
    else:
        rows.append(Addend(f"{len(terms)} penalties", record.penalty, PENALTY, "", True))
    return rows + [Addend(t.name, _amount(t), UNEXPLAINED, "", True) for t in record if t.kind == "unexplained"]


def _amount(term: TermRecord) -> float:
    return number(term.contribution) or 0.0


def _factor(term: TermRecord) -> str:
    if term.value is None:
        return "no label"
    weights = [f"{term.weight:.4g}"] + ([f"{term.balancing_weight:.4g}"] if term.balancing_weight != 1.0 else [])
    return f"{' × '.join(weights)} × {digits(term.value)}"


def waterfall(record: LedgerRecord, colour: Mapping[str, str], title: str = "") -> Panel:
    """Draw one account."""
    rows = addends(record, colour)
    ends = list(accumulate((row.amount for row in rows), initial=0.0))
    total = number(record.total) or 0.0
    bars: Trace = {
        "type": "bar",
        "orientation": "h",
        "y": list(range(len(rows) + 1)),
        "x": [*(row.amount for row in rows), total],
        "base": [*ends[:-1], 0.0],
        "width": 0.36,
        "marker": {
            "color": [*(row.colour for row in rows), INK],
            "line": {"width": 0},
            "pattern": {"shape": [*("/" if row.hatched else "" for row in rows), ""], "size": 5, "solidity": 0.45},
        },
        "text": [*(label(row.name) for row in rows), "total"],
        "textposition": "none",
        "hovertemplate": "%{text}<br>%{x:.6g}<extra></extra>",
    }
    notes = [
        _annotation(0.0, i, f"<b>{label(row.name)}</b>  {row.factor}", "left") for i, row in enumerate([*rows])
    ] + [_annotation(1.0, i, _value(row.amount, record.total), "right") for i, row in enumerate(rows)]
    notes += [_annotation(0.0, len(rows), "<b>total</b>", "left")]
    notes += [_annotation(1.0, len(rows), f"<b>{digits(number(record.total))}</b>", "right")]
    steps = [
        {
            "type": "line",
            "x0": end,
            "x1": end,
            "y0": i,
            "y1": i + 1,
            "line": {"color": "@line", "width": 1},
            "layer": "below",
        }
        for i, end in enumerate(ends[1:])
    ]
    low, high = min(0.0, total, *ends), max(0.0, total, *ends)
    layout = {
        "height": ROW * (len(rows) + 1) + 36,
        "barmode": "overlay",
        "margin": {"l": 8, "r": 8, "t": 4, "b": 28},
        "xaxis": {"range": [low, high or 1.0], "nticks": 6, "zeroline": True, "showgrid": False},
        "yaxis": {"range": [len(rows) + 0.5, -0.75], "visible": False, "fixedrange": True},
        "annotations": notes,
        "shapes": steps,
    }
    said = ", ".join(f"{row.name} {digits(row.amount)} ({percent(_share(row.amount, total))})" for row in rows)
    return Panel([bars], layout, f"Waterfall of the total {digits(number(record.total))}: {said}.", title)


def _annotation(x: float, row: int, text: str, side: str) -> dict[str, object]:
    where = {"x": x, "xref": "paper", "xanchor": side, "y": row - 0.42, "yref": "y", "yanchor": "middle"}
    return {**where, "text": text, "showarrow": False, "align": side, "bgcolor": "@page"}


def _value(amount: float, total: float) -> str:
    return f"{digits(amount)}  <b>{percent(_share(amount, total))}</b>"


def _share(amount: float, total: float | None) -> float | None:
    return amount / total if total else None


def equation(run: Digest) -> Figure:
    """Draw the equation of the last epoch, with others to choose, in training and validation."""
    panels: list[Panel] = []
    options: list[Option] = []
    for split, records in run.splits.items():
        kept = {i for i, record in enumerate(records) if run.kept is not None and record.epoch == run.kept}
        for i in sorted({*kept, *spaced(len(records), MOST_EPOCHS)}, reverse=True):
            name = f"epoch {records[i].epoch}{' (kept)' if i in kept else ''}, {SPLITS[split]}"
            options.append(Option(name, [len(panels)], SPLITS[split].capitalize()))
            panels.append(waterfall(records[i], run.colours))
    last = [records[-1] for records in run.splits.values()]
    return Figure("equation-figure", "The equation", panels, options, "Epoch", table=terms_table(last))


def terms_table(records: Sequence[LedgerRecord]) -> Table:
    """Return every line of some accounts, in full."""
    columns = ["term", "split", "value", "weight", "balancing weight", "contribution", "share", "labels"]
    rows = [
        [
            term.name,
            SPLITS.get(record.split or "", ""),
            digits(number(term.value)),
            f"{term.weight:.6g}",
            f"{term.balancing_weight:.4g}",
            digits(number(term.contribution)),
            percent(term.share),
            "-" if term.count is None else f"{term.count:,}",
        ]
        for record in records
        for term in record
    ]
    return Table(f"Every addend of epoch {records[0].epoch}", columns, rows, right=2)
