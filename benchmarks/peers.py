"""The peers: which there are, which are installed, and a handle on a worker process that runs one."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import subprocess
import sys
import tempfile

from benchmarks.tasks import Task

NEEDS = {
    "keras-tensorflow": ("keras", "tensorflow"),
    "keras-jax": ("keras", "jax"),
    "keras-torch": ("keras", "torch"),
    "lightning": ("lightning", "torch"),
}
"""Each peer, and the packages that must be importable to run it."""


def missing(peer: str) -> list[str]:
    """Return the packages that the peer needs and that are not installed."""
    return [package for package in NEEDS[peer] if importlib.util.find_spec(package) is None]


def environment(peer: str, threads: int) -> dict[str, str]:
    """Return the environment of a worker: its backend and its number of threads, read when libraries load."""
    found = dict(os.environ, OMP_NUM_THREADS=str(threads), NPROC=str(threads), TF_CPP_MIN_LOG_LEVEL="3")
    found["CUDA_VISIBLE_DEVICES"] = ""
    if peer.startswith("keras-"):
        found["KERAS_BACKEND"] = peer.removeprefix("keras-")
    if threads == 1:
        found["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false"
    return found


class PeerError(RuntimeError):
    """Raised when a worker ends before it answered."""


class Worker:
    """A peer in a process of its own, idle except while `round` waits for it."""

    def __init__(self, peer: str, task: Task, threads: int) -> None:
        self.name = peer
        self._errors = tempfile.TemporaryFile("w+")  # noqa: SIM115  (lives as long as the process)
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.worker", peer, task.name, str(threads)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            env=environment(peer, threads),
        )
        self.version = str(self._answer()["version"])

    def round(self, epochs: int) -> tuple[float, float]:
        """Train in the worker; return the seconds it took there and the last epoch's loss."""
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # a dead worker is reported by the answer it does not give
            self._process.stdin.write(f"{epochs}\n")
            self._process.stdin.flush()
        answer = self._answer()
        return float(answer["seconds"]), float(answer["loss"])

    def close(self) -> None:
        """End the process."""
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()
        self._process.wait(60)
        self._errors.close()

    def _answer(self) -> dict[str, str | float]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            self._process.wait()
            self._errors.seek(0)
            last = self._errors.read().strip().splitlines()[-1:]
            raise PeerError(f"{self.name} ended with status {self._process.returncode}: {' '.join(last)}")
        return json.loads(line)
