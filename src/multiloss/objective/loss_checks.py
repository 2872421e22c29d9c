"""What can be wrong with a batch of outputs and targets, found once before training: one sentence per problem."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeAlias

import numpy as np
import torch
from torch import Tensor

from multiloss.core.labels import labelled
from multiloss.core.types import IGNORE_INDEX
from multiloss.objective.loss_functions import PerClass

Check: TypeAlias = Callable[[Tensor, Tensor, int], list[str]]
"""Outputs, targets and the index that means "no label"; returns the problems found."""


def same_shape(pred: Tensor, target: Tensor, ignore_index: int = IGNORE_INDEX) -> list[str]:
    """One output value per label."""
    return _shape(target, tuple(pred.shape), f"the outputs' shape {tuple(pred.shape)}") + _finite(target)


def real(pred: Tensor, target: Tensor, ignore_index: int = IGNORE_INDEX) -> list[str]:
    """One output value per label, where any real number is a label."""
    problems = same_shape(pred, target)
    if not target.is_floating_point() and (hidden := int((target == ignore_index).sum())):
        problems.append(
            f"{hidden} integer targets equal {ignore_index}, which means 'no label'; "
            "if it is a value, give the targets as floats, where only NaN means 'no label'"
        )
    return problems


def vectors(pred: Tensor, target: Tensor, ignore_index: int = IGNORE_INDEX) -> list[str]:
    """One vector per sample."""
    flat = [f"expected vectors [B, d], found outputs of shape {tuple(pred.shape)}"] if pred.ndim < 2 else []
    return flat + same_shape(pred, target)


def columns(pred: Tensor, target: Tensor, ignore_index: int = IGNORE_INDEX, *, count: int, what: str) -> list[str]:
    """`count` outputs in dimension 1 for each label."""
    if pred.ndim < 2 or pred.shape[1] != count:
        return [f"expected {count} outputs per sample ({what}), found outputs of shape {tuple(pred.shape)}"]
    expected = tuple(pred.shape[:1] + pred.shape[2:])
    return _shape(target, expected, f"one label for each {count} outputs, shape {expected}") + _finite(target)


def zero_or_one(
    pred: Tensor, target: Tensor, ignore_index: int = IGNORE_INDEX, *, weight: PerClass | None = None
) -> list[str]:
    """Yes/no labels, or probabilities between."""
    return (
        _per_class(weight, _width(pred))
        + same_shape(pred, target)
        + _values(
            target, ignore_index, (target < 0) | (target > 1), "0, 1 or a probability between", "encode them as 0 and 1"
        )
    )


def hard_zero_or_one(pred: Tensor, target: Tensor, ignore_index: int = IGNORE_INDEX) -> list[str]:
    """Yes/no labels."""
    return same_shape(pred, target) + _values(
        target, ignore_index, (target != 0) & (target != 1), "0 or 1", "encode them as 0 and 1"
    )


def signed(pred: Tensor, target: Tensor, ignore_index: int = IGNORE_INDEX) -> list[str]:
    """Labels -1 and 1, or 0 and 1."""
    wrong = (target != 0) & (target != 1) & (target != -1)
    return same_shape(pred, target) + _values(target, ignore_index, wrong, "-1 and 1, or 0 and 1", "encode them so")


def counts(pred: Tensor, target: Tensor, ignore_index: int = IGNORE_INDEX) -> list[str]:
    """Numbers that are not negative."""
    return same_shape(pred, target) + _values(
        target, ignore_index, target < 0, "counts of 0 or more", "use mse or huber if negative values are meant"
    )


def classes(
    pred: Tensor, target: Tensor, ignore_index: int = IGNORE_INDEX, *, weight: PerClass | None = None
) -> list[str]:
    """Class indices against one logit per class, or class probabilities of the outputs' shape."""
    if pred.ndim < 2:
        return [f"expected one logit per class, [B, K], found outputs of shape {tuple(pred.shape)}; widen the head"]
    problems = _per_class(weight, pred.shape[1])
    if target.is_floating_point() and target.shape == pred.shape:
        if pred.ndim > 2:
            problems.append(
                f"expected class probabilities of shape [B, K], found {tuple(target.shape)}; give class indices"
            )
        return problems + _values(
            target, ignore_index, (target < 0) | (target > 1), "probabilities in 0..1", "normalise them"
        )
    return problems + _indices(pred, target, ignore_index, pred.shape[1])


