"""Whether a run's folder can be read, or gone on with, found before a study relies on it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from multiloss.core.errors import RunError
from multiloss.core.flow import GradientFlow
from multiloss.core.records import LedgerRecord
from multiloss.core.run_files import FACTS, GRADIENTS, HISTORY, LEDGER, read_lines, read_run_json
from multiloss.studies.plan import PlannedRun
from multiloss.studies.rows import PARTS, damaged, measures_of, read_score
from multiloss.training import checkpoint
from multiloss.training.fit import checkpoint_path


def read_facts(folder: Path) -> dict[str, Any]:
    """Return what `run.json` of a run says.

    Raises:
        RunError: If it is absent or damaged.
    """
    if not (folder / FACTS).is_file():
        raise damaged(folder, f"{folder / FACTS} is missing")
    with _reading(folder, FACTS):
        return read_run_json(folder)


def check_done(run: PlannedRun, folder: Path) -> None:
    """Find that every record of a run that holds a result can be read.

    Raises:
        RunError: If a file is absent or damaged; names it.
    """
    facts = read_facts(folder)
    with _reading(folder, FACTS):
        epochs, parts, final = int(facts["epochs"]), set(facts["part_rows"]), dict(facts["final"])
        scored = {output: facts["test"][output] for output in run.outputs}
        if not final or not all(scored.values()):
            raise ValueError("it has no scores")
    _check_records(folder, epochs)
    for output in run.outputs:
        for part in (part for part in PARTS if part in parts):
            for measure in measures_of(run.config.outputs[output].kind or "regression"):
                read_score(folder, part, output, measure)


def check_begun(folder: Path) -> None:
    """Find that a run can go on from its checkpoint; one without a checkpoint begins anew.

    Raises:
        RunError: If a file is absent or damaged; names it.
    """
    path = checkpoint_path(folder)
    if not path.exists():
        return
    with _reading(folder, str(path.relative_to(folder))):
        epoch, *_ = checkpoint.load(path)["progress"]
    read_facts(folder)
    _check_records(folder, epoch - 1)


def _check_records(folder: Path, epochs: int) -> None:
    """Find that the records hold some epochs; what was written after the checkpoint is done again."""
    kinds: dict[str, Callable[[Mapping[str, Any]], Any]] = {
        HISTORY: lambda line: line["epoch"],
        LEDGER: lambda line: LedgerRecord.from_dict(line).epoch,
        GRADIENTS: GradientFlow.from_dict,
    }
    for name, read in kinds.items():
        with _reading(folder, name):
            found = [read(line) for line in read_lines(folder / name)]
            if name != GRADIENTS and (lost := set(range(1, epochs + 1)) - set(found)):
                raise ValueError(f"expected {epochs} epochs, found {epochs - len(lost)}")


@contextmanager
def _reading(folder: Path, name: str) -> Iterator[None]:
    """Say of whatever cannot be read which file it is, and what to do."""
    try:
        yield
    except RunError as error:
        raise damaged(folder, str(error)) from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise damaged(folder, f"{folder / name} is damaged ({error})") from error
