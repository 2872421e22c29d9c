"""Data frames of numbers as tensors, for models without a table schema of their own."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor

from multiloss.core.errors import DataError, listed
from multiloss.core.types import IGNORE_INDEX
from multiloss.data.columns import floats
from multiloss.data.table import to_polars


def is_frame(data: object) -> bool:
    """Return whether `data` is a polars or a pandas data frame."""
    return type(data).__module__.split(".")[0] in ("polars", "pandas") and hasattr(data, "columns")


def frame_inputs(frame: Any, leave_out: Iterable[str]) -> Tensor:
    """Return every column but some as float32 `[n, p]`.

    Raises:
        DataError: If a column holds no numbers, or none is left.
    """
    table = to_polars(frame)
    columns = [table[name] for name in table.columns if name not in set(leave_out)]
    text = [series.name for series in columns if not (series.dtype.is_numeric() or str(series.dtype) == "Boolean")]
    if text or not columns:
        found = f"found text in {', '.join(map(repr, text))}" if text else "found no column beside the outputs"
        raise DataError(
            f"expected columns of numbers, {found}. multiloss.table_model builds a model that reads categories itself"
        )
    return torch.stack([floats(series) for series in columns], 1).float()


def frame_targets(
    frame: Any, outputs: Sequence[str], integer: Iterable[str], ignore_index: int = IGNORE_INDEX
) -> dict[str, Tensor]:
    """Return the columns of the outputs that the frame has: class indices int64, the others float32.

    Raises:
        DataError: If a column holds no numbers, or class indices that are no whole numbers.
    """
    table, whole = to_polars(frame), frozenset(integer)
    targets, problems = {}, []
    for name in outputs:
        if name not in table.columns:
            continue
        if not (table[name].dtype.is_numeric() or str(table[name].dtype) == "Boolean"):
            problems.append(
                f"column {name!r}: expected numbers, found {table[name].dtype}. Encode the classes as 0, 1, ..."
            )
            continue
        values = floats(table[name])
        if name not in whole:
            targets[name] = values.float()
        elif bool((values.nan_to_num() % 1 != 0).any()):
            problems.append(f"column {name!r}: expected class indices 0, 1, ..., found fractions")
        else:
            targets[name] = values.nan_to_num(ignore_index).long()
    if problems:
        raise DataError(listed(problems, "targets"))
    return targets