def focal(
    pred: Tensor, target: Tensor, ignore_index: int = IGNORE_INDEX, *, weight: PerClass | None = None
) -> list[str]:
    """Class indices where the outputs have a dimension more than the targets, else yes/no labels."""
    if pred.ndim > target.ndim:
        return _per_class(weight, pred.shape[1]) + _indices(pred, target, ignore_index, pred.shape[1])
    return _per_class(weight, _width(pred)) + hard_zero_or_one(pred, target, ignore_index)


def levels(pred: Tensor, target: Tensor, ignore_index: int = IGNORE_INDEX) -> list[str]:
    """Ordered classes 0..K-1 against K - 1 cumulative logits."""
    if pred.ndim < 2:
        return [f"expected K - 1 cumulative logits, [B, K - 1], found outputs of shape {tuple(pred.shape)}"]
    return _indices(pred, target, ignore_index, pred.shape[1] + 1)


def _shape(target: Tensor, expected: tuple[int, ...], words: str) -> list[str]:
    found = tuple(target.shape)
    if found == expected:
        return []
    try:
        broadcast = np.broadcast_shapes(found, expected)
    except ValueError:
        spread = ""
    else:
        spread = f", which would broadcast to {broadcast}"
    same_size = target.numel() == torch.Size(expected).numel()
    hint = f"use target.reshape{expected}" if same_size else "make outputs and targets fit each other"
    return [f"expected targets of {words}, found {found}{spread}; {hint}"]


def _finite(target: Tensor) -> list[str]:
    infinite = int(target.isinf().sum())
    return [f"{infinite} targets are infinite; use NaN for a label that is missing"] if infinite else []


def _values(target: Tensor, ignore_index: int, wrong: Tensor, expected: str, advice: str) -> list[str]:
    bad = target[wrong & labelled(target, ignore_index)]
    if not bad.numel():
        return []
    low, high = bad.min().item(), bad.max().item()
    return [f"expected targets {expected}, found {bad.numel()} others between {low:g} and {high:g}; {advice}"]


def _indices(pred: Tensor, target: Tensor, ignore_index: int, count: int) -> list[str]:
    expected = tuple(pred.shape[:1] + pred.shape[2:])
    problems = _shape(target, expected, f"class indices, shape {expected}")
    if target.is_floating_point() or target.dtype is torch.bool:
        problems.append(
            f"expected integer class indices (int64; {ignore_index} for no label), found {target.dtype}; "
            "use target.long() after replacing NaN"
        )
    labels = target[labelled(target, ignore_index)]
    if outside := int(((labels < 0) | (labels >= count)).sum()):
        problems.append(
            f"expected classes 0..{count - 1} from outputs of shape {tuple(pred.shape)}, "
            f"found {outside} labels from {labels.min().item():g} to {labels.max().item():g} outside; "
            "renumber them or widen the head"
        )
    return problems


def _width(pred: Tensor) -> int:
    return pred.shape[-1] if pred.ndim > 1 else 1


def _per_class(weight: PerClass | None, count: int) -> list[str]:
    if weight is None or isinstance(weight.values, int | float):
        return []
    if isinstance(weight.values, Mapping):
        unknown = sorted(k for k in weight.values if not 0 <= k < count)
        return [f"expected weights of classes 0..{count - 1}, found weights of {unknown}"] if unknown else []
    found = len(weight.values)
    return [f"expected {count} weights, one per class, found {found}"] if found != count else []
