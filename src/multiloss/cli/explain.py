"""`multiloss explain`: what the loss of a run was made of."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from multiloss.core.records import LedgerRecord

MOST_EPOCHS = 20


def explain(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A run folder.")],
    epoch: Annotated[int | None, typer.Option(metavar="N", help="Everything about one epoch.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the records of ledger.jsonl.")] = False,
) -> None:
    """Show what the loss was made of, epoch by epoch: what each term added to the total, and its share."""
    from multiloss.cli.records import print_epochs, print_record
    from multiloss.cli.show import say

    records = _records(run, epoch)
    if as_json:
        for record in records:
            print(json.dumps(record.to_dict()))
        return
    for split in dict.fromkeys(record.split for record in records):
        own = [record for record in records if record.split == split]
        if epoch is not None:
            print_record(own[0])
        else:
            say(f"{split}: what each term added to the total, and its share")
            print_epochs(_spaced(own))
        say()
    epochs = len({record.epoch for record in records})
    if epoch is None and epochs > MOST_EPOCHS:
        say(f"{MOST_EPOCHS} of {epochs} epochs; --epoch N shows one in full, --json all")


def _records(run: Path, epoch: int | None) -> list[LedgerRecord]:
    from multiloss.core.errors import ConfigError, RunError
    from multiloss.core.records import LedgerRecord
    from multiloss.core.run_files import read_lines, read_run_json

    read_run_json(run)
    path = run / "ledger.jsonl"
    try:
        records = [LedgerRecord.from_dict(line) for line in read_lines(path)]
    except (TypeError, KeyError) as error:
        raise RunError(f"{path}: expected the lines of a ledger ({error}). The run folder is damaged") from error
    if not records:
        raise RunError(f"{run}: no epoch is done yet; there is nothing to explain")
    if epoch is None:
        return records
    chosen = [record for record in records if record.epoch == epoch]
    if not chosen:
        epochs = sorted({record.epoch or 0 for record in records})
        raise ConfigError([f"expected an epoch from {epochs[0]} to {epochs[-1]}, found {epoch}"], "--epoch")
    return chosen


def _spaced(records: list[LedgerRecord]) -> list[LedgerRecord]:
    """Return at most `MOST_EPOCHS` records at even distances, the first and the last among them."""
    last = len(records) - 1
    if last < MOST_EPOCHS:
        return records
    return [records[round(i * last / (MOST_EPOCHS - 1))] for i in range(MOST_EPOCHS)]
