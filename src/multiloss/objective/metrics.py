"""Metrics of each output through torchmetrics: in the user's units, over labelled samples, once per epoch."""

from __future__ import annotations

import copy
import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import torch
from torch import Tensor

from multiloss.core.decode import decode
from multiloss.core.errors import ObjectiveError, nearest
from multiloss.core.labels import labelled
from multiloss.core.optional import require
from multiloss.core.types import IGNORE_INDEX, Kind, Tensors, Units

if TYPE_CHECKING:
    from torchmetrics import Metric

MetricSpec: TypeAlias = "str | Metric"

FLUSH = 2**20  # elements of predictions kept before torchmetrics reads them


@dataclass(frozen=True)
class _Row:
    """A metric by name: its torchmetrics class for each family of outputs, and fixed options."""

    regression: str | None = None
    classification: str | None = None
    options: tuple[tuple[str, Any], ...] = ()
    average: str = "macro"
    two_classes: bool = False
    """Whether it says nothing unless at least two classes are present."""


METRICS: dict[str, _Row] = {
    "mae": _Row("MeanAbsoluteError"),
    "mse": _Row("MeanSquaredError"),
    "rmse": _Row("MeanSquaredError", options=(("squared", False),)),
    "r2": _Row("R2Score"),
    "mape": _Row("MeanAbsolutePercentageError"),
    "pearson": _Row("PearsonCorrCoef"),
    "spearman": _Row("SpearmanCorrCoef"),
    "accuracy": _Row(classification="Accuracy", average="micro"),
    "balanced_accuracy": _Row(classification="Accuracy"),
    "precision": _Row(classification="Precision"),
    "recall": _Row(classification="Recall"),
    "f1": _Row(classification="F1Score"),
    "auroc": _Row(classification="AUROC", two_classes=True),
    "average_precision": _Row(classification="AveragePrecision", two_classes=True),
    "kappa": _Row(classification="CohenKappa"),
    "mcc": _Row(classification="MatthewsCorrCoef"),
}
ALIASES = {
    "acc": "accuracy", "auc": "auroc", "mean_absolute_error": "mae", "mean_squared_error": "mse",
    "root_mean_squared_error": "rmse", "f1_score": "f1", "binary_accuracy": "accuracy",
    "categorical_accuracy": "accuracy", "sparse_categorical_accuracy": "accuracy",
}  # fmt: skip


def metric_name(spec: MetricSpec) -> str:
    """Return the name under which a metric is logged: `accuracy` for `"accuracy"`, `mean_metric` for an object."""
    if isinstance(spec, str):
        return spec
    name = type(spec).__name__
    return "".join(f"_{c.lower()}" if c.isupper() and i and name[i - 1].islower() else c.lower()
                   for i, c in enumerate(name))  # fmt: skip


def higher_is_better(name: str, specs: Sequence[MetricSpec] = ()) -> bool | None:
    """Return the direction of a metric, or `None` where nobody knows it."""
    for spec in specs:
        if not isinstance(spec, str) and metric_name(spec) == name:
            return getattr(spec, "higher_is_better", None)
    row = METRICS.get(ALIASES.get(name, name))
    return None if row is None else row.classification is not None or name in ("r2", "pearson", "spearman")


def build_metric(spec: MetricSpec, kind: Kind, size: int) -> Metric:
    """Return a fresh torchmetrics object for an output.

    Args:
        spec: A name of `METRICS`, an alias of Keras, or a torchmetrics object (copied).
        kind: What the output predicts.
        size: Classes of a multiclass or ordinal output, labels of a multilabel one.

    Raises:
        ObjectiveError: If the name is unknown or does not fit the kind.
    """
    if not isinstance(spec, str):
        if not hasattr(spec, "update") or not hasattr(spec, "compute"):
            raise ObjectiveError(f"expected a metric's name or a torchmetrics object, found {spec!r}")
        return copy.deepcopy(spec)
    row = METRICS.get(ALIASES.get(spec, spec))
    if row is None:
        raise ObjectiveError(f"unknown metric {spec!r}. {nearest(spec, [*METRICS, *ALIASES])}")
    family = "regression" if kind in ("regression", "count") else "classification"
    if (row.regression if family == "regression" else row.classification) is None:
        fitting = [name for name, other in METRICS.items() if getattr(other, family)]
        raise ObjectiveError(f"metric {spec!r} does not fit a {kind} output. Metrics that do: {', '.join(fitting)}")
    options = dict(row.options)
    torchmetrics = require("torchmetrics", f"metric {spec!r}")
    if family == "regression":
        regression: Metric = getattr(torchmetrics, row.regression or "")(**options)
        return regression
    name, task = row.classification or "", "multiclass" if kind == "ordinal" else kind
    if kind == "binary" and spec == "balanced_accuracy":
        task, size = "multiclass", 2
    options["validate_args"] = False
    options.update({"num_labels": size} if task == "multilabel" else {"num_classes": size} if task != "binary" else {})
    if name == "CohenKappa":
        options["weights"] = "quadratic" if kind == "ordinal" else None
    elif name != "MatthewsCorrCoef" and task != "binary":
        options["average"] = row.average
    built: Metric = getattr(torchmetrics.classification, f"{task.capitalize()}{name}")(**options)
    return built


