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

    Attributes:
        every: Steps between two looks of the host: one where looking costs nothing.
    """

    def __init__(self, optimizer: Optimizer, device: torch.device) -> None:
        self.bad = torch.zeros((), device=device)
        self._one = torch.ones((), device=device)
        self._parameters = [p for group in optimizer.param_groups for p in group["params"]]
        self.every = 1 if device.type == "cpu" else 16
        if any(group.get("fused") for group in optimizer.param_groups):
            optimizer.found_inf = self.bad  # type: ignore[attr-defined]

    def watch(self, total: Tensor | None, gradients: bool = True) -> None:
        """Raise the flag if the total or, where asked, any gradient is not finite. One operation on the device."""
        found = [] if total is None else [total]
        if gradients:
            found += [p.grad for p in self._parameters if p.grad is not None]
        groups: dict[tuple[object, ...], list[Tensor]] = {}
        for tensor in found:
            values = tensor._values() if tensor.is_sparse else tensor
            groups.setdefault((values.dtype, values.device), []).append(values)
        for same in groups.values():
            # torch's own overflow check of GradScaler; scaled by one, it changes no finite value
            torch._amp_foreach_non_finite_check_and_unscale_(same, self.bad, self._one)

    def tripped(self) -> bool:
        """Ask the device whether the flag is up."""
        return bool(self.bad.item())

    def clear(self) -> None:
        """Lower the flag."""
        self.bad.zero_()
