"""The folder of a multiloss run, from its ledger."""

from __future__ import annotations

import math
from pathlib import Path

from multiloss.core.errors import DataError
from multiloss.core.records import LedgerRecord
from multiloss.core.run_records import RunRecords
from multiloss.diagnosis.logs.records import LogEpoch, Printed, TrainingLog


def read_run(folder: Path) -> TrainingLog:
    """Return the log that the ledger of a run makes: the losses as they are, the penalties as they stand in the total.

    Raises:
        RunError: If the folder is no run, or damaged.
        DataError: If no epoch is done yet.
    """
    records = RunRecords.read(folder)
    train, held = (
        tuple(_epoch(record, i) for i, record in enumerate(records.split(name), 1)) for name in ("train", "validation")
    )
    if not train and not held:
        raise DataError(f"{folder}: expected a run with an epoch done, found none. Wait for the first epoch")
    return TrainingLog("multiloss run folder", records.name, "total", train, held, ())


def _epoch(record: LedgerRecord, place: int) -> LogEpoch:
    values = {term.name: term.value if term.kind == "loss" else term.contribution for term in record}
    parts = {name: Printed(value, 0.0) for name, value in values.items() if value is not None}
    total = math.nan if record.total is None else record.total
    return LogEpoch(float(place if record.epoch is None else record.epoch), Printed(total, 0.0), parts, {})
