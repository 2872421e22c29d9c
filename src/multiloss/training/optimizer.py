"""Optimisers by name, in the form that costs least on the device."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import torch
from torch import Tensor
from torch.optim import Optimizer

from multiloss.core.errors import ConfigError, ObjectiveError, nearest

OptimizerSpec: TypeAlias = "str | Mapping[str, Any] | Callable[[list[dict[str, Any]]], Optimizer] | Optimizer"

OPTIMIZERS: dict[str, type[Optimizer]] = {
    "sgd": torch.optim.SGD,
    "adam": torch.optim.Adam,
    "adamw": torch.optim.AdamW,
    "adagrad": torch.optim.Adagrad,
    "rmsprop": torch.optim.RMSprop,
    "nadam": torch.optim.NAdam,
    "radam": torch.optim.RAdam,
    "adadelta": torch.optim.Adadelta,
    "adamax": torch.optim.Adamax,
}
FUSED = ("sgd", "adam", "adamw", "adagrad")  # these also skip a step on the device when `found_inf` is set


def make_optimizer(spec: OptimizerSpec, groups: list[dict[str, Any]]) -> Optimizer:
    """Return the optimiser of a fit.

    Args:
        spec: A name of `OPTIMIZERS`; a mapping `{"name": "sgd", "momentum": 0.9}`; a function of the parameter
            groups; or a built optimiser, used as it is.
        groups: Parameter groups with their learning rates.

    Raises:
        ObjectiveError: If the name is unknown, or an option is not one of the optimiser's.
    """
    if isinstance(spec, Optimizer):
        return spec
    if callable(spec):
        return spec(groups)
    options = dict(spec) if isinstance(spec, Mapping) else {"name": spec}
    name = str(options.pop("name", "adam")).lower()
    if name not in OPTIMIZERS:
        raise ObjectiveError(f"unknown optimizer {name!r}. {nearest(name, OPTIMIZERS)}")
    parameters = [p for group in groups for p in group["params"]]
    plain = all(
        isinstance(p, Tensor) and p.is_floating_point() and p.device.type in ("cpu", "cuda") for p in parameters
    )
    fast = {"fused": True} if name in FUSED and plain else {"foreach": True}
    try:
        return OPTIMIZERS[name](groups, **{**fast, **options})
    except TypeError as error:
        raise ConfigError([f"{error}"], f"optimizer {name!r}") from error


def decay_lines(optimizer: Optimizer) -> list[str]:
    """Say which weight decay moves parameters without being in the total."""
    values = sorted({group.get("weight_decay", 0) for group in optimizer.param_groups} - {0})
    name = type(optimizer).__name__
    how = "decoupled" if isinstance(optimizer, torch.optim.AdamW) else "added to the gradient"
    return [f"weight_decay {value:g} of {name} ({how}): moves parameters, is in no loss" for value in values]
