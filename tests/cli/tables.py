"""What the tests of the command line share: what a command did, and small tables."""

from __future__ import annotations

import csv
import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Outcome:
    """What a command did: its exit code, and what it printed."""

    code: int
    out: str
    err: str


Command = Callable[..., Outcome]


def homes(rows: int = 90) -> list[dict[str, object]]:
    """Rows of a table with two outputs that can be learnt: a price, and whether the home was sold."""
    draw = random.Random(0)
    table: list[dict[str, object]] = []
    for _ in range(rows):
        size, town = round(draw.uniform(20, 200), 1), draw.choice(["Ulm", "Bern", "Graz"])
        price = round(1000 * size + (30000 if town == "Bern" else 0) + draw.gauss(0, 2000))
        kind = "house" if size > 120 else "flat" if size > 60 else "studio"
        table.append({"size": size, "town": town, "price": price, "kind": kind})
    return table


def write(path: Path, rows: list[dict[str, object]]) -> Path:
    """Write a CSV file."""
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


def files(folder: Path) -> set[str]:
    """Return every path below a folder."""
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}
