"""Validators of single values: each asks the registry that will be asked again when the run is built."""

from __future__ import annotations

import inspect
import math
from collections.abc import Mapping
from typing import Any

from multiloss.core.errors import nearest
from multiloss.core.names import name_problems

BY_LABELS = "balanced"
"""A class weight that is found from the training labels."""

SCHEDULES_OF_FUNCTIONS = ("LambdaLR", "MultiplicativeLR", "SequentialLR", "ChainedScheduler")


def loss(value: Any) -> Any:
    """Check a loss: null, `none`, a name or a mapping."""
    from multiloss.objective.losses import resolve_loss

    if value is None or value == "none":
        return value
    if isinstance(value, Mapping) and "class_weight" in value:
        _class_weight(value["class_weight"])
        resolve_loss({key: item for key, item in value.items() if key != "class_weight"} | {"class_weight": None})
    else:
        resolve_loss(value)
    return value


def _class_weight(value: Any) -> None:
    from multiloss.objective.reading import not_weights

    named = value if isinstance(value, Mapping) else dict(enumerate(value)) if isinstance(value, list) else None
    if named is None and value not in (BY_LABELS, None):
        raise ValueError(
            f"class_weight: expected {BY_LABELS}, a number per class or {{class: number}}, found {value!r}"
        )
    problems = not_weights(**{f"class_weight of {key}": item for key, item in (named or {}).items()})
    if problems:
        raise ValueError("; ".join(problems))


def weight(value: Any) -> Any:
    """Check the weight of a loss: a number of 0 or more, or a schedule."""
    from multiloss.objective.schedule import resolve_weight

    resolve_weight(value)
    return float(value) if isinstance(value, int) else value


def metric(value: Any) -> Any:
    """Check the name of a metric."""
    from multiloss.objective.metrics import ALIASES, METRICS

    if value not in METRICS and value not in ALIASES:
        raise ValueError(f"unknown metric {value!r}. {nearest(str(value), METRICS)}")
    return value


def penalty(value: Any) -> Any:
    """Check a penalty: `{name: l2, coefficient: 0.01, on: trunk}`."""
    from multiloss.objective.penalty import resolve_penalty

    resolve_penalty(value)
    return value


def balancing(value: Any) -> Any:
    """Check a balancing method: null, a name, or `{name: cagrad, c: 0.4}`."""
    from multiloss.balancing.registry import resolve_balancing

    if value is None or value == "none":
        return None
    resolve_balancing(value)
    return value


def engine(value: Any) -> Any:
    """Check the name of a gradient engine."""
    from multiloss.gradients.select import resolve_engine

    resolve_engine(value)
    return value


def activation(value: Any) -> Any:
    """Check the name of an activation."""
    from multiloss.nn.mlp import ACTIVATIONS

    if value not in ACTIVATIONS:
        raise ValueError(f"unknown activation {value!r}. {nearest(str(value), ACTIVATIONS)}")
    return value


def optimizer(value: Any) -> Any:
    """Check the name of an optimiser and the names of its options."""
    from multiloss.training.optimizer import OPTIMIZERS

    options = dict(value) if isinstance(value, Mapping) else {"name": value}
    name = str(options.pop("name", None)).lower()
    if name not in OPTIMIZERS:
        raise ValueError(f"unknown optimizer {options.get('name', name)!r}. {nearest(name, OPTIMIZERS)}")
    if "lr" in options:
        raise ValueError("found lr in it; give training.lr instead")
    known = [key for key in inspect.signature(OPTIMIZERS[name]).parameters if key not in ("params", "lr")]
    _options(options, known, f"option of {name}")
    return value


def lr_schedule(value: Any) -> Any:
    """Check a learning-rate schedule of torch: its name, its options, `interval` and `monitor`."""
    if value is None:
        return value
    options = dict(value) if isinstance(value, Mapping) else {"name": value}
    name, interval = options.pop("name", None), options.pop("interval", "epoch")
    options.pop("monitor", None)
    known = lr_schedules()
    if name not in known:
        raise ValueError(f"unknown schedule {name!r}. {nearest(str(name), known)}")
    if interval not in ("epoch", "step"):
        raise ValueError(f"interval: expected epoch or step, found {interval!r}")
    parameters = inspect.signature(known[name]).parameters
    _options(options, [key for key in parameters if key != "optimizer"], f"option of {name}")
    needed = [key for key, p in parameters.items() if p.default is p.empty and key not in ("optimizer", *options)]
    if needed:
        raise ValueError(f"{name}: expected {', '.join(needed)}, found none; add it")
    return value


def lr_schedules() -> dict[str, Any]:
    """Return torch's schedules by name, those left out that take functions or other schedules."""
    from torch.optim import lr_scheduler as torch_schedules

    base = torch_schedules.LRScheduler
    found = {name: kind for name, kind in vars(torch_schedules).items() if isinstance(kind, type)}
    return {
        name: kind
        for name, kind in found.items()
        if issubclass(kind, base) and kind is not base and name not in SCHEDULES_OF_FUNCTIONS and name[0] != "_"
    }


def _options(given: Mapping[str, Any], known: list[str], what: str) -> None:
    unknown = [f"unknown {what} {key!r}. {nearest(key, known)}" for key in given if key not in known]
    if unknown:
        raise ValueError("; ".join(unknown))


def learning_rate(value: Any) -> Any:
    """Check a learning rate, or rates by part of the model."""
    rates = value if isinstance(value, Mapping) else {"": value}
    for part, rate in rates.items():
        if isinstance(rate, bool) or not isinstance(rate, int | float) or not 0 <= rate < math.inf:
            where = f"{part}: " if part else ""
            raise ValueError(f"{where}expected a finite learning rate of 0 or more, found {rate!r}")
    return value


def threads(value: Any) -> Any:
    """Check a number of threads."""
    if value != "auto" and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
        raise ValueError(f"expected auto or a whole number above 0, found {value!r}")
    return value


def watch_gradients(value: Any) -> Any:
    """Check when gradients are watched."""
    from multiloss.training.watch import steps_between

    steps_between(value)
    return value


def outputs(value: Any) -> Any:
    """Read the outputs: a mapping, or a list of names."""
    if isinstance(value, list | tuple):
        names = [str(name) for name in value]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"expected every output once, found {', '.join(twice)} again; remove it")
        value = dict.fromkeys(names)
    if not isinstance(value, Mapping):
        raise ValueError(f"expected a mapping or a list of columns, found {value!r}")
    if not value:
        raise ValueError("expected at least one output, found none")
    return {name: {} if own is None else own for name, own in value.items()}


def output_name(value: Any) -> Any:
    """Check the name of an output."""
    problems = name_problems([value])
    if problems:
        raise ValueError(problems[0])
    return value


def inputs(value: Any) -> Any:
    """Check the inputs: null, a list of columns, or a kind for some."""
    from multiloss.data.infer import INPUT_KINDS

    if isinstance(value, list):
        return [str(name) for name in value]
    if not (value is None or isinstance(value, Mapping)):
        raise ValueError(f"expected null, a list of columns or {{column: kind}}, found {value!r}")
    wrong = {name: kind for name, kind in (value or {}).items() if kind not in INPUT_KINDS}
    if wrong:
        found = (f"{name}: unknown kind {kind!r}. {nearest(str(kind), INPUT_KINDS)}" for name, kind in wrong.items())
        raise ValueError("; ".join(found))
    return value


def texts(value: Any) -> Any:
    """Read a list of classes as texts: `[1, 2, 3]` is a list of classes too."""
    return [str(item) for item in value] if isinstance(value, list) else value
