"""The gradient flow of a step as a Sankey, and the shares of the gradient over the steps."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from multiloss.core.flow import PENALTY, GradientFlow
from multiloss.core.records import digits
from multiloss.report import curves
from multiloss.report.bands import OTHERS, bands, merged, stages
from multiloss.report.curves import OTHER, Digest
from multiloss.report.labels import label, percent, short
from multiloss.report.parts import Figure, Key, Option, Panel, Table, every
from multiloss.report.thin import spaced

MOST_STEPS, MOST_POINTS = 8, 300
PENALTIES = "penalties"


def palette(run: Digest) -> dict[str, str]:
    """Return the colour of each row of a flow."""
    own = {name: colour for name, colour in run.colours.items() if colour != OTHER}
    return own | {OTHERS: OTHER, PENALTY: curves.PENALTY}


def sankey(flow: GradientFlow, colour: Mapping[str, str], title: str = "") -> Panel:
    """Draw one watched step, to be read from the losses on the left back to the first layer on the right."""
    links, line = bands(flow, colour), stages(flow, colour)
    ends = list(dict.fromkeys(end for link in links for end in (link.source, link.target)))
    place = {end: i for i, end in enumerate(ends)}
    node: dict[str, Any] = {
        "label": [_end(end, [stage.name for stage in line]) for end in ends],
        "color": [_colour(end, colour) for end in ends],
        "customdata": [_said(end, flow, line) for end in ends],
        "hovertemplate": "%{customdata}<extra></extra>",
        "pad": 22,
        "thickness": 12,
        "line": {"width": 0},
    }
    link = {
        "source": [place[one.source] for one in links],
        "target": [place[one.target] for one in links],
        "value": [one.width for one in links],
        "color": [f"{colour.get(one.loss, OTHER)}/45" for one in links],
        "customdata": [f"{label(_name(one.loss))}: {percent(one.share)} of the norms here" for one in links],
        "hovertemplate": "%{customdata}<extra></extra>",
    }
    data = [{"type": "sankey", "arrangement": "snap", "node": node, "link": link}]
    height = 130 + 46 * max(len({one.loss for one in links}), 3)
    layout = {"height": height, "margin": {"l": 4, "r": 4, "t": 8, "b": 8}}
    layers = [text if kind == "layer" else "" for (kind, _), text in zip(ends, node["label"], strict=True)]
    return Panel(data, layout, _alt(flow), title, {"height": 120 + 92 * (len(line) + 1), "labels": layers})


def _name(row: str) -> str:
    return PENALTIES if row == PENALTY else row


def _end(end: tuple[str, str], layers: list[str]) -> str:
    kind, name = end
    if kind == "layer":
        return label(layers[int(name)], 22)
    return PENALTIES if kind == "penalty" else f"head of {label(name, 16)}" if kind == "head" else label(name, 20)


def _colour(end: tuple[str, str], colour: Mapping[str, str]) -> str:
    kind, name = end
    return "@node" if kind == "layer" else curves.PENALTY if kind == "penalty" else colour.get(name, OTHER)


def _said(end: tuple[str, str], flow: GradientFlow, line: list[Any]) -> str:
    kind, name = end
    if kind == "layer":
        stage = line[int(name)]
        return f"{label(stage.name, 60)}: {stage.parameters:,} shared parameters"
    if kind == "head":
        return f"head of {label(name)}: norm of its own gradient {digits(flow.heads.get(name))}"
    row = PENALTY if kind == "penalty" else name
    norm = flow.norms.get(row)
    return f"{label(_name(row))}" + ("" if norm is None else f": norm {digits(norm)} on the shared part")


def _alt(flow: GradientFlow) -> str:
    shares = sorted(flow.norm_shares.items(), key=lambda item: -item[1])
    said = ", ".join(f"{_name(name)} {percent(share)}" for name, share in shares[:8])
    layers = f"{len(flow.layers)} layers" if len(flow.layers) != 1 else "one layer"
    return (
        f"Flow of the gradients at {when(flow)}, from each loss through its head back into {layers} of the shared "
        f"part. Shares of the norms there: {said}."
    )


def when(flow: GradientFlow) -> str:
    """Return the step of a flow in words."""
    step = f"step {flow.step:,}" if flow.step is not None else "a step"
    return f"{step} (epoch {flow.epoch})" if flow.epoch is not None else step


def flow_figure(run: Digest) -> Figure:
    """Draw the last watched step, with others to choose."""
    flows, colour = run.flows, palette(run)
    chosen = [flows[i] for i in reversed(spaced(len(flows), MOST_STEPS))]
    panels = [sankey(flow, colour) for flow in chosen]
    options = [Option(when(flow), [i]) for i, flow in enumerate(chosen)]
    last, notes = flows[-1], []
    rows = merged(last.norms, colour)
    if OTHERS in rows:
        notes.append(f"{len(last.norms) - len(rows) + 1} losses with smaller shares are drawn as one, “{OTHERS}”.")
    if len(flows) > len(chosen):
        notes.append(f"{len(chosen)} of {len(flows):,} watched steps can be chosen.")
    if last.left_out:
        notes.append(f"{last.left_out:,} shared parameters were not watched, to save memory.")
    name = "The gradient flow"
    return Figure("flow-figure", name, panels, options, "Step", False, flow_keys(run), notes, flow_table(last))


def flow_keys(run: Digest, *, hatched: bool = False) -> list[Key]:
    """Return the legend of the flow, whose bands are plain, or of the shares, whose penalties are hatched."""
    colour = palette(run)
    rows = merged(run.flows[-1].norms, colour)
    return [Key(_name(name), colour[name], "hatched" if hatched and name == PENALTY else "area") for name in rows]


def flow_table(flow: GradientFlow) -> Table:
    """Return the norm of each loss in each layer, and its share there."""
    rows = sorted(flow.norms, key=lambda name: -flow.norms[name])[:COLUMNS]
    own = []
    for layer in flow.layers:
        total = sum(layer.norms.values())
        cells = [layer.norms.get(name) for name in rows]
        shares = [None if cell is None or not total else cell / total for cell in cells]
        said = ["-" if c is None else f"{digits(c)} ({percent(s)})" for c, s in zip(cells, shares, strict=True)]
        own.append([layer.name, f"{layer.parameters:,}", *said])
    whole = [f"{digits(flow.norms[name])} ({percent(flow.norm_shares.get(name))})" for name in rows]
    own.append(["whole shared part", f"{flow.shared:,}", *whole])
    columns = ["layer", "parameters", *(short(_name(name)) for name in rows)]
    return Table(f"Norms of the gradients at {when(flow)}, and their shares", columns, own)


COLUMNS = 12
"""So many losses fit a table."""


def shares_figure(run: Digest) -> Figure:
    """Draw each loss's share of the norms over the watched steps, as a stack that fills the height."""
    flows, colour = run.flows, palette(run)
    panel = shares_panel([flows[i] for i in spaced(len(flows), MOST_POINTS)], colour)
    coarse = [f"{MOST_POINTS} of {len(flows):,} watched steps are drawn, at even distances."]
    notes = coarse if len(flows) > MOST_POINTS else []
    keys, name = flow_keys(run, hatched=True), "Shares of the gradient over the steps"
    return Figure("shares-figure", name, [panel], every([panel]), keys=keys, notes=notes, table=_ends(flows, colour))


