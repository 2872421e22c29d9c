"""Ledgers and scores as tables."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from multiloss.cli.show import print_table, say, width

if TYPE_CHECKING:
    from multiloss.config.scores import Score
    from multiloss.core.records import LedgerRecord, TermRecord

GAP = 2


def print_record(record: LedgerRecord, *, outside: bool = True) -> None:
    """Print what one total was made of: every term, the sum as an equation, notes, and what is not in the sum."""
    from multiloss.core.records import digits

    columns = ["term", "kind", "value", "weight", "balancing", "contribution", "share", "count"]
    rows = [
        (
            term.name,
            term.kind,
            digits(term.value),
            f"{term.weight:.6g}",
            f"{term.balancing_weight:.4g}",
            digits(term.contribution),
            percent(term.share),
            "-" if term.count is None else str(term.count),
        )
        for term in record
    ]
    print_table(columns, rows, right=columns[2:])
    say(str(record))
    for term in record:
        if term.note is not None:
            say(f"  {term.name}: {term.note}")
    if record.outside and outside:
        say("outside the sum:")
        for line in record.outside:
            say(f"  {line}")


def print_epochs(records: Sequence[LedgerRecord]) -> None:
    """Print, for each epoch of one split, the total and what each term added to it, with its share.

    Penalties are one column. Where the terminal is too narrow for all columns, the table is cut into several.
    """
    from multiloss.core.records import digits

    cells: dict[str, list[str]] = {}
    for i, record in enumerate(records):
        for name, contribution, share in _grouped(record):
            column = cells.setdefault(name, ["-"] * len(records))
            column[i] = f"{digits(contribution)} {percent(share):>7}"
    fixed = {"epoch": [str(r.epoch) for r in records], "total": [digits(r.total) for r in records]}
    for names in _chunks(fixed, cells, width()):
        chosen = fixed | {name: cells[name] for name in names}
        print_table(list(chosen), list(zip(*chosen.values(), strict=True)), right=list(chosen))


def _grouped(record: LedgerRecord) -> list[tuple[str, float, float | None]]:
    own = [(term.name, term.contribution, term.share) for term in record if term.kind != "penalty"]
    penalties: list[TermRecord] = [term for term in record if term.kind == "penalty"]
    if penalties:
        share = record.penalty / record.total if record.total else None
        own.append(("penalty", record.penalty, share))
    return own


def _chunks(fixed: dict[str, list[str]], cells: dict[str, list[str]], columns: int | None) -> list[list[str]]:
    """Return names of columns, as many together as fit beside the fixed ones."""

    def need(held: dict[str, list[str]], name: str) -> int:
        return max(map(len, (name, *held[name]))) + GAP

    chunks: list[list[str]] = [[]]
    room = free = (columns or 10**9) - sum(need(fixed, name) for name in fixed)
    for name in cells:
        if chunks[-1] and need(cells, name) > room:
            chunks.append([])
            room = free
        chunks[-1].append(name)
        room -= need(cells, name)
    return chunks


def print_scores(scores: Sequence[Score]) -> None:
    """Print every loss and metric beside that of the trivial prediction."""
    from multiloss.core.records import digits

    words = {True: "better", False: "not better", None: ""}
    rows = []
    shown = ""
    for score in scores:
        name = score.output if score.output != shown else ""
        shown = score.output
        rows.append((name, score.measure, digits(score.value), digits(score.baseline), words[score.better]))
    print_table(["output", "measure", "model", "trivial", ""], rows, right=["model", "trivial"])


def percent(share: float | None) -> str:
    """Return a share as people read it."""
    return "-" if share is None else f"{100 * share:.1f} %"
