"""Training logs of any framework as numbers: the total of each epoch and the parts printed beside it."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from typing import BinaryIO

from multiloss.core.errors import DataError
from multiloss.core.run_files import FACTS
from multiloss.diagnosis.logs import json_logs, tables
from multiloss.diagnosis.logs.assemble import assemble
from multiloss.diagnosis.logs.events import event_files, read_events
from multiloss.diagnosis.logs.keras_text import LIKE_KERAS, read_keras
from multiloss.diagnosis.logs.pairs import VALUE, pairs_of, read_pairs
from multiloss.diagnosis.logs.records import LogEpoch, Printed, TrainingLog
from multiloss.diagnosis.logs.rows import Found
from multiloss.diagnosis.logs.run_folder import read_run
from multiloss.diagnosis.logs.text import SAMPLE, Text, plain

__all__ = ["LogEpoch", "Printed", "TrainingLog", "read_log"]

IN_FOLDER = ("results.csv", "metrics.csv", "trainer_state.json", "metrics.json", "history.json", "history.csv")
"""The logs that loggers write into a folder of their own."""
REMEMBERED = 200
"""Pieces of text before the first losses that a reader sees again: the header of an epoch is among them."""


def read_log(source: Path | BinaryIO, *, total: str | None = None, parts: Sequence[str] | None = None) -> TrainingLog:
    r"""Read a training log, whatever wrote it.

    Keras progress output, CSVLogger and History as JSON; Lightning's CSV; `trainer_state.json` and printed
    dictionaries of the Hugging Face Trainer; Ultralytics' results.csv; JSON lines and text of detectron2 and
    mmdetection; TensorBoard event files; run folders; any table, JSON lines or text in which losses have names.

    Args:
        source: A file, a folder, or a stream of bytes such as standard input.
        total: The total's column, where its name does not tell.
        parts: The parts' columns or outputs, where their names do not tell.

    Returns:
        Epochs, or steps where the log has no epochs, of training and validation, with what was guessed in notes.

    Raises:
        DataError: If it cannot be read, is no log, or does not show which column is the total and which are parts.
        RunError: If it is a run folder that is damaged.
        MissingExtraError: If it is a TensorBoard file and tensorboard is not installed.

    Examples:
        >>> from io import BytesIO
        >>> text = b"Epoch 2/3\n9/9 [===] - 1s - loss: 9.2902 - dense_1_loss: 0.0801 - dense_2_loss: 0.0717\n"
        >>> epoch, = read_log(BytesIO(text)).train
        >>> epoch.epoch, epoch.total, list(epoch.parts)
        (2.0, Printed(value=9.2902, half=5e-05), ['dense_1', 'dense_2'])
    """
    if not isinstance(source, Path):
        found = _read_stream(source, "standard input", total)
        return assemble(found, "standard input", total, parts)
    path = source
    try:
        if (path / FACTS).is_file():
            return read_run(path)
        path = next((path / name for name in IN_FOLDER if (path / name).is_file()), path)
        if files := event_files(path):
            return assemble(read_events(path, files), path.name, total, parts)
        if path.is_dir():
            raise DataError(
                f"{source}: expected a run folder, TensorBoard events or one of {', '.join(IN_FOLDER)}, found a folder "
                "without them. Give the log's file"
            )
        with path.open("rb") as file:
            found = _read_stream(file, path.name, total)
    except OSError as error:
        raise DataError(
            f"{source}: expected a training log, found no file to read ({error.strerror}). Check the path"
        ) from error
    return assemble(found, path.name, total, parts)


def _read_stream(file: BinaryIO, name: str, total: str | None) -> Found:
    text = Text(file, name)
    if json_logs.looks_like_json(text.sample):
        if json_logs.is_lines(text.sample):
            return json_logs.read_lines(text.lines())
        if not text.sample.lstrip().startswith("{'") or "[" in text.sample[:200]:
            return json_logs.read_document(text.whole(json_logs.MOST, name), name)
    table = tables.find_table(text.sample, total)
    if table:
        return tables.read_table(text.lines(), *table, name)
    if len(text.sample) < SAMPLE and (compact := tables.read_compact(text.sample)):
        return compact
    return _read_text(text)


def _read_text(text: Text) -> Found:
    """Choose between Keras' progress and other text by the beginning, or by the first piece with losses."""
    pieces = text.pieces()
    if any(LIKE_KERAS.search(line) for line in re.split(r"[\r\n]", plain(text.sample)) if "loss" in line):
        return read_keras(pieces)
    before: deque[tuple[str, bool]] = deque(maxlen=REMEMBERED)
    for piece, ended in pieces:
        before.append((piece, ended))
        if "loss" not in piece.lower() or not VALUE.search(piece):
            continue
        if LIKE_KERAS.search(piece):
            return read_keras(chain(before, pieces))
        if pairs_of(piece):
            break
    return read_pairs(chain(before, pieces))
