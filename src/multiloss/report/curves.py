"""Numbers of a run by output, measure and epoch: losses from the ledger, metrics from the history."""

from __future__ import annotations

from functools import cached_property
from typing import NamedTuple

from multiloss.core.flow import GradientFlow
from multiloss.core.records import LedgerRecord
from multiloss.core.run_records import RunRecords
from multiloss.report.labels import COLOURS, number

SPLITS = {"train": "training", "validation": "validation"}
FALLING = frozenset({"loss", "mae", "mse", "rmse", "mape", "mean_absolute_error", "mean_squared_error"}) | {
    *("root_mean_squared_error", "mean_absolute_percentage_error")
}
"""Measures of which less is better."""
RISING = frozenset({"r2", "pearson", "spearman", "accuracy", "balanced_accuracy", "precision", "recall", "f1"}) | {
    *("auroc", "average_precision", "kappa", "mcc", "acc", "auc", "r2_score", "f1_score"),
    *("binary_accuracy", "categorical_accuracy", "sparse_categorical_accuracy"),
}
"""Measures of which more is better."""
OTHER, PENALTY, UNEXPLAINED, INK = "@other", "@penalty", "@unexplained", "@ink"


class Curve(NamedTuple):
    """One measure over the epochs."""

    epochs: list[int]
    values: list[float | None]

    @property
    def last(self) -> float | None:
        """The value of the last epoch that has one."""
        return next((value for value in reversed(self.values) if value is not None), None)

    def best(self, measure: str) -> float | None:
        """The lowest value, or the highest of a measure that should rise; `None` where nobody knows which."""
        known = [value for value in self.values if value is not None]
        if not known or measure not in FALLING | RISING:
            return None
        return min(known) if measure in FALLING else max(known)


Measures = dict[str, dict[str, dict[str, Curve]]]
"""By output, measure and split."""


class Digest:
    """What several figures need of one run, made once.

    Args:
        run: The records.
    """

    def __init__(self, run: RunRecords) -> None:
        self.run = run
        self.name = run.name
        self.splits = {split: records for split in SPLITS if (records := run.split(split))}
        self.records = self.splits.get("train") or run.ledgers
        kept = run.facts.get("kept")
        self.kept: int | None = kept.get("epoch") if isinstance(kept, dict) else None

    @cached_property
    def outputs(self) -> list[str]:
        """The outputs: those with a loss, then those that are only measured."""
        facts = self.run.facts
        return list(dict.fromkeys([*self.run.outputs, *facts.get("outputs", {}), *facts.get("test", {})]))

    @cached_property
    def ranked(self) -> list[str]:
        """The outputs, those first that at the end add most to the total, or to the gradient of the shared part."""
        size = {t.name: abs(number(t.share) or 0.0) for record in self.records[-1:] for t in record if t.kind == "loss"}
        for name, share in (self.flows[-1].norm_shares if self.flows else {}).items():
            size[name] = max(share, size.get(name, 0.0))
        return sorted(self.outputs, key=lambda name: -size.get(name, -1.0))

    @cached_property
    def colours(self) -> dict[str, str]:
        """A colour for each output, the same in all figures; those beyond the eighth share one."""
        own = self.outputs if len(self.outputs) <= COLOURS else self.ranked[:COLOURS]
        coloured = {name: f"@{i}" for i, name in enumerate(own)}
        return coloured | {name: OTHER for name in self.outputs if name not in coloured}

    @cached_property
    def flows(self) -> list[GradientFlow]:
        """The watched steps that had a gradient on shared parameters."""
        return [flow for flow in self.run.flows if flow.norm_shares and flow.layers]

    @cached_property
    def measures(self) -> Measures:
        """Every loss and metric."""
        found: Measures = {name: {} for name in self.outputs}
        for split, records in self.splits.items():
            for name, curve in _losses(records).items():
                found[name]["loss"] = {**found[name].get("loss", {}), split: curve}
        outputs = sorted(found, key=len, reverse=True)
        for key in dict.fromkeys(key for row in self.run.history for key in row):
            place = _place(key, outputs)
            if place is not None and place[1] != "loss":
                output, measure, split = place
                rows = [row for row in self.run.history if key in row]
                epochs = [int(row.get("epoch") or i) for i, row in enumerate(rows, 1)]
                found[output].setdefault(measure, {})[split] = Curve(epochs, [number(row[key]) for row in rows])
        return {name: own for name, own in found.items() if own}


def _losses(records: list[LedgerRecord]) -> dict[str, Curve]:
    found: dict[str, Curve] = {}
    for i, record in enumerate(records, 1):
        for term in record:
            if term.kind == "loss":
                curve = found.get(term.name)
                if curve is None:
                    curve = found[term.name] = Curve([], [])
                curve.epochs.append(record.epoch or i)
                curve.values.append(number(term.value))
    return found


def _place(key: str, outputs: list[str]) -> tuple[str, str, str] | None:
    """Return output, measure and split of a key of the history: the longest name of an output that it begins with."""
    for split, prefix in (("train", ""), ("validation", "val_")):
        for name in outputs:
            if key.startswith(f"{prefix}{name}_"):
                return name, key[len(prefix) + len(name) + 1 :], split
    return None
