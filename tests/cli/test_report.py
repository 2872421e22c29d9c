"""`multiloss report`."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from cli.tables import Command, files


def test_a_report_lies_in_the_run_folder(multiloss: Command, tmp_path: Path, config: Path) -> None:
    multiloss("fit", config)
    outcome = multiloss("report", "runs/homes-1")
    assert outcome.code == 0 and outcome.out.splitlines() == ["report: runs/homes-1/report.html"]
    page = (tmp_path / "runs" / "homes-1" / "report.html").read_text()
    assert " on 13 test rows" in page and "Scores on the test rows (13)" in page
    assert "l2/trunk" in page and (tmp_path / "runs" / "homes-1" / "plotly.min.js").is_file()

    outcome = multiloss("report", "runs/homes-1", "--out", "pages/own.html", "--single-file")
    assert outcome.code == 0 and files(tmp_path / "pages") == {"own.html"}


def test_runs_lie_side_by_side(multiloss: Command, tmp_path: Path, config: Path) -> None:
    multiloss("fit", config)
    multiloss("fit", config, "outputs.price.weight=5")
    outcome = multiloss("report", "runs/homes-1", "runs/homes-2")
    assert outcome.code == 0 and outcome.out.splitlines() == ["report: report.html"]
    page = (tmp_path / "report.html").read_text()
    assert "outputs.price.weight" in page and "homes-1 · homes-2" in page
    assert not (tmp_path / "runs" / "homes-1" / "report.html").exists()


def test_what_cannot_be_reported(multiloss: Command, tmp_path: Path, config: Path) -> None:
    outcome = multiloss("report", "nowhere")
    assert outcome.code == 1 and "nowhere is no run folder" in outcome.err
    multiloss("fit", config)
    outcome = multiloss("report", "runs/homes-1", "--out", "runs")
    assert outcome.code == 2 and "expected a file, found the folder runs" in outcome.err
    (tmp_path / "runs" / "homes-1" / "ledger.jsonl").write_text("{}\n{}\n")
    outcome = multiloss("report", "runs/homes-1")
    assert outcome.code == 1 and "damaged" in outcome.err and outcome.out == ""


def test_a_report_needs_no_torch(multiloss: Command, tmp_path: Path, config: Path) -> None:
    multiloss("fit", config)
    code = (
        "import sys\nfrom multiloss.cli.main import run\n"
        "try: run(['report', 'runs/homes-1'])\n"
        "finally: assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True)
