"""Stops NaN and infinity before they reach the parameters, without asking the device in the step."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.optim import Optimizer


class Guard:
    """Watches every gradient and the total; once one is not finite, the optimiser's steps do nothing.

    The flag lives on the device and is sticky. Fused optimisers read it there (`found_inf`), so the parameters stay
    as the last finite step left them however late the host looks.

    Args:
        optimizer: The optimiser; one that is not fused has to be stopped by the host.
        device: Where the gradients are.
        sparse: Whether gradients may be sparse.

    Attributes:
        every: Steps between two looks of the host: one where looking costs nothing, or where only the host can stop
            the optimiser.
    """

    def __init__(self, optimizer: Optimizer, device: torch.device, sparse: bool = False) -> None:
        self.bad = torch.zeros((), device=device)
        self._one = torch.ones((), device=device)
        self._parameters = [p for group in optimizer.param_groups for p in group["params"]]
        self._plain = all(p.dtype == torch.float32 for p in self._parameters) and not sparse
        self._optimizer = optimizer
        fused = all(group.get("fused") for group in optimizer.param_groups)
        self.every = 16 if fused and device.type != "cpu" else 1
        if fused:
            optimizer.found_inf = self.bad  # type: ignore[attr-defined]

    def watch(self, total: Tensor | None, gradients: bool = True) -> None:
        """Raise the flag if the total or, where asked, any gradient is not finite. One operation on the device."""
        found = [p.grad for p in self._parameters if p.grad is not None] if gradients else []
        if total is not None:
            found.append(total)
        if self._plain:
            self._look(found)
            return
        values = [tensor._values() if tensor.is_sparse else tensor for tensor in found]
        for dtype in {tensor.dtype for tensor in values}:
            self._look([tensor for tensor in values if tensor.dtype == dtype])

    def _look(self, tensors: list[Tensor]) -> None:
        # torch's own overflow check of GradScaler; scaled by one, it changes no finite value
        if tensors:
            torch._amp_foreach_non_finite_check_and_unscale_(tensors, self.bad, self._one)

    def tripped(self) -> bool:
        """Ask the device whether the flag is up."""
        return bool(self.bad.item())

    def clear(self) -> None:
        """Lower the flag."""
        self.bad.zero_()

    def leave(self) -> None:
        """Let the optimiser go, which may be the user's own."""
        if hasattr(self._optimizer, "found_inf"):
            del self._optimizer.found_inf
