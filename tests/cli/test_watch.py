"""`multiloss watch` and the page beside a fit: an address is printed, and every end is an end."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import urlsplit

import pytest

import multiloss as ml
from cli.tables import Command
from multiloss.cli import watch
from multiloss.core.errors import MissingExtraError, RunError

ENTRY = "from multiloss.cli.main import run; run()"


def environment() -> dict[str, str]:
    return {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(ml.__file__).parents[1])}


def port_of(address: str) -> int:
    parts = urlsplit(address)
    assert parts.hostname == "127.0.0.1" and parts.port and len(parts.path) >= 40 and parts.path.endswith("/report")
    return parts.port


def answers(address: str) -> bool:
    """Whether the page is served."""
    connection = HTTPConnection("127.0.0.1", port_of(address), timeout=10)
    try:
        connection.request("GET", urlsplit(address).path)
        return connection.getresponse().status == 200
    finally:
        connection.close()


def closed(address: str, within: float = 10.0) -> bool:
    """Whether nobody listens at an address any more, soon."""
    until = time.monotonic() + within
    while time.monotonic() < until:
        with contextlib.suppress(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port_of(address)), timeout=1).close()
            time.sleep(0.05)
            continue
        return True
    return False


@contextlib.contextmanager
def started(*words: str, at: Path) -> Iterator[subprocess.Popen[str]]:
    pipe = subprocess.PIPE
    process = subprocess.Popen(
        [sys.executable, "-c", *words], cwd=at, env=environment(), stdin=pipe, stdout=pipe, stderr=pipe, text=True
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def line_of(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().rstrip("\n")


def test_a_file_is_no_run_folder(multiloss: Command, tmp_path: Path) -> None:
    (tmp_path / "homes.csv").write_text("a\n")
    outcome = multiloss("watch", "homes.csv")
    assert outcome.code == 2 and outcome.err == "error: homes.csv: expected a run folder, found a file\n"


def test_a_taken_port_is_bad_input(multiloss: Command) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        outcome = multiloss("watch", "run", "--port", port)
    assert outcome.code == 2 and f"error: --port: expected a free port, could not take {port}" in outcome.err


def test_a_missing_package_is_named(multiloss: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    outcome = multiloss("watch", "run")
    assert outcome.code == 1 and outcome.err.endswith("Run: pip install 'multiloss[watch]'\n")
    with pytest.raises(MissingExtraError), watch.watching(tmp_path):
        pytest.fail("the block must not begin")


@pytest.mark.slow
def test_control_c_ends_it_in_good_order(tmp_path: Path) -> None:
    with started(ENTRY, "watch", "run", at=tmp_path) as process:
        said, address = line_of(process).split(": ")
        assert said == "live page of run" and answers(address)
        assert line_of(process) == "run holds no run yet; the page waits for one"
        assert line_of(process) == "Ctrl-C ends it"
        viewer = HTTPConnection("127.0.0.1", port_of(address), timeout=10)
        viewer.request("GET", urlsplit(address).path.replace("/report", "/events"))
        stream = viewer.getresponse()
        assert b"waiting for a run to begin in run" in stream.readline()
        process.send_signal(signal.SIGINT)
        assert process.wait(10) == 0
        assert b"event: end" in stream.read() and closed(address)
        viewer.close()
        assert process.stderr is not None and process.stderr.read() == ""


@pytest.mark.slow
def test_a_page_beside_a_fit_lives_as_long_as_the_block(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with watch.watching(tmp_path / "run"):
        said, address = capsys.readouterr().out.strip().split(": ")
        assert said == "live page" and answers(address)
    assert closed(address, within=0.2)
    with pytest.raises(ZeroDivisionError), watch.watching(tmp_path / "run"):
        address = capsys.readouterr().out.strip().split(": ")[1]
        assert answers(address) and 1 / 0
    assert closed(address, within=0.2)


@pytest.mark.slow
def test_a_page_beside_a_fit_ends_with_a_killed_one(tmp_path: Path) -> None:
    script = (
        "import os, sys\nfrom pathlib import Path\nfrom multiloss.cli.watch import watching\n"
        "with watching(Path('run')):\n    sys.stdin.readline()\n    os.kill(os.getpid(), 9)"
    )
    with started(script, at=tmp_path) as process:
        address = line_of(process).split(": ")[1]
        assert answers(address)
        assert process.stdin is not None
        process.stdin.write("die\n")
        process.stdin.flush()
        assert process.wait(30) == -signal.SIGKILL and closed(address)


def test_a_page_that_cannot_be_served_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "BESIDE", "raise SystemExit(3)")
    with pytest.raises(RunError, match=r"could not be served.*Train without --watch"), watch.watching(tmp_path):
        pytest.fail("the block must not begin")


@pytest.mark.slow
def test_a_fit_shows_its_page_while_it_trains(config: Path, tmp_path: Path) -> None:
    with started(ENTRY, "fit", config.name, "--out", "run", "--watch", "--epochs", "300", at=tmp_path) as process:
        address = next(line for line in iter(lambda: line_of(process), "\0") if line.startswith("live page: "))[11:]
        assert answers(address) and process.poll() is None
        out, err = process.communicate(timeout=120)
        assert process.returncode == 0 and out.endswith("run folder: run\n"), err
        assert closed(address, within=0.2)