def _ends(flows: list[GradientFlow], colour: Mapping[str, str]) -> Table:
    """Return the shares of the first and the last step."""
    ends = [flows[0], *flows[-1:]] if len(flows) > 1 else flows
    found = [merged(flow.norm_shares, colour) for flow in ends]
    rows = [
        [_name(name), *(percent(own.get(name)) for own in found)]
        for name in dict.fromkeys(name for own in found for name in own)
    ]
    return Table("Shares of the first and the last watched step", ["loss", *map(when, ends)], rows)


def shares_panel(flows: list[GradientFlow], colour: Mapping[str, str], title: str = "") -> Panel:
    """Draw the shares of some steps."""
    rows = [merged(flow.norm_shares, colour) for flow in flows]
    steps = [flow.step if flow.step is not None else i for i, flow in enumerate(flows)]
    data = []
    for name in dict.fromkeys(name for row in rows for name in row):
        own = colour[name]
        hatch = {"fillpattern": {"shape": "/", "size": 6, "solidity": 0.35, "fgcolor": own, "bgcolor": "@page"}}
        data.append(
            {
                "type": "scatter",
                "mode": "lines",
                "stackgroup": "share",
                "name": label(_name(name)),
                "x": steps,
                "y": [row.get(name, 0.0) for row in rows],
                "line": {"color": own, "width": 0.8},
                **(hatch if name == PENALTY else {"fillcolor": f"{own}/72"}),
                "hovertemplate": "%{y:.1%}",
            }
        )
    layout = {
        "height": 240,
        "hovermode": "x unified",
        "xaxis": {"title": {"text": "step"}},
        "yaxis": {"tickformat": ".0%", "range": [0, 1]},
    }
    ends = [", ".join(f"{_name(name)} {percent(share)}" for name, share in row.items()) for row in (rows[0], rows[-1])]
    alt = f"Stacked areas of the shares of the gradient norms on the shared part: first {ends[0]}; last {ends[1]}."
    return Panel(data, layout, alt, title)
