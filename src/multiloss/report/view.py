"""Everything a page shows, as plain objects."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from multiloss.core.errors import RunError
from multiloss.core.run_files import finite
from multiloss.core.run_records import RunRecords
from multiloss.report.compare import compared
from multiloss.report.labels import clean, unlike
from multiloss.report.parts import Section
from multiloss.report.sections import single
from multiloss.report.templates import render


def build_view(runs: Sequence[RunRecords]) -> dict[str, Any]:
    """Return everything the page of one run shows, or of several side by side.

    Args:
        runs: One or more; the same records give the same view.

    Returns:
        `title`, and `sections` in order: each with `id`, `title`, `html`, and `figures`: `id`, `options` (each with
        the numbers of the panels it shows) and `panels` (Plotly's `data` and `layout`, `alt` and `title`). Names are
        escaped in all of it; it holds no NaN and can go through JSON.

    Raises:
        RunError: If `runs` is empty.

    Examples:
        >>> view = build_view([RunRecords("begun")])
        >>> view["title"], [section["id"] for section in view["sections"]]
        ('begun', ['summary', 'configuration'])
    """
    if not runs:
        raise RunError("expected the records of a run, found none. Give at least one run")
    named = [replace(run, name=name) for run, name in zip(runs, unlike(run.name for run in runs), strict=True)]
    sections = single(named[0]) if len(named) == 1 else compared(named)
    title = clean(" · ".join(run.name for run in named))
    return {"title": title, "sections": [plain(section, title) for section in sections]}


def cleaned(value: Any) -> Any:
    """Return plain objects whose text shows its characters, and the numbers among them, in order."""
    if isinstance(value, str):
        return clean(value)
    if isinstance(value, dict):
        return {key: cleaned(item) for key, item in value.items()}
    return [cleaned(item) for item in value] if isinstance(value, list) else value


def plain(section: Section, title: str) -> dict[str, Any]:
    """Return a section as the page's script takes it: its figures, and the rest as HTML."""
    return {
        "id": section.id,
        "title": section.title,
        "html": cleaned(render("section.html", section=section, page=title)),
        "figures": [cleaned(finite(figure.drawn())) for figure in section.figures],
    }
