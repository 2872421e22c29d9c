"""The runner of a study: trains what is missing, in this process or in several, and nothing twice."""

from __future__ import annotations

import contextlib
import logging
import queue
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path

from multiloss.core.errors import ConfigError, MultilossError, RunError
from multiloss.studies.damage import check_done
from multiloss.studies.one_run import is_done, problem_of, train_run
from multiloss.studies.plan import Plan, PlannedRun
from multiloss.studies.progress import StudyProgress, Tally
from multiloss.studies.study_folder import RUNS, alone_in, begin_study, read_plan
from multiloss.studies.worker import Worker, threads_each
from multiloss.training.signals import on_signal

LOG = "workers.log"
TICK = 0.5


@dataclass(frozen=True)
class DoneRun:
    """A run of a study that needs no more training.

    Args:
        planned: What was planned.
        folder: Its run folder.
        problem: Why it holds no result, where it diverged; `None` where it holds one.
    """

    planned: PlannedRun
    folder: Path
    problem: str | None


def run_plan(
    plan: Plan, folder: str | Path, *, workers: int = 1, progress: StudyProgress | None = None
) -> list[DoneRun]:
    """Train every run of a plan that its folder does not hold yet.

    The folder gets `study.json` first, then `runs/<name>/`, each an ordinary run folder with `rows.safetensors` beside
    the rest. What was interrupted goes on from its checkpoint; what diverged has a `problem.json` and is not tried
    again. The numbers do not depend on the number of workers.

    Args:
        plan: What to train.
        folder: The study's folder: new, or of a plan all of whose runs this one has too.
        workers: Processes that train side by side; the machine's threads are shared out among them.
        progress: Told whenever a run begins or ends, and with several workers twice a second.

    Returns:
        Every run, in the order of the plan.

    Raises:
        ConfigError: If `workers` is no number of processes.
        RunError: If the folder holds something else or another plan's study, another process works in it, a run cannot
            be trained or is damaged, or a signal stopped the study; the same call goes on with what is missing.
    """
    if isinstance(workers, bool) or not isinstance(workers, int) or workers < 1:
        raise ConfigError([f"workers: expected a whole number of 1 or more, found {workers!r}"], "study")
    folder = Path(folder)
    with alone_in(folder) as lock, _said_once():
        begin_study(plan, folder)
        done = {run.planned.name for run in _done(plan, folder)}
        missing = [run for run in plan.runs if run.name not in done]
        tally = Tally(len(plan.runs), len(missing), min(workers, len(missing)), progress)
        signals: list[int] = []
        with on_signal(signals.append):
            if min(workers, len(missing)) > 1:
                team = [Worker(folder / LOG, threads_each(workers), lock) for _ in range(min(workers, len(missing)))]
                _side_by_side(missing, folder, team, tally, signals)
            else:
                _in_turn(missing, folder, tally, signals)
        if tally.done < tally.total:
            raise RunError(
                f"interrupted: {tally.done} of {tally.total} runs of {folder} are done. Do the same again, and it goes "
                "on with what is missing"
            )
    return _done(plan, folder)


def read_study(folder: str | Path) -> tuple[Plan, list[DoneRun]]:
    """Return the plan of a study, and the runs of it that are done.

    Raises:
        RunError: If the folder is no study, of another version, or damaged.
    """
    plan = read_plan(Path(folder))
    return plan, _done(plan, Path(folder))


def _done(plan: Plan, folder: Path) -> list[DoneRun]:
    folders = [(run, folder / RUNS / run.name) for run in plan.runs]
    found = [DoneRun(run, own, problem_of(own)) for run, own in folders if is_done(own)]
    for run in found:
        if run.problem is None:
            check_done(run.planned, run.folder)
    return found


def _in_turn(missing: Sequence[PlannedRun], folder: Path, tally: Tally, signals: Sequence[int]) -> None:
    for run in missing:
        if signals:
            return
        with tally.under_way(run.name) as ended:
            tally.tell()
            try:
                finished = train_run(run, folder / RUNS / run.name)
            except MultilossError as error:
                raise RunError(f"{run.name}: {error}") from error
            if not finished:
                return
            ended()
        tally.tell()


def _side_by_side(
    missing: Sequence[PlannedRun], folder: Path, team: Sequence[Worker], tally: Tally, signals: Sequence[int]
) -> None:
    idle: queue.SimpleQueue[Worker] = queue.SimpleQueue()
    for worker in team:
        idle.put(worker)

    def train(run: PlannedRun) -> None:
        worker = idle.get()
        try:
            with tally.under_way(run.name) as ended:
                if worker.train(run, folder / RUNS / run.name):
                    ended()
        finally:
            idle.put(worker)

    with ThreadPoolExecutor(len(team)) as pool:
        waiting = {pool.submit(train, run) for run in missing}
        try:
            tally.tell()
            while waiting and not signals:
                ready, waiting = wait(waiting, TICK, FIRST_COMPLETED)
                for future in ready:
                    future.result()
                tally.tell()
        finally:
            for future in waiting:
                future.cancel()
            for worker in team:
                worker.stop()
            wait(waiting)
            for worker in team:
                worker.end()


@contextlib.contextmanager
def _said_once() -> Iterator[None]:
    """Let each warning through once: every run reads the same table."""
    seen: set[str] = set()

    def first(record: logging.LogRecord) -> bool:
        known = (text := record.getMessage()) in seen
        seen.add(text)
        return not known

    logger = logging.getLogger("multiloss")
    logger.addFilter(first)
    try:
        yield
    finally:
        logger.removeFilter(first)
