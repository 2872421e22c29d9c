"""One addend of the total: the loss of one output, over the labels that a batch holds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

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
            return []
        if weight is None and count == target.numel():
            return self._complete(pred, target, count)
        mask = labelled(target, self.ignore_index)
        if self.loss.custom:
            return self._selected(pred, target, weight, mask)
        # one label per sample: the host knows the divisor; a vector may count only if all of it is there
        known = count if weight is None and self.reduction == "labelled" and target.dim() == 1 else None
        value, denominator = masked_mean(
            self.loss.elementwise, pred, target, mask, self.loss.fill, weight, self.reduction, known
        )
        return [Reduced(self.output, value, mask.sum() if count is None else count, denominator)]

    def _complete(self, pred: Tensor, target: Tensor, count: int) -> list[Reduced]:
        result = self.loss.mean(pred, target)
        if type(result) is Tensor and not result.dim():
            return [Reduced(self.output, result, count, count)]
        return [Reduced(name, part.mean(), count, count) for name, part in self._parts(result).items()]

    def _selected(self, pred: Tensor, target: Tensor, weight: Tensor | None, mask: Tensor) -> list[Reduced]:
        """Give a user's own loss only the rows with labels: the one way that is right for any reduction inside it."""
        rows = mask.reshape(len(mask), -1).all(1)
        count = int(rows.sum())
        if not count:
            return []
        chosen = None if weight is None else weight[rows]
        divisor = len(rows) if self.reduction == "batch" else count if chosen is None else chosen.sum()
        parts = self._parts(self.loss.mean(pred[rows], target[rows]))
        return [Reduced(k, _sum(k, part, chosen, count) / divisor, count, divisor) for k, part in parts.items()]

    def _parts(self, result: Any) -> dict[str, Tensor]:
        parts = {f"{self.output}/{key}": part for key, part in result.items()} if isinstance(result, Mapping) else {}
        parts = parts or {self.output: result}
        for name, part in parts.items():
            if not isinstance(part, Tensor):
                raise ObjectiveError(f"loss of {name!r}: expected a tensor or a dict of tensors, found {part!r}")
        return parts


def _sum(name: str, values: Tensor, weight: Tensor | None, count: int) -> Tensor:
    if weight is None:
        return values.mean() * count
    if values.dim() == 0:
        raise ObjectiveError(
            f"loss of {name!r}: expected one value per sample, because sample_weight is given, found a scalar. "
            "Return the loss unreduced"
        )
    return (values * weight.reshape(len(weight), *weight.shape[1:], *[1] * (values.dim() - weight.dim()))).sum()
