"""The page's HTML, style and script, and how they are filled in."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jinja2

from multiloss.report.labels import short

FOLDER = Path(__file__).parent
_ENVIRONMENT = jinja2.Environment(
    loader=jinja2.FileSystemLoader(FOLDER),
    autoescape=True,
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_ENVIRONMENT.filters["short"] = short


def render(name: str, **values: Any) -> str:
    """Return a template filled in; every value is escaped."""
    return _ENVIRONMENT.get_template(name).render(**values)


def source(name: str) -> str:
    """Return a style or a script as it stands; empty where there is none of that name."""
    path = FOLDER / name
    return path.read_text() if path.is_file() else ""
