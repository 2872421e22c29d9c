"""The losses of one step as they are differentiated: weighted, scaled, and what they share."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn

from multiloss.core.losses import HALF, Losses, weighted_sum
from multiloss.gradients.base import Problem
from multiloss.gradients.problem import find_problem
from multiloss.nn.base import unwrap

CPU = torch.device("cpu")


class StepLosses:
    """The losses of one step that move a parameter.

    Args:
        losses: The named losses, penalties among them.
        model: Gives the order and the layers of the parameters.
        shared: Parameters whose gradients are compared; from the graph where none are given.
        features: What the trunk hands to the heads; from the graph where none is given.
        scaler: Scales what is differentiated.

    Attributes:
        active: Scalars by name, times the user's weight.
        penalty: All penalties together, if they move something.
        device: Where the losses are.
        scale: What `scaler` multiplies with, if there is one.
    """

    def __init__(
        self,
        losses: Losses,
        *,
        model: nn.Module | None = None,
        shared: Iterable[Tensor] | None = None,
        features: Sequence[Tensor] = (),
        scaler: torch.amp.GradScaler | None = None,
    ) -> None:
        self.losses, self.model, self.scaler = losses, model, scaler
        self.shared = None if shared is None else tuple(shared)
        self.features = tuple(features)
        self.active = {
            term.name: _float(term.value) if term.weight == 1.0 else _float(term.value) * term.weight
            for term in losses.terms
            if term.kind == "loss" and term.weight and term.value.requires_grad
        }
        penalty = weighted_sum((term.weight, term.value) for term in losses.terms if term.kind != "loss")
        self.penalty = penalty if penalty is not None and penalty.requires_grad else None
        first = next(iter(self.active.values()), None)
        self.device = CPU if first is None else first.device
        self.scale = None if scaler is None or first is None else scaler.scale(torch.ones_like(first.detach()))

    def problem(self, names: Iterable[str] | None = None) -> Problem:
        """Return what the active losses, or some of them, share."""
        scale, active, shared = self.scale, self.active, self.shared
        values = {name: active[name] if scale is None else active[name] * scale for name in names or active}
        if shared is None and self.model is not None and isinstance(trunk := compiled_trunk(self.model), nn.Module):
            shared = tuple(trunk.parameters())  # the graph of a compiled model does not show what is shared
        return find_problem(values, shared=shared, model=self.model, features=self.features)


def compiled_trunk(model: nn.Module) -> object:
    """Return the trunk of a model that is compiled as a whole, if it names one."""
    inner = unwrap(model)
    whole = inner is not model or getattr(inner, "_compiled_call_impl", None) is not None
    return getattr(inner, "trunk", None) if whole else None


def _float(value: Tensor) -> Tensor:
    return value.float() if value.dtype in HALF else value
