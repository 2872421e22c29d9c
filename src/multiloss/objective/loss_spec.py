"""What a loss is, what a row of the registry is, and how options are read."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from numbers import Real
from typing import Any

import torch
from torch import Tensor

from multiloss.core.types import IGNORE_INDEX, Kind
from multiloss.objective.loss_checks import Check
from multiloss.objective.loss_functions import PerClass

_HALF = (torch.float16, torch.bfloat16)


@dataclass(frozen=True, slots=True, eq=False)
class Loss:
    """A loss that is ready to be called; made by `loss` or `resolve_loss`.

    Attributes:
        name: Its name in the registry, or the name of a callable of the user's own.
        function: `f(pred, target, reduction)`; `f(pred, target)` if `custom`.
        kind: How raw outputs become predictions, see `kind_of`; None where only the user knows.
        integer_target: Whether targets are int64 class indices.
        custom: Whether it is a callable of the user's own, which may return a scalar, a tensor or a dict of them.
        fill: What stands in for a missing label.
        column: The column of the outputs `[B, columns]` that is the prediction (the mean, the median), if there is one.
        options: The options it was made with.
        problems: What `check` runs.
    """

    name: str
    function: Callable[..., Any]
    kind: Kind | None = None
    integer_target: bool = False
    custom: bool = False
    fill: float = 0.0
    column: int | None = None
    options: Mapping[str, object] = field(default_factory=dict)
    problems: Check | None = None

    def elementwise(self, pred: Tensor, target: Tensor) -> Any:
        """Return the unreduced loss: a value per label, or per sample; a custom loss's result as it is."""
        if self.custom:
            return self.function(pred, target)
        return self.function(*self._aligned(pred, target), "none")

    def mean(self, pred: Tensor, target: Tensor) -> Any:
        """Return the mean where no label is missing; a custom loss's result as it is."""
        if self.custom:
            return self.function(pred, target)
        return self.function(*self._aligned(pred, target), "mean")

    def check(self, pred: Tensor, target: Tensor, ignore_index: int = IGNORE_INDEX) -> list[str]:
        """Return one sentence for each thing that is wrong; for use before training, since it asks the host."""
        return [] if self.problems is None else self.problems(pred, target, ignore_index)

    def kind_of(self, pred: Tensor, target: Tensor) -> Kind | None:
        """Return how these outputs become predictions: yes/no outputs of several columns are multi-label.

        A focal loss of one output per class is multi-class.
        """
        if self.kind != "binary" or pred.ndim == 1:
            return self.kind
        if pred.ndim > target.ndim:
            return "multiclass"
        return "multilabel" if pred.shape[1] > 1 else "binary"

    def point(self, pred: Tensor) -> Tensor:
        """Return the part of the outputs that is the prediction: all of them, but for quantile and gaussian_nll."""
        return pred if self.column is None else pred.select(1, self.column)

    def _aligned(self, pred: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        if pred.dtype in _HALF:
            pred = pred.float()
        if not self.integer_target and target.dtype != pred.dtype:
            target = target.to(pred.dtype)
        return pred, target


@dataclass(frozen=True, slots=True)
class Option:
    """An option of a loss: its default, what it may be, and how it is read (a ValueError says that it may not)."""

    default: object
    expected: str
    parse: Callable[[Any], Any]


@dataclass(frozen=True, slots=True)
class LossSpec:
    """A row of the registry.

    Attributes:
        make: Builds the loss from its options.
        formula: The unreduced loss of output p and target t.
        keras: What Keras calls it, and where it differs.
        aliases: Other names; case, spaces, `_` and `-` do not matter.
        options: Options by name.
    """

    make: Callable[..., Loss]
    formula: str
    keras: str
    aliases: tuple[str, ...] = ()
    options: Mapping[str, Option] = field(default_factory=dict)


def number(low: float, high: float = math.inf, *, open_low: bool = False) -> Callable[[Any], float]:
    """Return a reader of numbers in `[low, high)`, or in `(low, high)` if `open_low`."""

    def parse(value: Any) -> float:
        if isinstance(value, bool | str):
            raise ValueError
        parsed = float(value)
        if not (low < parsed if open_low else low <= parsed) or not parsed < high:
            raise ValueError
        return parsed

    return parse


def flag(value: Any) -> bool:
    """Read true or false."""
    if not isinstance(value, bool):
        raise ValueError
    return value


def quantiles(value: Any) -> tuple[float, ...]:
    """Read one or several quantiles."""
    parsed = tuple(map(number(0, 1, open_low=True), value if isinstance(value, Sequence) else [value]))
    if not parsed:
        raise ValueError
    return parsed


def per_class(value: Any, *, by_class: bool = False) -> PerClass | None:
    """Read nothing, one number, one number per class or (if `by_class`) numbers of some classes."""
    weight = number(0)
    if value is None:
        return None
    if isinstance(value, Real):
        return PerClass(weight(value))
    if isinstance(value, Mapping) and by_class and all(type(k) is int for k in value):
        return PerClass({k: weight(v) for k, v in value.items()})
    if not isinstance(value, Sequence):
        raise ValueError
    return PerClass([weight(v) for v in value])
