"""The words that every floor shares."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple, Protocol, TypeAlias, get_args

from torch import Tensor

Kind: TypeAlias = Literal["regression", "binary", "multiclass", "multilabel", "ordinal", "count"]
"""What an output predicts; it decides the head, the default loss and how raw values become predictions."""

KINDS: tuple[Kind, ...] = get_args(Kind)

Tensors: TypeAlias = Mapping[str, Tensor]
"""Named tensors: outputs, targets, losses."""

IGNORE_INDEX = -100
"""The integer label that means "no label", as in torch."""


class Units(NamedTuple):
    """How a standardised output returns to the user's units: `value * scale + mean`."""

    mean: Tensor
    scale: Tensor


class TableReader(Protocol):
    """What turns a raw table into a model's inputs and targets."""

    @property
    def outputs(self) -> Any:
        """The output columns, each with `name` and `kind`."""

    def encode(self, frame: object, *, targets: bool = True) -> Any:
        """Return an object with `inputs`, `targets`, `sample_weight` and `unknown`."""
