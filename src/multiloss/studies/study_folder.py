"""The folder of a study: its plan in `study.json`, one process at a time, and nothing of another plan in it."""

from __future__ import annotations

import contextlib
import json
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from multiloss.core.errors import RunError
from multiloss.core.run_files import STUDY, write_whole
from multiloss.studies.plan import Plan

RUNS, LOCK = "runs", ".study.lock"
STUDY_VERSION = 1
PATIENCE = 10.0  # seconds that the workers of a study whose process was killed may need to stop
SHOWN = 4


@contextlib.contextmanager
def alone_in(folder: Path) -> Iterator[tuple[int, ...]]:
    """Hold a study's folder for one process and its workers, which inherit the open files given.

    Raises:
        RunError: If it holds something that is no study, cannot be made, or another process works in it.
    """
    held = [] if not folder.is_dir() else [entry.name for entry in folder.iterdir()]
    if folder.exists() and not folder.is_dir():
        raise RunError(f"expected a folder for the study, found the file {folder}. Name another")
    if STUDY not in held and (other := sorted(name for name in held if not name.startswith(f".{STUDY[:5]}"))):
        raise RunError(f"expected an empty folder or a study, found {folder} with {', '.join(other[:5])}. Name another")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = (folder / LOCK).open("w")
    except OSError as error:
        raise RunError(f"could not write {folder}: {error.strerror}. Name another folder") from error
    with file:
        if sys.platform == "win32":
            yield ()
        else:
            _take(file.fileno(), folder)
            yield (file.fileno(),)


def _take(number: int, folder: Path) -> None:
    if sys.platform == "win32":
        return
    import fcntl

    until = time.monotonic() + PATIENCE
    while True:
        try:
            fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            if time.monotonic() > until:
                raise RunError(f"another process works in {folder}. Wait until it is done, or end it") from error
            time.sleep(0.1)
        except OSError:  # a file system without locks
            return
        else:
            return


def begin_study(plan: Plan, folder: Path) -> None:
    """Write the plan, or find that it is the one that the folder holds, or that it only adds runs to it.

    Raises:
        RunError: If it holds another plan; says what differs.
    """
    path = folder / STUDY
    known = read_plan(folder) if path.exists() else None
    if known is None or (known.digest() != plan.digest() and _grows(known, plan, folder)):
        record = {"version": STUDY_VERSION, "digest": plan.digest(), **plan.to_dict()}
        write_whole(path, f"{json.dumps(record, indent=1, allow_nan=False)}\n".encode())
    elif known.digest() != plan.digest():
        found = _differences(known.to_dict()["settings"], plan.to_dict()["settings"], "settings")
        runs, asked = ({run.name: run.to_dict() for run in own.runs} for own in (known, plan))
        for name in (name for name in runs if name in asked):
            found += _differences(runs[name], asked[name], f"runs.{name}")
        if alone := len(set(runs) ^ set(asked)):
            found.append(f"{alone} run{'s are' if alone > 1 else ' is'} in one of them alone")
        shown = "; ".join(found[:SHOWN]) + (f"; and {len(found) - SHOWN} more" if len(found) > SHOWN else "")
        raise RunError(
            f"{folder} holds a study of another plan ({shown}). Name another folder, or give what it was begun with"
        )


def _grows(known: Plan, plan: Plan, folder: Path) -> bool:
    """Return whether a plan has every run of the one before it, each with the same configuration.

    Raises:
        RunError: If it has, but the table is another one.
    """
    before, now = ({run.name: json.dumps(run.to_dict(), sort_keys=True) for run in own.runs} for own in (known, plan))
    if known.kind != plan.kind or any(now.get(name) != run for name, run in before.items()):
        return False
    if known.settings.get("table_digest") != plan.settings.get("table_digest"):
        raise RunError(
            f"the table {plan.settings['table']} has changed since the study was begun in {folder}. Restore it, or "
            "name another folder"
        )
    return True


def read_plan(folder: Path) -> Plan:
    """Return the plan that a study was begun with.

    Raises:
        RunError: If the folder is no study, of another version, or damaged.
    """
    path = folder / STUDY
    if not path.is_file():
        raise RunError(f"{folder} is no study: it has no {STUDY}. Give the folder that multiloss compare named")
    try:
        record = json.loads(path.read_text())
        version = record["version"]
        if version == STUDY_VERSION:
            return Plan.from_dict(record)
    except (ValueError, KeyError, TypeError) as error:
        raise RunError(
            f"{path} is damaged ({' '.join(str(error).split())}). Begin the study in a new folder"
        ) from error
    raise RunError(
        f"{folder} is a study of version {version!r}; this multiloss reads version {STUDY_VERSION}. "
        "Use the multiloss that wrote it"
    )


def _differences(there: Any, here: Any, path: str) -> list[str]:
    if isinstance(there, Mapping) and isinstance(here, Mapping):
        both = [key for key in there if key in here]
        found = [text for key in both for text in _differences(there[key], here[key], f"{path}.{key}")]
        return found + [f"{path}.{key} is in one of them alone" for key in {**there, **here} if key not in both]
    return [] if there == here else [f"{path}: {there!r} there, {here!r} here"]
