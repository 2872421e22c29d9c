"""An explained log as text: the answer, the equation of every epoch, the causes, and what they mean."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from multiloss.core.records import digits
from multiloss.core.text_table import aligned
from multiloss.diagnosis.log_fit import percent

if TYPE_CHECKING:
    from multiloss.diagnosis.causes.base import Cause
    from multiloss.diagnosis.explanation import Explanation
    from multiloss.diagnosis.explanation_equations import Equation

WIDTH = 100
MOST_EPOCHS = 20


@dataclass(frozen=True)
class Table:
    """A table of text; all its columns end at their right edge."""

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    def __str__(self) -> str:
        return aligned([self.columns, *self.rows], frozenset(range(len(self.columns))))


Block: TypeAlias = str | Table


def plain_text(explanation: Explanation) -> str:
    """Return the whole text, at most `WIDTH` characters wide but for the lines to paste."""
    return "\n".join(str(block) for block in blocks(explanation))


def blocks(explanation: Explanation, width: int = WIDTH, epoch: float | None = None) -> list[Block]:
    """Return lines of text and tables, from the answer to the notes.

    Args:
        explanation: The explained log.
        width: Characters of a line.
        epoch: The one epoch to show, all of them by default.
    """
    found: list[Block] = [_filled(_head(explanation), width), "", _filled(explanation.answer, width), ""]
    found += _filled(f"weights ({explanation.weights_from}): {_weights(explanation)}", width, "  ").splitlines()
    splits = (("", explanation.epochs), ("validation", explanation.validation))
    for name, rows in splits:
        own = [row for row in rows if epoch is None or row.epoch == epoch]
        if own:
            found += ["", *([name] if name else []), _table(explanation, _spaced(own), width)]
    most = max(len(explanation.epochs), len(explanation.validation))
    if epoch is None and most > MOST_EPOCHS:
        found.append(f"{MOST_EPOCHS} of {most} {explanation.unit}s")
    confirmed: set[str] = set()
    for number, cause in enumerate(explanation.causes, 1):
        found += ["", "why"] if number == 1 else []
        found += _cause(number, cause, width)
        if cause.confirm not in confirmed:
            found.append(f"   confirm: {cause.confirm}")
        confirmed.add(cause.confirm)
    found += ["", "what it means", *(_filled(f"- {line}", width, "  ") for line in explanation.meaning)]
    if explanation.notes:
        found += ["", "notes on reading the log", *(_filled(f"- {line}", width, "  ") for line in explanation.notes)]
    return found


def _head(explanation: Explanation) -> str:
    unit, n, v = explanation.unit, len(explanation.epochs), len(explanation.validation)
    counts = f"{n} {unit}{'s' if n != 1 else ''}" + (f", {v} of validation" if v else "")
    parts = ", ".join(explanation.weights)
    return f"{explanation.source}: {explanation.format}, {counts}; the total {explanation.total}, the parts {parts}"


def _weights(explanation: Explanation) -> str:
    text = ", ".join(f"{name} {weight:.4g}" for name, weight in explanation.weights.items())
    if explanation.weights_why != "given":
        text += f"; {explanation.weights_why}"
    others = [candidate for candidate in explanation.candidates if candidate != explanation.weights]
    if others:
        said = "; ".join(", ".join(f"{value:.4g}" for value in candidate.values()) for candidate in others)
        text += f". Also: {said}"
    return text


def _table(explanation: Explanation, rows: list[Equation], width: int) -> Table:
    parts = [
        f"weight x {name}" if name in explanation.moved else f"{weight:.4g} x {name}"
        for name, weight in explanation.weights.items()
    ]
    wide = _columns(explanation, rows, parts)
    return wide if len(str(wide).split("\n", 1)[0]) <= width else _columns(explanation, rows, [])


def _columns(explanation: Explanation, rows: list[Equation], parts: list[str]) -> Table:
    columns = (explanation.unit, explanation.total, *parts, *([] if len(parts) == 1 else ["explained"]))
    columns = (explanation.unit, explanation.total, *parts) if explanation.bare else (*columns, "unexplained", "share")
    cells = []
    for row in rows:
        own = [digits(value) for value in row.contributions.values()] if parts else []
        share = "rounding" if row.rounding else "-" if row.share is None else percent(row.share)
        explained = [] if len(parts) == 1 else [digits(row.explained)]
        rest = [] if explanation.bare else [*explained, digits(row.unexplained), share]
        cells.append((f"{row.epoch:g}", digits(row.total), *own, *rest))
    return Table(columns, tuple(cells))


def _cause(number: int, cause: Cause, width: int) -> list[Block]:
    indent = "   "
    return [
        f"{number}. {cause.cause} ({cause.confidence} confidence)",
        textwrap.indent(_filled(cause.text, width - len(indent)), indent),
    ]


def _filled(text: str, width: int, indent: str = "") -> str:
    return textwrap.fill(text, width, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)


def _spaced(rows: list[Equation]) -> list[Equation]:
    """Return at most `MOST_EPOCHS` rows at even distances, the first and the last among them."""
    last = len(rows) - 1
    if last < MOST_EPOCHS:
        return rows
    return [rows[round(i * last / (MOST_EPOCHS - 1))] for i in range(MOST_EPOCHS)]
