"""Learning curves of a study: by output and variant the median over seeds, and a band that holds half of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from multiloss.core.records import digits
from multiloss.report.curves import SPLITS
from multiloss.report.figure_outputs import HEIGHT
from multiloss.report.labels import label
from multiloss.report.parts import Figure, Key, Panel, Trace
from multiloss.report.study_facts import Facts, choices
from multiloss.report.thin import spaced

POINTS, FEWEST, MOST = 40_000, 30, 250
"""Points of all curves together, and of one."""


def curves_figure(facts: Facts) -> Figure | None:
    """Draw the learning curves; what each output is judged by on validation rows stands first."""
    found: dict[tuple[str, str, str], list[Mapping[str, Any]]] = {}
    for own in facts.study["curves"]:
        found.setdefault((own["output"], own["measure"], own["part"]), []).append(own)
    if not found:
        return None
    most = min(max(POINTS // (3 * len(facts.study["curves"])), FEWEST), MOST)
    panels: list[Panel] = []
    first: dict[str, list[int]] = {}
    place: dict[str, list[int]] = {}
    for output in facts.outputs:
        keys = sorted((key for key in found if key[0] == output), key=lambda key: _rank(facts, key))
        for key in keys:
            place.setdefault(output, []).append(len(panels))
            panels.append(_bands(facts, key, found[key], most))
        if keys:
            first[output] = place[output][:1]
    options = [choices(first)[0], *choices(place)[1:]]
    longest = max(len(own["epochs"]) for own in facts.study["curves"])
    notes = [f"Of {longest:,} epochs {most} at even distances are drawn."] if longest > most else []
    if any(own["fewest"] < own["seeds"] for own in facts.study["curves"]):
        notes.append("Runs that stopped early are in it as far as they go, so that late epochs have fewer seeds.")
    legend = [*facts.keys(facts.variants), Key("half of the seeds", "@other", "area")]
    name = "By epoch: median over seeds, and band"
    return Figure("curves-figure", name, panels, options, "Output", True, legend, notes, links=facts.all_links())


def _rank(facts: Facts, key: tuple[str, str, str]) -> tuple[bool, bool, bool]:
    """Validation first, and of it the score that the output is judged by: of squared errors, also their root."""
    output, measure, part = key
    judged = facts.study["measures"][output]
    known = {judged, "rmse"} if judged == "mse" else {judged}
    return part != "validation", measure not in known, measure == "loss"


def _bands(facts: Facts, key: tuple[str, str, str], curves: Sequence[Mapping[str, Any]], most: int) -> Panel:
    output, measure, part = key
    data: list[Trace] = []
    said = []
    for own in curves:
        kept = spaced(len(own["epochs"]), most)
        colour, epochs = facts.colours[own["variant"]], [own["epochs"][i] for i in kept]
        low, middle, high = ([_seven(own[name][i]) for i in kept] for name in ("low", "median", "high"))
        name = label(own["variant"], 20)
        band = {"type": "scatter", "mode": "lines", "x": epochs + epochs[::-1], "y": high + low[::-1], "fill": "toself"}
        data.append({**band, "fillcolor": f"{colour}/16", "line": {"width": 0}, "hoverinfo": "skip", "name": name})
        line = {"type": "scatter", "mode": "lines" if len(kept) > 1 else "markers", "x": epochs, "y": middle}
        style = {"line": {"color": colour, "width": 2}, "marker": {"color": colour}}
        data.append({**line, **style, "name": name, "hovertemplate": "%{y:.5g}"})
        said.append(f"{own['variant']} from {digits(middle[0])} to {digits(middle[-1])}")
    layout = {"height": HEIGHT, "hovermode": "x unified", "xaxis": {"title": {"text": "epoch"}}}
    seeds = max(own["seeds"] for own in curves)
    alt = f"{measure} of {output} on {SPLITS[part]} rows over the epochs, median of {seeds} seeds: {'; '.join(said)}."
    return Panel(
        sorted(data, key=lambda trace: "fill" not in trace), layout, alt, f"{output} · {measure}, {SPLITS[part]}"
    )


def _seven(value: float) -> float:
    """Return a number with the digits of single precision."""
    return float(f"{value:.7g}")
