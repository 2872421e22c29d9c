"""The one door from named losses to `.grad`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import torch
from torch import Tensor, nn

from multiloss.arguments import named_losses, shown, tensors
from multiloss.balance import Balanced, method_of
from multiloss.balance_batches import run_batches
from multiloss.balancing.registry import BalancingSpec
from multiloss.core.errors import BalancingError, ObjectiveError
from multiloss.core.records import StepRecord
from multiloss.gradients.select import resolve_engine
from multiloss.step_losses import StepLosses


def backward(
    losses: Mapping[str, Tensor] | Sequence[Mapping[str, Tensor]],
    weights: Mapping[str, float] | None = None,
    *,
    balancing: BalancingSpec | None = None,
    model: nn.Module | None = None,
    shared: Iterable[Tensor] | None = None,
    features: Tensor | Sequence[Tensor] | None = None,
    engine: str = "auto",
    scaler: torch.amp.GradScaler | None = None,
    retain_graph: bool = False,
) -> StepRecord:
    r"""Differentiate named losses and add the result to every `.grad`.

    $$ \nabla \sum_k w_k L_k = \sum_k w_k \nabla L_k $$

    A parameter that several losses reach gets the weighted sum of their gradients; there is one set of parameters
    and one gradient. A loss of weight 0 is recorded and costs nothing. Like `Tensor.backward`, gradients accumulate.

    With `balancing=`, a method chooses a further factor for each loss, or combines the gradients of the shared
    parameters by a rule of its own. It sees the weighted losses $w_k L_k$. Penalties stay outside: their gradient is
    added as it is. Parameters that one loss alone reaches get that loss's gradient, times its factor where the
    method's `heads` is `"weighted"`. Each call balances its own losses: with gradient accumulation, each micro-batch.

    Args:
        losses: Scalars by name: any mapping, or what an `Objective` returned (which brings its own weights). A
            list of them, one for each batch, for a method that takes several independent batches in a step.
        weights: Factor of each loss; 1 where a name is left out. Not for an objective's losses: set its
            `loss_weights` instead.
        balancing: A method, its name, or `{"name": "cagrad", "c": 0.4, "every": 10}`. One asked for by name is made
            once for `model` and kept with it; make it yourself to save its state.
        model: The model, for methods asked for by name that remember earlier steps, or that work by layer.
        shared: Parameters whose gradients are compared. By default those that two or more losses reach, found from
            the graph.
        features: What the trunk hands to the heads. Found from the graph; name it where a graph shows no border.
        engine: What computes the gradient of each loss: `"auto"`, or one of `multiloss.GRADIENT_ENGINES`.
        scaler: Scales the total before it is differentiated, for float16; unscale before the optimiser's step.
        retain_graph: Whether the losses may be differentiated once more.

    Returns:
        The step, on the device: read it with `Ledger.add`.

    Raises:
        BalancingError: If the method or the engine cannot be used so.
        NonFiniteError: If a method that compares gradients finds one that is not finite; its `names` say which.
        ObjectiveError: If a value is no scalar of floats, a weight has no loss or is not a finite number >= 0, or no
            loss with a weight depends on a parameter.

    Examples:
        >>> import torch
        >>> w = torch.tensor(2.0, requires_grad=True)
        >>> record = backward({"a": w * 3, "b": w**2}, weights={"b": 0.5})
        >>> w.grad.item(), record.total.item()
        (5.0, 8.0)
    """
    resolve_engine(engine)
    if not isinstance(losses, Mapping):
        if not isinstance(losses, Sequence) or not losses or not all(isinstance(own, Mapping) for own in losses):
            raise ObjectiveError(f"expected losses by name, or a list of such, found {shown(losses)}")
        if balancing is None:
            raise BalancingError("expected the losses of one batch, found a list; only some balancing methods take one")
        named = [named_losses(own, weights) for own in losses]
    else:
        named = [named_losses(losses, weights)]
    if balancing is None:
        if any(term.weight for term in named[0].terms):
            total = named[0].total if scaler is None else scaler.scale(named[0].total)
            total.backward(retain_graph=retain_graph)  # type: ignore[no-untyped-call]
        return named[0].record()
    method, given = method_of(balancing, model), tensors("shared", shared)
    given_features = tensors("features", features) or ()
    parts = [
        Balanced(
            StepLosses(own, model=model, shared=given, features=given_features, scaler=scaler),
            method,
            engine=engine,
            retain_graph=retain_graph,
        )
        for own in named
    ]
    return parts[0].run() if isinstance(losses, Mapping) else run_batches(parts)
