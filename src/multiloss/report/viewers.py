"""What the viewers of a live page share: one follower of the records, one view, and the news that it changed."""

from __future__ import annotations

import asyncio
import functools
import gzip
import json
import secrets
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any

from multiloss.core.run_records import RunRecords
from multiloss.report.follow import Follower

EVERY = 1.0
"""Seconds between two looks at the records."""
REST = 4.0
"""A view that took long to build is rested after for so many times as long: a fifth of a core at most."""
HEARTBEAT = 15.0
"""Seconds without news after which a line that says nothing is sent, so that a viewer who is gone is found."""
FAREWELL = 1.5
"""Seconds that viewers have to fetch the last view when the server ends with the training."""
TICK = 0.1


@dataclass(frozen=True)
class Answer:
    """Bytes to send.

    Args:
        body: The bytes.
        media: Their media type.
        tag: Names them: under one name there are always the same.
    """

    body: bytes
    media: str
    tag: str

    @functools.cached_property
    def packed(self) -> bytes:
        """The bytes under gzip, made once."""
        return gzip.compress(self.body, 5)


class Viewers:
    """Everybody who looks at one run.

    Args:
        follower: Reads the run's records.
        build: Makes the view of the records; called in a thread, once for each version that somebody asks for.
        render: Makes the page of a view, given its version too.

    Attributes:
        count: How many are being told the news.
    """

    def __init__(
        self,
        follower: Follower,
        build: Callable[[RunRecords], dict[str, Any]],
        render: Callable[[dict[str, Any], str], str],
    ) -> None:
        self.count = 0
        self._follower, self._build, self._render = follower, build, render
        self._name, self._number, self._status = secrets.token_hex(4), 0, follower.status()
        self._bell, self._over = asyncio.Event(), False
        self._lock, self._view = asyncio.Lock(), dict[str, Any]()
        self._data: Answer | None = None
        self._page: Answer | None = None
        self._cost = 0.0

    @property
    def version(self) -> str:
        """Names the records as they were last read."""
        return f"{self._name}-{self._number}"

    async def look(self) -> None:
        """Look at the records once, and tell the news if there are any."""
        changed = await asyncio.to_thread(self._follower.look)
        status = self._follower.status()
        if changed or status != self._status:
            self._number, self._status = self._number + changed, status
            self._ring()

    async def follow(self, ended: Callable[[], bool]) -> None:
        """Look again and again, until `ended`."""
        while not ended():
            rest = time.monotonic() + max(EVERY, REST * self._cost)
            while time.monotonic() < rest and not ended():
                await asyncio.sleep(TICK)
            await self.look()

    def _ring(self) -> None:
        bell, self._bell = self._bell, asyncio.Event()
        bell.set()

    async def farewell(self) -> None:
        """Tell the last news, and give the viewers time to fetch it."""
        await self.look()
        until = time.monotonic() + FAREWELL
        while self.count and time.monotonic() < until:
            await asyncio.sleep(TICK)

    def close(self) -> None:
        """Tell everybody that there will be no more news."""
        self._over = True
        self._ring()

    async def news(self) -> AsyncIterator[str]:
        """Yield server-sent events: version and status, at once and whenever they change. Who is slow misses some."""
        self.count += 1
        try:
            said = ""
            while not self._over:
                bell = self._bell
                text = json.dumps({"version": self.version, **self._status._asdict()})
                if text != said:
                    said = text
                    yield f"data: {text}\n\n"
                try:
                    await asyncio.wait_for(bell.wait(), HEARTBEAT)
                except TimeoutError:
                    yield ": nothing new\n\n"
            yield "event: end\ndata: {}\n\n"
        finally:
            self.count -= 1

    async def data(self) -> Answer:
        """Return the view as JSON."""
        async with self._lock:
            return await self._newest()

    async def page(self) -> Answer:
        """Return the page that holds the view."""
        async with self._lock:
            tag = (await self._newest()).tag
            if self._page is None or self._page.tag != tag:
                text = await asyncio.to_thread(self._render, self._view, tag)
                self._page = Answer(text.encode(errors="replace"), "text/html; charset=utf-8", tag)
            return self._page

    async def _newest(self) -> Answer:
        if self._data is None or self._data.tag != self.version:
            tag, began = self.version, time.perf_counter()
            self._view = await asyncio.to_thread(self._build, self._follower.records)
            body = await asyncio.to_thread(json.dumps, self._view)
            self._data = Answer(body.encode(), "application/json", tag)
            self._cost = time.perf_counter() - began
        return self._data
