"""Tables of numbers under a line of names: CSV of any logger, tables copied from a page, and the compact form."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Iterator

from multiloss.core.errors import DataError
from multiloss.diagnosis.logs.numbers import NUMBER, is_number
from multiloss.diagnosis.logs.pairs import EPOCHS, STEPS
from multiloss.diagnosis.logs.rows import Found, Row, Thinned

SPACES = " "
DELIMITERS = (",", "\t", ";", "|", SPACES)
NOTHING = {"", "na", "n/a", "none", "null", "-", "--"}
SEARCHED = 300
"""The line of names is looked for among so many lines."""

_RULE = re.compile(r"[\s|+:=─━┃│\-]*")
_COMPACT_NAMES = re.compile(r"(?<![\w./])[\w.]{1,80}+(?:[ \t]*+/[ \t]*+[\w.]{1,80}+){1,60}+")
_COMPACT_ROW = re.compile(
    r"(?<![\w./:])(?P<epoch>\d{1,9}+)[ \t]*+[:.)]\s*+"
    rf"(?P<numbers>{NUMBER}(?:[ \t]*+/[ \t]*+{NUMBER}){{1,60}}+)(?![\w/])"
)


def find_table(sample: str, wanted: str | None) -> tuple[str, int] | None:
    r"""Return the delimiter of a table and which line has its names, empty ones not counted; None if there is none.

    Args:
        sample: The beginning of the log.
        wanted: A column that it must have; else one with `loss` in its name, or one that counts epochs or steps.

    Examples:
        >>> find_table("epoch,loss,a_loss\n0,9.29,0.08\n", None)
        (',', 0)
        >>> find_table("my log:\n| epoch | loss |\n|---|---|\n| 2 | 9.29 |\n", None)
        ('|', 1)
    """
    lines = [line for line in re.split(r"[\r\n]+", sample) if line][:SEARCHED]
    for mark in ((wanted or "loss").lower(), *EPOCHS[:1], *STEPS):
        for number, line in enumerate(lines):
            if mark in line.lower() and (delimiter := _delimiter(line, lines[number + 1 :])):
                return delimiter, number
    return None


def _delimiter(line: str, below: list[str]) -> str | None:
    """Return what parts the names of a line from each other, as it does the numbers below; None if it has no names."""
    row = next((row for row in below if not _RULE.fullmatch(row)), None)
    if row is None:
        return None
    return next((mark for mark in DELIMITERS if _is_head(_cells(line, mark), _cells(row, mark), mark)), None)


def read_table(lines: Iterable[str], delimiter: str, head: int, source: str) -> Found:
    """Return the rows of a table.

    Args:
        lines: The log's lines.
        delimiter: What stands between cells.
        head: The number of the line of names.
        source: What to call the log in an error.

    Raises:
        DataError: If the quotes or cells of the table cannot be read.
    """
    rows = iter(lines)
    for _ in range(head):
        next(rows, None)
    try:
        return _read(_table(rows, delimiter), delimiter)
    except csv.Error as error:
        raise DataError(
            f"{source}: expected a table with {delimiter!r} between its cells, found one that cannot be read "
            f"({error}). Write it again as CSV"
        ) from error


def _table(rows: Iterator[str], delimiter: str) -> Iterator[list[str]]:
    if delimiter in ",;\t":
        yield from csv.reader(rows, delimiter=delimiter)
    else:
        for row in rows:
            if not _RULE.fullmatch(row):
                yield _cells(row, delimiter)


def _read(table: Iterator[list[str]], delimiter: str) -> Found:
    names = [name.strip() for name in next(table, [])]
    kept, damaged, form = Thinned(), 0, _form(names)
    for cells in table:
        if len(cells) == len(names) + 1 and names[0] not in EPOCHS:  # the index of a data frame has no name
            names = ["epoch", *names]
        if len(cells) != len(names):
            damaged += any(cells)
            continue
        if not kept.wants(kind := tuple(map(bool, cells))):
            continue
        if delimiter == ";":
            cells = [re.sub(r"^\s*([-+]?\d+),(\d+)", r"\1.\2", cell) for cell in cells]
        found = {name: number for name, cell in zip(names, cells, strict=True) if is_number(number := cell.strip())}
        epoch = next((found.pop(name) for name in names if name.lower() in EPOCHS and name in found), None)
        steps = [found.pop(name) for name in names if name.lower() in STEPS and name in found]
        if not found:
            damaged += any(map(str.strip, cells))
            continue
        at, step = (float(number) if number else None for number in (epoch, next(iter(steps), None)))
        kept.add(kind, Row(at, step, found))
    notes = kept.notes + ([f"Left out, since no row of numbers: {damaged} of the table's lines"] if damaged else [])
    return Found(
        form if delimiter in ",;\t" else "a table in text", kept.rows, notes, fixed=delimiter in "| ", gaps=True
    )


def _form(names: list[str]) -> str:
    have = {name.lower() for name in names}
    if any(name.startswith("metrics/") for name in have) and any(name.endswith("/box_loss") for name in have):
        return "Ultralytics results.csv"
    if {"epoch", "step"} <= have:
        return "Lightning CSV"
    others = any("/" in name or name.startswith(("train", "eval")) for name in have)
    parts = {name for name in have if name.endswith("_loss") and not name.startswith("val_")}
    if {"epoch", "loss", "val_loss"} <= have and not others and parts and all(f"val_{name}" in have for name in parts):
        return "Keras CSVLogger"
    return "CSV"


def _cells(line: str, delimiter: str) -> list[str]:
    if delimiter == SPACES:
        return line.split()
    if delimiter == "|":
        line = re.sub(r"[┃│║]", "|", line).strip().strip("|")
    return [cell.strip().strip('"*`') for cell in line.split(delimiter)]


def _is_head(names: list[str], cells: list[str], delimiter: str) -> bool:
    index = delimiter != "|" and len(cells) == len(names) + 1
    if len(names) < 2 or (len(cells) != len(names) and not index):
        return False
    if any(is_number(name) or ": " in name or "=" in name or name.endswith(":") for name in names):
        return False
    if delimiter == ";":
        cells = [cell.replace(",", ".") for cell in cells]
    numbers = sum(map(is_number, cells))
    return numbers >= 1 and all(is_number(cell) or cell.lower() in NOTHING for cell in cells)


def read_compact(text: str) -> Found | None:
    """Return the rows of the form `loss / a_loss / b_loss: 2: 9.29/0.08/0.07; 3: 8.22/0.02/0.01`, or None.

    Examples:
        >>> found = read_compact("loss / a_loss: 2: 9.29/0.08; 3: 8.22/0.02")
        >>> found.rows[1]
        Row(epoch=3.0, step=None, cells={'loss': '8.22', 'a_loss': '0.02'})
    """
    head = next((names for names in _COMPACT_NAMES.finditer(text) if "loss" in names[0].lower()), None)
    if head is None:
        return None
    names = [name.strip() for name in head[0].split("/")]
    rows = []
    for match in _COMPACT_ROW.finditer(text, head.end()):
        numbers = [number.strip() for number in match["numbers"].split("/")]
        if len(numbers) == len(names):
            rows.append(Row(float(match["epoch"]), None, dict(zip(names, numbers, strict=True))))
    return Found("numbers under a line of names", rows, fixed=True) if rows else None
