"""Fixtures of the tests of the command line."""

from __future__ import annotations

from pathlib import Path

import pytest

from cli.tables import Command, Outcome, homes, write
from multiloss.cli.main import run

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data"


@pytest.fixture
def shared_tables() -> Path:
    """The folder of real tables beside the repository."""
    if not SHARED.is_dir():
        pytest.skip("the shared tables are not beside this checkout")
    return SHARED


@pytest.fixture
def multiloss(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """Run a command in an empty folder."""
    monkeypatch.chdir(tmp_path)

    def command(*words: object) -> Outcome:
        with pytest.raises(SystemExit) as exit_:
            run([str(word) for word in words])
        printed = capsys.readouterr()
        assert isinstance(exit_.value.code, int)
        return Outcome(exit_.value.code, printed.out, printed.err)

    return command


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """A small table in the current folder of a command."""
    return write(tmp_path / "homes.csv", homes())


@pytest.fixture
def config(table: Path, tmp_path: Path) -> Path:
    """A small configuration for the table."""
    path = tmp_path / "homes.yaml"
    path.write_text(
        "table: homes.csv\n"
        "outputs:\n"
        "  price: {loss: huber, weight: 2.0, metrics: [mae]}\n"
        "  kind: {metrics: [accuracy], head: [8]}\n"
        "model: {trunk: [16], dropout: 0.1}\n"
        "penalties: [{name: l2, coefficient: 1e-3, on: trunk}]\n"
        "training: {lr: 0.01, epochs: 4, batch_size: 16}\n"
    )
    return path
