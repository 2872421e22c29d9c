"""The equation of a total that another framework reports: its record, and the lines that people read."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from multiloss.core.records import LedgerRecord, TermKind, TermRecord, digits, exact_sum

SINGLE = 2.0**-23
"""Relative precision of float32, in which the frameworks add up."""
_SHOWN = 4


class Addend(NamedTuple):
    """One addend of a total: means over the batches of an epoch."""

    name: str
    kind: TermKind
    value: float
    weight: float
    contribution: float
    rows: int | None = None


def balance(
    total: float,
    addends: Sequence[Addend],
    *,
    steps: int,
    why: str,
    epsilon: float = SINGLE,
    outside: Iterable[str] = (),
    reduction: str = "batch",
    epoch: int | None = None,
    split: str | None = None,
) -> LedgerRecord:
    """Return the record of a total, with what its addends leave open as a line of its own.

    Args:
        total: The total that the framework reports.
        addends: What is known to be in it.
        steps: Batches behind it. Both sides are running sums of so many numbers: each may have rounded once a batch.
        why: What can leave a remainder, for its line.
        epsilon: Relative precision of the running sums.
        outside: What moved the parameters without being in the total.
        reduction: What a loss was divided by.
        epoch: Number of the epoch, as the framework counts.
        split: Name of the set.

    Examples:
        >>> known = [Addend("a", "loss", 0.5, 2.0, 1.0), Addend("l2(0.01)/h/kernel", "penalty", 3.0, 1.0, 3.0)]
        >>> record = balance(4.5, known, steps=1, why="not known")
        >>> [(term.name, term.contribution, round(term.share, 3)) for term in record]
        [('a', 1.0, 0.222), ('l2(0.01)/h/kernel', 3.0, 0.667), ('unexplained', 0.5, 0.111)]
    """
    lines = [
        TermRecord(a.name, a.kind, a.value, a.weight, 1.0, a.contribution, _share(a.contribution, total), a.rows)
        for a in addends
    ]
    missing = total - exact_sum([addend.contribution for addend in addends])
    rounding = epsilon * (8 + steps / 2) * exact_sum([abs(addend.contribution) for addend in addends])
    if math.isfinite(missing) and abs(missing) > rounding:
        share = _share(missing, total)
        lines.append(TermRecord("unexplained", "unexplained", None, 1.0, 1.0, missing, share, None, why))
    return LedgerRecord(total, tuple(lines), steps, tuple(outside), reduction, epoch, split)


def _share(part: float, total: float) -> float | None:
    return part / total if total and math.isfinite(total) else None


def equation(record: LedgerRecord, name: str, place: str) -> list[str]:
    """Return the equation of a record as lines: the sum, the penalties by name, the cause of a remainder.

    Args:
        record: Record of an epoch.
        name: What the framework calls the total.
        place: What stands before the equation, such as `epoch 2`.

    Examples:
        >>> known = [Addend("dense_1", "loss", 0.0801, 1.0, 0.0801), Addend("dense_2", "loss", 0.0717, 1.0, 0.0717)]
        >>> hidden = [("l2(0.01)/h1/kernel", 0.9427), ("l2(0.01)/h2/kernel", 8.1957)]
        >>> known += [Addend(name, "penalty", value, 1.0, value) for name, value in hidden]
        >>> record = balance(9.2902, known, steps=1, why="not known")
        >>> for line in equation(record, "loss", "epoch 2"):
        ...     print(line)
        epoch 2  loss 9.2902 = 1 x dense_1 0.0801 + 1 x dense_2 0.0717 + penalty 9.1384 (98.4 %)
                 penalty = l2(0.01) on h2/kernel 8.1957 + l2(0.01) on h1/kernel 0.9427
    """
    parts = [f"{term.weight:g} x {term.name} {digits(term.value)}" for term in record if term.kind == "loss"]
    penalties = sorted((t for t in record if t.kind == "penalty"), key=lambda t: -abs(t.contribution))
    rest = [term for term in record if term.kind == "unexplained"]
    parts += [_sum_of(kind, group) for kind, group in (("penalty", penalties), ("unexplained", rest)) if group]
    lines = [f"{place}  {name} {digits(record.total)} = {' + '.join(parts) or '0'}"]
    indent = " " * (len(place) + 2)
    if penalties:
        named = [f"{t.name.replace('/', ' on ', 1)} {digits(t.contribution)}" for t in penalties[:_SHOWN]]
        more = penalties[_SHOWN:]
        named += [f"{len(more)} more {digits(exact_sum([t.contribution for t in more]))}"] if more else []
        lines.append(f"{indent}penalty = {' + '.join(named)}")
    return lines + [f"{indent}unexplained: {term.note}" for term in rest]


def _sum_of(kind: str, terms: Sequence[TermRecord]) -> str:
    shares = [term.share for term in terms if term.share is not None]
    percent = f" ({100 * exact_sum(shares):.1f} %)" if len(shares) == len(terms) else ""
    return f"{kind} {digits(exact_sum([term.contribution for term in terms]))}{percent}"
