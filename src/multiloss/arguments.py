"""What a caller gives by hand, checked: losses by name with their weights, and tensors."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from numbers import Real

from torch import Tensor

from multiloss.core.errors import BalancingError, ObjectiveError, listed, nearest
from multiloss.core.losses import Losses
from multiloss.core.records import StepTerm


def named_losses(losses: Mapping[str, Tensor], weights: Mapping[str, float] | None) -> Losses:
    """Return losses with their weights.

    Raises:
        ObjectiveError: If they are no scalars, none depends on a parameter, or a weight does not fit.
    """
    if not isinstance(losses, Losses):
        losses = _weighted(losses, weights or {})
    elif weights is not None:
        raise ObjectiveError("an objective's losses carry their weights. Set objective.loss_weights[name] instead")
    weighted = [term.value for term in losses.terms if term.weight]
    if weighted and not any(value.requires_grad for value in weighted):
        raise ObjectiveError(
            f"expected losses that depend on a parameter, found none in {', '.join(losses)}. "
            "Was an output detached, or computed under torch.no_grad()?"
        )
    return losses


def tensors(name: str, given: object) -> tuple[Tensor, ...] | None:
    """Return what was given as a tuple of tensors.

    Raises:
        BalancingError: If it is something else.
    """
    if given is None or isinstance(given, Tensor):
        return None if given is None else (given,)
    found = tuple(given) if isinstance(given, Iterable) and not isinstance(given, str | Mapping) else (given,)
    if not found or not all(isinstance(tensor, Tensor) for tensor in found):
        wrong = next((value for value in found if not isinstance(value, Tensor)), found)
        raise BalancingError(
            f"{name}: expected tensors, such as trunk.parameters(), found {shown(wrong)}. Give the tensors themselves"
        )
    return found


def _weighted(losses: Mapping[str, Tensor], weights: Mapping[str, float]) -> Losses:
    given: Mapping[str, object] = weights
    problems = [f"weight for unknown loss {name!r}. {nearest(name, losses)}" for name in weights if name not in losses]
    problems += [
        f"loss {name!r}: expected a scalar tensor of floats, found {shown(value)}"
        for name, value in losses.items()
        if not isinstance(value, Tensor) or value.numel() != 1 or not value.is_floating_point()
    ]
    problems += [
        f"weight of {name!r}: expected a finite number >= 0, found {weight!r}"
        for name, weight in given.items()
        if type(weight) is bool or not isinstance(weight, Real) or not 0 <= float(weight) < math.inf
    ]
    if problems:
        raise ObjectiveError(listed(problems, "backward"))
    scalars = ((name, value if value.dim() == 0 else value.reshape(())) for name, value in losses.items())
    return Losses(tuple(StepTerm(name, "loss", value, float(weights.get(name, 1.0))) for name, value in scalars))


def shown(value: object) -> str:
    """Return what a message says of a value."""
    return f"{value.dtype} of shape {tuple(value.shape)}" if isinstance(value, Tensor) else type(value).__name__
