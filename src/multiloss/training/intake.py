"""From what a user has to batches: arrays, tensors, data frames, a Dataset, a DataLoader."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, random_split

from multiloss.core.errors import DataError
from multiloss.core.labels import labelled
from multiloss.core.types import TableReader
from multiloss.data.batch import Source, as_targets, make_source
from multiloss.data.frames import frame_inputs, frame_targets, is_frame
from multiloss.data.split import split_rows
from multiloss.data.table import to_polars

logger = logging.getLogger("multiloss")


def intake(
    data: Any,
    *,
    model: nn.Module,
    outputs: Sequence[str],
    integer: Iterable[str],
    batch_size: int,
    device: torch.device,
    sample_weight: Any = None,
    shuffle: bool = False,
    targets_needed: bool = True,
) -> Source:
    """Return batches from the user's data.

    A data frame goes through the model's own schema, where the model has one (`table_model`); otherwise the outputs
    are columns of it, and every other column is a number.

    Raises:
        DataError: If the data is of no known form, or does not fit the outputs.
    """
    schema: TableReader | None = getattr(model, "schema", None)
    if is_frame(data) and schema is not None:
        table = schema.encode(data, targets=targets_needed)
        for column, count in table.unknown.items():
            logger.warning("column %r: %d cells hold a value never seen in training, read as unknown", column, count)
        weight = table.sample_weight or sample_weight
        data = (table.inputs, table.targets) if targets_needed else table.inputs
        sample_weight = weight
    else:
        data = plain(data, outputs, integer, targets_needed)
    return make_source(
        data,
        outputs=outputs,
        integer=integer,
        batch_size=batch_size,
        device=device,
        sample_weight=sample_weight,
        targets_needed=targets_needed,
        shuffle=shuffle,
    )


def plain(data: Any, outputs: Sequence[str], integer: Iterable[str], targets_needed: bool = True) -> Any:
    """Return the data with data frames turned into tensors."""
    if is_frame(data):
        inputs = frame_inputs(data, leave_out=outputs)
        return (inputs, frame_targets(data, outputs, integer)) if targets_needed else inputs
    if isinstance(data, tuple) and len(data) in (2, 3) and any(is_frame(part) for part in data[:2]):
        inputs = frame_inputs(data[0], leave_out=()) if is_frame(data[0]) else data[0]
        targets = frame_targets(data[1], outputs, integer) if is_frame(data[1]) else data[1]
        return (inputs, targets, *data[2:])
    return data


def hold_out(
    data: Any,
    fraction: float,
    seed: int,
    *,
    model: nn.Module,
    outputs: Sequence[str],
    integer: Iterable[str],
    sample_weight: Any = None,
) -> tuple[Any, Any, Any]:
    """Return the data, the part of it held out, and the sample weights of the former.

    Tables and tensors keep every class and every output in both parts (`split_rows`); a Dataset is cut at random.

    Raises:
        DataError: If the data cannot be cut, or the fraction is not between 0 and 1.
    """
    if not 0 < fraction < 1:
        raise DataError(f"validation: expected a fraction between 0 and 1, or data, found {fraction}")
    if isinstance(data, DataLoader):
        raise DataError("validation: expected data beside a DataLoader, found a fraction. Give a second loader")
    if isinstance(data, Dataset):
        if not hasattr(data, "__len__"):
            raise DataError("validation: expected a Dataset with a length to take a fraction of. Give data instead")
        parts = random_split(data, [1 - fraction, fraction], generator=torch.Generator().manual_seed(seed))
        return parts[0], parts[1], sample_weight
    if not is_frame(data) and (not isinstance(data, tuple) or len(data) not in (2, 3)):
        raise DataError(f"expected (inputs, targets) to hold out a fraction of, found {type(data).__name__}")
    whole = frozenset(integer)
    if is_frame(data):
        data = to_polars(data)
        schema: TableReader | None = getattr(model, "schema", None)
        known = {} if schema is None else {output.name: output.kind for output in schema.outputs}
        kinds = {n: known.get(n, "multiclass" if n in whole else "regression") for n in outputs if n in data.columns}
        split = split_rows(data, kinds, validation=fraction, test=0.0, seed=seed)
        train, held = data[split.train], data[split.validation]
    else:
        targets = as_targets(plain(data, outputs, whole)[1], outputs, whole)
        kinds = {name: _kind(target, name in whole) for name, target in targets.items()}
        flat = {name: target if target.dim() == 1 else _any_label(target) for name, target in targets.items()}
        split = split_rows(flat, kinds, validation=fraction, test=0.0, seed=seed)
        train, held = _rows(data, split.train), _rows(data, split.validation)
    return train, held, None if sample_weight is None else _rows(sample_weight, split.train)


def _kind(target: Tensor, classes: bool) -> str:
    if classes and target.dim() == 1:
        return "multiclass"
    found = target[labelled(target)] if target.dim() == 1 else target[:0]
    return "binary" if len(found) and bool(((found == 0) | (found == 1)).all()) else "regression"


def _any_label(target: Tensor) -> Tensor:
    """One value per row: 0 where any of its labels is there, NaN where none is."""
    some = labelled(target).reshape(len(target), -1).any(1)
    return torch.where(some, 0.0, torch.nan)


def _rows(data: Any, rows: Any) -> Any:
    """Return some rows of arrays in tuples and mappings; data frames and sequences of numbers become tensors."""
    if isinstance(data, Mapping):
        return {name: _rows(part, rows) for name, part in data.items()}
    if is_frame(data):
        return to_polars(data)[rows]
    if isinstance(data, tuple | list) and not all(isinstance(part, int | float) for part in data):
        return tuple(_rows(part, rows) for part in data)
    index = torch.as_tensor(rows)
    return data[index.to(data.device)] if isinstance(data, Tensor) else torch.as_tensor(data)[index]
