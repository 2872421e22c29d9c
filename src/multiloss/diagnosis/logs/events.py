"""TensorBoard event files."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from multiloss.core.errors import DataError
from multiloss.core.optional import require
from multiloss.diagnosis.logs.rows import Found, Row, Thinned

TRACK = "multiloss[track]"
HELD = {"val", "valid", "validation", "eval", "test"}
_SIZES = {1: "f", 2: "d", 3: "i", 9: "q"}
"""The number types of a tensor, as `struct` names them: float, double, int32, int64."""


def event_files(path: Path) -> list[Path]:
    """Return the event files that a path is or holds, oldest first."""
    if path.is_file():
        return [path] if "tfevents" in path.name else []
    return sorted(
        (file for file in path.rglob("*tfevents*") if file.is_file()), key=lambda file: (file.parent, file.name)
    )


def read_events(path: Path, files: list[Path]) -> Found:
    """Return a row for each step of the files' scalars.

    Raises:
        DataError: If a file is damaged, or the folder holds several runs.
        MissingExtraError: If tensorboard is not installed.
    """
    folders = {file.parent.relative_to(path if path.is_dir() else path.parent).as_posix() for file in files}
    runs = {folder for folder in folders if not {folder.split("/")[-1].lower()} & (HELD | {"train", "."})}
    kept = Thinned()
    per_epoch = False
    scalars: dict[str, list[tuple[str, float, str]]] = {}
    for file in files:
        folder = file.parent.name if file.parent != path and path.is_dir() else ""
        for tag, step, value in _scalars(file):
            scalars.setdefault(folder, []).append((tag, step, value))
    tags = {tag for values in scalars.values() for tag, _, _ in values}
    several = [folder for folder in runs if not any(_beside(folder, tag) for tag in tags)]
    if len(several) > 1:
        raise DataError(
            f"{path}: expected the event files of one run, found those of {len(several)}: "
            f"{', '.join(sorted(several)[:8])}. Give the folder of one"
        )
    for folder, values in scalars.items():
        for row in _rows(folder, values):
            per_epoch |= any(map(_by_epoch, row.cells))
            if kept.wants(kind := tuple(row.cells)):
                kept.add(kind, row)
    rows = kept.rows
    if per_epoch:  # Keras counts epochs in the place of steps
        kept_tags = [{tag: cell for tag, cell in row.cells.items() if _by_epoch(tag)} for row in rows]
        rows = [Row(row.step, None, cells) for row, cells in zip(rows, kept_tags, strict=True) if cells]
    rows = sorted(rows, key=lambda row: row.step or row.epoch or 0.0)
    return Found("TensorBoard events", rows, kept.notes, fixed=True)


def _by_epoch(tag: str) -> bool:
    return tag.split("/")[-1].startswith("epoch_")


def _rows(folder: str, values: list[tuple[str, float, str]]) -> Iterator[Row]:
    by_step: dict[float, dict[str, str]] = {}
    for tag, step, value in values:
        name = f"val/{tag}" if folder.lower() in HELD else _beside(folder, tag) or tag
        by_step.setdefault(step, {})[name] = value
    for step, cells in by_step.items():
        epoch = cells.pop("epoch", None)
        if cells:
            yield Row(float(epoch) if epoch else None, step, cells)


def _beside(folder: str, tag: str) -> str | None:
    """Return the name of a curve that `add_scalars` wrote into a folder of its own: `loss` in `loss_a` is `loss/a`."""
    start = tag.replace("/", "_") + "_"
    name = folder.split("/")[-1]
    return f"{tag}/{name[len(start) :]}" if name.startswith(start) else None


def _scalars(file: Path) -> Iterator[tuple[str, float, str]]:
    loading = require(
        "tensorboard.backend.event_processing.event_file_loader", "reading TensorBoard event files", TRACK
    )
    errors = require("tensorboard.compat.tensorflow_stub.errors", "reading TensorBoard event files", TRACK)
    try:
        for event in loading.LegacyEventFileLoader(str(file)).Load():
            for value in event.summary.value:
                number = _number(value)
                if number is not None:
                    yield value.tag, float(event.step), number
    except (errors.OpError, ValueError) as error:
        raise DataError(
            f"{file}: expected TensorBoard events, found a damaged file ({error}). Give the run's folder"
        ) from error


def _number(value: Any) -> str | None:
    """Return a scalar in single precision, with the digits that it has."""
    kind = value.WhichOneof("value")
    if kind == "simple_value":
        return _digits(value.simple_value)
    if (
        kind != "tensor"
        or value.tensor.tensor_shape.dim
        or value.metadata.plugin_data.plugin_name not in ("scalars", "")
    ):
        return None
    tensor = value.tensor
    listed = next(
        (item for item in (tensor.float_val, tensor.double_val, tensor.int_val, tensor.int64_val) if item), None
    )
    if listed:
        return _digits(float(listed[0]))
    code = _SIZES.get(tensor.dtype)
    if code is None or len(tensor.tensor_content) != struct.calcsize(code):
        return None
    return _digits(float(struct.unpack(f"<{code}", tensor.tensor_content)[0]))


def _digits(value: float) -> str:
    return f"{value:.8e}"  # all that single precision holds
