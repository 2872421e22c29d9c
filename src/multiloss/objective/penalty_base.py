"""What a penalty is: named addends of the total that look at the model and not at the targets."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TypeAlias

from torch import Tensor, nn

Terms: TypeAlias = dict[str, tuple[float, Tensor]]
"""Coefficient and raw value by name; the contribution to the total is their product."""


class Penalty(ABC):
    """An addend of the total that regularises, outside `loss_weights`.

    Attributes:
        name: Its name, the first part of the names of its terms.
        on: The part of the model it looks at; None means all of it.
    """

    name: str
    on: str | None = None

    @abstractmethod
    def terms(self, model: nn.Module) -> Terms:
        """Return coefficient and raw value of each addend, by name (`l2/trunk.0.weight`)."""
