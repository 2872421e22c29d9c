"""Conflicts between the losses' gradients: the cosine of every pair over the watched steps."""

from __future__ import annotations

from itertools import combinations
from typing import Any, NamedTuple

from multiloss.core.flow import GradientFlow
from multiloss.report.curves import Digest
from multiloss.report.figure_flow import when
from multiloss.report.labels import label
from multiloss.report.parts import Figure, Key, Option, Panel, Table
from multiloss.report.thin import spaced

MOST_PAIRS, MOST_STEPS, MOST_LOSSES = 16, 120, 20
COSINES, FEWEST_STEPS = 200_000, 10
"""So many cosines are read, of no fewer steps."""
KEYS = [
    Key("−1, straight against each other", "@against"),
    Key("0, at right angles", "@neutral"),
    Key("+1, along", "@along"),
]
SCALE = [[0.0, "@against"], [0.5, "@neutral"], [1.0, "@along"]]


class Pair(NamedTuple):
    """Two losses, and the cosine of their gradients at each step; `None` where one was absent."""

    a: str
    b: str
    cosines: list[float | None]

    @property
    def known(self) -> list[float]:
        """The cosines of the steps that had both."""
        return [value for value in self.cosines if value is not None]

    @property
    def mean(self) -> float:
        """Mean cosine."""
        return sum(self.known) / len(self.known)


def pairs(flows: list[GradientFlow]) -> list[Pair]:
    """Return every pair that was seen together, the most conflicting first."""
    found: dict[tuple[str, str], list[float | None]] = {}
    for number, flow in enumerate(flows):
        for (i, a), (j, b) in combinations(enumerate(flow.losses), 2):
            key = (a, b) if (b, a) not in found else (b, a)
            found.setdefault(key, [None] * len(flows))[number] = flow.cosines[i][j]
    own = [Pair(*key, cosines) for key, cosines in found.items()]
    return sorted((pair for pair in own if pair.known), key=lambda pair: pair.mean)


def heat_map(chosen: list[Pair], flows: list[GradientFlow], title: str = "") -> Panel:
    """Draw the cosines of some pairs over the steps."""
    names = [f"{label(pair.a, 18)} · {label(pair.b, 18)}" for pair in chosen]
    steps = [flow.step if flow.step is not None else i for i, flow in enumerate(flows)]
    trace: dict[str, Any] = {
        "type": "heatmap",
        "x": steps,
        "y": list(range(len(chosen))),
        "z": [[None if c is None else round(c, 3) for c in pair.cosines] for pair in chosen],
        "zmin": -1,
        "zmax": 1,
        "colorscale": SCALE,
        "ygap": 22,
        "hovertemplate": "step %{x}: cosine %{z:.3f}<extra></extra>",
        "showscale": False,
    }
    above = [
        {"x": 0, "xref": "paper", "xanchor": "left", "y": i - 0.5, "text": name, "showarrow": False}
        for i, name in enumerate(names)
    ]
    layout = {
        "height": 46 * len(chosen) + 64,
        "xaxis": {"title": {"text": "step"}, "showgrid": False, "zeroline": False},
        "margin": {"l": 2, "r": 2, "t": 2, "b": 38},
        "yaxis": {"range": [len(chosen) - 0.5, -0.75], "visible": False},
        "annotations": above,
    }
    lowest = "; ".join(f"{pair.a} and {pair.b} {pair.mean:+.2f}" for pair in chosen[:5])
    return Panel([trace], layout, f"Heat map of cosines over the steps; mean cosine of {lowest}.", title)


def conflicts(run: Digest) -> Figure | None:
    """Draw the conflicts; `None` where no step had two losses on shared parameters."""
    watched = [flow for flow in run.flows if len(flow.losses) > 1]
    count = max((len(flow.losses) * (len(flow.losses) - 1) // 2 for flow in watched), default=1)
    steps = min(MOST_STEPS, max(COSINES // count, FEWEST_STEPS))
    flows = [watched[i] for i in spaced(len(watched), steps)]
    found = pairs(flows)
    if not found:
        return None
    panels, options, notes = [heat_map(found[:MOST_PAIRS], flows)], [], []
    first = f"the {MOST_PAIRS} pairs most in conflict" if len(found) > MOST_PAIRS else "all pairs"
    options.append(Option(first, [0]))
    losses = list(dict.fromkeys(name for pair in found for name in (pair.a, pair.b)))
    if 2 < len(losses) <= MOST_LOSSES:
        for name in losses:
            options.append(Option(f"pairs of {name}", [len(panels)], "One output"))
            panels.append(heat_map([pair for pair in found if name in pair[:2]][:MOST_PAIRS], flows))
    if len(found) > MOST_PAIRS:
        notes.append(f"{MOST_PAIRS} of {len(found):,} pairs are drawn, the lowest mean cosine first.")
    if len(watched) > len(flows):
        notes.append(f"{len(flows)} of {len(watched):,} watched steps are drawn, at even distances.")
    table = _table(found, flows)
    return Figure("conflicts-figure", "Conflicts", panels, options, "Pairs", False, KEYS, notes, table)


def _table(found: list[Pair], flows: list[GradientFlow]) -> Table:
    rows = [
        [
            pair.a,
            pair.b,
            f"{pair.mean:+.3f}",
            f"{min(pair.known):+.3f}",
            f"{100 * sum(c < 0 for c in pair.known) / len(pair.known):.0f} %",
        ]
        for pair in found[: 4 * MOST_PAIRS]
    ]
    caption = f"Cosines from {when(flows[0])} to {when(flows[-1])}, the most conflicting pairs first"
    return Table(caption, ["loss", "and loss", "mean cosine", "lowest", "steps in conflict"], rows, right=2)
