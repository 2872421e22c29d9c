r"""The gradient flow of one step as bands: from each loss through its head, back through the shared layers.

Where a band enters a layer, its width is the loss's share of the norms there, $\|g_{k,l}\| / \sum_j \|g_{j,l}\|$ over
the losses $j$ that reach layer $l$. So that what leaves a layer is what came in, layers that fewer losses reach are
drawn narrower by one factor each. Penalties act on a layer and pass nothing on: they come in from the side, in
proportion to the losses there.
"""

from __future__ import annotations

import math
from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from multiloss.core.flow import PENALTY, GradientFlow

MOST_LAYERS = 8
OTHERS = "other losses"


class Stage(NamedTuple):
    """One or several neighbouring layers, and the norm of what each loss adds there."""

    name: str
    parameters: int
    norms: dict[str, float]

    def share(self, loss: str) -> float:
        """Share of a loss in the norms of all losses."""
        return self.norms.get(loss, 0.0) / sum(norm for name, norm in self.norms.items() if name != PENALTY)


@dataclass(frozen=True)
class Band:
    """One link. Ends are `("loss", name)`, `("head", name)`, `("layer", number)` or `("penalty", "")`."""

    source: tuple[str, str]
    target: tuple[str, str]
    loss: str
    width: float
    share: float


def stages(flow: GradientFlow, drawn: Container[str]) -> list[Stage]:
    """Return the layers in forward order; of many, neighbours together: the norm of a union is the root of squares."""
    groups = min(len(flow.layers), MOST_LAYERS)
    found = []
    for i in range(groups):
        own = flow.layers[i * len(flow.layers) // groups : (i + 1) * len(flow.layers) // groups]
        rows = dict.fromkeys(name for layer in own for name in layer.norms)
        norms = {name: math.sqrt(sum(layer.norms.get(name, 0.0) ** 2 for layer in own)) for name in rows}
        name = own[0].name if len(own) == 1 else f"{own[0].name} to {own[-1].name}"
        found.append(Stage(name, sum(layer.parameters for layer in own), merged(norms, drawn)))
    return [stage for stage in found if any(norm > 0 for name, norm in stage.norms.items() if name != PENALTY)]


def merged(norms: Mapping[str, float], drawn: Container[str]) -> dict[str, float]:
    """Return norms with the losses that are not drawn by themselves added up in one row."""
    own = {name: norm for name, norm in norms.items() if name in drawn and name != PENALTY}
    rest = [norm for name, norm in norms.items() if name not in own and name != PENALTY]
    penalty = {PENALTY: norms[PENALTY]} if PENALTY in norms else {}
    return own | ({OTHERS: sum(rest)} if rest else {}) | penalty


def bands(flow: GradientFlow, drawn: Container[str]) -> list[Band]:
    """Return the links of the drawing; losses that are not `drawn` by themselves are one together."""
    line = stages(flow, drawn)
    paths = {name: [i for i, stage in enumerate(line) if stage.norms.get(name, 0.0) > 0] for name in _losses(line)}
    widths = _widths(line, paths)
    found = []
    for loss, path in paths.items():
        for before, i in zip([*path[1:], None], path, strict=True):  # the layer that hands the gradient to layer i
            share = line[i].share(loss)
            target = ("layer", str(i))
            if before is not None:
                found.append(Band(("layer", str(before)), target, loss, widths[i] * share, share))
                continue
            source = ("head", loss) if loss in flow.heads else ("loss", loss)
            if source[0] == "head":
                found.append(Band(("loss", loss), source, loss, widths[i] * share, share))
            found.append(Band(source, target, loss, widths[i] * share, share))
    for i, stage in enumerate(line):
        if stage.norms.get(PENALTY, 0.0) > 0:
            part = stage.share(PENALTY)
            found.append(Band(("penalty", ""), ("layer", str(i)), PENALTY, widths[i] * part, part / (1 + part)))
    return found


def _losses(line: Iterable[Stage]) -> list[str]:
    return list(dict.fromkeys(name for stage in line for name in stage.norms if name != PENALTY))


def _widths(line: list[Stage], paths: dict[str, list[int]]) -> list[float]:
    """Return the width of each layer: 1 where a path ends, else what its losses carry on into earlier layers."""
    widths: list[float] = []
    for i, stage in enumerate(line):
        before = {name: path[path.index(i) - 1] for name, path in paths.items() if i in path and path[0] != i}
        out = sum(widths[j] * line[j].share(name) for name, j in before.items())
        within = sum(stage.share(name) for name in before)
        widths.append(out / within if before else 1.0)
    return widths
