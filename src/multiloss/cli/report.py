"""`multiloss report`: the page of a run, or of several side by side."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def report(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN...", help="Run folders, laid side by side; or a study.")],
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The page; RUN/report.html, or report.html of several runs.")
    ] = None,
    single_file: Annotated[
        bool, typer.Option("--single-file", help="Put Plotly's script into the page, not beside it.")
    ] = False,
) -> None:
    """Draw a page from the records of a run: where the loss came from, and which loss moves the shared layers."""
    from multiloss.cli.show import say
    from multiloss.core.errors import ConfigError
    from multiloss.core.run_files import STUDY
    from multiloss.core.run_records import RunRecords
    from multiloss.report.page import write_report

    page = out or (runs[0] / "report.html" if len(runs) == 1 else Path("report.html"))
    if page.is_dir():
        raise ConfigError([f"expected a file, found the folder {page}. Try --out {page / 'report.html'}"], "--out")
    if len(runs) == 1 and (runs[0] / STUDY).is_file():
        from multiloss.studies.compare import redraw

        say(f"report: {redraw(runs[0], page, single_file)}")
    else:
        say(f"report: {write_report([RunRecords.read(run) for run in runs], page, single_file)}")
