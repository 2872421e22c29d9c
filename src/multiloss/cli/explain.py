"""`multiloss explain`: what the loss of a run, or of any training log, was made of."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from multiloss.core.records import LedgerRecord
    from multiloss.diagnosis.explanation import Explanation

MOST_EPOCHS = 20
MOST_COLUMNS = 100
STDIN = "-"


def explain(
    source: Annotated[
        Path, typer.Argument(metavar="LOG|RUN|-", help="A training log of any framework, a run folder, or a pipe.")
    ] = Path(STDIN),
    weights: Annotated[
        list[str] | None, typer.Option(metavar="A=NUMBER,...", help="Loss weights of a LOG; inferred by default.")
    ] = None,
    total: Annotated[str | None, typer.Option(metavar="NAME", help="The total's column of a LOG.")] = None,
    parts: Annotated[str | None, typer.Option(metavar="A,B", help="The parts' columns of a LOG.")] = None,
    epoch: Annotated[int | None, typer.Option(metavar="N", help="Everything about one epoch.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON; of a RUN the records of ledger.jsonl.")] = False,
) -> None:
    """Explain where the total loss came from: what each part added, what is in no part, and why.

    LOG is Keras output or CSV, Lightning or Ultralytics CSV, trainer_state.json, detectron2 or mmdetection logs,
    TensorBoard events, or any table with a total and parts.
    """
    from multiloss.core.errors import ConfigError

    if _is_run(source):
        given = [name for name, value in (("--weights", weights), ("--total", total), ("--parts", parts)) if value]
        if given:
            raise ConfigError([f"a run folder knows its own; leave out {', '.join(given)}"], str(source))
        _explain_run(source, epoch, as_json)
    else:
        _explain_log(source, _numbers(weights), total, parts, epoch, as_json)


def _is_run(source: Path) -> bool:
    """Return whether a folder is a run, or at least no folder of another logger."""
    from multiloss.core.run_files import FACTS

    if not source.is_dir() or (source / FACTS).is_file():
        return source.is_dir()
    from multiloss.diagnosis.logs.events import event_files
    from multiloss.diagnosis.training_log import IN_FOLDER

    return not any((source / name).is_file() for name in IN_FOLDER) and not event_files(source)


def _explain_log(
    source: Path,
    weights: dict[str, float] | None,
    total: str | None,
    parts: str | None,
    epoch: int | None,
    as_json: bool,
) -> None:
    from multiloss.core.errors import ConfigError
    from multiloss.diagnosis.explanation import explain_log
    from multiloss.diagnosis.training_log import read_log

    piped = str(source) == STDIN
    if piped and sys.stdin.isatty():
        raise ConfigError(["expected a LOG, a RUN or a pipe, found none. Try: multiloss explain train.log"], "explain")
    columns = None if parts is None else [part.strip() for part in parts.split(",") if part.strip()]
    found = explain_log(read_log(sys.stdin.buffer if piped else source, total=total, parts=columns), weights)
    if epoch is not None:
        epochs = sorted({row.epoch for row in (*found.epochs, *found.validation)})
        if epoch not in epochs:
            text = (
                f"expected {'an' if found.unit == 'epoch' else 'a'} {found.unit} from {epochs[0]:g} to {epochs[-1]:g}"
            )
            raise ConfigError([f"{text}, found {epoch}"], "--epoch")
    if as_json:
        print(_json(found, epoch))
    else:
        _print(found, epoch)


def _json(found: Explanation, epoch: int | None) -> str:
    from multiloss.core.run_files import finite

    plain = found.to_dict()
    if epoch is not None:
        plain |= {name: [row for row in plain[name] if row["epoch"] == epoch] for name in ("epochs", "validation")}
    return json.dumps(finite(plain), allow_nan=False, indent=2)


def _print(found: Explanation, epoch: int | None) -> None:
    from multiloss.cli.show import print_table, width
    from multiloss.diagnosis.explanation_text import Table, blocks

    columns = width()
    for block in blocks(found, min(columns or MOST_COLUMNS, MOST_COLUMNS), epoch):
        if columns and isinstance(block, Table):
            print_table(block.columns, block.rows, right=block.columns)
        else:
            print(block, flush=True)


def _numbers(pairs: list[str] | None) -> dict[str, float] | None:
    from multiloss.core.errors import ConfigError

    if not pairs:
        return None
    numbers, problems = {}, []
    for pair in (part for text in pairs for part in text.split(",") if part.strip()):
        name, _, value = pair.rpartition("=")
        try:
            numbers[name.strip()] = float(value)
        except ValueError:
            name = ""
        if not name.strip():
            problems.append(f"expected name=number, found {pair.strip()!r}")
    if problems:
        raise ConfigError(problems, "--weights")
    return numbers


def _explain_run(run: Path, epoch: int | None, as_json: bool) -> None:
    from multiloss.cli.findings import print_findings
    from multiloss.cli.records import print_epochs, print_record
    from multiloss.cli.show import say
    from multiloss.core.run_records import RunRecords
    from multiloss.diagnosis.findings import findings

    records = RunRecords.read(run)
    ledgers = _chosen(run, records.ledgers, epoch)
    if as_json:
        for record in ledgers:
            print(json.dumps(record.to_dict()))
        return
    for split in dict.fromkeys(record.split for record in ledgers):
        own = [record for record in ledgers if record.split == split]
        if epoch is not None:
            print_record(own[0])
        else:
            say(f"{split}: what each term added to the total, and its share")
            print_epochs(_spaced(own))
        say()
    epochs = len({record.epoch for record in ledgers})
    if epoch is None and epochs > MOST_EPOCHS:
        say(f"{MOST_EPOCHS} of {epochs} epochs; --epoch N shows one in full, --json all")
    if epoch is None:
        print_findings(findings(records), run)


def _chosen(run: Path, records: list[LedgerRecord], epoch: int | None) -> list[LedgerRecord]:
    from multiloss.core.errors import ConfigError, RunError

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