class OutputMetrics:
    """Accumulates the predictions of every output and computes its metrics once per epoch.

    A step costs a list append. Predictions are decoded into the user's units, unlabelled entries are dropped, and
    torchmetrics reads what is left when enough has been gathered or `compute` is called.

    Args:
        specs: Metrics of each output.
        kinds: What each output predicts.
        sizes: Classes or labels of each output.
        units: Mean and scale of standardised outputs.
        points: For each output, the part of what the model returns that is the prediction; all of it if absent.
        ignore_index: The integer label that means "no label".
    """

    def __init__(
        self,
        specs: Mapping[str, Sequence[MetricSpec]],
        kinds: Mapping[str, Kind],
        sizes: Mapping[str, int],
        units: Mapping[str, Units] | None = None,
        points: Mapping[str, Callable[[Tensor], Tensor]] | None = None,
        ignore_index: int = IGNORE_INDEX,
    ) -> None:
        self._units, self._kinds = units or {}, kinds
        self._points, self._ignore_index = points or {}, ignore_index
        self.metrics = {
            name: {metric_name(spec): build_metric(spec, kinds[name], sizes[name]) for spec in own}
            for name, own in specs.items()
            if own
        }
        self.reset()

    def reset(self) -> None:
        """Forget what was gathered."""
        self._gathered: dict[str, list[tuple[Tensor, Tensor]]] = {name: [] for name in self.metrics}
        self._elements = 0
        self._seen = dict.fromkeys(self.metrics, 0)
        self._classes: dict[str, set[float]] = {name: set() for name in self.metrics}
        for own in self.metrics.values():
            for metric in own.values():
                metric.reset()

    def add(self, outputs: Tensors, targets: Tensors) -> None:
        """Gather one batch; an output whose target is absent is left out."""
        for name, gathered in self._gathered.items():
            target = targets.get(name)
            if target is not None:
                pred = outputs[name].detach()
                gathered.append((pred, target))
                self._elements += pred.numel()
        if self._elements > FLUSH:
            self._flush()

    def _flush(self) -> None:
        for name, gathered in self._gathered.items():
            if not gathered:
                continue
            pred, target = (torch.cat(tensors) for tensors in zip(*gathered, strict=True))
            gathered.clear()
            self._update(name, pred, target)
        self._elements = 0

    def _update(self, name: str, pred: Tensor, target: Tensor) -> None:
        kind, units = self._kinds[name], self._units.get(name)
        point = self._points.get(name)
        pred = decode(kind, (pred if point is None else point(pred)).float(), units)
        mask = labelled(target, self._ignore_index)
        if kind in ("regression", "count"):
            pred, target = pred[mask], decode("regression", target[mask], units)
        elif kind == "multilabel":
            target = torch.where(mask, target, -1).long()
            rows = mask.any(1)
            pred, target = pred[rows], target[rows]
        else:
            target = target[mask].long()
            pred = (pred.movedim(1, -1) if kind != "binary" else pred)[mask]
        self._seen[name] += len(target)
        if kind in ("binary", "multiclass", "ordinal"):
            self._classes[name] |= set(torch.unique(target).tolist())
        if len(target):
            for metric_key, metric in self.metrics[name].items():
                if metric.device != pred.device:
                    metric.to(pred.device)
                two = metric_key == "balanced_accuracy" and kind == "binary"
                metric.update((pred > 0.5).long() if two else pred, target)

    def compute(self) -> dict[str, float | None]:
        """Return `{"<output>_<metric>": value}` and begin anew; `None` where too few labels were seen to say."""
        self._flush()
        logs: dict[str, float | None] = {}
        for name, own in self.metrics.items():
            for key, metric in own.items():
                logs[f"{name}_{key}"] = self._value(name, key, metric)
        self.reset()
        return logs

    def _value(self, name: str, key: str, metric: Metric) -> float | None:
        row = METRICS.get(ALIASES.get(key, key))
        needed = 2 if key in ("r2", "pearson", "spearman") else 1
        classes = self._kinds[name] in ("binary", "multiclass", "ordinal")
        one_class = row is not None and row.two_classes and classes and len(self._classes[name]) < 2
        if self._seen[name] < needed or one_class:
            return None
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # a class without samples: the value says what it covers
            value = metric.compute()
        number = float(value)
        return number if math.isfinite(number) else None

    def state_dict(self) -> dict[str, Tensor]:
        """Return what was gathered, as tensors, so that an interrupted epoch goes on with the same digits."""
        state: dict[str, Tensor] = {}
        for name, own in self.metrics.items():
            state[f"{name}//seen"] = torch.tensor(self._seen[name])
            state[f"{name}//classes"] = torch.tensor(sorted(self._classes[name]), dtype=torch.float64)
            if self._gathered[name]:
                pred, target = (torch.cat(tensors) for tensors in zip(*self._gathered[name], strict=True))
                state |= {f"{name}//pred": pred, f"{name}//target": target}
            for key, metric in own.items():
                for part, value in metric.metric_state.items():
                    whole = torch.cat(value) if isinstance(value, list) and value else value
                    if isinstance(whole, Tensor):
                        state[f"{name}//{key}//{part}"] = whole
        return state

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Restore what `state_dict` returned."""
        self.reset()
        for name, own in self.metrics.items():
            self._seen[name] = int(state[f"{name}//seen"])
            self._classes[name] = set(state[f"{name}//classes"].tolist())
            if f"{name}//pred" in state:
                self._gathered[name].append((state[f"{name}//pred"], state[f"{name}//target"]))
                self._elements += state[f"{name}//pred"].numel()
            for key, metric in own.items():
                for part, value in metric.metric_state.items():
                    if f"{name}//{key}//{part}" in state:
                        saved = state[f"{name}//{key}//{part}"]
                        setattr(metric, part, [saved] if isinstance(value, list) else saved)
                metric._update_count = self._seen[name]  # torchmetrics warns where it believes that nothing was seen
