"""The page of a study: the verdicts first, then what they are made from."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from multiloss.report.labels import clean
from multiloss.report.page import write_page
from multiloss.report.study_sections import study_sections
from multiloss.report.view import plain


def build_study_view(study: Mapping[str, Any], base: str = "") -> dict[str, Any]:
    """Return everything the page of a study shows.

    Args:
        study: Plain values, as `multiloss.studies.page.study_data` makes them.
        base: What stands before every link to a run, where the page does not lie in the study's folder.

    Returns:
        `title` and `sections`, as `multiloss.report.view.build_view` has them; names are escaped in all of it.
    """
    title = clean(f"multiloss compare · {study['name']}")
    return {"title": title, "sections": [plain(section, title) for section in study_sections(study, base)]}


def write_study_report(study: Mapping[str, Any], out: Path, single_file: bool = False) -> Path:
    """Write the page of a study.

    Links to its runs are relative where the page lies in the study's folder, so that both can be moved together.

    Args:
        study: Plain values, as `multiloss.studies.page.study_data` makes them.
        out: The file.
        single_file: Puts Plotly's script, about 5 MB, into the page; else it is written once beside it.

    Returns:
        `out`.

    Raises:
        RunError: If the file cannot be written; a page that was there before stays.
    """
    folder = Path(study["folder"]).resolve()
    base = "" if out.resolve().parent == folder else f"{folder.as_uri()}/"
    return write_page(build_study_view(study, base), out, single_file)
