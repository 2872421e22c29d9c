"""The weights of the losses: numbers or schedules by name, changeable between any two steps."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, MutableMapping

from multiloss.core.errors import ObjectiveError, nearest
from multiloss.objective.schedule import Progress, Weight, evaluate_weight, resolve_weight


class LossWeights(MutableMapping[str, Weight]):
    """Factor of each loss in the total: 1 unless set.

    A loss that returns several parts (`a/ce`, `a/kl`) may be weighted as a whole (`a`) or part by part (`a/kl`).

    Example:
        >>> weights = LossWeights({"a": 2.0})
        >>> weights["b"] = 0.5
        >>> weights.at("a/ce", Progress(0, 0, 1, 1)), weights.at("b", Progress(0, 0, 1, 1)), len(weights)
        (2.0, 0.5, 2)
    """

    def __init__(self, weights: Mapping[str, object]) -> None:
        self._weights: dict[str, Weight] = {}
        self.known: frozenset[str] | None = None
        """Names of the losses, once the objective knows them."""
        for name, weight in weights.items():
            self[name] = weight

    def __getitem__(self, name: str) -> Weight:
        return self._weights.get(name, self._weights.get(name.split("/")[0], 1.0))

    def __setitem__(self, name: str, weight: object) -> None:
        if self.known is not None and name.split("/")[0] not in self.known:
            raise ObjectiveError(f"loss_weights has {name!r}, which has no loss. {nearest(name, self.known)}")
        try:
            self._weights[name] = resolve_weight(weight)
        except ObjectiveError as error:
            raise ObjectiveError(f"loss_weights of {name!r}: {error}") from error

    def __delitem__(self, name: str) -> None:
        del self._weights[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._weights)

    def __len__(self) -> int:
        return len(self._weights)

    def at(self, name: str, progress: Progress) -> float:
        """Return the weight of a loss at one moment of training."""
        weight = self[name]
        return weight if isinstance(weight, float) else evaluate_weight(weight, progress, name)
