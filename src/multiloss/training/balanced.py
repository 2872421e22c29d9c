"""What a fit does for a balancing method beside its step: losses once more, held-out losses, the end of an epoch."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from multiloss.balancing.base import Balancing
from multiloss.core.errors import BalancingError
from multiloss.core.losses import Losses
from multiloss.data.arrays import Inputs
from multiloss.data.batch import Batch, Source, named_inputs
from multiloss.nn.untouched import random_state_of, set_random_state_of, untouched
from multiloss.training.forward import Forward, evaluating


class MethodFeed:
    """Brings a method what it `wants`.

    Args:
        method: The method.
        forward: Computes losses.
        validation: Where held-out losses come from.

    Raises:
        BalancingError: If the method wants held-out losses and there are none.
    """

    def __init__(self, method: Balancing, forward: Forward, validation: Source | None) -> None:
        if "validation" in method.wants and validation is None:
            raise BalancingError(f"{method.name} weighs by held-out losses: expected validation data, found none")
        self.method, self.forward, self._validation = method, forward, validation
        self._held: Iterator[Batch] | None = None
        self._random: list[Tensor] = []

    def before_forward(self) -> None:
        """Remember the random state, so that a second look at the batch drops out the same units."""
        if "losses_after" in self.method.wants:
            self._random = random_state_of(self.forward.devices.device)

    def before_backward(self, step: int) -> None:
        """Show the method a held-out batch, one after the other as steps go by."""
        if "validation" not in self.method.wants:
            return
        batch = self._next_held(step)
        with evaluating(self.forward.model), torch.no_grad():
            names, values = active_losses(self.forward(batch))
        if names:
            self.method.see_validation(names, values)

    def after_step(self, batch: Batch) -> None:
        """Show the method the losses of the same batch, with the parameters as they are now."""
        if "losses_after" not in self.method.wants:
            return
        device = self.forward.devices.device
        here = random_state_of(device)
        set_random_state_of(self._random, device)
        with torch.no_grad(), untouched(self.forward.model):
            names, values = active_losses(self.forward(batch))
        set_random_state_of(here, device)
        if names:
            self.method.after_step(names, values)

    def end_epoch(self) -> None:
        """Tell the method that an epoch has ended."""
        if "epoch_end" in self.method.wants:
            self.method.end_epoch()

    def _next_held(self, step: int) -> Batch:
        assert self._validation is not None
        if self._held is None:  # a fit that goes on finds its place again
            steps = self._validation.steps
            self._held = self._validation.batches(None, step % steps if steps else 0)
        batch = next(self._held, None)
        if batch is None:
            self._held = self._validation.batches(None)
            batch = next(self._held)
        return batch


def split_batch(batch: Batch, parts: int) -> list[Batch]:
    """Return a batch cut by rows into independent parts; the whole of it for each where a part would hold one row.

    Examples:
        >>> whole = Batch(torch.arange(6.0), {"y": torch.arange(6.0)}, None, {"y": 6}, None)
        >>> [part.inputs.tolist() for part in split_batch(whole, 3)]
        [[0.0, 1.0], [2.0, 3.0], [4.0, 5.0]]
    """
    rows = len(next(iter(named_inputs(batch.inputs).values())))
    if rows < 2 * parts:  # batch normalisation needs two
        return [batch] * parts
    size = rows // parts
    cuts = [slice(i * size, rows if i == parts - 1 else (i + 1) * size) for i in range(parts)]
    return [_rows_of(batch, cut) for cut in cuts]


def _rows_of(batch: Batch, cut: slice) -> Batch:
    inputs, weights = batch.inputs, batch.sample_weight
    part: Inputs
    if isinstance(inputs, Tensor):
        part = inputs[cut]
    elif isinstance(inputs, dict):
        part = {name: value[cut] for name, value in inputs.items()}
    else:
        part = tuple(value[cut] for value in inputs)
    return Batch(
        part,
        {name: target[cut] for name, target in batch.targets.items()},
        None if weights is None else {name: weight[cut] for name, weight in weights.items()},
        {},
        None if batch.rows is None else batch.rows[cut],
    )


def active_losses(losses: Losses) -> tuple[list[str], Tensor]:
    """Return the names and the weighted values of the losses that a method sees."""
    terms = [term for term in losses.terms if term.kind == "loss" and term.weight]
    values = [term.value.detach() * term.weight for term in terms]
    return [term.name for term in terms], torch.stack(values) if values else torch.empty(0)
