"""A second look at a model that leaves nothing behind: buffers and random states as they were."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn


@contextmanager
def untouched(model: nn.Module) -> Iterator[None]:
    """Leave every buffer (running statistics of normalisation) as it was before the block.

    Examples:
        >>> norm = nn.BatchNorm1d(1)
        >>> with untouched(norm):
        ...     _ = norm(torch.ones(4, 1))
        >>> norm.running_mean.item(), norm.num_batches_tracked.item()
        (0.0, 0)
    """
    before = [(buffer, buffer.clone()) for buffer in model.buffers()]
    try:
        yield
    finally:
        for buffer, value in before:
            buffer.data.copy_(value)  # past autograd: a graph that holds the buffer would take it for changed


@contextmanager
def same_random_numbers(device: torch.device) -> Iterator[None]:
    """Put the random states back after the block."""
    before = random_state_of(device)
    try:
        yield
    finally:
        set_random_state_of(before, device)


def random_state_of(device: torch.device) -> list[Tensor]:
    """Return the random states that a pass on a device draws from."""
    states = [torch.get_rng_state()]
    return [*states, torch.cuda.get_rng_state(device)] if device.type == "cuda" else states


def set_random_state_of(states: list[Tensor], device: torch.device) -> None:
    """Put random states back."""
    torch.set_rng_state(states[0])
    if len(states) > 1:
        torch.cuda.set_rng_state(states[1], device)
