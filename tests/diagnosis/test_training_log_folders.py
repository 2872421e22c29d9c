"""Logs that are folders: runs of multiloss and TensorBoard's event files."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import pytest
from log_reading import numbers

from multiloss.core.errors import DataError
from multiloss.core.records import LedgerRecord, TermRecord
from multiloss.core.run_files import json_line
from multiloss.diagnosis.training_log import LogEpoch, Printed, read_log


def test_a_run_folder(tmp_path: Path) -> None:
    terms = (
        TermRecord("a", "loss", 0.25, 2.0, 1.0, 0.5, 0.5, 8),
        TermRecord("b", "loss", None, 1.0, 1.0, 0.0, 0.0, 0),
        TermRecord("l2/trunk.weight", "penalty", 50.0, 0.01, 1.0, 0.5, 0.5, None),
    )
    records = [LedgerRecord(1.0, terms, 4, epoch=3, split=split) for split in ("train", "validation")]
    (tmp_path / "run.json").write_text('{"version": 1}')
    (tmp_path / "ledger.jsonl").write_text("".join(json_line(record.to_dict()) for record in records))
    log = read_log(tmp_path)
    assert (log.format, log.source, log.total) == ("multiloss run folder", tmp_path.name, "total")
    whole = {"a": Printed(0.25, 0.0), "l2/trunk.weight": Printed(0.5, 0.0)}
    assert log.train == (LogEpoch(3.0, Printed(1.0, 0.0), whole, {}),)
    assert log.validation == log.train


def write_events(folder: Path, steps: dict[int, dict[str, float]], tensors: bool = False) -> None:
    """Write scalars as TensorFlow 1 or, as tensors, TensorFlow 2 does."""
    pytest.importorskip("tensorboard")
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.compat.proto.tensor_pb2 import TensorProto
    from tensorboard.summary.writer.record_writer import RecordWriter

    def value(tag: str, number: float) -> Any:
        if not tensors:
            return Summary.Value(tag=tag, simple_value=number)
        content = struct.pack("<f", number)
        return Summary.Value(tag=tag, tensor=TensorProto(dtype=1, tensor_content=content))

    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "events.out.tfevents.1.host").open("wb") as file:
        writer = RecordWriter(file)
        writer.write(Event(file_version="brain.Event:2").SerializeToString())
        for step, scalars in steps.items():
            values = [value(tag, number) for tag, number in scalars.items()]
            writer.write(Event(step=step, summary=Summary(value=values)).SerializeToString())


@pytest.mark.parametrize("tensors", [False, True])
def test_tensorboard_of_keras_has_epochs_for_steps(tmp_path: Path, tensors: bool) -> None:
    for split, more in (("train", 0.0), ("validation", 0.5)):
        epochs = {n: {"epoch_loss": 4.0 - n + more, "epoch_a_loss": 0.25 + more, "batch_loss": 9.0} for n in range(3)}
        write_events(tmp_path / split, epochs, tensors)
    log = read_log(tmp_path)
    assert (log.format, log.unit, log.total) == ("TensorBoard events", "epoch", "epoch_loss")
    assert numbers(log.train) == [(0.0, 4.0, {"a": 0.25}), (1.0, 3.0, {"a": 0.25}), (2.0, 2.0, {"a": 0.25})]
    assert numbers(log.validation)[0] == (0.0, 4.5, {"a": 0.75})
    assert log.train[0].total.half == 4.0 * 2**-24  # single precision


def test_tensorboard_by_step_with_curves_side_by_side(tmp_path: Path) -> None:
    write_events(tmp_path, {10: {"loss": 1.5, "epoch": 0.0}, 20: {"loss": 1.25, "epoch": 0.0}})
    write_events(tmp_path / "loss_a", {10: {"loss": 0.5}, 20: {"loss": 0.25}})
    write_events(tmp_path / "loss_b", {10: {"loss": 1.0}, 20: {"loss": 1.0}})
    log = read_log(tmp_path)
    assert log.unit == "step"
    assert numbers(log.train) == [(10.0, 1.5, {"a": 0.5, "b": 1.0}), (20.0, 1.25, {"a": 0.25, "b": 1.0})]


def test_tensorboard_of_several_runs_asks_for_one(tmp_path: Path) -> None:
    for run in ("first", "second"):
        write_events(tmp_path / run, {1: {"loss": 1.5, "a_loss": 0.5}})
    with pytest.raises(DataError, match=r"found those of 2: first, second\. Give the folder of one"):
        read_log(tmp_path)
    assert numbers(read_log(tmp_path / "second").train) == [(1.0, 1.5, {"a": 0.5})]
