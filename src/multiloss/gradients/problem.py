"""What losses share and what each has for itself, read from their graph."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from torch import Tensor, nn
from torch.autograd.function import BackwardCFunction
from torch.autograd.graph import Node

from multiloss.core.errors import BalancingError
from multiloss.gradients.base import Problem
from multiloss.gradients.graph import Graph, walk


def find_problem(
    values: Mapping[str, Tensor],
    *,
    shared: Iterable[Tensor] | None = None,
    model: nn.Module | None = None,
    features: Sequence[Tensor] = (),
) -> Problem:
    """Return the losses that share parameters, and which.

    Args:
        values: Scalars by name, times the user's weights.
        shared: Parameters to compare gradients of. By default those that two or more losses reach.
        model: Where `shared` is not given: only its parameters are compared, in its order. Without it, every tensor
            that requires gradients and has no history counts, in the order of its first use.
        features: What the trunk hands to the heads.

    Raises:
        BalancingError: If `shared` holds what is no parameter, or nothing that a loss reaches.

    Examples:
        >>> import torch
        >>> trunk, one, two, three = (nn.Linear(2, 2) for _ in range(4))
        >>> z = trunk(torch.ones(3, 2))
        >>> problem = find_problem({"one": one(z).sum(), "two": two(z).sum(), "three": three(z.detach()).sum()})
        >>> problem.names, problem.alone
        (('one', 'two'), ('three',))
        >>> [tensor is parameter for tensor, parameter in zip(problem.shared, trunk.parameters())]
        [True, True]
    """
    given = None if shared is None else list(shared)
    if any(not tensor.is_leaf for tensor in given or ()):
        raise BalancingError("shared: expected parameters, found a tensor that was computed. Give that as features=")
    moving = {name: value for name, value in values.items() if value.requires_grad}
    constant = tuple(name for name in values if name not in moving)
    graph = walk(list(moving.values()))
    if given is None and (node := merged_node(graph)) is not None:
        raise BalancingError(
            f"expected a graph that shows what the losses share, found one node for trunk and heads ({node.name()}): "
            "the model is compiled as a whole, or code of its own computes several outputs at once. Give shared=, or "
            "compile the trunk alone"
        )
    compared = _compared(graph, given, model)
    reaching = 0
    for mask in compared.values():
        reaching |= mask
    if given is not None and moving and not compared:
        raise BalancingError(
            f"shared: expected parameters that a loss depends on, found {len(given)} that none of "
            f"{', '.join(moving)} reaches. Are they frozen, or is another model's trunk given?"
        )
    names = list(moving)
    kept = [k for k in range(len(names)) if reaching >> k & 1]
    chosen = {id(tensor) for tensor in compared}
    others = [(tensor, graph.losses[node]) for tensor, node in graph.leaves if id(tensor) not in chosen]
    alone = [k for k in range(len(names)) if not reaching >> k & 1]
    return Problem(
        names=tuple(names[k] for k in kept),
        values=tuple(moving[names[k]] for k in kept),
        shared=tuple(compared),
        reach=tuple(tuple(i for i, k in enumerate(kept) if mask >> k & 1) for mask in compared.values()),
        own=tuple(tuple(tensor for tensor, mask in others if mask >> k & 1) for k in kept),
        graph=graph if not alone else walk([moving[names[k]] for k in kept]),
        features=tuple(features),
        alone=tuple(names[k] for k in alone),
        constant=constant,
        entangled=bool(alone) and _entangled(graph, reaching),
    )


def merged_node(graph: Graph) -> Node | None:
    """Return a node of compiled or custom code with outputs that some losses use and others do not, if there is one.

    Every loss that passes through it seems to reach every parameter behind it.
    """
    merged = {n for n in graph.nodes if issubclass(type(n), BackwardCFunction) and graph.shared(n)}
    used: dict[tuple[Node, int], int] = {}
    ways = [(root.node, root.output_nr, 1 << k) for k, root in enumerate(graph.roots)]
    ways += [(child, place, graph.losses[n]) for n in graph.nodes for child, place in graph.edges[n] if child in merged]
    for node, place, mask in ways:
        used[node, place] = used.get((node, place), 0) | mask
    for (node, _), mask in used.items():
        leads_to_leaves = any(child is not None and hasattr(child, "variable") for child, _ in graph.edges[node])
        if node in merged and leads_to_leaves and mask != graph.losses[node]:
            return node
    return None


def _compared(graph: Graph, shared: list[Tensor] | None, model: nn.Module | None) -> dict[Tensor, int]:
    """Return the tensors to compare, each with a bit for every loss that reaches it."""
    reached = {id(tensor): graph.losses[node] for tensor, node in graph.leaves}
    if shared is not None:
        return {tensor: reached[id(tensor)] for tensor in shared if id(tensor) in reached}
    candidates = [tensor for tensor, _ in graph.leaves] if model is None else list(model.parameters())
    masks = ((tensor, reached.get(id(tensor), 0)) for tensor in candidates)
    return {tensor: mask for tensor, mask in masks if mask & (mask - 1)}


def _entangled(graph: Graph, reaching: int) -> bool:
    return any(mask & reaching and mask & ~reaching and graph.edges[node] for node, mask in graph.losses.items())
