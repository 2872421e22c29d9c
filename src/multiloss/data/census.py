"""A census of labels: how many each output and class has in each part, and in a batch on average."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from multiloss.core.labels import labelled
from multiloss.core.text_table import aligned
from multiloss.data.columns import OutputColumn

FEWEST_PER_BATCH = 2.0
"""Labels of an output that a batch should hold on average."""

SHOWN_CLASSES = 20


@dataclass(frozen=True)
class Census:
    """How many labels there are.

    Args:
        labels: `labels[output][split]`, labelled rows.
        classes: `classes[output][class][split]`, for outputs with classes.
        rows: Rows of each split.
        per_batch: Labels of each output expected in a training batch.
        batch_size: Rows of a batch.
        warnings: One sentence for each output or class that is too rare.
    """

    labels: dict[str, dict[str, int]]
    classes: dict[str, dict[str, dict[str, int]]]
    rows: dict[str, int]
    per_batch: dict[str, float]
    batch_size: int
    warnings: list[str]

    def __str__(self) -> str:
        """Return an aligned table, then the warnings."""
        splits = list(self.rows)
        table = [("output", *splits, f"in a batch of {self.batch_size}")]
        table.append(("rows", *(str(self.rows[split]) for split in splits), ""))
        for name, counts in self.labels.items():
            table.append((name, *(str(counts[split]) for split in splits), f"{self.per_batch[name]:.1f}"))
            classes = self.classes.get(name, {})
            for label, held in list(classes.items())[:SHOWN_CLASSES]:
                table.append((f"  {label}", *(str(held[split]) for split in splits), ""))
            if len(classes) > SHOWN_CLASSES:
                table.append((f"  and {len(classes) - SHOWN_CLASSES} more classes", *("" for _ in splits), ""))
        return "\n".join([aligned(table, frozenset(range(1, len(splits) + 2))), *self.warnings])


def label_census(
    targets_by_split: Mapping[str, Mapping[str, Tensor]],
    batch_size: int,
    outputs: Sequence[OutputColumn] | None = None,
) -> Census:
    """Count the labels of every output, in every split.

    Args:
        targets_by_split: Targets by output name for each split; the first split (or "train") is the one batched.
        batch_size: Rows of a batch.
        outputs: The schema's outputs, for their kinds and the names of their classes. Without it int64 targets and
            float targets of only 0 and 1 have classes.

    Examples:
        >>> nan = float("nan")
        >>> census = label_census({"train": {"price": torch.tensor([1.5, nan, nan, nan])}}, batch_size=2)
        >>> print(census)
        output  train  in a batch of 2
        rows        4
        price       1              0.5
        output 'price': a batch of 2 holds 0.5 labels on average; use one batch of all 4 rows
    """
    columns = {column.name: column for column in outputs or ()}
    splits = list(targets_by_split)
    names = list(dict.fromkeys(name for targets in targets_by_split.values() for name in targets))
    rows = {split: max(map(len, targets.values()), default=0) for split, targets in targets_by_split.items()}
    labels: dict[str, dict[str, int]] = {}
    classes: dict[str, dict[str, dict[str, int]]] = {}
    for name in names:
        found = {split: _labelled(targets.get(name)) for split, targets in targets_by_split.items()}
        labels[name] = {split: len(values) for split, values in found.items()}
        if _has_classes(found, columns.get(name)):
            classes[name] = _by_class(found, columns.get(name))
    train = "train" if "train" in splits else splits[0]
    per_batch = {name: batch_size * labels[name][train] / max(rows[train], 1) for name in names}
    warnings = [text for name in names for text in _warnings(name, labels[name], classes.get(name, {}))]
    for name, expected in per_batch.items():
        if 0 < expected < FEWEST_PER_BATCH and batch_size < rows[train]:
            warnings.append(_too_few(name, batch_size, expected, rows[train]))
    return Census(labels, classes, rows, per_batch, batch_size, warnings)


def _labelled(target: Tensor | None) -> Tensor:
    if target is None:
        return torch.empty(0)
    present = labelled(target.detach()).reshape(len(target), -1).any(1)
    return target.detach()[present]


def _has_classes(found: Mapping[str, Tensor], column: OutputColumn | None) -> bool:
    if column is not None:
        return column.kind in ("binary", "multiclass", "ordinal")
    values = [value for value in found.values() if len(value)]
    whole = all(not value.is_floating_point() or bool(((value == 0) | (value == 1)).all()) for value in values)
    return bool(values) and whole and all(value.ndim == 1 for value in values)


def _by_class(found: Mapping[str, Tensor], column: OutputColumn | None) -> dict[str, dict[str, int]]:
    size = max((int(values.max()) + 1 for values in found.values() if len(values)), default=0)
    names = column.classes if column is not None else tuple(str(code) for code in range(size))
    counts = {split: torch.bincount(values.long().cpu(), minlength=len(names)) for split, values in found.items()}
    return {label: {split: int(counts[split][i]) for split in found} for i, label in enumerate(names)}


def _warnings(name: str, held: Mapping[str, int], classes: Mapping[str, Mapping[str, int]]) -> list[str]:
    warnings = [f"output {name!r}: no label among the {split} rows" for split, count in held.items() if not count]
    for split, count in held.items():
        absent = [label for label, counts in classes.items() if not counts[split]]
        if count and absent:
            shown = ", ".join(absent[:5]) + (f" and {len(absent) - 5} more" if len(absent) > 5 else "")
            plural = "class" if len(absent) == 1 else "classes"
            warnings.append(f"output {name!r}: {plural} {shown} absent among the {split} rows")
    return warnings


def _too_few(name: str, batch_size: int, expected: float, rows: int) -> str:
    needed = 2 ** math.ceil(math.log2(FEWEST_PER_BATCH * batch_size / expected))
    advice = f"a batch size of at least {needed}" if needed < rows else f"one batch of all {rows} rows"
    return f"output {name!r}: a batch of {batch_size} holds {expected:.1f} labels on average; use {advice}"
