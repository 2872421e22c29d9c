"""The gradient flow of one step: what each loss does to the parameters that it shares with others."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace

import torch
from torch import Tensor, nn

from multiloss.arguments import named_losses, tensors
from multiloss.core.errors import BalancingError, NonFiniteError, ObjectiveError
from multiloss.core.flow import PENALTY, GradientFlow, Reach
from multiloss.gradients.base import Problem
from multiloss.gradients.graph import walk
from multiloss.gradients.problem import merged_node
from multiloss.gradients.select import resolve_engine
from multiloss.nn.base import unwrap
from multiloss.nn.untouched import same_random_numbers, untouched
from multiloss.step_losses import StepLosses
from multiloss.watched_step import WatchedStep

MOST_NUMBERS = 1 << 27
"""Gradients that are held at once, in numbers: half a gigabyte in float32."""


def gradient_flow(
    losses: Mapping[str, Tensor],
    model: nn.Module | None = None,
    *,
    weights: Mapping[str, float] | None = None,
    shared: Iterable[Tensor] | None = None,
) -> GradientFlow:
    r"""Return which loss moves the shared parameters how much, layer by layer, and how far the losses conflict.

    There is one set of shared parameters and one gradient, $u = \sum_k w_k \nabla L_k$. It takes a backward pass for
    each loss, retains the graph and fills no `.grad`: call it before `backward`, every hundredth step, say. Reading
    the result waits for the device.

    Args:
        losses: Scalars by name, or what an `Objective` returned, which brings weights and penalties.
        model: Names the layers; without it, each parameter is a layer of its own.
        weights: Factor of each loss; 1 where a name is left out.
        shared: Parameters to look at. By default those that two or more losses reach, found from the graph.

    Raises:
        BalancingError: If the model is compiled as a whole and `shared` is not given, can be differentiated only once,
            or does not hold the parameters that the losses share.
        NonFiniteError: If a loss or its gradient is not finite.
        ObjectiveError: If a value is no scalar of floats, no loss with a weight depends on a parameter, or a loss is
            called `penalty`.

    Examples:
        >>> trunk, priority, department = nn.Linear(4, 8), nn.Linear(8, 1), nn.Linear(8, 3)
        >>> z = trunk(torch.ones(5, 4))
        >>> flow = gradient_flow({"priority": priority(z).square().mean(), "department": department(z).square().mean()})
        >>> flow.losses, flow.shared, round(sum(flow.shares.values()), 6)
        (('priority', 'department'), 40, 1.0)
    """
    step = StepLosses(named_losses(losses, weights), model=model, shared=tensors("shared", shared))
    if not step.active:
        raise ObjectiveError("expected losses with a weight above 0 that depend on a parameter, found none")
    flow = watch_step(step).read()
    if flow is None:
        raise NonFiniteError("expected finite losses and gradients, found NaN or infinity. Look at the losses' values")
    return flow


def watch_step(step: StepLosses) -> WatchedStep:
    """Measure the gradient of each loss and of the penalties; the graph is retained, and no `.grad` is filled.

    Buffers and random states stay as they are: activation checkpointing computes a forward pass again.

    Raises:
        BalancingError: If the graph does not show what is shared, or cannot be differentiated more than once.
        ObjectiveError: If a loss is called `penalty`.
    """
    if PENALTY in step.active:
        raise ObjectiveError(f"a loss called {PENALTY!r} cannot be told from the penalties. Give it another name")
    nothing = nullcontext() if step.model is None else untouched(step.model)
    with nothing, same_random_numbers(step.device):
        try:
            return _watched(step)
        except RuntimeError as error:
            raise BalancingError(
                f"expected a model that can be differentiated once for each loss, found: {str(error).splitlines()[0]} "
                "(with activation checkpointing, use_reentrant=False can)"
            ) from error


def _watched(step: StepLosses) -> WatchedStep:
    problem = step.problem()
    _refuse_another_model(step, problem)
    names = _parameter_names(step.model, problem)
    penalty = step.penalty is not None and bool(problem.names)
    first = _first_watched(problem, len(problem.names) + penalty)
    left_out = sum(tensor.numel() for tensor in problem.shared[:first])
    whole, problem = problem, replace(problem, shared=problem.shared[first:], reach=problem.reach[first:])
    layers: dict[str, list[int]] = {}
    for i, tensor in enumerate(problem.shared):
        layers.setdefault(_layer_of(names[id(tensor)]), []).append(i)
    alone = {name: step.active[name] for name in problem.alone}
    leaves = _leaves_alone(alone)
    # the penalties are one more row; the heads of losses that share nothing are own parameters like others
    scale = 1.0 if step.scale is None else step.scale
    asked = replace(
        problem,
        values=(*problem.values, *([step.penalty * scale] if penalty and step.penalty is not None else [])),
        names=(*problem.names, *([PENALTY] if penalty else [])),
        own=(*problem.own, *([()] if penalty else [])),
    )
    size = len(asked.names)
    gradients = resolve_engine("sequential")(asked, retain_graph=True) if size else None
    none = torch.zeros((0, size, size), dtype=torch.float64, device=step.device)
    gramians = none if gradients is None or not layers else gradients.gramians(list(layers.values()))
    own = [] if gradients is None else [*gradients.own[: len(problem.names)]]
    for name, value in alone.items():
        own.append(torch.autograd.grad(value * scale, leaves[name], retain_graph=True, allow_unused=True))
    heads = torch.stack([_norm(found, step.device) for found in own]) if own else none.flatten()
    return WatchedStep(
        weights={term.name: term.weight for term in step.losses.terms if term.kind == "loss"},
        problem=problem,
        layers=layers,
        watched=problem.shared,
        penalty=penalty,
        gramians=gramians / scale**2,
        heads=heads / scale,
        reach=_reach(whole, leaves, names),
        frozen=0 if step.model is None else sum(p.numel() for p in step.model.parameters() if not p.requires_grad),
        absent=step.losses.absent,
        left_out=left_out,
    )


def _refuse_another_model(step: StepLosses, problem: Problem) -> None:
    if step.model is None or step.shared is not None or len(step.active) < 2:
        return
    own = {id(p) for p in step.model.parameters()}
    graph = walk(list(step.active.values()))
    strange = [tensor for tensor, node in graph.leaves if graph.shared(node) and id(tensor) not in own]
    if strange and not problem.names:
        raise BalancingError(
            f"model: expected the model that the losses come from, found one that holds none of the {len(strange)} "
            "parameters that they share. Give the whole model, or leave it out"
        )


def _first_watched(problem: Problem, rows: int) -> int:
    """Return the first position in `shared` from which on all gradients fit into the memory allowed."""
    room = MOST_NUMBERS // max(rows, 1)
    first = len(problem.shared)
    while first and room >= (size := problem.shared[first - 1].numel()):
        room, first = room - size, first - 1
    return first


def _leaves_alone(alone: Mapping[str, Tensor]) -> dict[str, list[Tensor]]:
    if not alone:
        return {}
    graph = walk(list(alone.values()))
    return {
        name: [tensor for tensor, node in graph.leaves if graph.losses[node] >> k & 1] for k, name in enumerate(alone)
    }


def _reach(problem: Problem, alone: Mapping[str, list[Tensor]], names: Mapping[int, str]) -> tuple[Reach, ...]:
    reached: dict[int, tuple[Tensor, list[str]]] = {}
    for tensor, losses in zip(problem.shared, problem.reach, strict=True):
        reached[id(tensor)] = tensor, [problem.names[k] for k in losses]
    # a model compiled as a whole is one node of the graph: what lies behind it seems to be everybody's
    heads = () if merged_node(problem.graph) is not None else zip(problem.names, problem.own, strict=True)
    for name, own in (*heads, *alone.items()):
        for tensor in own:
            reached.setdefault(id(tensor), (tensor, []))[1].append(name)
    groups: dict[tuple[str, ...], list[Tensor]] = {}
    for tensor, losses_of in reached.values():
        groups.setdefault(tuple(losses_of), []).append(tensor)
    return tuple(
        Reach(
            losses,
            sum(tensor.numel() for tensor in found),
            tuple(dict.fromkeys(_layer_of(names.get(id(tensor), "parameter")) for tensor in found)),
        )
        for losses, found in groups.items()
    )


def _parameter_names(model: nn.Module | None, problem: Problem) -> dict[int, str]:
    """Return a name for each parameter; one that is in no model is a layer of its own."""
    found = {} if model is None else {id(p): name for name, p in unwrap(model).named_parameters()}
    leaves = [*problem.shared, *(tensor for own in problem.own for tensor in own)]
    for i, tensor in enumerate({id(tensor): tensor for tensor in leaves}.values(), 1):
        found.setdefault(id(tensor), f"parameter {i} {list(tensor.shape)}")
    return found


def _layer_of(name: str) -> str:
    return name.rpartition(".")[0] or name


def _norm(gradients: Sequence[Tensor | None], device: torch.device) -> Tensor:
    found = [gradient.to_dense().flatten() for gradient in gradients if gradient is not None]
    if not found:
        return torch.zeros((), dtype=torch.float64, device=device)
    whole: Tensor = torch.linalg.vector_norm(torch.stack([torch.linalg.vector_norm(gradient) for gradient in found]))
    return whole.double()
