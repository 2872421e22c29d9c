"""One run of a study: trained, or gone on with, and the scores of its held-out rows written beside it."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path

from multiloss.config.build import prepare
from multiloss.config.run_files import HEADING, holds_run
from multiloss.core.errors import BalancingError, NonFiniteError, RunError
from multiloss.core.run_files import CONFIG, FACTS, read_run_json, write_whole
from multiloss.studies.plan import PlannedRun
from multiloss.studies.rows import ROWS, held_out_scores, write_rows
from multiloss.training.devices import use_threads

PROBLEM = "problem.json"
"""The file that says why a run holds no result."""


def train_run(run: PlannedRun, folder: Path) -> bool:
    """Train a run to its end, and return whether it got there: not where a signal stopped it.

    What was begun goes on from its checkpoint. A run that diverged is at its end too: its folder says so.

    Args:
        run: The run.
        folder: Its own folder.

    Raises:
        MultilossError: If it cannot be trained for another reason, or its folder cannot be written.
    """
    threads = run.config.training.threads
    with use_threads(threads) if isinstance(threads, int) else contextlib.nullcontext():  # evaluation as training
        experiment = prepare(run.config, folder, progress=False)
        try:
            result = experiment.fit(resume=holds_run(folder))
        except (NonFiniteError, BalancingError) as error:
            _write_problem(run, folder, error)
            return True
        if not result.interrupted:
            write_rows(folder, held_out_scores(experiment, run.outputs))
        return not result.interrupted


def is_done(folder: Path) -> bool:
    """Return whether a run needs no more training: it has its result, or it is known why it has none."""
    if (folder / PROBLEM).exists():
        return True
    return (folder / ROWS).exists() and (folder / FACTS).exists() and bool(read_run_json(folder).get("finished"))


def problem_of(folder: Path) -> str | None:
    """Return why a run that is done holds no result; `None` where it holds one.

    Raises:
        RunError: If the file that says so is damaged.
    """
    path = folder / PROBLEM
    if not path.exists():
        return None
    try:
        return str(json.loads(path.read_text())["problem"])
    except (ValueError, KeyError, TypeError) as error:
        raise RunError(f"{path} is damaged ({error}). Delete it, and the run is tried again") from error


def _write_problem(run: PlannedRun, folder: Path, error: Exception) -> None:
    if not (folder / CONFIG).exists():  # a folder in which no epoch was done was taken away
        write_whole(folder / CONFIG, (HEADING + run.config.to_yaml()).encode())
    found = {"error": type(error).__name__, "problem": str(error), "seed": run.seed}
    write_whole(folder / PROBLEM, f"{json.dumps(found, indent=2)}\n".encode())
