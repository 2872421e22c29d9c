"""The files of a run folder as anybody may read them: names, lines of JSON, and files replaced whole."""

from __future__ import annotations

import contextlib
import errno
import json
import math
import os
from pathlib import Path
from typing import Any

from multiloss.core.errors import RunError

RUN_VERSION = 1
FACTS, CONFIG, HISTORY, LEDGER, GRADIENTS = (
    "run.json",
    "config.yaml",
    "history.jsonl",
    "ledger.jsonl",
    "gradients.jsonl",
)
STUDY = "study.json"


def write_whole(path: Path, data: bytes) -> None:
    """Write a file under a temporary name and rename it, so that a reader sees the old file or the new one.

    Raises:
        RunError: If the disk is full or the folder cannot be written; the old file stays.
    """
    temporary = path.with_name(f".{path.name}.tmp")  # one name, so that what a killed process left is written over
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        why = "the disk is full" if error.errno == errno.ENOSPC else error.strerror or str(error)
        raise RunError(f"could not write {path}: {why}. What was there before is unchanged") from error


def read_lines(path: Path) -> list[dict[str, Any]]:
    """Return the objects of a file of JSON lines; an unfinished last line is left out.

    Raises:
        RunError: If any other line is damaged.
    """
    if not path.is_file():
        return []
    text = path.read_text(errors="replace")
    lines = text.splitlines()
    found = []
    for number, line in enumerate(lines, 1):
        try:
            found.append(_object(line))
        except ValueError as error:
            if number == len(lines) and not text.endswith("\n"):  # it is being written, or a kill cut it
                break
            raise RunError(
                f"{path}, line {number}: expected a JSON object ({error}). The run folder is damaged"
            ) from error
    return found


def _object(text: str) -> dict[str, Any]:
    value = json.loads(text)
    if not isinstance(value, dict):
        raise ValueError(f"found {type(value).__name__}")
    return value


def json_line(value: Any) -> str:
    """Return one line of JSON; `None` where a number is not finite."""
    return json.dumps(finite(value), allow_nan=False) + "\n"


def finite(value: Any) -> Any:
    """Return plain objects with `None` in place of NaN and infinity, which JSON has no word for."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict):
        return {key: finite(item) for key, item in value.items()}
    return [finite(item) for item in value] if isinstance(value, list | tuple) else value


def read_run_json(folder: Path) -> dict[str, Any]:
    """Return what `write_run_json` wrote.

    Raises:
        RunError: If the folder is no run, or one of another version.
    """
    path = folder / FACTS
    if not path.is_file():
        raise RunError(f"{folder} is no run folder: it has no run.json. Give the folder that multiloss fit named")
    try:
        record = _object(path.read_text())
    except ValueError as error:
        raise RunError(f"{path} is damaged ({error})") from error
    if record.get("version") != RUN_VERSION:
        raise RunError(
            f"{folder} is a run of version {record.get('version')!r}; this multiloss reads version {RUN_VERSION}. "
            "Use the multiloss that wrote it"
        )
    return record
