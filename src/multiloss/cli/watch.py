"""`multiloss watch`: the report of a run, growing while the run trains."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

LONGEST_START, LONGEST_END = 60.0, 10.0  # seconds
BESIDE = "import sys; from multiloss.cli.watch import beside; beside(sys.argv[1])"


def watch(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A run folder; it need not exist yet.")],
    port: Annotated[int, typer.Option(min=0, max=65535, help="Where to listen; 0 takes any free port.")] = 0,
    open_: Annotated[bool, typer.Option("--open", help="Open the page in the browser.")] = False,
) -> None:
    """Serve the report of a run to the browser of this machine; it grows while the run trains. Ctrl-C ends it."""
    from multiloss.cli.show import say
    from multiloss.core.errors import ConfigError
    from multiloss.core.run_files import FACTS
    from multiloss.report.live import serve

    if run.exists() and not run.is_dir():
        raise ConfigError(["expected a run folder, found a file"], str(run))

    def ready(address: str) -> None:
        say(f"live page of {run}: {address}")
        if not (run / FACTS).exists():
            say(f"{run} holds no run yet; the page waits for one")
        say("Ctrl-C ends it")
        if open_:
            import webbrowser

            webbrowser.open(address)

    with contextlib.suppress(KeyboardInterrupt):
        serve(run, port=port, ready=ready)


@contextlib.contextmanager
def watching(folder: Path) -> Iterator[None]:
    """Serve the live page of a run from a process of its own inside the block, and print its address.

    The process ends with the block, and with this process however that ends.

    Raises:
        MissingExtraError: If the packages of the extra `watch` are not installed.
        RunError: If the page could not be served.
    """
    from multiloss.cli.show import say
    from multiloss.core.errors import RunError
    from multiloss.report.live import check_installed

    check_installed()
    words = [sys.executable, "-c", BESIDE, str(folder)]
    # a session of its own, so that a Ctrl-C is the trainer's alone and the page still shows how the run ended
    process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True)
    try:
        address = _first_line(process)
        if not address:
            raise RunError("the live page could not be served; what stands above says why. Train without --watch")
        say(f"live page: {address}")
        yield
    finally:
        _end(process)


def _first_line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    impatient = threading.Timer(LONGEST_START, process.kill)
    impatient.start()
    try:
        return process.stdout.readline().strip()
    finally:
        impatient.cancel()


def _end(process: subprocess.Popen[str]) -> None:
    try:
        process.communicate(timeout=LONGEST_END)  # closes its standard input, which is how it learns of the end
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()


def beside(folder: str) -> None:
    """Serve the live page until standard input is closed, which the end of the trainer does however it ends.

    Args:
        folder: The run folder.
    """
    from multiloss.report.live import serve

    ended = threading.Event()

    def wait_for_the_end() -> None:
        os.read(sys.stdin.fileno(), 1)
        ended.set()

    threading.Thread(target=wait_for_the_end, daemon=True).start()
    serve(Path(folder), ready=lambda address: print(address, flush=True), ended=ended)
