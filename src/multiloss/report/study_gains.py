"""Each variant beside the separate models: gains with their intervals, and the scores of the seeds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from multiloss.report.labels import label
from multiloss.report.parts import Cell, Figure, Key, Panel, Table, Trace
from multiloss.report.study_facts import BASE, HIGHER, Facts, choices, ends_of, score, signed

SYMBOLS = {"better": "triangle-up", "worse": "triangle-down", "no difference": "circle-open"}
MARKS = {"better": "▲", "worse": "▼", "no difference": "○"}
STYLES = {"better": "up", "worse": "down", "no difference": "ring"}
COLOURS = {"better": "@along", "worse": "@against", "no difference": "@muted"}
ROW, AROUND = 38, 74
"""Pixels of a row of a drawing, and of what stands above and below them."""


def gains(facts: Facts) -> Figure:
    """Draw the gain over separate models, by output, every variant a row."""
    panels: list[Panel] = []
    place: dict[str, list[int]] = {}
    for output in facts.outputs:
        own = [verdict for verdict in facts.verdict["outputs"] if verdict["output"] == output]
        if own:
            place[output] = [len(panels)]
            panels.append(_forest(output, own))
    keys = [Key(claim, COLOURS[claim], style) for claim, style in STYLES.items()]
    note = "Right of the line is better than separate. A line is the interval of the difference over seeds and rows."
    return Figure(
        "gains-figure",
        "Gain over separate models",
        panels,
        choices(place),
        "Output",
        keys=keys,
        notes=[note],
        table=gains_table(facts),
        links=facts.all_links(),
    )


def _forest(output: str, verdicts: list[Mapping[str, Any]]) -> Panel:
    unit = verdicts[0]["unit"]
    ends = [0.0] + [end for own in verdicts for end in (own["gain"]["low"], own["gain"]["high"])]
    room = 0.1 * (max(ends) - min(ends)) or 1.0
    layout = {
        "height": AROUND + ROW * len(verdicts),
        "xaxis": {"title": {"text": _gain_of(verdicts[0])}, "range": [min(ends) - room, max(ends) + room]},
        "yaxis": rows_axis([label(own["variant"], 18) for own in verdicts]),
        "shapes": [upright(0.0)],
    }
    said = "; ".join(
        f"{own['variant']} {signed(own['gain']['mean'], unit)} ({ends_of(own['gain'])}), {own['claim']}"
        for own in verdicts
    )
    data = [_interval(own, i) for i, own in enumerate(verdicts)]
    return Panel(data, layout, f"Gain of {output} over separate models: {said}.", f"{output} · {verdicts[0]['metric']}")


def _gain_of(verdict: Mapping[str, Any]) -> str:
    return {"%": "less error than separate, %", "points": "more than separate, points"}.get(
        verdict["unit"], "less than separate"
    )


def _interval(own: Mapping[str, Any], row: int) -> Trace:
    gain, colour = own["gain"], COLOURS[own["claim"]]
    return {
        **_point(gain, row, signed(gain["mean"], "")),
        "marker": {"symbol": SYMBOLS[own["claim"]], "size": 12, "color": colour, "line": {"color": colour, "width": 2}},
        "hovertemplate": f"{signed(gain['mean'], own['unit'])} ({ends_of(gain)})<br>{own['claim']}<extra></extra>",
        "error_x": error_bar(gain, colour),
    }


def scores_figure(facts: Facts) -> Figure | None:
    """Draw the scores on test rows by output: every seed, the mean over seeds and its interval; `None` without any."""
    panels: list[Panel] = []
    place: dict[str, list[int]] = {}
    for output in facts.outputs:
        measure = facts.study["measures"][output]
        own = [(variant, found) for variant in facts.variants if (found := facts.scored(output, measure, variant))]
        if own:
            place[output] = [len(panels)]
            panels.append(_strip(facts, output, measure, dict(own)))
    if not panels:
        return None
    keys = [Key("one seed", "@muted", "point"), Key("mean and interval over seeds", "@ink", "line")]
    return Figure(
        "scores-figure",
        "Scores on test rows, seed by seed",
        panels,
        choices(place),
        "Output",
        keys=keys,
        links=facts.all_links(),
    )


def _strip(facts: Facts, output: str, measure: str, scores: Mapping[str, Mapping[str, Any]]) -> Panel:
    data: list[Trace] = []
    for row, (variant, own) in enumerate(scores.items()):
        colour = facts.colours[variant]
        seeds = [seed for seed, _ in own["seeds"]]
        dots = {"symbol": "circle", "size": 7, "color": f"{colour}/50"}
        data.append(
            {
                "type": "scatter",
                "mode": "markers",
                "x": [value for _, value in own["seeds"]],
                "y": [row + 0.22] * len(seeds),
                "text": [f"seed {seed}" for seed in seeds],
                "marker": dots,
                "hovertemplate": "%{text}: %{x:.5g}<extra></extra>",
            }
        )
        mean = {"symbol": "line-ns", "size": 13, "color": colour, "line": {"color": colour, "width": 3}}
        hover = f"mean {score(own)}<extra></extra>"
        data.append({**_point(own, row, ""), "marker": mean, "error_x": error_bar(own, colour), "hovertemplate": hover})
    arrow = "right is better" if measure == HIGHER else "left is better"
    layout = {
        "height": AROUND + ROW * len(scores),
        "xaxis": {"title": {"text": f"{label(measure)}, {arrow}"}, "zeroline": False},
        "yaxis": rows_axis([label(variant, 18) for variant in scores]),
    }
    said = "; ".join(f"{variant} {score(own)} over {len(own['seeds'])} seeds" for variant, own in scores.items())
    return Panel(data, layout, f"{measure} of {output} on test rows: {said}.", f"{output} · {measure}")


def _point(own: Mapping[str, Any], row: int, text: str) -> Trace:
    return {
        "type": "scatter",
        "mode": "markers+text",
        "x": [own["mean"]],
        "y": [row],
        "text": [text],
        "textposition": "top center",
        "cliponaxis": False,
    }


def error_bar(own: Mapping[str, Any], colour: str, thickness: float = 2.0) -> dict[str, Any]:
    """Return the interval of a mean as Plotly draws it."""
    if own["low"] is None or own["high"] is None:
        return {"visible": False}
    up, down = own["high"] - own["mean"], own["mean"] - own["low"]
    sides = {"type": "data", "symmetric": False, "array": [up], "arrayminus": [down]}
    return {**sides, "color": colour, "thickness": thickness, "width": 2.5 * thickness}


def rows_axis(labels: list[str]) -> dict[str, Any]:
    """Return an axis with a row for each label, the first one on top."""
    return {
        "tickmode": "array",
        "tickvals": list(range(len(labels))),
        "ticktext": labels,
        "range": [len(labels) - 0.45, -0.65],
        "showgrid": False,
        "fixedrange": True,
    }


def upright(at: float) -> dict[str, Any]:
    """Return a line across all rows."""
    line = {"type": "line", "x0": at, "x1": at, "y0": 0, "y1": 1, "yref": "paper", "layer": "below"}
    return {**line, "line": {"color": "@ink", "width": 1.5}}


def gains_table(facts: Facts) -> Table:
    """Return every comparison with its interval and its test."""
    rows: list[list[Cell]] = []
    for own in facts.verdict["outputs"]:
        tested = own["difference"]
        p = [f"{value:.2g}" for value in (tested["p"], own["adjusted_p"])]
        size = [signed(own["gain"]["mean"], own["unit"]), ends_of(own["gain"])]
        count = [str(tested["seeds"]), f"{tested['rows']:,}"]
        claim = f"{MARKS[own['claim']]} {own['claim']}"
        runs = [part for name in (own["variant"], BASE) for part in (name, *facts.links(name, own["output"]))]
        rows.append([own["output"], own["variant"], claim, own["metric"], runs, *size, *p, *count])
    level = f"{100 * facts.settings['level']:g} %"
    names = [
        "output",
        "variant",
        "claim",
        "metric",
        "runs",
        "gain",
        f"{level} interval",
        "p",
        "p (Holm)",
        "seeds",
        "rows",
    ]
    return Table("Every variant against separate models, on test rows", names, rows, 5)
