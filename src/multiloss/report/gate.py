"""Who may ask the live page's server: a browser on this machine that was given the address, and no other site in it."""

from __future__ import annotations

import hmac
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, NamedTuple, TypeAlias

Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
App: TypeAlias = Callable[[Message, Receive, Send], Awaitable[None]]


class Refusal(NamedTuple):
    """Why a request is not answered."""

    code: int
    sentence: str


class Gate:
    """Lets a request through to an ASGI application if it may ask, without the token in its path.

    The token is the first part of the path rather than a cookie: browsers send the cookies of one port of 127.0.0.1 to
    servers on all others. The names of the machine are checked, because a site may have its own name point to it (DNS
    rebinding); so is the site that asks.

    Args:
        app: The application.
        token: The secret.
        port: The port that it listens on.
        policy: The `Content-Security-Policy` of all its answers.
    """

    def __init__(self, app: App, *, token: str, port: int, policy: str) -> None:
        self.app, self._token = app, token.encode()
        names = ("127.0.0.1", "localhost")
        self._hosts = {f"{name}:{port}".encode() for name in names} | (
            {n.encode() for n in names} if port == 80 else set()
        )
        self._headers = [
            (b"content-security-policy", policy.encode()),
            (b"x-content-type-options", b"nosniff"),
            (b"referrer-policy", b"no-referrer"),
            (b"cross-origin-resource-policy", b"same-origin"),
            (b"cross-origin-opener-policy", b"same-origin"),
        ]

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answer one request, or refuse it in a sentence."""

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", []), *self._headers]
            await send(message)

        refusal = self._refusal(scope)
        if refusal is None:
            path = "/" + scope["path"].split("/", 2)[2]
            await self.app({**scope, "path": path, "raw_path": path.encode()}, receive, guarded)
            return
        body = f"{refusal.sentence}\n".encode()
        headers = [
            (b"content-type", b"text/plain; charset=utf-8"),
            (b"content-length", str(len(body)).encode()),
            (b"cache-control", b"no-store"),
            *([(b"allow", b"GET")] if refusal.code == 405 else []),
        ]
        await guarded({"type": "http.response.start", "status": refusal.code, "headers": headers})
        await guarded({"type": "http.response.body", "body": body})

    def _refusal(self, scope: Message) -> Refusal | None:
        def given(name: bytes) -> list[bytes]:
            return [value for key, value in scope["headers"] if key == name]

        hosts, origins = given(b"host"), given(b"origin")
        if len(hosts) != 1 or hosts[0].lower() not in self._hosts:
            return Refusal(421, "This server answers to 127.0.0.1 and localhost alone, with its own port.")
        if any(origin.lower() not in {b"http://" + host for host in self._hosts} for origin in origins):
            return Refusal(403, "This server answers to its own page alone, not to another site.")
        if scope["method"] != "GET":
            return Refusal(405, f"Expected GET, found {scope['method']}: there is nothing here to change.")
        first, *rest = scope["path"].removeprefix("/").split("/", 1)
        if not hmac.compare_digest(first.encode(errors="replace"), self._token) or not rest:
            return Refusal(403, "Open the address that multiloss printed: it holds a token.")
        return None
