"""The live page's server: who may ask, what is sent, and how often anything is read and made."""

from __future__ import annotations

import gzip
import json
import re
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from live_runs import News, Server, Trainer

from multiloss.core.errors import ConfigError
from multiloss.core.run_records import RunRecords
from multiloss.report import live, viewers

ROUTES = ["/report", "/view", "/events", "/plotly.min.js"]


@pytest.fixture
def builds(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Make the server quick, and count how many epochs each view was made of."""
    counted: list[int] = []
    build = live._view

    def counting(records: RunRecords) -> dict[str, Any]:
        counted.append(len(records.history))
        return build(records)

    monkeypatch.setattr(live, "_view", counting)
    monkeypatch.setattr(viewers, "EVERY", 0.05)
    monkeypatch.setattr(viewers, "REST", 0.0)
    monkeypatch.setattr(viewers, "TICK", 0.02)
    monkeypatch.setattr(viewers, "FAREWELL", 0.2)
    return counted


@pytest.fixture
def trainer(tmp_path: Path) -> Trainer:
    return Trainer(tmp_path / "run").begin(epochs=100).add(3)


@pytest.fixture
def server(trainer: Trainer, builds: list[int]) -> Iterator[Server]:
    with Server(trainer.folder) as server:
        builds.clear()
        yield server


def wait_until(true: Callable[[], bool]) -> None:
    until = time.monotonic() + 10
    while not true():
        assert time.monotonic() < until
        time.sleep(0.01)


def test_every_route_needs_the_token(server: Server) -> None:
    for path in [*ROUTES, "/", "", "/none"]:
        for token in ("", "wrong", server.token[:-1], server.token + "x", "%00", "%C3%A9", "%FF"):
            reply = server.get(path, token=token)
            assert reply.code == 403 and b"token" in reply.body and len(reply.body) < 200
    assert server.get("", token=server.token).code == 403, "a token alone names nothing"
    assert len(server.token) >= 32
    for path in set(ROUTES) - {"/events"}:
        assert server.get(path).code == 200


def test_only_this_machines_names_are_answered(server: Server) -> None:
    for host in (
        "evil.example",
        f"evil.example:{server.port}",
        "127.0.0.1",
        "127.0.0.1:1",
        f"127.0.0.1.evil:{server.port}",
    ):
        reply = server.get("/view", {"Host": host})
        assert reply.code == 421 and b"127.0.0.1" in reply.body
    for host in (f"127.0.0.1:{server.port}", f"localhost:{server.port}", f"LOCALHOST:{server.port}"):
        assert server.get("/view", {"Host": host}).code == 200
    twice = f"GET /{server.token}/view HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\nHost: evil.example\r\n\r\n"
    with socket.create_connection(("127.0.0.1", server.port)) as connection:
        connection.sendall(twice.encode())
        assert connection.recv(100).split()[1] in (b"400", b"421")


def test_only_its_own_page_may_ask(server: Server) -> None:
    for origin in ("http://evil.example", "null", f"https://127.0.0.1:{server.port}", "http://127.0.0.1:1"):
        assert server.get("/view", {"Origin": origin}).code == 403
    for origin in (f"http://127.0.0.1:{server.port}", f"http://localhost:{server.port}"):
        reply = server.get("/view", {"Origin": origin})
        assert reply.code == 200 and "access-control-allow-origin" not in reply.headers


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "HEAD", "TRACE"])
def test_nothing_can_be_changed(server: Server, method: str) -> None:
    reply = server.get("/view", method=method)
    assert reply.code == 405 and reply.headers["allow"] == "GET"


def test_no_address_names_a_file(server: Server, trainer: Trainer) -> None:
    (trainer.folder / "secret.txt").write_text("PRIVATE")
    ways = ["/secret.txt", "/run.json", "/../secret.txt", "/../../../../etc/passwd", "/..%2f..%2f..%2fetc%2fpasswd"]
    ways += [
        "/%2e%2e/%2e%2e/etc/passwd",
        "//etc/passwd",
        "/live.js",
        "/view/../run.json",
        "/view%00run.json",
        "/.",
        "/docs",
    ]
    ways += ["/report/", "/openapi.json", "/templates/page.html", "/static/live.js", "/..\\run.json"]
    for way in ways:
        reply = server.get(way)
        assert (
            reply.code == 404 and len(reply.body) < 200 and b"PRIVATE" not in reply.body and b"root:" not in reply.body
        )


def test_what_is_sent_says_how_it_may_be_used(server: Server) -> None:
    for path in ["/report", "/view", "/plotly.min.js", "/none"]:
        for headers in (server.get(path).headers, server.get(path, token="wrong").headers):
            assert headers["x-content-type-options"] == "nosniff" and headers["referrer-policy"] == "no-referrer"
            assert headers["cross-origin-resource-policy"] == "same-origin"
            assert "set-cookie" not in headers and "server" not in headers
            policy = dict(part.strip().split(" ", 1) for part in headers["content-security-policy"].split(";"))
            assert policy["default-src"] == "'none'" and policy["connect-src"] == "'self'"
            assert policy["frame-ancestors"] == policy["base-uri"] == policy["form-action"] == "'none'"
            assert re.fullmatch(r"'self'( 'sha256-[A-Za-z0-9+/]{43}=')*", policy["script-src"])
            assert not re.search(r"https?:|\*|unsafe-eval", headers["content-security-policy"])
    for path in ("/report", "/view"):
        assert server.get(path).headers["cache-control"] == "no-store"
    assert "immutable" in server.get("/plotly.min.js").headers["cache-control"]


def test_a_script_in_the_name_of_an_output_is_not_allowed_to_run(
    trainer: Trainer, builds: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    with Server(trainer.folder) as server:
        before = server.get("/report").headers["content-security-policy"]
    render = live._page
    monkeypatch.setattr(
        live, "_page", lambda view, version: render(view, version) + ("<script>alert(1)</script>" if version else "")
    )
    with Server(trainer.folder) as server:
        reply = server.get("/report")
        assert b"<script>alert(1)</script>" in reply.body
        assert reply.headers["content-security-policy"] == before


def test_the_view_is_sent_once(server: Server, trainer: Trainer) -> None:
    first = server.get("/view")
    assert first.headers["content-type"] == "application/json"
    known = {"If-None-Match": first.headers["etag"]}
    again = server.get("/view", known)
    assert again.code == 304 and again.body == b"" and again.headers["etag"] == first.headers["etag"]
    trainer.add()
    wait_until(lambda: server.get("/view", known).code == 200)
    second = server.get("/view", known)
    assert second.headers["etag"] != first.headers["etag"] and second.body != first.body
    packed = server.get("/view", {"Accept-Encoding": "gzip, deflate"})
    assert packed.headers["content-encoding"] == "gzip" and gzip.decompress(packed.body) == second.body
    assert len(packed.body) < len(second.body)


def test_plotly_is_the_packages_own_and_is_sent_once(server: Server) -> None:
    import plotly.offline

    reply = server.get("/plotly.min.js")
    assert reply.body.decode() == plotly.offline.get_plotlyjs()
    assert reply.headers["content-type"].startswith("text/javascript")
    assert server.get("/plotly.min.js", {"If-None-Match": reply.headers["etag"]}).code == 304


def test_news_come_with_every_change(server: Server, trainer: Trainer) -> None:
    news = server.news()
    now = news.next()
    assert now["state"] == "live" and now["text"] == "live: epoch 4 of 100 under way"
    assert f'"{now["version"]}"' == server.get("/view").headers["etag"]
    trainer.add()
    then = news.next()
    assert then["text"] == "live: epoch 5 of 100 under way" and then["version"] != now["version"]
    trainer.rewind(2)
    seen = [news.next()]
    while seen[-1]["text"] != "live: epoch 3 of 100 under way":  # the three files may be read between two of them
        seen.append(news.next())
    trainer.begin(finished=True, stopped=None, epochs=2)
    while seen[-1]["state"] != "finished":
        seen.append(news.next())
    assert seen[-1]["text"] == "finished after epoch 2"
    news.close()


def test_a_run_that_does_not_exist_yet_is_waited_for(tmp_path: Path, builds: list[int]) -> None:
    folder = tmp_path / "not" / "yet"
    with Server(folder) as server:
        news = server.news()
        assert news.next()["text"] == "waiting for a run to begin in yet"
        assert server.get("/report").code == 200 and server.get("/view").code == 200
        assert not folder.exists(), "a reader makes nothing"
        trainer = Trainer(folder).begin()
        assert news.next()["text"] == "live: epoch 1 under way"
        trainer.add()
        while news.next()["text"] != "live: epoch 2 under way":
            pass
        news.close()


def test_a_damaged_file_leaves_the_page_as_it_was(server: Server, trainer: Trainer) -> None:
    before = server.get("/view")
    news = server.news()
    news.next()
    with (trainer.folder / "history.jsonl").open("a") as file:
        file.write("{\n")
    said = news.next()
    assert said["state"] == "damaged" and said["text"].startswith("history.jsonl, line 4: expected a record")
    assert server.get("/view").body == before.body
    news.close()


def test_fifty_viewers_cost_one_view_a_change(server: Server, trainer: Trainer, builds: list[int]) -> None:
    open_: list[News] = [server.news() for _ in range(50)]
    versions = {news.next()["version"] for news in open_}
    assert len(versions) == 1
    assert {server.get("/view").headers["etag"] for _ in open_} == {f'"{versions.pop()}"'} and builds == [3]
    with (trainer.folder / "history.jsonl").open("a") as file:
        file.write(trainer.lines(4)["history.jsonl"])
    versions = {news.next()["version"] for news in open_}
    assert len(versions) == 1
    assert {server.get("/view").headers["etag"] for _ in open_} == {f'"{versions.pop()}"'} and builds == [3, 4]
    for news in open_:
        news.close()


def test_nothing_is_made_when_nobody_looks(server: Server, trainer: Trainer, builds: list[int]) -> None:
    for _ in range(5):
        trainer.add()
        time.sleep(0.1)
    assert builds == []
    assert server.get("/view").code == 200 and builds == [8]


def test_who_is_gone_is_forgotten_and_who_stays_is_kept_awake(
    trainer: Trainer, builds: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[viewers.Viewers] = []
    application = live.application

    def noted(own: viewers.Viewers) -> FastAPI:
        made.append(own)
        return application(own)

    monkeypatch.setattr(live, "application", noted)
    monkeypatch.setattr(viewers, "HEARTBEAT", 0.1)
    with Server(trainer.folder) as server:
        streams = [server.news() for _ in range(5)]
        for news in streams:
            news.next()
        assert made[0].count == 5
        assert sum(line == ": nothing new" for line, _ in zip(streams[0].lines(), range(3), strict=False)) >= 2
        for news in streams[1:]:
            news.close()
        wait_until(lambda: made[0].count == 1)
        streams[0].close()
        wait_until(lambda: made[0].count == 0)


def test_the_server_answers_while_a_view_is_made(
    trainer: Trainer, builds: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    build = live._view

    def slow(records: RunRecords) -> dict[str, Any]:
        time.sleep(1.0 if records.history else 0.0)
        return build(records)

    monkeypatch.setattr(live, "_view", slow)
    with Server(trainer.folder) as server:
        news = server.news()
        assert news.next()["state"] == "live"
        began = time.monotonic()
        with socket.create_connection(("127.0.0.1", server.port)) as waiting:
            waiting.sendall(f"GET /{server.token}/view HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\n\r\n".encode())
            assert server.get("/none").code == 404
            assert time.monotonic() - began < 0.9
            assert waiting.recv(100).startswith(b"HTTP/1.1 200")
            assert time.monotonic() - began > 0.9
        news.close()


def test_the_end_is_told_and_the_last_change_can_be_fetched(trainer: Trainer, builds: list[int]) -> None:
    with Server(trainer.folder) as server:
        news = server.news()
        assert news.next()["state"] == "live"
        trainer.begin(finished=True, stopped=None)
        server._ended.set()
        assert news.next()["text"] == "finished after epoch 3"
        assert json.loads(server.get("/view").body)["title"] == "run" and builds[-1] == 3
        assert [line for line in news.lines() if not line.startswith(":")] == ["event: end", "data: {}"]
        news.close()
        server.end()
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", server.port)).close()


def test_a_server_ends_while_viewers_look(trainer: Trainer, builds: list[int]) -> None:
    with Server(trainer.folder) as server:
        streams = [server.news() for _ in range(20)]
        for news in streams:
            news.next()
        began = time.monotonic()
        server.end()
        assert time.monotonic() - began < 3
        assert all("event: end" in list(news.lines()) for news in streams)
        for news in streams:
            news.close()


def test_a_taken_port_is_said(trainer: Trainer) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(ConfigError, match=rf"--port: expected a free port, could not take {port} \(.*0 takes any"):
            live.serve(trainer.folder, port=port, ready=lambda address: pytest.fail(address))


def test_only_this_machine_can_connect(server: Server) -> None:
    table = Path("/proc/net/tcp")
    if not table.exists():
        pytest.skip("this system has no table of its sockets")
    listening = [line.split()[1] for line in table.read_text().splitlines()[1:] if line.split()[3] == "0A"]
    assert [address for address in listening if address.endswith(f":{server.port:04X}")] == [
        f"0100007F:{server.port:04X}"
    ]
