"""Logs in JSON: a line for each row, `History`, `trainer_state.json`, and dictionaries as Python prints them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from multiloss.core.errors import DataError
from multiloss.diagnosis.logs.names import take_apart
from multiloss.diagnosis.logs.numbers import is_number
from multiloss.diagnosis.logs.pairs import EPOCHS, MEDIANS, STEPS
from multiloss.diagnosis.logs.rows import Found, Row, Thinned

MOST = 128 << 20
"""Characters of one JSON object; JSON lines may be as many as they like."""
DEEPEST = 4
PLAIN = "JSON lines"
HELD = ("val", "valid", "validation", "eval", "test")

_STARTS = re.compile(r"\s*[\[{]\s*(?:[\[{\]}\"']|$)")
_PYTHON = re.compile(r"(?:np|numpy)\.\w+\(([^()]*)\)|\barray\((\[[^()]*?\])(?:,\s*dtype=\w+)?\)")


def looks_like_json(sample: str) -> bool:
    """Say whether a log begins as JSON, or a dictionary printed by Python, does.

    Examples:
        >>> looks_like_json('{"loss": [1.0]}'), looks_like_json("[08/14 10:55:40 d2.utils.events]: eta")
        (True, False)
    """
    return _STARTS.match(sample) is not None


def is_lines(sample: str) -> bool:
    """Say whether the first line of a log is a JSON object of its own, with another one below."""
    lines = [line for line in sample.split("\n", 3) if line.strip()]
    return len(lines) > 1 and lines[1].lstrip().startswith("{") and _loads(lines[0]) is not None


def read_lines(lines: Iterable[str]) -> Found:
    """Return the rows of JSON lines; a line that is no object is left out and counted."""
    kept, damaged, form = Thinned(), 0, PLAIN
    for line in lines:
        if not line or line.isspace() or not kept.wants(kind := (line.count(":"), "val" in line, '"test' in line)):
            continue
        entry = _loads(line)
        if not isinstance(entry, dict):
            damaged += 1
            continue
        if row := _row(entry):
            form = form if form != PLAIN else _form(row, entry)
            kept.add(kind, row)
    notes = kept.notes + ([f"Left out, since no JSON object: {damaged} of the lines"] if damaged else [])
    notes += [MEDIANS] if form.startswith("detectron2") else []
    return Found(form, kept.rows, notes, gaps=True)


def read_document(text: str, source: str) -> Found:
    """Return the rows of one JSON object.

    Raises:
        DataError: If it is no JSON, or holds no log.
    """
    value = _loads(text)
    if value is None:
        value = _loads(_as_json(text))
    form = "History as JSON"
    if isinstance(value, dict) and isinstance(value.get("log_history"), list):
        form, value = "Hugging Face trainer_state.json", value["log_history"]
    elif isinstance(value, dict) and isinstance(value.get("history"), dict | list):
        value = value["history"]
    if isinstance(value, list):
        entries = [entry for entry in value if isinstance(entry, dict)]
    elif isinstance(value, dict):
        entries = list(_columns(value)) or [value]
    else:
        raise DataError(
            f"{source}: expected a training log in JSON, found text that is no JSON though it begins so, or is nested "
            'too deep. Give lists by name ({"loss": [...], "a_loss": [...]}), a list of objects, or an object a line'
        )
    kept = Thinned()
    for row in filter(None, map(_row, entries)):
        if kept.wants(kind := tuple(row.cells)):
            kept.add(kind, row)
    return Found(form, kept.rows, kept.notes, gaps=True)


def _loads(text: str) -> Any:
    """Return what the text says, its numbers as text; None if it is no JSON."""
    try:
        return json.loads(text, parse_float=str, parse_int=str, parse_constant=str)
    except (ValueError, RecursionError):
        return None


def _as_json(text: str) -> str:
    """Return a dictionary that Python printed as JSON."""
    plain = _PYTHON.sub(lambda match: match[1] or match[2], text)
    plain = re.sub(r"(?<![\w\"'])-?(?:nan|inf)(?![\w\"'])", lambda match: f'"{match[0]}"', plain)
    return re.sub(r"'([^'\"\n]*)'", r'"\1"', plain).replace("None", "null").replace("Infinity", '"inf"')


def _columns(value: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the rows of lists by name; a dictionary of positions, as pandas writes it, counts as a list."""
    lists = {name: list(items.values()) if isinstance(items, dict) else items for name, items in value.items()}
    lists = {name: items for name, items in lists.items() if isinstance(items, list) and items}
    longest = max(map(len, lists.values()), default=0)
    lists = {name: items for name, items in lists.items() if len(items) == longest or "loss" in name}
    for place in range(longest):
        yield {name: items[place] for name, items in lists.items() if place < len(items)}


def _row(entry: Mapping[str, Any]) -> Row | None:
    if "train_runtime" in entry:  # the summary of a whole training
        return None
    cells = dict(_flat(entry, "", DEEPEST))
    epoch = next((cells.pop(name) for name in list(cells) if name.lower() in EPOCHS), None)
    steps = [cells.pop(name) for name in list(cells) if name.lower() in STEPS]
    mode = str(entry.get("mode") or entry.get("split") or entry.get("phase") or "").lower()
    if mode in HELD:
        cells = {name if take_apart(name).split else f"val/{name}": cell for name, cell in cells.items()}
    if not cells:
        return None
    return Row(float(epoch) if epoch else None, float(steps[0]) if steps else None, cells)


def _flat(entry: Mapping[str, Any], before: str, deeper: int) -> Iterator[tuple[str, str]]:
    for name, value in entry.items():
        if isinstance(value, str) and is_number(value):
            yield before + name, value
        elif isinstance(value, dict) and deeper:
            yield from _flat(value, f"{before}{name}/", deeper - 1)


def _form(row: Row, entry: Mapping[str, Any]) -> str:
    if "mode" in entry:
        return "mmdetection JSON lines"
    if "total_loss" in entry and "iteration" in entry:
        return "detectron2 metrics.json"
    if "val_task_loss" in entry or ("seconds" in entry and "lr" in entry and row.epoch is not None):
        return "multiloss history.jsonl"
    return PLAIN
