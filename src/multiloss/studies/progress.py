"""How far a study is, and how long the rest may take."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from typing import TypeAlias

StudyProgress: TypeAlias = Callable[[int, int, tuple[str, ...], float | None], None]
"""Called with: runs done, all runs, names of those under way, and seconds left, `None` before that can be guessed."""


class Tally:
    """Counts the runs of a study; several threads may count theirs, and one tells how far it is.

    Args:
        total: Runs of the study.
        missing: Runs that are not done yet.
        workers: Runs that are trained side by side.
        progress: Who is told.

    Examples:
        >>> tally = Tally(3, 2, 1, lambda done, total, running, left: print(done, total, running))
        >>> with tally.under_way("shared/seed-1") as ended:
        ...     tally.tell()
        ...     ended()
        1 3 ('shared/seed-1',)
        >>> tally.tell()
        2 3 ()
    """

    def __init__(self, total: int, missing: int, workers: int, progress: StudyProgress | None) -> None:
        self.total, self.done = total, total - missing
        self._workers, self._progress = max(1, workers), progress
        self._running: dict[str, float] = {}
        self._seconds: list[float] = []
        self._lock = threading.Lock()

    @contextlib.contextmanager
    def under_way(self, name: str) -> Iterator[Callable[[], None]]:
        """Count a run as under way inside the block, and as done where the block calls what it is given."""
        ended = False

        def end() -> None:
            nonlocal ended
            ended = True

        with self._lock:
            self._running[name] = time.monotonic()
        try:
            yield end
        finally:
            with self._lock:
                began = self._running.pop(name)
                if ended:
                    self.done += 1
                    self._seconds.append(time.monotonic() - began)

    def tell(self) -> None:
        """Tell how far the study is."""
        if self._progress is None:
            return
        with self._lock:
            state = self.done, self.total, tuple(self._running), self._left()
        self._progress(*state)

    def _left(self) -> float | None:
        """Guess the seconds left: every run takes what those of this session took on average."""
        if not self._seconds:
            return None
        mean, now = sum(self._seconds) / len(self._seconds), time.monotonic()
        begun = sum(max(0.0, mean - (now - began)) for began in self._running.values())
        return (begun + mean * (self.total - self.done - len(self._running))) / self._workers
