"""The report of a run that is under way, served to the browser of this machine and growing with the run."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import functools
import hashlib
import os
import re
import secrets
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from multiloss.core.errors import ConfigError
from multiloss.core.optional import require
from multiloss.core.run_records import RunRecords
from multiloss.report.follow import Follower
from multiloss.report.gate import Gate
from multiloss.report.viewers import Answer, Viewers

if TYPE_CHECKING:
    from fastapi import FastAPI

ADDRESS = "127.0.0.1"
INLINE = re.compile(r"<script(?P<attributes>[^>]*)>(?P<text>.*?)</script>", re.DOTALL | re.IGNORECASE)


def serve(folder: Path, *, port: int = 0, ready: Callable[[str], None], ended: threading.Event | None = None) -> None:
    """Serve the live page of a run until `ended` is set, or the process is interrupted.

    Args:
        folder: The run folder; nothing else is read. It need not exist yet.
        port: Where to listen, on 127.0.0.1 and nowhere else; 0 takes any free port.
        ready: Called with the address of the page, token included, once it can be opened.
        ended: Set by whoever wants the server to end when its viewers have seen the last change.

    Raises:
        MissingExtraError: If the packages of the extra `watch` are not installed.
        ConfigError: If the port is taken.
        KeyboardInterrupt: If the process was interrupted; the server has ended in good order by then.
    """
    check_installed()
    with _listening(port) as listener:
        asyncio.run(_serve(folder, listener, ready, ended or threading.Event()))


def check_installed() -> None:
    """Import the packages of the server.

    Raises:
        MissingExtraError: If one is not installed.
    """
    for name in ("fastapi", "uvicorn"):
        require(name, "the live page", "multiloss[watch]")


@contextlib.contextmanager
def _listening(port: int) -> Iterator[socket.socket]:
    with socket.socket() as listener:
        if os.name == "posix":  # elsewhere the option lets another program take over the port
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((ADDRESS, port))
        except OSError as error:
            problem = f"expected a free port, could not take {port} ({error.strerror}). Choose another; 0 takes any"
            raise ConfigError([problem], "--port") from error
        yield listener


async def _serve(folder: Path, listener: socket.socket, ready: Callable[[str], None], ended: threading.Event) -> None:
    import uvicorn

    token, port = secrets.token_urlsafe(24), listener.getsockname()[1]
    viewers = Viewers(Follower(folder), _view, _page)
    gate = Gate(application(viewers), token=token, port=port, policy=_policy())
    server = uvicorn.Server(
        uvicorn.Config(
            gate,
            http="h11",
            ws="none",
            lifespan="off",
            log_level="error",
            access_log=False,
            proxy_headers=False,
            server_header=False,
            timeout_graceful_shutdown=2,
        )
    )
    serving = asyncio.create_task(server.serve([listener]))
    try:
        while not server.started and not serving.done():
            await asyncio.sleep(0.02)
        await viewers.look()
        ready(f"http://{ADDRESS}:{port}/{token}/report")
        await viewers.follow(lambda: server.should_exit or ended.is_set())
        if ended.is_set():
            await viewers.farewell()
    finally:
        viewers.close()
        server.should_exit = True
        await serving


def application(viewers: Viewers) -> FastAPI:
    """Return the routes: page, view, news and Plotly's script. No part of an address is the name of a file."""
    import fastapi
    from fastapi.responses import Response, StreamingResponse

    app = fastapi.FastAPI(docs_url=None, redoc_url=None, openapi_url=None, redirect_slashes=False)

    async def answer(found: Answer, known: str, accepted: str, cache: str = "no-store") -> Response:
        tag = f'"{found.tag}"'
        headers = {"ETag": tag, "Cache-Control": cache, "Vary": "Accept-Encoding"}
        if tag in known.split(", "):
            return Response(status_code=304, headers=headers)
        if "gzip" not in accepted:
            return Response(found.body, media_type=found.media, headers=headers)
        body = await asyncio.to_thread(lambda: found.packed)
        return Response(body, media_type=found.media, headers={**headers, "Content-Encoding": "gzip"})

    async def page(accept_encoding: str = fastapi.Header("")) -> Any:
        return await answer(await viewers.page(), "", accept_encoding)

    async def view(if_none_match: str = fastapi.Header(""), accept_encoding: str = fastapi.Header("")) -> Any:
        return await answer(await viewers.data(), if_none_match, accept_encoding)

    async def events() -> Any:
        return StreamingResponse(viewers.news(), media_type="text/event-stream", headers={"Cache-Control": "no-store"})

    async def plotly(if_none_match: str = fastapi.Header(""), accept_encoding: str = fastapi.Header("")) -> Any:
        return await answer(
            await asyncio.to_thread(_plotly), if_none_match, accept_encoding, "private, max-age=86400, immutable"
        )

    routes: dict[str, Callable[..., Any]] = {
        "/report": page,
        "/view": view,
        "/events": events,
        "/plotly.min.js": plotly,
    }
    for path, endpoint in routes.items():
        app.get(path, response_model=None)(endpoint)
    return app


@functools.cache
def _plotly() -> Answer:
    from multiloss.report.page import plotly_script

    body = plotly_script().encode()
    return Answer(body, "text/javascript; charset=utf-8", hashlib.sha256(body).hexdigest()[:32])


def _view(records: RunRecords) -> dict[str, Any]:
    from multiloss.report.view import build_view

    return build_view([records])


def _page(view: dict[str, Any], version: str) -> str:
    from multiloss.report.page import render_page

    return render_page(view, plotly="beside", live={"events": "events", "data": "view", "version": version})


def _policy() -> str:
    """Return what the page may load and run: its own scripts, by their digest.

    The digests are those of a page without a run, so that a script which came into the page by the name of an output
    would not be among them.
    """
    page = _page(_view(RunRecords("")), "")
    digests = [
        base64.b64encode(hashlib.sha256(found["text"].encode()).digest()).decode()
        for found in INLINE.finditer(page)
        if "src=" not in found["attributes"] and "application/json" not in found["attributes"]
    ]
    allowed = " ".join(["'self'", *(f"'sha256-{digest}'" for digest in digests)])
    return (
        f"default-src 'none'; script-src {allowed}; style-src 'unsafe-inline'; img-src data: blob:; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
