"""What a fit leaves behind: one row of logs per epoch under Keras's names, and the ledgers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TypeAlias

from multiloss.core.flow import GradientFlow
from multiloss.core.records import LedgerRecord

Logs: TypeAlias = dict[str, float | None]


class History:
    """Logs of every epoch.

    Attributes:
        rows: One mapping per epoch: `epoch, loss, <output>_loss, <output>_<metric>, val_..., lr, seconds`.
        ledgers: Every epoch's account, per split.
        flows: What moved the shared parameters, in the steps that were watched.
        stopped: Why training ended before the last epoch asked for; `None` where it did not.

    Examples:
        >>> history = History()
        >>> history.rows += [{"epoch": 1, "loss": 2.0}, {"epoch": 2, "loss": 1.0}]
        >>> history["loss"], history.history["epoch"]
        ([2.0, 1.0], [1, 2])
    """

    def __init__(self) -> None:
        self.rows: list[Logs] = []
        self.ledgers: list[LedgerRecord] = []
        self.flows: list[GradientFlow] = []
        self.stopped: str | None = None

    @property
    def history(self) -> dict[str, list[float | None]]:
        """Columns by key, as Keras's `History.history`."""
        keys = dict.fromkeys(key for row in self.rows for key in row)
        return {key: [row.get(key) for row in self.rows] for key in keys}

    def __getitem__(self, key: str) -> list[float | None]:
        return self.history[key]

    def __iter__(self) -> Iterator[Logs]:
        return iter(self.rows)

    def __len__(self) -> int:
        return len(self.rows)

    def ledger(self, epoch: int = -1, split: str = "train") -> LedgerRecord:
        """Return the account of one epoch (numbered from 1; -1 is the last) and split."""
        records = [record for record in self.ledgers if record.split == split]
        wanted = records[-1].epoch if epoch == -1 and records else epoch
        for record in records:
            if record.epoch == wanted:
                return record
        raise KeyError(f"no ledger of epoch {epoch}, split {split!r}")


def record_logs(record: LedgerRecord, metrics: Mapping[str, float | None], prefix: str = "") -> Logs:
    """Return an account and its metrics under Keras's names, `prefix` before each."""
    logs: Logs = {"loss": record.total}
    logs |= {f"{term.name}_loss": term.value for term in record if term.kind == "loss"}
    if any(term.kind == "penalty" for term in record):
        logs["penalty"] = record.penalty
    if prefix or record.epoch is None:
        logs["task_loss"] = record.total - record.penalty
    return {f"{prefix}{key}": value for key, value in (logs | dict(metrics)).items()}
