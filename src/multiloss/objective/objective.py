"""The objective: outputs and targets in, named losses and their weighted sum out."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeAlias

from torch import Tensor, nn

from multiloss.core.errors import ObjectiveError, listed, nearest
from multiloss.core.losses import Losses
from multiloss.core.names import name_problems
from multiloss.core.records import LedgerRecord, StepTerm
from multiloss.core.types import IGNORE_INDEX, Kind, Tensors, Units
from multiloss.objective.ledger import Ledger
from multiloss.objective.losses import Loss, resolve_loss
from multiloss.objective.metrics import MetricSpec, OutputMetrics
from multiloss.objective.missing import Reduction
from multiloss.objective.penalty import Activity, Penalty, resolve_penalty
from multiloss.objective.schedule import Progress
from multiloss.objective.term import LossTerm
from multiloss.objective.weights import LossWeights

LossSpec: TypeAlias = "str | Mapping[str, Any] | Loss | Callable[[Tensor, Tensor], Any] | None"
START = Progress(epoch=0, step=0, steps_per_epoch=1, epochs=1)

logger = logging.getLogger("multiloss")


class ObjectiveLosses(Losses):
    """The named losses of one step, with an account of their total."""

    __slots__ = ("reduction",)

    def __init__(self, terms: tuple[StepTerm, ...], absent: tuple[str, ...], reduction: Reduction) -> None:
        super().__init__(terms, absent)
        self.reduction = reduction

    def ledger(self) -> LedgerRecord:
        """Return what the total of this step is made of; reads the device."""
        ledger = Ledger(reduction=self.reduction)
        ledger.add(self.record())
        return ledger.epoch()


class Objective:
    r"""The weighted sum of one loss per output, and penalties.

    $$ L = \sum_k w_k\, \overline{\ell_k} + \sum_j \lambda_j R_j $$

    and nothing else. $\overline{\ell_k}$ is the unweighted mean of output $k$'s loss over its labelled samples.
    Weights are not normalised: `[1, 1]` is a sum, not an average. `loss_weights` never touch penalties.

    A label is missing where a float target is NaN, an integer target is `ignore_index`, or `targets` lacks the
    output. An output without labels in a batch has no value, no gradient and count 0 there.

    Args:
        loss: A loss for each output by name; a list in the order of the outputs; or one for all. A loss is a name, a
            mapping `{"name": "huber", "delta": 2.0}`, what `multiloss.loss` returns, or any `f(pred, target)`; one that
            returns a dict gives several terms (`a/ce`, `a/kl`); `None` leaves an output untrained.
        loss_weights: Factors: numbers >= 0, schedules or callables of the `Progress`, by name, in order, or one.
        metrics: Names or torchmetrics objects for each output by name; a list of lists in order; or one flat list,
            or one metric, for all.
        penalties: Penalties, mappings or callables of the model.
        reduction: Divide by the number of labels (`labelled`) or by the batch (`batch`, Keras's rule).
        ignore_index: The integer label that means "no label".

    Raises:
        ObjectiveError: If anything above is not of its form; every mistake is named.

    Example:
        >>> import torch
        >>> objective = Objective({"a": "mse", "b": "mae"}, loss_weights={"b": 0.2})
        >>> outputs = {"a": torch.zeros(2), "b": torch.zeros(2)}
        >>> losses = objective(outputs, {"a": torch.ones(2), "b": torch.tensor([5.0, float("nan")])})
        >>> print(losses.ledger())
        total 2.0000 = 1.0 x a 1.0000 (50.0 %) + 0.2 x b 5.0000 (50.0 %)
    """

    def __init__(
        self,
        loss: LossSpec | Sequence[LossSpec] | Mapping[str, LossSpec],
        *,
        loss_weights: Mapping[str, Any] | Sequence[Any] | float | None = None,
        metrics: Mapping[str, Any] | Sequence[Any] | str | None = None,
        penalties: Iterable[Any] = (),
        reduction: Reduction = "labelled",
        ignore_index: int = IGNORE_INDEX,
    ) -> None:
        if reduction not in ("labelled", "batch"):
            raise ObjectiveError(f"reduction: expected 'labelled' or 'batch', found {reduction!r}")
        self.reduction, self.ignore_index = reduction, ignore_index
        self.penalties: tuple[Penalty, ...] = tuple(resolve_penalty(penalty) for penalty in penalties)
        self._given: tuple[Any, Any, Any] = (loss, loss_weights, metrics)
        self.outputs: tuple[str, ...] = ()
        self.terms: dict[str, LossTerm] = {}
        self.metrics: dict[str, tuple[MetricSpec, ...]] = {}
        self.loss_weights = LossWeights({})
        self._bound = False
        self._shapes: set[tuple[object, ...]] = set()
        if isinstance(loss, Mapping) and "name" not in loss:
            measured = tuple(metrics) if isinstance(metrics, Mapping) else ()
            self._resolve(tuple(dict.fromkeys((*loss, *measured))))

    def bind(self, outputs: Iterable[str]) -> None:
        """Tell the objective the model's outputs, in order. Done once, by itself, at the first call.

        Raises:
            ObjectiveError: If losses, weights or metrics name an output that does not exist, or lists differ in length.
        """
        names = tuple(outputs)
        if not self.terms:
            self._resolve(names)
        lost = [name for name in self.outputs if name not in names]
        if lost:
            problems = [f"output {name!r} is not one of the model's. {nearest(name, names)}" for name in lost]
            raise ObjectiveError(listed(problems, "objective"))
        self.outputs, self._bound = names, True
        untrained = [name for name in names if name not in self.terms]
        if untrained:
            logger.warning("no loss for output %s: predicted, not trained", ", ".join(untrained))

    def _resolve(self, names: tuple[str, ...]) -> None:
        loss, loss_weights, metrics = self._given
        metrics = [metrics] if _is_metric(metrics) else metrics
        problems = name_problems(names)
        self.terms, self.metrics = {}, {}
        losses = _by_name(loss, names, "loss", problems)
        for name, spec in losses.items():
            if spec is not None:
                try:
                    self.terms[name] = LossTerm(name, resolve_loss(spec), self.reduction, self.ignore_index)
                except ObjectiveError as error:
                    problems.append(f"loss of {name!r}: {error}")
        trained = tuple(name for name in names if losses.get(name) is not None)
        weights = LossWeights({})
        weights.known = frozenset(trained)
        for name, weight in _by_name(loss_weights, trained, "loss_weights", problems).items():
            try:
                weights[name] = weight
            except ObjectiveError as error:
                problems.append(str(error))
        flat = isinstance(metrics, Sequence) and all(_is_metric(metric) for metric in metrics)
        by_name = dict.fromkeys(names, metrics) if flat else _by_name(metrics, names, "metrics", problems)
        for name, own in by_name.items():
            self.metrics[name] = tuple([own] if _is_metric(own) else own or [])
        if not trained and not problems:
            problems.append("expected a loss for at least one output, found none")
        if problems:
            self.terms = {}
            raise ObjectiveError(listed(problems, "objective"))
        self.outputs, self.loss_weights = names, weights

    def __call__(
        self,
        outputs: Tensors,
        targets: Tensors,
        *,
        model: nn.Module | None = None,
        sample_weight: Tensors | None = None,
        counts: Mapping[str, int] | None = None,
        progress: Progress = START,
    ) -> ObjectiveLosses:
        """Return the named losses of one batch; differentiate `.total`.

        Args:
            outputs: Raw outputs by name, `[B]` or `[B, d]`.
            targets: Labels by name; an absent key is an output without labels.
            model: The model, for penalties.
            sample_weight: Weights by output, `[B]` or the target's shape.
            counts: Labels of each target, where the host knows them.
            progress: The moment of training, for scheduled weights.

        Raises:
            ObjectiveError: If an output with a loss is absent, or the model is needed and not given.
        """
        if not self._bound:
            self.bind(outputs)
        found: list[StepTerm] = []
        absent: list[str] = []
        for name, term in self.terms.items():
            pred = outputs.get(name)
            if pred is None:
                raise ObjectiveError(
                    f"loss for output {name!r}, which the model did not return. {nearest(name, outputs)}"
                )
            target = targets.get(name)
            if target is None:
                absent.append(name)
                continue
            if pred.shape != target.shape:
                self._check_shapes(name, term, pred, target)
            weight = self.loss_weights.at(name, progress)
            parts = term.reduce(
                pred if weight or self._has_parts(name) else pred.detach(),  # weight 0: no graph, no backward pass
                target,
                None if sample_weight is None else sample_weight.get(name),
                None if counts is None else counts[name],
            )
            if not parts:
                absent.append(name)
            for part in parts:
                if part.name != name:
                    weight = self.loss_weights.at(part.name, progress)
                found.append(StepTerm(part.name, "loss", part.value, weight, 1.0, part.labels, part.denominator))
        for penalty in self.penalties:
            if model is None:
                raise ObjectiveError(f"penalty {penalty.name!r} needs the model: call objective(..., model=model)")
            for name, (coefficient, value) in penalty.terms(model).items():
                found.append(StepTerm(name, "penalty", value, coefficient))
        return ObjectiveLosses(tuple(found), tuple(absent), self.reduction)

    def _check_shapes(self, name: str, term: LossTerm, pred: Tensor, target: Tensor) -> None:
        """Refuse what would broadcast, once for each pair of shapes: torch would make `[n, n]` of `[n]` and `[n, 1]`."""
        shapes = (name, pred.shape[1:], target.shape[1:], len(pred) == len(target))
        if shapes not in self._shapes:
            problems = term.loss.check(pred, target, self.ignore_index)
            if problems:
                raise ObjectiveError(listed(problems, f"output {name!r}"))
            self._shapes.add(shapes)

    def _has_parts(self, name: str) -> bool:
        return any(key.startswith(f"{name}/") for key in self.loss_weights)

    @property
    def integer_outputs(self) -> frozenset[str]:
        """Outputs whose targets are class indices."""
        return frozenset(name for name, term in self.terms.items() if term.loss.integer_target)

    def kind(self, name: str, pred: Tensor, target: Tensor) -> Kind:
        """Return what an output predicts: what its loss says, else what its target looks like."""
        term = self.terms.get(name)
        kind = term.loss.kind_of(pred, target) if term is not None else None
        if kind is not None:
            return kind
        if target.is_floating_point():
            return "regression"
        return "multiclass" if pred.dim() > target.dim() else "binary"

    def output_metrics(
        self,
        kinds: Mapping[str, Kind],
        sizes: Mapping[str, int],
        units: Mapping[str, Units],
        only: Mapping[str, Sequence[MetricSpec]] | None = None,
    ) -> OutputMetrics:
        """Return an accumulator of this objective's metrics, or of `only` some, for outputs of these kinds."""
        points = {name: term.loss.point for name, term in self.terms.items()}
        specs = self.metrics if only is None else only
        return OutputMetrics(specs, kinds, sizes, units, points, self.ignore_index)

    def attach(self, model: nn.Module) -> None:
        """Let penalties on activities listen to the model's forward passes."""
        for penalty in self.penalties:
            if isinstance(penalty, Activity):
                penalty.attach(model)

    def detach(self) -> None:
        """Stop listening."""
        for penalty in self.penalties:
            if isinstance(penalty, Activity):
                penalty.detach()


def _is_metric(value: object) -> bool:
    return isinstance(value, str) or (hasattr(value, "update") and hasattr(value, "compute"))


def _by_name(given: Any, names: tuple[str, ...], what: str, problems: list[str]) -> dict[str, Any]:
    """Return one entry per name from a mapping, a list in order, or one value for all; note what does not fit."""
    if given is None:
        return {}
    if isinstance(given, Mapping) and "name" not in given and "schedule" not in given:
        unknown = [name for name in given if name.split("/")[0] not in names]
        problems += [f"{what} has {name!r}, which is no output with a loss. {nearest(name, names)}" for name in unknown]
        return {name: value for name, value in given.items() if name not in unknown}
    if isinstance(given, Sequence) and not isinstance(given, str):
        if len(given) != len(names):
            problems.append(f"{what}: expected {len(names)} entries ({', '.join(names)}), found {len(given)}")
            return {}
        return dict(zip(names, given, strict=True))
    return dict.fromkeys(names, given)
