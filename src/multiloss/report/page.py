"""A view as a page, and the page as a file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from multiloss.core.run_files import write_whole
from multiloss.core.run_records import RunRecords
from multiloss.report.templates import render, source
from multiloss.report.view import build_view

PLOTLY = "plotly.min.js"


def render_page(
    view: Mapping[str, Any], *, plotly: Literal["beside", "inside"], live: Mapping[str, str] | None = None
) -> str:
    """Return the page as one HTML document.

    Args:
        view: From `build_view`. The page's script draws another one in place: `window.multiloss.update(view)`.
        plotly: Whether Plotly's script is looked for beside the page as `plotly.min.js`, or stands in it.
        live: Addresses of the page of a run under way, `events` and `data`; handed to the live script as JSON.

    Examples:
        >>> page = render_page({"title": "<b>", "sections": []}, plotly="beside")
        >>> page.startswith("<!doctype html>"), "<title>&lt;b&gt;" in page, 'src="plotly.min.js"' in page
        (True, True, True)
    """
    drawn = {
        "title": view["title"],
        "sections": [{key: own[key] for key in ("id", "title", "figures")} for own in view["sections"]],
    }
    return render(
        "page.html",
        view=view,
        drawn=drawn,  # without the HTML, which the document itself holds
        style=source("style.css"),
        script=source("page.js"),
        live=live,
        live_script=source("live.js") if live else "",
        plotly=plotly_script() if plotly == "inside" else None,
    )


def plotly_script() -> str:
    """Return Plotly's own script, which is MIT licensed and says so at its head."""
    from plotly.offline import get_plotlyjs

    script: str = get_plotlyjs()
    return script


def write_report(runs: Sequence[RunRecords], out: Path, single_file: bool) -> Path:
    """Write the page of one run, or of several side by side.

    Args:
        runs: Their records.
        out: The file.
        single_file: Puts Plotly's script, about 5 MB, into the page; else it is written once beside it.

    Returns:
        `out`.

    Raises:
        RunError: If there is no run, or the file cannot be written; a page that was there before stays.
    """
    return write_page(build_view(runs), out, single_file)


def write_page(view: Mapping[str, Any], out: Path, single_file: bool) -> Path:
    """Write a view as a page, with Plotly's script in it or beside it; returns `out`.

    Raises:
        RunError: If the file cannot be written; a page that was there before stays.
    """
    page = render_page(view, plotly="inside" if single_file else "beside")
    if not single_file:
        script, beside = plotly_script().encode(), out.with_name(PLOTLY)
        if not beside.is_file() or beside.stat().st_size != len(script):  # another version's is replaced
            write_whole(beside, script)
    write_whole(out, page.encode(errors="replace"))
    return out
