"""The records of a run folder as they grow: what was appended is read, and a file that was replaced is read anew."""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO, Generic, NamedTuple, TypeVar

from multiloss.core.errors import RunError
from multiloss.core.flow import GradientFlow
from multiloss.core.records import LedgerRecord
from multiloss.core.run_files import CONFIG, FACTS, GRADIENTS, HISTORY, LEDGER, read_run_json
from multiloss.core.run_records import RunRecords

T = TypeVar("T")
REMEMBERED = 256
"""Last bytes that were read: a file with others in their place is another file, whatever its inode says."""
QUIET, QUIET_EPOCHS = 120.0, 3.0
"""A run is called quiet after so many seconds without a line, and not before so many epochs' time."""


class Status(NamedTuple):
    """How a run stands: `waiting`, `live`, `quiet`, `finished`, `interrupted` or `damaged`; and the same in words."""

    state: str
    text: str


class Tail(Generic[T]):
    """The objects of one file of JSON lines.

    Args:
        path: The file, which need not exist yet.
        parse: Makes an object out of a line's JSON.

    Attributes:
        items: The objects so far; an unfinished last line is left out.
        problem: What is wrong with the first line that cannot be read; `items` are those before it.
        stamp: Device, inode, size and time of change of the file that was read; empty without one.
    """

    def __init__(self, path: Path, parse: Callable[[dict[str, Any]], T]) -> None:
        self.path, self._parse = path, parse
        self.stamp: tuple[int, ...] = ()
        self._forget()

    def _forget(self) -> None:
        self.items: list[T] = []
        self.problem: str | None = None
        self._offset, self._end = 0, b""

    def read(self) -> bool:
        """Read what is new, and return whether there was anything."""
        try:
            file = self.path.open("rb")
        except FileNotFoundError:
            known, self.stamp = self.stamp != (), ()
            self._forget()
            return known
        with file:
            stamp = _stamp(os.fstat(file.fileno()))
            if stamp == self.stamp:
                return False
            if stamp[:2] != self.stamp[:2] or not self._goes_on(file):
                file.seek(0)
                self._forget()
            self.stamp = stamp
            self._take(file.read())
        return True

    def _goes_on(self, file: BinaryIO) -> bool:
        file.seek(self._offset - len(self._end))
        return file.read(len(self._end)) == self._end

    def _take(self, data: bytes) -> None:
        self.problem = None
        *lines, _ = data.split(b"\n")
        for line in lines:
            try:
                value = json.loads(line)
                if not isinstance(value, dict):
                    raise TypeError(f"found {type(value).__name__}")
                self.items.append(self._parse(value))
            except (ValueError, TypeError, KeyError, AttributeError) as error:
                where = f"{self.path.name}, line {len(self.items) + 1}"
                self.problem = f"{where}: expected a record ({type(error).__name__}: {error})"
                return
            self._offset += len(line) + 1
            self._end = (self._end + line + b"\n")[-REMEMBERED:]


class Follower:
    """Keeps what the records of one run folder say while a trainer writes them.

    A folder or a `run.json` that is not there yet is waited for. Records that cannot be read leave the last ones that
    could in their place.

    Args:
        folder: The run folder; nothing outside it is read.

    Attributes:
        records: What the records said when they could last be read.
        problem: Why they cannot be read now; `None` where they can.

    Examples:
        >>> Follower(Path("runs/none-yet")).status().text
        'waiting for a run to begin in none-yet'
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.records = RunRecords(folder.resolve().name)
        self.problem: str | None = None
        self._history: Tail[dict[str, Any]] = Tail(folder / HISTORY, dict)
        self._ledger = Tail(folder / LEDGER, LedgerRecord.from_dict)
        self._gradients = Tail(folder / GRADIENTS, GradientFlow.from_dict)
        self._tails: tuple[Tail[Any], ...] = (self._history, self._ledger, self._gradients)
        self._stamps: dict[str, tuple[int, ...]] = {}
        self._facts: dict[str, Any] = {}
        self._config: str | None = None
        self._new = False

    def look(self) -> bool:
        """Read what is new, and return whether `records` are others now."""
        try:
            self._read()
            self.problem = next((tail.problem for tail in self._tails if tail.problem), None)
        except (RunError, OSError) as error:
            self.problem = str(error)
        if not self._new or not self._facts or self.problem is not None:
            return False
        lists = (list(self._history.items), list(self._ledger.items), list(self._gradients.items))
        self.records, self._new = RunRecords(self.records.name, self._facts, *lists, self._config), False
        return True

    def _read(self) -> None:
        for tail in self._tails:
            self._new |= tail.read()
        if self._replaced(CONFIG):
            self._config = (self.folder / CONFIG).read_text(errors="replace") if CONFIG in self._stamps else None
        if self._replaced(FACTS):
            stamp, self._facts = self._stamps.pop(FACTS, None), {}
            if stamp is not None:
                self._facts = read_run_json(self.folder)
                self._stamps[FACTS] = stamp  # only now, so that a damaged one is tried again

    def _replaced(self, name: str) -> bool:
        before = self._stamps.pop(name, None)
        with contextlib.suppress(FileNotFoundError):
            self._stamps[name] = _stamp((self.folder / name).stat())
        replaced = before != self._stamps.get(name)
        self._new |= replaced
        return replaced

    def status(self, now: float | None = None) -> Status:
        """Say how the run stands at a time, in seconds since the epoch; by default now."""
        if self.problem is not None:
            return Status("damaged", f"{self.problem}. The page stays as it was before")
        if not self._facts:
            return Status("waiting", f"waiting for a run to begin in {self.records.name}")
        last = self.records.history[-1] if self.records.history else {}
        done, planned = last.get("epoch", 0), self._facts.get("epochs")
        if self._facts.get("finished") is not None:
            return self._ended(done)
        if planned is not None and done >= planned:
            return Status("finished", f"all {planned} epochs are done")
        silent = max(0.0, (time.time() if now is None else now) - self._changed())
        if silent >= max(QUIET, QUIET_EPOCHS * (last.get("seconds") or 0.0)):
            return Status("quiet", f"no new line for {_length(silent)}; {done} epochs are done")
        of = f" of {planned}" if planned is not None else ""
        return Status("live", f"live: epoch {done + 1}{of} under way")

    def _ended(self, done: int) -> Status:
        stopped, kept = self._facts.get("stopped"), self._facts.get("kept")
        why = f": {stopped}" if stopped else ""
        if not self._facts["finished"]:
            advice = f"Go on with: multiloss fit {self.folder} --resume"
            return Status("interrupted", f"interrupted after epoch {done}{why}. {advice}")
        best = f"; epoch {kept['epoch']} is kept" if kept else ""
        return Status("finished", f"finished after epoch {done}{why}{best}")

    def _changed(self) -> float:
        stamps = [tail.stamp for tail in self._tails if tail.stamp] + list(self._stamps.values())
        return max((stamp[3] for stamp in stamps), default=0) / 1e9


def _stamp(facts: os.stat_result) -> tuple[int, ...]:
    return facts.st_dev, facts.st_ino, facts.st_size, facts.st_mtime_ns


def _length(seconds: float) -> str:
    """Return a length of time in its largest unit.

    Examples:
        >>> _length(61), _length(7300)
        ('1 minute', '2 hours')
    """
    name, size = next(((n, s) for n, s in (("day", 86400), ("hour", 3600)) if seconds >= s), ("minute", 60))
    count = int(seconds // size)
    return f"{count} {name}" if count == 1 else f"{count} {name}s"
