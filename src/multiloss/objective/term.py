"""One addend of the total: the loss of one output, over the labels that a batch holds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from multiloss.core.errors import ObjectiveError
from multiloss.core.labels import labelled
from multiloss.core.types import IGNORE_INDEX
from multiloss.objective.losses import Loss
from multiloss.objective.missing import Reduction, masked_mean


class Reduced(NamedTuple):
    """A loss over one batch: its mean, the labels behind it, and what the sum was divided by."""

    name: str
    value: Tensor
    labels: int | Tensor
    denominator: float | Tensor


@dataclass(frozen=True, slots=True)
class LossTerm:
    r"""The loss of one output.

    With $B$ the samples, $m_i$ whether sample $i$ has a label and $s_i$ its weight,

    $$ \mathrm{value} = \frac{\sum_i m_i s_i \ell_i}{\sum_i m_i s_i} \quad\text{(labelled)}, \qquad
       \frac{\sum_i m_i s_i \ell_i}{B} \quad\text{(batch, Keras's rule)}. $$

    A sample weight of 0 is thus no label under `labelled`, and a label that costs nothing under `batch`.

    Attributes:
        output: Name of the output.
        loss: Its loss.
        reduction: What the sum is divided by.
        ignore_index: The integer that means "no label".
    """

    output: str
    loss: Loss
    reduction: Reduction = "labelled"
    ignore_index: int = IGNORE_INDEX

    def reduce(self, pred: Tensor, target: Tensor, weight: Tensor | None, count: int | None) -> list[Reduced]:
        """Return the term's values: one, or one for each part of a loss that returns a mapping; none without labels.

        Args:
            pred: Outputs `[B, ...]`.
            target: Targets `[B, ...]`.
            weight: Sample weights `[B]` or of the target's shape.
            count: Labels in `target`, where the host knows; on the CPU they are counted here. On an accelerator
                without a count, a batch without labels has value 0 with zero gradients instead of none.
        """
        if count is None and target.device.type == "cpu":
            count = int(labelled(target, self.ignore_index).sum())
        if count == 0:
            if self.reduction == "labelled" or self.loss.custom:
                return []
            pred = pred.detach()  # the mean over this batch is 0 and counts as such, but moves nothing
        elif self.loss.custom:
            return self._custom(pred, target, weight, count)
        elif weight is None and count == target.numel():
            return [self._complete(pred, target, count)]
        mask = labelled(target, self.ignore_index)
        # one label per sample: the host knows the divisor; a vector may count only if all of it is there
        known = count if weight is None and self.reduction == "labelled" and target.dim() == 1 else None
        value, denominator = masked_mean(
            self.loss.elementwise, pred, target, mask, self.loss.fill, weight, self.reduction, known
        )
        return [Reduced(self.output, value, mask.sum() if count is None else count, denominator)]

    def _complete(self, pred: Tensor, target: Tensor, count: int) -> Reduced:
        if target.dim() == 1:
            return Reduced(self.output, self.loss.mean(pred, target), count, count)
        values = self.loss.elementwise(pred, target)  # a vector may be one label or many, and weighs accordingly
        return Reduced(self.output, values.mean(), count, values.numel())

    def _custom(self, pred: Tensor, target: Tensor, weight: Tensor | None, count: int | None) -> list[Reduced]:
        """Give a user's own loss only the rows with labels: the one way that is right for any reduction inside it."""
        batch = len(target)
        if count != target.numel():
            rows = labelled(target, self.ignore_index).reshape(batch, -1).all(1)
            if not rows.any():
                return []
            pred, target, weight = pred[rows], target[rows], None if weight is None else weight[rows]
        parts = self._parts(self.loss.mean(pred, target))
        kept, whole = len(target), self.reduction == "batch"
        if weight is not None:
            averaged = {
                name: _weighted_mean(name, part, weight, batch if whole else None) for name, part in parts.items()
            }
            return [Reduced(name, value, kept, divisor) for name, (value, divisor) in averaged.items()]
        factor, divisor = (kept / batch, batch) if whole else (1.0, kept)
        means = {name: part.mean() if part.dim() else part for name, part in parts.items()}
        return [Reduced(name, m if factor == 1.0 else m * factor, kept, divisor) for name, m in means.items()]

    def _parts(self, result: Any) -> dict[str, Tensor]:
        parts = {f"{self.output}/{key}": part for key, part in result.items()} if isinstance(result, Mapping) else {}
        parts = parts or {self.output: result}
        for name, part in parts.items():
            if not isinstance(part, Tensor):
                raise ObjectiveError(f"loss of {name!r}: expected a tensor or a dict of tensors, found {part!r}")
        return parts


def _weighted_mean(name: str, values: Tensor, weight: Tensor, batch: int | None) -> tuple[Tensor, Tensor | float]:
    """Return the mean and what it was divided by: the weights, or `batch` samples."""
    if values.dim() == 0:
        raise ObjectiveError(
            f"loss of {name!r}: expected one value per sample, because sample_weight is given, found a scalar. "
            "Return the loss unreduced"
        )
    if weight.dim() == 1 and values.dim() > 1 and len(values) == len(weight):
        values = values.flatten(1).mean(1)
    if weight.shape != values.shape:
        raise ObjectiveError(
            f"loss of {name!r}: expected values that fit sample weights of shape {tuple(weight.shape)}, "
            f"found {tuple(values.shape)}. Return one value per sample"
        )
    weight = weight.to(values.dtype)
    total = (values * weight).sum()
    if batch is not None:
        divisor = batch * values[0].numel()
        return total / divisor, divisor
    divided = weight.sum()
    return total / torch.where(divided > 0, divided, 1), divided
