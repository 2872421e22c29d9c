"""What the tests of the live page share: a run folder written as a trainer writes it, and a server to ask."""

from __future__ import annotations

import http.client
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from multiloss.core.flow import GradientFlow, LayerFlow, Reach
from multiloss.core.records import LedgerRecord, TermRecord
from multiloss.core.run_files import FACTS, GRADIENTS, HISTORY, LEDGER, RUN_VERSION, json_line, read_lines, write_whole
from multiloss.report.live import serve


def ledger(epoch: int, split: str) -> LedgerRecord:
    """An account whose total is 3 / epoch + 0.5: price adds twice 1 / epoch, kind 1 / epoch, a penalty one half."""
    total = 3 / epoch + 0.5
    terms = (
        TermRecord("price", "loss", 1 / epoch, 2.0, 1.0, 2 / epoch, 2 / epoch / total, 64),
        TermRecord("kind", "loss", 1 / epoch, 1.0, 1.0, 1 / epoch, 1 / epoch / total, 64),
        TermRecord("l2/trunk.0.weight", "penalty", 50.0, 0.01, 1.0, 0.5, 0.5 / total, None),
    )
    return LedgerRecord(total, terms, 4, epoch=epoch, split=split)


def flow(epoch: int) -> GradientFlow:
    """A watched step: gradients of norm 3 and 4 at a right angle, so that the update's norm is 5."""
    norms = {"price": 3.0, "kind": 4.0}
    both = ("price", "kind")
    return GradientFlow(
        losses=both,
        weights={"price": 2.0, "kind": 1.0},
        balancing_weights={"price": 1.0, "kind": 1.0},
        norms=norms,
        shares={"price": 9 / 25, "kind": 16 / 25},
        cosines=((1.0, 0.0), (0.0, 1.0)),
        conflict_rate=0.0,
        condition_number=4 / 3,
        layers=(LayerFlow("trunk.0", 8, both, norms),),
        heads={"price": 1.0, "kind": 1.0},
        reach=(Reach(both, 8, ("trunk.0",)), Reach(both[:1], 3, ("heads.price",)), Reach(both[1:], 4, ("heads.kind",))),
        epoch=epoch,
        step=4 * epoch,
    )


class Trainer:
    """Writes the records of a run, a part at a time.

    Args:
        folder: The run folder; nothing is written before `begin`.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.epoch = 0

    def begin(self, **facts: Any) -> Trainer:
        """Write `run.json` anew."""
        own = {"version": RUN_VERSION, "created": "2026-01-02T03:04:05+0000", "versions": {"multiloss": "0"}}
        text = json.dumps({**own, "seed": 0, "device": "cpu", "parameters": 15, "rows": 64, **facts})
        write_whole(self.folder / FACTS, text.encode())
        return self

    def lines(self, epoch: int) -> dict[str, str]:
        """Return what an epoch adds to each file."""
        train, held = ledger(epoch, "train"), ledger(epoch, "validation")
        logs = {"epoch": epoch, "loss": train.total, "price_loss": 1 / epoch, "kind_loss": 1 / epoch}
        logs |= {"val_loss": held.total, "val_price_loss": 1 / epoch, "val_kind_loss": 1 / epoch, "seconds": 0.5}
        return {
            HISTORY: json_line(logs),
            LEDGER: json_line(train.to_dict()) + json_line(held.to_dict()),
            GRADIENTS: json_line(flow(epoch).to_dict()),
        }

    def add(self, epochs: int = 1) -> Trainer:
        """Do epochs."""
        for _ in range(epochs):
            self.epoch += 1
            for name, text in self.lines(self.epoch).items():
                with (self.folder / name).open("a") as file:
                    file.write(text)
        return self

    def rewind(self, epoch: int) -> Trainer:
        """Put files with the epochs up to one in place of the files."""
        for name in (HISTORY, LEDGER, GRADIENTS):
            kept = [line for line in read_lines(self.folder / name) if line["epoch"] <= epoch]
            write_whole(self.folder / name, "".join(json_line(line) for line in kept).encode())
        self.epoch = epoch
        return self


class Reply(NamedTuple):
    """What the server answered; names of headers in lower case."""

    code: int
    headers: dict[str, str]
    body: bytes


class News:
    """An open stream of news."""

    def __init__(self, connection: http.client.HTTPConnection, reply: http.client.HTTPResponse) -> None:
        self.connection, self.reply = connection, reply

    def lines(self) -> Iterator[str]:
        """Yield what comes, line by line, empty lines left out."""
        while line := self.reply.readline():
            if text := line.decode().rstrip("\n"):
                yield text

    def next(self) -> dict[str, Any]:
        """Return the next news."""
        found: dict[str, Any] = json.loads(next(line for line in self.lines() if line.startswith("data: "))[6:])
        return found

    def close(self) -> None:
        self.reply.close()
        self.connection.close()


class Server:
    """The live page's server on a thread of its own, from `with` to its end."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._ended, self._up = folder, threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def _run(self) -> None:
        serve(self._folder, ready=self._ready, ended=self._ended)

    def _ready(self, address: str) -> None:
        self.address = address
        parts = urlsplit(address)
        assert parts.hostname == "127.0.0.1" and parts.port is not None
        self.port, self.token = parts.port, parts.path.split("/")[1]
        self._up.set()

    def __enter__(self) -> Server:
        self._thread.start()
        assert self._up.wait(30)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.end()

    def end(self) -> None:
        self._ended.set()
        self._thread.join(20)
        assert not self._thread.is_alive()

    def get(
        self, path: str, headers: dict[str, str] | None = None, method: str = "GET", token: str | None = None
    ) -> Reply:
        """Ask for a path below the token, exactly as it is written."""
        whole = f"/{self.token if token is None else token}{path}"
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        try:
            connection.request(method, whole, headers=headers or {})
            reply = connection.getresponse()
            return Reply(reply.status, {k.lower(): v for k, v in reply.getheaders()}, reply.read())
        finally:
            connection.close()

    def news(self) -> News:
        """Open the stream of news."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        connection.request("GET", f"/{self.token}/events")
        reply = connection.getresponse()
        assert reply.status == 200 and reply.headers["content-type"].startswith("text/event-stream")
        return News(connection, reply)
