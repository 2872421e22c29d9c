"""The equation of an epoch as a waterfall: every addend begins where the one before it ended."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import NamedTuple

from multiloss.core.records import LedgerRecord, TermRecord, exact_sum
from multiloss.report.curves import INK, OTHER, PENALTY, SPLITS, UNEXPLAINED, Digest
from multiloss.report.labels import NOT_A_NUMBER, label, number, percent, shown
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


def addends(record: LedgerRecord, colour: Mapping[str, str], like: LedgerRecord | None = None) -> list[Addend]:
    """Return what a total is made of; what there is no room for is added up in a line.

    The largest losses come first: those of the account itself, or of another one that this lies beside.
    """
    rank = {term.name: i for i, term in enumerate(_largest(like))} if like else {}
    losses = sorted(_largest(record), key=lambda term: rank.get(term.name, len(rank)))
    rows = [Addend(t.name, t.contribution, colour.get(t.name, OTHER), _factor(t)) for t in losses[:MOST_ADDENDS]]
    rest = losses[MOST_ADDENDS:]
    if rest:
        rows.append(Addend(f"{len(rest)} other outputs", exact_sum([t.contribution for t in rest]), OTHER))
    terms = [term for term in record if term.kind == "penalty"]
    if len(terms) <= MOST_PENALTIES:
        rows += [Addend(t.name, t.contribution, PENALTY, "", True) for t in terms]
    else:
        rows.append(Addend(f"{len(terms)} penalties", record.penalty, PENALTY, "", True))
    return rows + [Addend(t.name, t.contribution, UNEXPLAINED, "", True) for t in record if t.kind == "unexplained"]


def _largest(record: LedgerRecord) -> list[TermRecord]:
    """Return the losses, the largest first; before them what is not a number."""
    losses = [term for term in record if term.kind == "loss"]
    return sorted(losses, key=lambda t: -abs(t.contribution) if math.isfinite(t.contribution) else -math.inf)


def _factor(term: TermRecord) -> str:
    if term.value is None and math.isfinite(term.contribution):
        return "no label"
    weights = [f"{term.weight:.4g}"] + ([f"{term.balancing_weight:.4g}"] if term.balancing_weight != 1.0 else [])
    return f"{' × '.join(weights)} × {shown(math.nan if term.value is None else term.value)}"


def waterfall(
    record: LedgerRecord, colour: Mapping[str, str], title: str = "", like: LedgerRecord | None = None
) -> Panel:
    """Draw one account, in the order of another one that it lies beside; what is not a number has no bar."""
    rows = addends(record, colour, like)
    ends = list(accumulate((number(row.amount) or 0.0 for row in rows), initial=0.0))
    total = number(record.total) or 0.0
    bars: Trace = {
        "type": "bar",
        "orientation": "h",
        "y": list(range(len(rows) + 1)),
        "x": [*(number(row.amount) for row in rows), number(record.total)],
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
    notes += [_annotation(1.0, len(rows), f"<b>{shown(record.total)}</b>", "right")]
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
    said = ", ".join(f"{row.name} {shown(row.amount)} ({percent(_share(row.amount, total))})" for row in rows)
    return Panel([bars], layout, f"Waterfall of the total {shown(record.total)}: {said}.", title)


def _annotation(x: float, row: int, text: str, side: str) -> dict[str, object]:
    where = {"x": x, "xref": "paper", "xanchor": side, "y": row - 0.42, "yref": "y", "yanchor": "middle"}
    return {**where, "text": text, "showarrow": False, "align": side, "bgcolor": "@page"}


def _value(amount: float, total: float) -> str:
    share = percent(_share(amount, total))
    return f"{shown(amount)}  <b>{share}</b>" if math.isfinite(amount) else f"<b>{NOT_A_NUMBER}</b>"


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
            shown(term.contribution if term.value is None and not math.isfinite(term.contribution) else term.value),
            f"{term.weight:.6g}",
            f"{term.balancing_weight:.4g}",
            shown(term.contribution),
            percent(term.share),
            "-" if term.count is None else f"{term.count:,}",
        ]
        for record in records
        for term in record
    ]
    return Table(f"Every addend of epoch {records[0].epoch}", columns, rows, right=2)
