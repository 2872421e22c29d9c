"""The live page in a browser: it grows, keeps what was chosen, says how the run stands, and obeys its own policy."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from live_runs import Server, Trainer

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.slow
BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


class Tab:
    """A page of a browser, and everything it complained about or asked for."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.errors: list[str] = []
        self.asked: list[str] = []
        page.on("console", lambda message: self.errors.append(message.text) if message.type != "log" else None)
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("request", lambda request: self.asked.append(request.url))
        page.set_default_timeout(20_000)

    def open(self, server: Server) -> None:
        self.page.goto(server.address)

    def wait_for_status(self, text: str) -> None:
        self.page.wait_for_function(
            "text => document.querySelector('#live-status').textContent.includes(text)", arg=text
        )

    def hide(self, hidden: bool) -> None:
        self.page.evaluate(
            "hidden => { Object.defineProperty(document, 'hidden', {value: hidden, configurable: true});"
            " document.dispatchEvent(new Event('visibilitychange')); }",
            hidden,
        )


@pytest.fixture
def tab() -> Iterator[Tab]:
    if BROWSER is None:
        pytest.skip("there is no chromium on this machine")
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=BROWSER)
        yield Tab(browser.new_page())
        browser.close()


@pytest.fixture
def trainer(tmp_path: Path) -> Trainer:
    return Trainer(tmp_path / "run").begin(epochs=100).add(3)


def test_a_page_grows_and_keeps_what_was_chosen(tab: Tab, trainer: Trainer) -> None:
    with Server(trainer.folder) as server:
        tab.open(server)
        tab.wait_for_status("live: epoch 4 of 100 under way")
        tab.page.wait_for_selector(".js-plotly-plot svg")
        choice = tab.page.locator("select").first
        choice.select_option(index=1)
        chosen = choice.input_value()
        before = tab.page.inner_html("#sections")
        trainer.add()
        tab.wait_for_status("live: epoch 5 of 100 under way")
        tab.page.wait_for_function("before => document.querySelector('#sections').innerHTML !== before", arg=before)
        assert choice.input_value() == chosen
        trainer.begin(epochs=100, finished=True, stopped=None, kept={"epoch": 2, "why": "best val_loss"})
        tab.wait_for_status("finished after epoch 4; epoch 2 is kept")
        assert tab.page.get_attribute("#live-status", "data-state") == "finished"
    tab.wait_for_status("finished after epoch 4; epoch 2 is kept (no longer live: the server of this page has ended)")
    assert tab.errors == []
    assert {url.split("/")[2] for url in tab.asked} == {f"127.0.0.1:{server.port}"}


def test_a_page_opened_before_the_run_begins_fills_itself(tab: Tab, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    with Server(folder) as server:
        tab.open(server)
        tab.wait_for_status("waiting for a run to begin in run")
        Trainer(folder).begin(epochs=5).add(2)
        tab.wait_for_status("live: epoch 3 of 5 under way")
        tab.page.locator("[data-plot]").first.scroll_into_view_if_needed()
        tab.page.wait_for_selector(".js-plotly-plot svg")
    assert tab.errors == []


def test_a_hidden_page_asks_for_nothing_and_catches_up(tab: Tab, trainer: Trainer) -> None:
    with Server(trainer.folder) as server:
        tab.open(server)
        tab.wait_for_status("live: epoch 4 of 100 under way")
        tab.hide(True)
        asked = len(tab.asked)
        trainer.add(4)
        tab.page.wait_for_timeout(2500)
        assert len(tab.asked) == asked
        tab.hide(False)
        tab.wait_for_status("live: epoch 8 of 100 under way")
        tab.page.wait_for_timeout(500)
        assert [url.rsplit("/", 1)[1] for url in tab.asked[asked:]] == ["events", "view"]
    assert tab.errors == []


def test_a_lost_connection_is_said_and_not_stormed(tab: Tab, trainer: Trainer) -> None:
    with Server(trainer.folder) as server:
        tab.open(server)
        tab.wait_for_status("live: epoch 4 of 100 under way")
        tab.page.route("**/events", lambda route: route.abort())
        tab.hide(True)
        asked = len(tab.asked)
        tab.hide(False)
        tab.wait_for_status("connection lost; trying again at ")
        assert tab.page.get_attribute("#live-status", "data-state") == "lost"
        tab.page.wait_for_timeout(4500)  # attempts after 0, 1 and 3 seconds, the next one after 7
        assert [url.rsplit("/", 1)[1] for url in tab.asked[asked:]] == ["events"] * 3
        tab.page.unroute("**/events")
        tab.wait_for_status("live: epoch 4 of 100 under way")
    assert all("ERR_FAILED" in error for error in tab.errors)


def test_a_script_in_a_name_does_not_run(tab: Tab, trainer: Trainer) -> None:
    hostile = "</script><script>document.title='taken'</script><img src=x onerror=\"document.title='taken'\">"
    with Server(trainer.folder) as server:
        tab.open(server)
        tab.wait_for_status("live: epoch 4 of 100 under way")
        text = trainer.lines(4)
        for name in ("history.jsonl", "ledger.jsonl"):
            with (trainer.folder / name).open("a") as file:
                file.write(text[name].replace("price", hostile.replace('"', '\\"')))
        tab.wait_for_status("live: epoch 5 of 100 under way")
        tab.page.wait_for_function("() => document.querySelector('#sections').textContent.includes('onerror')")
        tab.page.reload()
        tab.wait_for_status("live: epoch 5 of 100 under way")
        assert tab.page.title() == "run"
    assert tab.errors == []
