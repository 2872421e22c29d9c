"""The three kinds of balancing method, by what they need: losses, their gradients' inner products, or gradients."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Literal

import numpy as np
import torch
from torch import Tensor

from multiloss.balancing.base import Array, Balancing, Heads
from multiloss.balancing.by_loss import wide
from multiloss.core.errors import BalancingError


class LossWeighting(Balancing):
    """A method that needs the values of the losses and nothing else: one backward pass."""

    needs: ClassVar[str] = "losses"

    @abstractmethod
    def weigh(self, losses: Tensor) -> Tensor:
        """Return the factors `[m]` for the losses `[m]`, float64 on their device, without asking the device."""

    def problems(self) -> list[str]:
        """Return what is wrong with the options."""
        plain = self.heads == "plain"
        return super().problems() + (
            ["heads: expected 'weighted': one backward pass weighs every parameter alike"] if plain else []
        )

    @torch.no_grad()
    def weights(self, names: Sequence[str], losses: Tensor) -> Tensor:
        """Return the factors of this step, `[m]`.

        Args:
            names: The losses of this step.
            losses: Their weighted values, `[m]`.

        Raises:
            BalancingError: If the method needs losses above zero and one is below. On an accelerator only the first
                step is checked, because asking costs a synchronisation.
        """
        if not self.due(names):
            return self.reused(names, losses.device)
        self.begin(names, losses.device)
        self._check_sign(names, losses)
        return self._finish(self.weigh(losses.detach().to(wide(losses.device))))


@dataclass(eq=False, repr=False)
class GramianWeighting(Balancing):
    """A method that needs the inner products of the losses' gradients: a backward pass for each loss."""

    needs: ClassVar[str] = "Gramian"
    of: ClassVar[Literal["shared", "last_layer"]] = "shared"
    """The parameters whose gradients it compares."""
    heads: Heads = field(default="plain", kw_only=True)

    @property
    def blocks(self) -> Literal["model", "layer", "tensor"]:
        """What has factors of its own."""
        return "model"

    @property
    def batches(self) -> int:
        r"""Independent batches in a step; with two or more, `gramian` is $J_1 J_2^\top$ and the last is applied."""
        return 1

    def problems(self) -> list[str]:
        """Return what is wrong with the options."""
        found = super().problems()
        if self.every != 1 and (self.batches != 1 or self.blocks != "model"):
            found.append("every: expected 1 where factors are estimated by block or from several batches")
        if self.ema and self.blocks != "model":
            found.append("ema: expected 0 where factors are estimated by block")
        return found

    @abstractmethod
    def weigh(self, gramian: Array, losses: Array) -> Array:
        """Return the factors `[m]` for a Gramian `[m, m]`, m >= 2.

        Args:
            gramian: Inner products of the gradients, finite, not all of them zero; a row may be.
            losses: Weighted values, `[m]`.
        """

    def weigh_blocks(self, gramians: Array, losses: Array) -> Array:
        """Return factors `[g, m]` for the Gramians `[g, m, m]` of `blocks`."""
        return np.stack([self.weigh(gramian, losses) for gramian in gramians])

    def weights(self, names: Sequence[str], gramians: Array, losses: Array) -> Tensor:
        """Return the factors of this step, `[m]`, or `[g, m]` for several blocks; float64 on the CPU.

        Args:
            names: The losses of this step.
            gramians: `[g, m, m]`, float64, finite.
            losses: Their weighted values, `[m]`.

        Raises:
            BalancingError: If the solution does not keep the method's promise.
        """
        self.begin(names, torch.device("cpu"))
        if self.positive:
            self.refuse_negative(names, losses.tolist())
        if len(names) == 1:
            self.note = "one loss: nothing to balance"
            return self._finish(torch.ones(1, dtype=torch.float64))
        if not gramians.any():
            self.note = "every gradient is zero: equal weights"
            return self._finish(torch.ones(len(names), dtype=torch.float64))
        found = self.weigh_blocks(gramians, losses)
        if not np.isfinite(found).all():
            raise BalancingError(
                f"{self.name}: expected finite weights, found {found.tolist()}. It is a bug: report it"
            )
        return self._finish(torch.from_numpy(found if len(found) > 1 else found[0]))


@dataclass(eq=False, repr=False)
class JacobianAggregator(Balancing):
    """A method that works by coordinate, or on a memory of each gradient: it needs the gradients themselves."""

    needs: ClassVar[str] = "Jacobian"
    sums: ClassVar[bool] = False
    natural: ClassVar[Literal["mean", "sum"]] = "sum"
    """The length that its paper's update has."""
    heads: Heads = field(default="plain", kw_only=True)

    def problems(self) -> list[str]:
        """Return what is wrong with the options."""
        found = super().problems()
        if self.every != 1 or self.ema:
            found.append("every, ema: expected none: the method needs every gradient in every step")
        return found

    @abstractmethod
    def aggregate(self, jacobian: Tensor, losses: Tensor, features: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """Return the combined gradient `[n]` and, where there are some, factors `[m]`.

        Args:
            jacobian: Gradients of the losses, `[m, n]`, in the parameters' precision.
            losses: Weighted values, `[m]`, float64.
            features: Where the rows are gradients of features (`engine="features"`), these features `[B, ...]`.
        """

    @torch.no_grad()
    def update(
        self, names: Sequence[str], jacobian: Tensor, losses: Tensor, features: Tensor | None = None
    ) -> tuple[Tensor, Tensor | None]:
        """Return the combined gradient of this step, `[n]`, and factors `[m]` where the method has some."""
        self.begin(names, jacobian.device)
        self._check_sign(names, losses)
        if len(names) == 1:
            self.note = "one loss: nothing to balance"
            return jacobian[0], torch.ones(1, dtype=torch.float64, device=jacobian.device)
        combined, weights = self.aggregate(jacobian, losses.detach().to(wide(losses.device)), features)
        if self.scale not in ("paper", self.natural):
            factor = len(names) if self.scale == "sum" else 1 / len(names)
            combined, weights = combined * factor, None if weights is None else weights * factor
        return combined, weights
