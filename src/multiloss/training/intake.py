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
from multiloss.core.types import IGNORE_INDEX, TableReader
from multiloss.data.arrays import as_inputs, as_targets, as_weights
from multiloss.data.batch import Source, TensorSource, count_rows, named_inputs
from multiloss.data.frames import frame_inputs, frame_targets, is_frame
from multiloss.data.loader import make_source
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
    numbers: Tensor | None = None,
    ignore_index: int = IGNORE_INDEX,
) -> Source:
    """Return batches from the user's data.

    A data frame goes through the model's own schema, where the model has one (`table_model`); otherwise the outputs
    are columns of it, and every other column is a number. `numbers` are the user's numbers of the rows.

    Raises:
        DataError: If the data is of no known form, or does not fit the outputs.
    """
    schema: TableReader | None = getattr(model, "schema", None)
    if schema is not None:
        data = _one_frame(data)
    if is_frame(data) and schema is not None:
        table = schema.encode(data, targets=targets_needed)
        for column, count in table.unknown.items():
            logger.warning("column %r: %d cells hold a value never seen in training, read as unknown", column, count)
        weight = table.sample_weight or sample_weight
        data = (table.inputs, table.targets) if targets_needed else table.inputs
        sample_weight = weight
    else:
        data = plain(data, outputs, integer, targets_needed, ignore_index)
    return make_source(
        data,
        outputs=outputs,
        integer=integer,
        batch_size=batch_size,
        device=device,
        sample_weight=sample_weight,
        targets_needed=targets_needed,
        shuffle=shuffle,
        numbers=numbers,
        ignore_index=ignore_index,
    )


def intake_both(
    data: Any, validation: Any, seed: int, *, batch_size: int, sample_weight: Any, **options: Any
) -> tuple[Source, Source | None]:
    """Return the batches to train on, and those held out: a fraction of the data, or data of their own.

    Raises:
        DataError: As `intake` and `hold_out`.
    """
    held, numbers = validation, None
    if isinstance(validation, int | float) and not isinstance(validation, bool):
        where = {name: options[name] for name in ("model", "outputs", "integer", "ignore_index")}
        data, held, sample_weight, numbers = hold_out(data, validation, seed, sample_weight=sample_weight, **where)
    train = intake(data, batch_size=batch_size, sample_weight=sample_weight, shuffle=True, numbers=numbers, **options)
    if held is None:
        return train, None
    source = intake(held, batch_size=batch_size, **options)
    if isinstance(source, TensorSource):
        source.widen()
    return train, source


def plain(
    data: Any,
    outputs: Sequence[str],
    integer: Iterable[str],
    targets_needed: bool = True,
    ignore_index: int = IGNORE_INDEX,
) -> Any:
    """Return the data with data frames turned into tensors."""
    if is_frame(data):
        inputs = frame_inputs(data, leave_out=outputs)
        return (inputs, frame_targets(data, outputs, integer, ignore_index)) if targets_needed else inputs
    if isinstance(data, tuple) and len(data) in (2, 3) and any(is_frame(part) for part in data[:2]):
        inputs = frame_inputs(data[0], leave_out=()) if is_frame(data[0]) else data[0]
        targets = frame_targets(data[1], outputs, integer, ignore_index) if is_frame(data[1]) else data[1]
        return (inputs, targets, *data[2:])
    return data


def _one_frame(data: Any) -> Any:
    """Put a frame of inputs and a frame of targets side by side, as a schema reads them."""
    if isinstance(data, tuple) and len(data) == 2 and all(is_frame(part) for part in data):
        left, right = (to_polars(part) for part in data)
        if left.height != right.height:
            raise DataError(
                f"expected inputs and targets with the same number of rows, found {left.height} and {right.height}"
            )
        return to_polars({series.name: series for frame in (left, right) for series in frame})
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
    ignore_index: int = IGNORE_INDEX,
) -> tuple[Any, Any, Any, Tensor | None]:
    """Return the data, the part of it held out, and the sample weights and row numbers of the former.

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
        return parts[0], parts[1], sample_weight, None
    whole = frozenset(integer)
    schema: TableReader | None = getattr(model, "schema", None)
    if schema is not None:
        data = _one_frame(data)
    if is_frame(data) and schema is not None:
        data = to_polars(data)
        kinds = {output.name: output.kind for output in schema.outputs if output.name in data.columns}
        weights = {} if sample_weight is None else as_weights(sample_weight, list(outputs))
        count_rows({"table": torch.empty(data.height)}, {}, weights)
        split = split_rows(data, kinds, validation=fraction, test=0.0, seed=seed)
        train, held = data[split.train], data[split.validation]
    else:
        data = plain(data, outputs, whole, ignore_index=ignore_index)
        if not isinstance(data, tuple) or len(data) not in (2, 3):
            raise DataError(f"expected (inputs, targets) to hold out a fraction of, found {type(data).__name__}")
        inputs, targets = as_inputs(data[0]), as_targets(data[1], outputs, whole, ignore_index)
        given_weight = data[2] if len(data) == 3 else sample_weight
        weights = {} if given_weight is None else as_weights(given_weight, list(targets))
        count_rows(named_inputs(inputs), targets, weights)
        kinds = {name: _kind(target, name in whole) for name, target in targets.items()}
        flat = {name: _flat(target, ignore_index) for name, target in targets.items()}
        split = split_rows(flat, kinds, validation=fraction, test=0.0, seed=seed)
        train, held = _rows((inputs, targets), split.train), _rows((inputs, targets), split.validation)
    kept = torch.as_tensor(split.train)
    return train, held, _rows(weights, kept) or None, kept


def _kind(target: Tensor, classes: bool) -> str:
    if classes and target.dim() == 1:
        return "multiclass"
    found = target[labelled(target)] if target.dim() == 1 else target[:0]
    return "binary" if len(found) and bool(((found == 0) | (found == 1)).all()) else "regression"


def _flat(target: Tensor, ignore_index: int) -> Tensor:
    """One value per row: class indices as they are but for what means "no label"; of several labels, 0 or NaN."""
    found = labelled(target, ignore_index)
    if target.dim() > 1:
        return torch.where(found.reshape(len(target), -1).any(1), 0.0, torch.nan)
    return target if target.is_floating_point() else target.masked_fill(~found, IGNORE_INDEX)


def _rows(data: Any, rows: Any) -> Any:
    """Return some rows of the tensors in tuples and mappings."""
    if isinstance(data, Mapping):
        return {name: _rows(part, rows) for name, part in data.items()}
    if isinstance(data, tuple):
        return tuple(_rows(part, rows) for part in data)
    return data[torch.as_tensor(rows).to(data.device)]
