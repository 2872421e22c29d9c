"""What a page is made of: sections that hold text, tables and figures, all as plain objects."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, NamedTuple, TypeAlias

Trace: TypeAlias = dict[str, Any]
TEXT = 999
"""As `Table.right`: no column holds numbers."""


@dataclass(frozen=True)
class Panel:
    """One drawing: traces and layout as Plotly takes them.

    Args:
        data: The traces. Colours are names of the palette, `@0`, `@penalty`, `@ink`; a page has them by theme.
        layout: What differs from the page's own layout; `height` in pixels always.
        alt: A sentence with the main numbers, for who does not see the drawing.
        title: A line above it.
        upright: Of a Sankey, what differs on a narrow screen, where it is drawn from top to bottom: `height`, `labels`.
    """

    data: list[Trace]
    layout: dict[str, Any]
    alt: str
    title: str = ""
    upright: dict[str, Any] | None = None


@dataclass(frozen=True)
class Option:
    """What one choice of a figure shows: the numbers of its panels."""

    label: str
    panels: list[int]
    group: str = ""


@dataclass(frozen=True)
class Key:
    """One entry of a legend."""

    label: str
    colour: str
    style: str = "area"
    """`area`, `hatched`, `line`, `dash` or `dot`; of points `point`, `ring`, `up` or `down`."""


class Link(NamedTuple):
    """A way to another page."""

    text: str
    href: str
    title: str


Cell: TypeAlias = str | Sequence[str | Link]


@dataclass(frozen=True)
class Table:
    """Rows of text or links; columns from number `right` on hold numbers.

    `best` names, by number of a row, the columns in it that stand out.
    `whole` shows all rows at once; else what is longer than a screen scrolls.
    """

    kind: ClassVar[str] = "table"
    caption: str
    columns: list[str]
    rows: Sequence[Sequence[Cell]]
    right: int = 1
    best: dict[int, list[int]] = field(default_factory=dict)
    whole: bool = False


@dataclass(frozen=True)
class Figure:
    """Panels, of which a choice is shown at a time.

    Args:
        id: Letters and dashes, unlike any other on the page.
        name: What it is called.
        panels: The drawings.
        options: The choices, the first one shown at first; one choice needs no menu.
        choose: What the choice is of: `Output`, `Epoch`.
        log: Whether the value axis may be logarithmic.
        keys: The legend.
        notes: What was left out or made coarser, in sentences.
        table: Its numbers.
        links: The runs behind it, under what they are of.
    """

    kind: ClassVar[str] = "figure"
    id: str
    name: str
    panels: list[Panel]
    options: list[Option]
    choose: str = "Show"
    log: bool = False
    keys: list[Key] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    table: Table | None = None
    links: list[tuple[str, list[Link]]] = field(default_factory=list)

    def drawn(self) -> dict[str, Any]:
        """Return what the page's script draws."""
        panels = [dict(vars(panel)) for panel in self.panels]
        return {"id": self.id, "panels": panels, "options": [dict(vars(option)) for option in self.options]}


@dataclass(frozen=True)
class Text:
    """A paragraph; `code` keeps its lines as they are, and folds them away under `title` where there is one."""

    kind: ClassVar[str] = "text"
    text: str
    code: bool = False
    title: str = ""


class Tile(NamedTuple):
    """A number that matters."""

    name: str
    value: str
    detail: str = ""


@dataclass(frozen=True)
class Tiles:
    """The numbers that matter most, at the head of the page."""

    kind: ClassVar[str] = "tiles"
    tiles: list[Tile]


@dataclass(frozen=True)
class Cards:
    """Findings: what was found, the numbers behind it, and what to do."""

    kind: ClassVar[str] = "cards"
    cards: list[dict[str, Any]]


class Verdict(NamedTuple):
    """What is claimed of one output."""

    name: str
    claim: str
    """`better`, `worse` or `no difference`."""
    size: str
    interval: str
    sentence: str
    links: list[tuple[str, list[Link]]]


@dataclass(frozen=True)
class Verdicts:
    """Verdicts below each other, each with its mark; `small` below the first heading of a section."""

    kind: ClassVar[str] = "verdicts"
    verdicts: list[Verdict]
    small: bool = False


Block: TypeAlias = Figure | Table | Text | Tiles | Cards | Verdicts


@dataclass(frozen=True)
class Section:
    """One part of the page."""

    id: str
    title: str
    lead: str
    blocks: list[Block]

    @property
    def figures(self) -> list[Figure]:
        """The figures among the blocks."""
        return [block for block in self.blocks if isinstance(block, Figure)]


def every(panels: list[Panel]) -> list[Option]:
    """Return the one choice of a figure whose panels are all shown."""
    return [Option("all", list(range(len(panels))))]
