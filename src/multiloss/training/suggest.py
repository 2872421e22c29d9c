"""Loss weights to begin with, each with its reason, from one pass over the data."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from multiloss.core.errors import BalancingError, DataError
from multiloss.core.losses import Losses
from multiloss.core.records import StepTerm, digits
from multiloss.core.types import Tensors
from multiloss.data.batch import Batch
from multiloss.flow import watch_step
from multiloss.nn.base import ModelCaller
from multiloss.nn.untouched import untouched
from multiloss.objective.ledger import Ledger
from multiloss.objective.objective import Objective
from multiloss.step_losses import StepLosses
from multiloss.training import checkpoint
from multiloss.training.intake import intake


@dataclass(frozen=True)
class WeightSuggestion:
    """Weights by output, and why.

    Args:
        rule: What they make equal: `gradient norms`, `loss scales` or `label counts`.
        weights: By output.
        measured: What was measured of each output with weight 1.
        reason: Why these, in a sentence with its numbers.
    """

    rule: str
    weights: dict[str, float]
    measured: dict[str, float]
    reason: str

    @property
    def line(self) -> str:
        """The weights as an argument of `Objective`."""
        return "loss_weights={" + ", ".join(f"{name!r}: {weight:g}" for name, weight in self.weights.items()) + "}"

    @property
    def overrides(self) -> str:
        """The weights as words of `multiloss fit`."""
        return " ".join(f"outputs.{name}.weight={weight:g}" for name, weight in self.weights.items())


class WeightSuggestions(list[WeightSuggestion]):
    """Suggestions, and in `notes` why others are not among them."""

    def __init__(self, suggestions: Sequence[WeightSuggestion], notes: Sequence[str]) -> None:
        super().__init__(suggestions)
        self.notes = list(notes)

    def __str__(self) -> str:
        return "\n".join([*(f"{one.rule}: {one.reason}\n    {one.line}" for one in self), *self.notes])


def suggest_weights(
    model: nn.Module,
    objective: Objective,
    data: Any,
    *,
    batch_size: int = 32,
    sample_weight: Any = None,
    output_names: Sequence[str] | None = None,
    seed: int = 0,
) -> WeightSuggestions:
    r"""Measure the losses on one pass over the data, with the model as it is, and suggest weights.

    * `gradient norms`: $w_k = c / \|\nabla L_k\|$ on the shared parameters (root mean square over the batches), so that
      no loss rules the trunk.
    * `loss scales`: $w_k = c / L_k$, so that each adds the same to the total.
    * `label counts`: $w_k = c\, n_k$, so that every label counts the same, where outputs differ in their number.

    $c$ keeps the sum of what is made equal as it is under the present weights, so that the learning rate stays right. A
    present weight of 0, or a schedule, counts as 1.
    A beginning, not an optimum: norms and losses change while a model trains.

    Args:
        model: The model, on its device; nothing of it is changed.
        objective: The losses; its weights are the present ones.
        data: As `Trainer.fit` takes it.
        batch_size: Rows in a batch, as they will be in training.
        sample_weight: Weights by output, or one array for all.
        output_names: Names of the outputs, for a model that returns them by position.
        seed: Decides the order of the rows, and dropout.

    Raises:
        DataError: If the data cannot be read, or holds no label.

    Examples:
        >>> import multiloss as ml
        >>> x = torch.randn(64, 3)
        >>> model = ml.HardSharing(ml.MLP(3, [8]), {"a": ml.RegressionHead(8), "b": ml.RegressionHead(8)})
        >>> found = suggest_weights(model, ml.Objective("mse"), (x, {"a": x[:, 0], "b": 100 * x[:, 1]}))
        >>> [one.rule for one in found], found[0].weights["a"] > 10 * found[0].weights["b"]
        (['gradient norms', 'loss scales'], True)
    """
    caller = ModelCaller(model, output_names)
    source = intake(
        data,
        model=model,
        outputs=tuple(caller.output_names or getattr(model, "output_names", None) or objective.outputs),
        integer=objective.integer_outputs,
        batch_size=batch_size,
        device=next((p.device for p in model.parameters()), torch.device("cpu")),
        sample_weight=sample_weight,
        ignore_index=objective.ignore_index,
    )
    survey = _Survey(model, objective, caller)
    with _as_in_training(model, objective, seed):
        for batch in source.batches(torch.Generator().manual_seed(seed)):
            survey.add(batch)
    return survey.suggestions()


@contextmanager
def _as_in_training(model: nn.Module, objective: Objective, seed: int) -> Iterator[None]:
    """Put a model into training mode, and its modes, buffers and hooks back after it."""
    modes = [(module, module.training) for module in model.modules()]
    objective.attach(model)
    try:
        with checkpoint.seeded(seed), untouched(model):
            model.train()
            yield
    finally:
        objective.detach()
        for module, training in modes:
            module.training = training


class _Survey:
    """Values, labels and gradient norms of every output, with weight 1."""

    def __init__(self, model: nn.Module, objective: Objective, caller: ModelCaller) -> None:
        self.model, self.objective, self.caller = model, objective, caller
        self.ledger = Ledger(reduction=objective.reduction)
        self.squares: dict[str, list[float]] = {}
        self.shared, self.checked = 0, False
        self.unwatched = "no two losses share a parameter, so that none can rule the others' gradients"

    @property
    def present(self) -> dict[str, float]:
        """The present weights; 1 where there is a schedule, or none at all."""
        given = {name: self.objective.loss_weights[name] for name in self.objective.terms}
        return {name: float(w) if isinstance(w, int | float) and w else 1.0 for name, w in given.items()}

    def add(self, batch: Batch) -> None:
        outputs = self.caller(batch.inputs)
        if not self.checked:  # names and shapes; and an objective learns its outputs here
            self.objective(outputs, batch.targets, model=self.model)
            self.checked = True
        plain = self._plain(outputs, batch)
        self.ledger.add(plain.record())
        try:
            flow = watch_step(StepLosses(plain, model=self.model)).read() if plain.terms else None
        except (BalancingError, RuntimeError) as error:
            self.unwatched = str(error).splitlines()[0]
            return
        if flow is not None:
            self.shared = max(self.shared, flow.shared)
            for name, norm in flow.norms.items():
                self.squares.setdefault(name, []).append(norm**2)

    def _plain(self, outputs: Tensors, batch: Batch) -> Losses:
        """Return the losses with weight 1, the parts of an output's loss as one, without penalties."""
        found = []
        for name, term in self.objective.terms.items():
            if name in batch.targets:
                weight = None if batch.sample_weight is None else batch.sample_weight.get(name)
                count = None if batch.counts is None else batch.counts.get(name)
                parts = term.reduce(outputs[name], batch.targets[name], weight, count)
                if parts:
                    value = torch.stack([part.value for part in parts]).sum()
                    found.append(StepTerm(name, "loss", value, 1.0, 1.0, parts[0].labels, parts[0].denominator))
        return Losses(tuple(found))

    def suggestions(self) -> WeightSuggestions:
        record = self.ledger.whole()
        values = {term.name: term.value for term in record if term.value is not None}
        if not values:
            raise DataError("expected data with labels, found none")
        notes: list[str] = []
        norms = {name: math.sqrt(sum(own) / len(own)) for name, own in self.squares.items()}
        found = []
        if len(norms) > 1:
            found.append(self._equal("gradient norms", norms, f"on the {self.shared:,} shared parameters, ", notes))
        elif len(values) < 2:
            notes.append(f"gradient norms: only {', '.join(values)} has labels")
        else:
            notes.append(f"gradient norms: {self.unwatched}")
        found.append(self._equal("loss scales", values, "", notes))
        counts = {term.name: float(term.count) for term in record if term.count}
        found.append(self._by_count(counts, notes))
        return WeightSuggestions([one for one in found if one is not None], notes)

    def _equal(self, rule: str, sizes: Mapping[str, float], where: str, notes: list[str]) -> WeightSuggestion | None:
        """Return weights that make `weight * size` equal, and keep its sum."""
        good = {name: size for name, size in sizes.items() if size > 0 and math.isfinite(size)}
        lost = [name for name in sizes if name not in good]
        if lost or len(good) < 2:
            notes.append(f"{rule}: expected sizes above zero of two outputs, found none of {', '.join(lost) or 'two'}")
            return None
        target = sum(self.present[name] * size for name, size in good.items()) / len(good)
        shown = ", ".join(f"{name} {digits(size)}" for name, size in good.items())
        apart = max(good.values()) / min(good.values())
        reason = f"{where}with weight 1: {shown}, {apart:.3g} times apart; with these weights they are equal"
        weights = {name: _rounded(target / size) for name, size in good.items()}
        return WeightSuggestion(rule, weights, dict(good), reason)

    def _by_count(self, counts: Mapping[str, float], notes: list[str]) -> WeightSuggestion | None:
        rule = "label counts"
        if len(counts) < 2 or max(counts.values()) < 1.01 * min(counts.values()):
            notes.append(f"{rule}: every output has the same number of labels")
            return None
        if self.objective.reduction == "batch":
            notes.append(f"{rule}: reduction 'batch' lets every label count the same already")
            return None
        shown = ", ".join(f"{name} {count:.0f}" for name, count in counts.items())
        whole = sum(self.present[name] for name in counts) / sum(counts.values())
        weights = {name: _rounded(count * whole) for name, count in counts.items()}
        reason = f"labels: {shown}; a loss is a mean over its labels, so that rare ones count more; with these weights "
        return WeightSuggestion(rule, weights, dict(counts), reason + "every label counts the same")


def _rounded(weight: float) -> float:
    """Return three digits: nobody needs more of a weight.

    Examples:
        >>> _rounded(0.0123456), _rounded(1234.5)
        (0.0123, 1230.0)
    """
    return float(f"{weight:.3g}")
