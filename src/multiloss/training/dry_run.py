"""One batch before training: every mistake at once, nothing changed."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from multiloss.core.errors import MultilossError, ObjectiveError, listed, nearest
from multiloss.core.graph import reached_leaves
from multiloss.core.losses import Losses
from multiloss.core.types import Kind, Tensors, Units
from multiloss.data.batch import Inputs
from multiloss.nn.base import ModelCaller
from multiloss.objective.objective import Objective
from multiloss.training.devices import count_operations


@dataclass(frozen=True)
class DryRun:
    """What one batch showed.

    Attributes:
        problems: Every mistake found, a sentence each.
        terms: Names of the terms of the total, losses before penalties.
        kinds: What each output predicts.
        sizes: Classes or labels of each output.
        operations: Floating-point operations of the forward pass.
    """

    problems: list[str]
    terms: tuple[str, ...] = ()
    kinds: dict[str, Kind] = field(default_factory=dict)
    sizes: dict[str, int] = field(default_factory=dict)
    operations: float = 0.0


def dry_run(
    model: nn.Module,
    objective: Objective,
    inputs: Inputs,
    targets: Tensors,
    *,
    optimizer: Optimizer | None = None,
    sample_weight: Tensors | None = None,
    units: Mapping[str, Units] | None = None,
    caller: ModelCaller | None = None,
) -> DryRun:
    """Try one batch and report all mistakes at once.

    Found are: names that do not match (with the nearest), shapes that would broadcast, class indices out of range,
    wrong dtypes, inputs and targets that are not finite, outputs without a gradient, parameters in no optimiser, and
    metrics that do not fit their output. The model's parameters, buffers and gradients, and the random state, are left
    as they were.

    Args:
        model: The model, on the device of the batch.
        objective: The objective.
        inputs: One batch of inputs.
        targets: Its labels.
        optimizer: The optimiser, to find parameters that it does not hold.
        sample_weight: Weights by output.
        units: Mean and scale of standardised outputs.
        caller: How the model is called, where its outputs need names.

    Example:
        >>> model = nn.Linear(2, 1)
        >>> found = dry_run(
        ...     model, Objective("mse"), torch.zeros(4, 2), {"y": torch.zeros(4)}, caller=ModelCaller(model, ["y"])
        ... )
        >>> found.problems
        ["output 'y': expected targets of the outputs' shape (4, 1), found (4,)..."]
    """
    problems = _input_problems(inputs)
    buffers = {name: copy.deepcopy(buffer) for name, buffer in model.named_buffers()}
    devices = [p.device for p in model.parameters() if p.device.type == "cuda"][:1]
    try:
        with torch.random.fork_rng(devices), count_operations(model) as operations:
            outputs = (caller or ModelCaller(model))(inputs)
            return _check(
                model, objective, outputs, targets, optimizer, sample_weight, units or {}, problems, sum(operations)
            )
    except MultilossError as error:
        return DryRun([*problems, str(error)])
    except (RuntimeError, TypeError, KeyError, IndexError, ValueError) as error:
        if problems:  # inputs of the wrong kind make a model fail in its own words
            return DryRun([*problems, f"the model failed on one batch: {error}"])
        return DryRun([f"the model failed on one batch of inputs {_shape(inputs)}: {type(error).__name__}: {error}"])
    finally:
        for name, buffer in model.named_buffers():
            buffer.data.copy_(buffers[name])


def _check(
    model: nn.Module,
    objective: Objective,
    outputs: Tensors,
    targets: Tensors,
    optimizer: Optimizer | None,
    sample_weight: Tensors | None,
    units: Mapping[str, Units],
    problems: list[str],
    operations: float,
) -> DryRun:
    objective.bind(outputs)
    problems += [
        f"targets have {name!r}, which is no output. {nearest(name, outputs)}"
        for name in targets
        if name not in outputs
    ]
    problems += [
        f"output {name!r} has a loss and no targets in the batch. {nearest(name, targets)}"
        for name in objective.terms
        if name not in targets
    ]
    clean = True
    for name, term in objective.terms.items():
        if name in targets:
            found = term.loss.check(outputs[name], targets[name], objective.ignore_index)
            if targets[name].is_floating_point() and bool(targets[name].isinf().any()):
                found.append("expected finite targets, found infinity. Use NaN where a label is missing")
            problems += [f"output {name!r}: {problem}" for problem in found]
            clean = clean and not found
    kinds, sizes = output_kinds(model, objective, outputs, targets)
    for name, specs in objective.metrics.items():
        for spec in specs:
            try:
                objective.output_metrics(kinds, sizes, units, only={name: (spec,)})
            except MultilossError as error:
                problems.append(f"output {name!r}: {error}")
    names: tuple[str, ...] = ()
    if clean:
        losses = objective(outputs, targets, model=model, sample_weight=sample_weight)
        names = (*losses, *(name for name in losses.absent if name not in losses))
        problems += _gradient_problems(model, losses, optimizer)
    return DryRun(problems, names, kinds, sizes, operations)


def output_kinds(
    model: nn.Module, objective: Objective, outputs: Tensors, targets: Tensors
) -> tuple[dict[str, Kind], dict[str, int]]:
    """Return what each output predicts, and its classes or labels."""
    kinds_of: Callable[[], dict[str, Kind]] = getattr(model, "kinds", dict)
    declared = kinds_of()
    kinds: dict[str, Kind] = {}
    sizes: dict[str, int] = {}
    for name, pred in outputs.items():
        target = targets.get(name, pred)
        kinds[name] = (
            objective.kind(name, pred, target) if name in objective.terms or name not in declared else declared[name]
        )
        columns = pred.shape[1] if pred.dim() > 1 else 1
        sizes[name] = columns + 1 if kinds[name] == "ordinal" else columns
    return kinds, sizes


def _gradient_problems(model: nn.Module, losses: Losses, optimizer: Optimizer | None) -> list[str]:
    named = {name: p for name, p in model.named_parameters() if p.requires_grad}
    if not named:
        return ["expected parameters to train, found every one frozen (requires_grad=False)"]
    problems: list[str] = []
    trained = {id(p) for p in named.values()}
    for term in losses.terms:
        if term.kind == "loss" and term.weight:
            if not bool(term.value.isfinite()):
                problems.append(f"loss {term.name!r} is {term.value.item()} on the first batch")
            if not trained & reached_leaves(term.value):
                problems.append(f"output {term.name!r} has no gradient: no parameter moves its loss. Was it detached?")
    if optimizer is not None:
        held = {id(p) for group in optimizer.param_groups for p in group["params"]}
        left = [name for name, p in named.items() if id(p) not in held]
        if left:
            shown = ", ".join(left[:8]) + (f" and {len(left) - 8} more" if len(left) > 8 else "")
            problems.append(f"parameters in no optimizer: {shown}. Add them, or freeze them with requires_grad_(False)")
    return problems


def _input_problems(inputs: Inputs) -> list[str]:
    named = (
        {"inputs": inputs}
        if isinstance(inputs, Tensor)
        else dict(inputs)
        if isinstance(inputs, dict)
        else dict(enumerate(inputs))
    )
    problems = []
    for name, tensor in named.items():
        if tensor.is_floating_point() and name != "numbers" and not bool(tensor.isfinite().all()):
            rows = (~tensor.reshape(len(tensor), -1).isfinite().all(1)).nonzero()[:5, 0].tolist()
            problems.append(
                f"input {name!r}: expected finite numbers, found NaN or infinity in rows {rows} of the batch"
            )
    return problems


def _shape(inputs: Inputs) -> str:
    if isinstance(inputs, Tensor):
        return f"{tuple(inputs.shape)} {inputs.dtype}"
    parts = inputs.items() if isinstance(inputs, dict) else enumerate(inputs)
    return ", ".join(f"{name}: {tuple(t.shape)} {t.dtype}" for name, t in parts)


def refuse(found: DryRun) -> None:
    """Raise every problem as one error.

    Raises:
        ObjectiveError: If there is any.
    """
    if found.problems:
        raise ObjectiveError(listed(found.problems, "dry run on one batch"))
