"""What a command prints: tables that fit the terminal, plain lines where there is none, notes and errors."""

from __future__ import annotations

import logging
import shutil
import sys
import textwrap
from collections.abc import Collection, Sequence
from typing import IO

WARNING, ERROR = "warning: ", "error: "


def say(text: str = "") -> None:
    """Print text to standard output, wrapped between words where it is a terminal."""
    print(_wrapped(text, sys.stdout), flush=True)


def print_table(
    columns: Sequence[str], rows: Sequence[Sequence[str]], right: Collection[str] = (), title: str = ""
) -> None:
    """Print a table to standard output.

    Args:
        columns: Headings.
        rows: Cells.
        right: Headings of the columns that end at their right edge.
        title: A line above.
    """
    if title:
        say(title)
    if not sys.stdout.isatty():
        from multiloss.core.text_table import aligned

        edges = frozenset(i for i, column in enumerate(columns) if column in right)
        print(aligned([tuple(columns), *(tuple(row) for row in rows)], edges), flush=True)
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="bold")
    for column in columns:
        numeric = column in right
        table.add_column(column, justify="right" if numeric else "left", no_wrap=numeric, overflow="fold")
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    Console().print(table)


def width() -> int | None:
    """Return how many characters a line of standard output holds; `None` where it is no terminal."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def complain(error: object) -> None:
    """Print an error to standard error as one block."""
    print(_wrapped(f"{ERROR}{error}", sys.stderr), file=sys.stderr, flush=True)


class Notes(logging.Handler):
    """Sends multiloss's notes to standard error, each text once."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._said: set[str] = set()

    def emit(self, record: logging.LogRecord) -> None:
        """Print one note."""
        text = record.getMessage()
        # The trainer says how to resume in Python; the command says it in its own words.
        if text not in self._said and not str(record.msg).startswith("stopped by"):
            self._said.add(text)
            print(_wrapped(f"{WARNING}{text}", sys.stderr), file=sys.stderr, flush=True)


def _wrapped(text: str, stream: IO[str]) -> str:
    if not stream.isatty():
        return text
    columns = shutil.get_terminal_size().columns
    return "\n".join(_fill(line, columns) for line in text.splitlines())


def _fill(line: str, columns: int) -> str:
    """Wrap a line between words; a path longer than a line stays whole."""
    if len(line) <= columns:
        return line
    indent = " " * (len(line) - len(line.lstrip()) + 2)
    return textwrap.fill(
        line, columns, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False, drop_whitespace=True
    )
