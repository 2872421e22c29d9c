"""One run of a study: trained, or gone on with, and the scores of its held-out rows written beside it."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path

from torch import Tensor

from multiloss.config.build import Experiment, prepare
from multiloss.config.run_files import HEADING, holds_run
from multiloss.core.errors import BalancingError, NonFiniteError, ObjectiveError
from multiloss.core.run_files import CONFIG, FACTS, write_whole
from multiloss.studies.damage import check_begun, read_facts
from multiloss.studies.plan import PlannedRun
from multiloss.studies.rows import ROWS, damaged, held_out_scores, write_rows
from multiloss.training.devices import use_threads

PROBLEM = "problem.json"
"""The file that says why a run holds no result."""


def train_run(run: PlannedRun, folder: Path) -> bool:
    """Train a run to its end, and return whether it got there: not where a signal stopped it.

    What was begun goes on from its checkpoint. A run that diverged, or whose held-out scores are not finite, is at its
    end too: its folder says so.

    Args:
        run: The run.
        folder: Its own folder.

    Raises:
        MultilossError: If it cannot be trained for another reason, or its folder is damaged or cannot be written.
    """
    check_begun(folder)
    threads = run.config.training.threads
    with use_threads(threads) if isinstance(threads, int) else contextlib.nullcontext():  # evaluation as training
        experiment = prepare(run.config, folder, progress=False)
        try:
            scores = _trained(experiment, run, folder)
        except (NonFiniteError, BalancingError) as error:
            _write_problem(run, folder, error)
            return True
        if scores is not None:
            write_rows(folder, scores)
        return scores is not None


def _trained(experiment: Experiment, run: PlannedRun, folder: Path) -> dict[str, Tensor] | None:
    """Return the scores of the held-out rows; `None` where a signal stopped the training."""
    try:
        result = experiment.fit(resume=holds_run(folder))
    except ObjectiveError:  # evaluation refuses a loss that is not finite
        if experiment.files.fit is not None and experiment.files.fit.finished:
            held_out_scores(experiment, run.outputs)  # names the rows, where it is theirs
        raise
    return None if result.interrupted else held_out_scores(experiment, run.outputs)


def is_done(folder: Path) -> bool:
    """Return whether a run needs no more training: it has its result, or it is known why it has none.

    Raises:
        RunError: If its `run.json` is damaged.
    """
    if (folder / PROBLEM).exists():
        return True
    return (folder / ROWS).exists() and (folder / FACTS).exists() and bool(read_facts(folder).get("finished"))


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
        raise damaged(folder, f"{path} is damaged ({error})") from error


def _write_problem(run: PlannedRun, folder: Path, error: Exception) -> None:
    if not (folder / CONFIG).exists():  # a folder in which no epoch was done was taken away
        write_whole(folder / CONFIG, (HEADING + run.config.to_yaml()).encode())
    found = {"error": type(error).__name__, "problem": str(error), "seed": run.seed}
    write_whole(folder / PROBLEM, f"{json.dumps(found, indent=2)}\n".encode())
