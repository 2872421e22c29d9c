"""Tables of plain text."""

from __future__ import annotations

from collections.abc import Iterable


def aligned(rows: Iterable[tuple[str, ...]], right: frozenset[int] = frozenset()) -> str:
    """Return rows of texts in columns of equal width; those in `right` end at their right edge.

    Examples:
        >>> print(aligned([("a", "10"), ("bb", "9")], right=frozenset({1})))
        a   10
        bb   9
    """
    table = list(rows)
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]

    def line(row: tuple[str, ...]) -> str:
        cells = [
            text.rjust(width) if i in right else text.ljust(width)
            for i, (text, width) in enumerate(zip(row, widths, strict=True))
        ]
        return "  ".join(cells).rstrip()

    return "\n".join(line(row) for row in table)
