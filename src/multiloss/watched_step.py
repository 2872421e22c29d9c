"""From inner products of gradients, measured in one step, to the plain numbers of its gradient flow."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from multiloss.core.flow import PENALTY, GradientFlow, LayerFlow, Reach
from multiloss.core.records import BalancingRecord
from multiloss.gradients.base import Problem


@dataclass(frozen=True)
class WatchedStep:
    """What was measured in one step, on the device until somebody reads it.

    Args:
        weights: The user's weight of each loss of the step.
        problem: The losses that share something, and what.
        layers: Positions in `watched` by name of the layer.
        watched: The shared parameters that were measured.
        penalty: Whether the last row is that of the penalties.
        gramians: `[layers, rows, rows]`, inner products of the weighted losses' gradients.
        heads: `[losses]`, norms of the gradients of what each loss has for itself.
        reach: Which losses reach what.
        frozen: Numbers that do not move.
        absent: Losses without a label.
        left_out: Shared numbers that were not measured.
    """

    weights: dict[str, float]
    problem: Problem
    layers: dict[str, list[int]]
    watched: tuple[Tensor, ...]
    penalty: bool
    gramians: Tensor
    heads: Tensor
    reach: tuple[Reach, ...]
    frozen: int
    absent: tuple[str, ...]
    left_out: int

    def read(
        self,
        balancing: BalancingRecord | None = None,
        epoch: int | None = None,
        step: int | None = None,
    ) -> GradientFlow | None:
        """Bring the numbers to the host; `None` where they are not finite.

        Args:
            balancing: What a balancing method did in the step.
            epoch: The epoch, from 1.
            step: Steps done before this one.
        """
        names, size = self.problem.names, self.gramians.numel()
        flat = torch.cat([self.gramians.flatten(), self.heads]).cpu().numpy()
        if not np.isfinite(flat).all():
            return None
        layered, heads = flat[:size].reshape(self.gramians.shape), flat[size:]
        balanced = _balancing_weights(balancing)
        factors = np.array([*(balanced.get(name, 1.0) for name in names), *([1.0] if self.penalty else [])])
        layered = layered * factors[:, None] * factors
        gramian = layered.sum(0)
        labels = (*names, PENALTY) if self.penalty else names
        own = _head_weights(balancing)
        sums = balancing is None or balancing.sums
        cosines = _cosines(gramian[: len(names), : len(names)])
        return GradientFlow(
            losses=names,
            weights=self.weights,
            balancing_weights={name: balanced.get(name, 1.0) for name in self.weights},
            norms=_by_name(labels, _norms(gramian)),
            shares=_shares(labels, gramian) if sums else {},
            cosines=tuple(tuple(row) for row in cosines.tolist()),
            conflict_rate=_conflict_rate(cosines),
            condition_number=_condition_number(gramian[: len(names), : len(names)]),
            layers=tuple(
                self._layer(*layer, part, labels) for layer, part in zip(self.layers.items(), layered, strict=True)
            ),
            heads={name: norm * own.get(name, 1.0) for name, norm in _by_name(self._head_names(), heads).items()},
            reach=self.reach,
            frozen=self.frozen,
            alone=self.problem.alone,
            absent=self.absent,
            method=None if balancing is None else balancing.method,
            sums=sums,
            left_out=self.left_out,
            epoch=epoch,
            step=step,
        )

    def _head_names(self) -> tuple[str, ...]:
        return (*self.problem.names, *self.problem.alone)

    def _layer(self, name: str, at: list[int], gramian: NDArray[np.float64], labels: Sequence[str]) -> LayerFlow:
        reached = {k for i in at for k in self.problem.reach[i]}
        losses = tuple(name for k, name in enumerate(self.problem.names) if k in reached)
        norms = _by_name(labels, _norms(gramian))
        shown = {label: norm for label, norm in norms.items() if label in losses or label == PENALTY}
        return LayerFlow(name, sum(self.watched[i].numel() for i in at), losses, shown)


def _balancing_weights(record: BalancingRecord | None) -> dict[str, float]:
    if record is None or record.weights is None or not record.sums:
        return {}
    return dict(zip(record.losses, record.weights.tolist(), strict=True))


def _head_weights(record: BalancingRecord | None) -> dict[str, float]:
    if record is None or record.head_weights is None:
        return {}
    return dict(zip(record.losses, record.head_weights.tolist(), strict=True))


def _by_name(names: Sequence[str], values: NDArray[np.float64]) -> dict[str, float]:
    return dict(zip(names, values.tolist(), strict=True))


def _norms(gramian: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.sqrt(np.maximum(gramian.diagonal(), 0.0))


def _shares(names: Sequence[str], gramian: NDArray[np.float64]) -> dict[str, float]:
    whole = gramian.sum()
    # below this the losses cancel each other to rounding, and nobody can say whose the rest is
    return _by_name(names, gramian.sum(1) / whole) if whole > 1e-12 * np.trace(gramian) else {}


def _cosines(gramian: NDArray[np.float64]) -> NDArray[np.float64]:
    norms = _norms(gramian)
    scale = np.divide(1.0, norms, out=np.zeros_like(norms), where=norms > 0)
    return np.clip(gramian * scale[:, None] * scale, -1.0, 1.0)


def _conflict_rate(cosines: NDArray[np.float64]) -> float | None:
    pairs = cosines[np.triu_indices(len(cosines), 1)]
    return float((pairs < 0).mean()) if len(pairs) else None


def _condition_number(gramian: NDArray[np.float64]) -> float | None:
    if len(gramian) < 2:
        return None
    values = np.linalg.eigvalsh(gramian)
    # rounding of the inner products in float32 is of this size
    return float(np.sqrt(values[-1] / values[0])) if values[0] > 1e-10 * values[-1] else None
