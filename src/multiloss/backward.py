"""The one door from named losses to `.grad`."""

from __future__ import annotations

import math
from collections.abc import Mapping
from numbers import Real

import torch
from torch import Tensor

from multiloss.core.errors import ObjectiveError, listed, nearest
from multiloss.core.losses import Losses
from multiloss.core.records import StepRecord, StepTerm


def backward(
    losses: Mapping[str, Tensor],
    weights: Mapping[str, float] | None = None,
    *,
    scaler: torch.amp.GradScaler | None = None,
    retain_graph: bool = False,
) -> StepRecord:
    r"""Differentiate the weighted sum of named losses once and add the result to every `.grad`.

    $$ \nabla \sum_k w_k L_k = \sum_k w_k \nabla L_k $$

    A parameter that several losses reach gets the weighted sum of their gradients; there is one set of parameters
    and one gradient. A loss of weight 0 is recorded and costs nothing. Like `Tensor.backward`, gradients accumulate.

    Args:
        losses: Scalars by name: any mapping, or what an `Objective` returned (which brings its own weights).
        weights: Factor of each loss; 1 where a name is left out. Not for an objective's losses: set its
            `loss_weights` instead.
        scaler: Scales the total before it is differentiated, for float16; unscale before the optimiser's step.
        retain_graph: Whether the losses may be differentiated once more.

    Returns:
        The step, on the device: read it with `Ledger.add`.

    Raises:
        ObjectiveError: If a value is no scalar of floats, a weight has no loss or is not a finite number >= 0, or no
            loss with a weight depends on a parameter.

    Example:
        >>> import torch
        >>> w = torch.tensor(2.0, requires_grad=True)
        >>> record = backward({"a": w * 3, "b": w**2}, weights={"b": 0.5})
        >>> w.grad.item(), record.total.item()
        (5.0, 8.0)
    """
    if isinstance(losses, Losses):
        if weights is not None:
            raise ObjectiveError("an objective's losses carry their weights. Set objective.loss_weights[name] instead")
    else:
        losses = _weighted(losses, weights or {})
    if any(term.weight for term in losses.terms):
        total = losses.total
        if not total.requires_grad:
            names = ", ".join(losses)
            raise ObjectiveError(
                f"expected losses that depend on a parameter, found none in {names}. "
                "Was an output detached, or computed under torch.no_grad()?"
            )
        (total if scaler is None else scaler.scale(total)).backward(retain_graph=retain_graph)  # type: ignore[no-untyped-call]
    return losses.record()


def _weighted(losses: Mapping[str, Tensor], weights: Mapping[str, float]) -> Losses:
    given: Mapping[str, object] = weights
    problems = [f"weight for unknown loss {name!r}. {nearest(name, losses)}" for name in weights if name not in losses]
    problems += [
        f"loss {name!r}: expected a scalar tensor of floats, found {_shown(value)}"
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


def _shown(value: object) -> str:
    return f"{value.dtype} of shape {tuple(value.shape)}" if isinstance(value, Tensor) else type(value).__name__
