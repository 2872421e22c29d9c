"""A process that trains runs of a study, one after another, and the handle by which the study holds it.

It reads a line of JSON for each run and answers with one, so a script or a notebook needs no `__main__` guard. When the
study's own process is gone, it stops at the next step, its checkpoint written.
"""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from multiloss.core.errors import MultilossError, RunError
from multiloss.studies.plan import PlannedRun

MOST_ENDS = 3
"""How often a worker may die in the same run before the study gives up."""

POOLS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "POLARS_MAX_THREADS")


def threads_each(workers: int) -> int:
    """Return how many threads each of several workers may use.

    Examples:
        >>> threads_each(10_000)
        1
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, cores // workers)


class Worker:
    """A process that trains runs; it is started by the first one, and again where it died.

    Args:
        log: File to which the process may complain.
        threads: Threads that it may use beside those of the runs' configurations.
        held: Open files that it keeps, so that their locks outlive the study's own process.
    """

    def __init__(self, log: Path, threads: int, held: Sequence[int] = ()) -> None:
        self.log, self.threads, self.held = log, threads, tuple(held)
        self._process: subprocess.Popen[str] | None = None
        self._stopping = False

    def train(self, run: PlannedRun, folder: Path) -> bool:
        """As `one_run.train_run`, in the process; where it dies, a new one goes on from the run's checkpoint.

        Raises:
            RunError: If the run cannot be trained, or the process died `MOST_ENDS` times in it.
        """
        task = json.dumps({"run": run.to_dict(), "folder": str(folder)}, allow_nan=False)
        for _ in range(MOST_ENDS):
            if self._stopping:
                return False
            answer = self._ask(task)
            if answer is not None and "error" in answer:
                raise RunError(f"{run.name}: {answer['error']}")
            if answer is not None:
                return bool(answer["done"])
        code = None if self._process is None else self._process.returncode
        raise RunError(
            f"{run.name}: expected a result, found that its process ended {MOST_ENDS} times (exit code {code}). "
            f"See {self.log}; where memory is short, use fewer workers"
        )

    def _ask(self, task: str) -> Mapping[str, Any] | None:
        """Return the answer of the process, or `None` where it died."""
        process = self._running()
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            process.stdin.write(f"{task}\n")
            process.stdin.flush()
            line = process.stdout.readline()
        except (BrokenPipeError, ValueError):  # it died before it read, or was ended beside us
            line = ""
        if line.endswith("\n"):
            answer: dict[str, Any] = json.loads(line)
            return answer
        self.end()
        return None

    def _running(self) -> subprocess.Popen[str]:
        if self._process is None or self._process.poll() is not None:
            pools = {name: str(self.threads) for name in POOLS}  # what the user set goes before
            where = {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
            with self.log.open("a") as log:
                self._process = subprocess.Popen(
                    [sys.executable, "-P", "-m", "multiloss.studies.worker"],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=log,
                    text=True,
                    env={**pools, **os.environ, **where},
                    pass_fds=self.held,
                    start_new_session=True,  # Ctrl-C reaches the study alone, which tells its workers
                )
        return self._process

    def stop(self) -> None:
        """Ask the process to stop at its next step."""
        self._stopping = True
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()

    def end(self) -> None:
        """Close the process, and wait until it is gone."""
        if self._process is not None:
            for pipe in (self._process.stdin, self._process.stdout):
                if pipe is not None and not pipe.closed:
                    _close(pipe)
            self._process.wait()


def _close(pipe: IO[str]) -> None:
    try:
        pipe.close()
    except BrokenPipeError:  # what was written last was never read
        return


def serve() -> None:
    """Train what the lines of standard input name, and answer each on standard output."""
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # whoever prints does not answer
    tasks: queue.SimpleQueue[str | None] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(tasks,), daemon=True).start()
    while (line := tasks.get()) is not None:
        answers.write(f"{json.dumps(_answer(json.loads(line)))}\n")
        answers.flush()


def _listen(tasks: queue.SimpleQueue[str | None]) -> None:
    for line in sys.stdin:
        tasks.put(line)
    tasks.put(None)
    os.kill(os.getpid(), signal.SIGTERM)  # nobody is left to train for


def _answer(task: Mapping[str, Any]) -> dict[str, Any]:
    from multiloss.studies.one_run import train_run

    try:
        return {"done": train_run(PlannedRun.from_dict(task["run"]), Path(task["folder"]))}
    except MultilossError as error:
        return {"error": str(error)}


if __name__ == "__main__":
    serve()
