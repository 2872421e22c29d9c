"""The gradient flow of one step: what each loss does to the parameters that it shares with others, in plain numbers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

PENALTY = "penalty"
"""The row of all penalties together, beside those of the losses."""


@dataclass(frozen=True)
class LayerFlow:
    """One module of the shared part.

    Args:
        name: Its dotted path in the model, such as `trunk.layers.0`.
        parameters: How many of its numbers two or more losses reach.
        losses: The losses that reach it.
        norms: Norm of what each of `losses`, and `penalty` where there is one, adds to its gradient, weights included.
    """

    name: str
    parameters: int
    losses: tuple[str, ...]
    norms: dict[str, float]


@dataclass(frozen=True)
class Reach:
    """A set of losses, and the parameters that these losses and no others reach.

    Args:
        losses: The set; one loss has a head of its own.
        parameters: How many numbers.
        layers: The modules that they are in.
    """

    losses: tuple[str, ...]
    parameters: int
    layers: tuple[str, ...]


@dataclass(frozen=True)
class GradientFlow:
    r"""What moved the shared parameters in one step.

    With $g_k$ the gradient that loss $k$ adds to the shared parameters, weights and balancing weights included, and
    $u = \sum_k g_k$ the gradient of the whole total, penalties among the rows:

    Args:
        losses: The losses that reach a shared parameter, in order; rows and columns of `cosines`.
        weights: The user's weight of each loss of the step.
        balancing_weights: What a balancing method multiplied each with; 1 without one.
        norms: $\|g_k\|$ by loss, and `penalty` where there is one.
        shares: $\langle g_k, u \rangle / \|u\|^2$ by loss, and `penalty`: sums to 1; below 0 where the update goes
            against that loss. Empty where the update is zero, or is not the sum of the rows.
        cosines: Cosine of every pair of losses, `[m][m]`; 0 where a gradient is zero.
        conflict_rate: Share of the pairs whose cosine is below zero; `None` with fewer than two losses.
        condition_number: Largest over smallest singular value of the rows $g_k$ of the losses; `None` where the
            smallest is zero, or with fewer than two losses.
        layers: The shared part, module by module, in forward order.
        heads: Norm of each loss's gradient for the parameters that it alone reaches, weights included.
        reach: Which losses reach how many parameters; several losses: shared by them.
        frozen: Numbers in the model that do not move, because they are frozen.
        alone: Losses that share no parameter with another.
        absent: Losses without a label in this step.
        method: The balancing method, if there is one.
        sums: Whether the update is the sum of these rows; not under a method that works by coordinate or on a memory of
            gradients, where the rows are what it saw.
        left_out: Shared numbers that were not watched, to save memory; `layers` holds the last of the trunk then.
        epoch: The epoch, from 1.
        step: Steps done before this one.
    """

    losses: tuple[str, ...]
    weights: dict[str, float]
    balancing_weights: dict[str, float]
    norms: dict[str, float]
    shares: dict[str, float]
    cosines: tuple[tuple[float, ...], ...]
    conflict_rate: float | None
    condition_number: float | None
    layers: tuple[LayerFlow, ...]
    heads: dict[str, float]
    reach: tuple[Reach, ...]
    frozen: int = 0
    alone: tuple[str, ...] = ()
    absent: tuple[str, ...] = ()
    method: str | None = None
    sums: bool = True
    left_out: int = 0
    epoch: int | None = None
    step: int | None = None

    @property
    def rows(self) -> tuple[str, ...]:
        """The losses, and `penalty` where there is one: everything that `norms` and `shares` are of."""
        return tuple(self.norms)

    @property
    def norm_shares(self) -> dict[str, float]:
        """Norm of each row over the sum of all norms: never below zero, sums to 1; empty where all are zero."""
        total = sum(self.norms.values())
        return {name: norm / total for name, norm in self.norms.items()} if total > 0 else {}

    @property
    def shared(self) -> int:
        """How many numbers two or more losses reach."""
        return sum(part.parameters for part in self.reach if len(part.losses) > 1)

    def to_dict(self) -> dict[str, Any]:
        """Return the record as plain objects, as a line of `gradients.jsonl` holds it."""
        own = dict(vars(self))
        own["layers"] = [dict(vars(layer)) for layer in self.layers]
        own["reach"] = [dict(vars(part)) for part in self.reach]
        return own

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> GradientFlow:
        """Return the record that `to_dict` wrote, also after a way through JSON."""
        layers = (LayerFlow(**{**layer, "losses": tuple(layer["losses"])}) for layer in data["layers"])
        reach = (Reach(tuple(part["losses"]), part["parameters"], tuple(part["layers"])) for part in data["reach"])
        tuples = {name: tuple(data[name]) for name in ("losses", "alone", "absent")}
        cosines = tuple(tuple(row) for row in data["cosines"])
        return cls(**{**data, **tuples, "cosines": cosines, "layers": tuple(layers), "reach": tuple(reach)})

    def __str__(self) -> str:
        """Say whose the shared parameters are, what moves them, and how far the losses conflict."""
        lines = [*_whose(self), *_moved_by(self)]
        lines += [f"{name}: no label in this step" for name in self.absent]
        if self.frozen:
            lines.append(f"{self.frozen:,} frozen parameters do not move")
        return "\n".join(lines)


def _whose(flow: GradientFlow) -> list[str]:
    shared = [part for part in flow.reach if len(part.losses) > 1]
    if not shared:
        models = "two models in one" if len(flow.alone) == 2 else f"{len(flow.alone)} models in one"
        names = ", ".join(flow.alone)
        return [f"{names} share no parameter: these are {models}"] if len(flow.alone) > 1 else [f"one loss: {names}"]
    lines = [f"{part.parameters:,} parameters shared by {', '.join(part.losses)}: one set" for part in shared]
    return lines + [f"{name} shares no parameter with another loss: a model of its own" for name in flow.alone]


def _moved_by(flow: GradientFlow) -> list[str]:
    if not flow.losses:
        return []
    addends = []
    for name in flow.losses:
        balanced = flow.balancing_weights.get(name, 1.0)
        factor = f"{flow.weights[name]:.4g}" + (f" x {balanced:.4g}" if balanced != 1.0 else "")
        addends.append(f"{factor} x {name}'s")
    addends += ["the penalties'"] if PENALTY in flow.norms else []
    moved = f"the gradient that moves them is {' + '.join(addends)}"
    lines = [moved if flow.sums else f"{flow.method} combines their gradients by a rule of its own; it saw:"]
    shares = flow.norm_shares
    for name, norm in flow.norms.items():
        part = f"{100 * shares[name]:.1f} % of the norms" if shares else "no gradient"
        does = f", {100 * flow.shares[name]:.1f} % of the update" if flow.shares else ""
        lines.append(f"  {name}: norm {norm:.4g}, {part}{does}")
    if len(flow.losses) == 2:
        lines.append(f"  cosine {flow.cosines[0][1]:+.3f}")
    elif flow.conflict_rate is not None:
        lowest = min(c for i, row in enumerate(flow.cosines) for c in row[:i])
        lines.append(f"  conflicts in {100 * flow.conflict_rate:.0f} % of the pairs, lowest cosine {lowest:+.3f}")
    return lines
