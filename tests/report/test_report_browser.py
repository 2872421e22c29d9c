"""The page in a real browser: nothing fails, nothing leaves the file, nothing overflows, and it opens at once."""

from __future__ import annotations

import json
import shutil
import statistics
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from report_records import HOSTILE, run

from multiloss.core.run_records import RunRecords
from multiloss.report.labels import short
from multiloss.report.page import write_report
from multiloss.report.view import build_view

pytestmark = pytest.mark.slow

CHROMIUM = shutil.which("chromium")
ARGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"]
NAMES = ["price", "kind", "rooms"]
DRAWN = "document.querySelectorAll('.panel .main-svg').length > 0"
WHOLE = "[...document.querySelectorAll('[data-plot]')].every((box) => box.querySelector('.main-svg'))"


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """A browser, or a skipped test."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if CHROMIUM is None:
        pytest.skip("chromium is not installed")
    with sync_api.sync_playwright() as playwright:
        own = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGS)
        yield own
        own.close()


@contextmanager
def opened(browser: Any, path: Path, width: int = 1280, **options: Any) -> Iterator[tuple[Any, list[str]]]:
    """Open a page, and collect everything that goes wrong on it."""
    context = browser.new_context(viewport={"width": width, "height": 850}, **options)
    page, wrong = context.new_page(), []
    page.on("console", lambda message: wrong.append(f"console: {message.text}"))
    page.on("pageerror", lambda error: wrong.append(f"error: {error}"))
    page.on("dialog", lambda dialog: wrong.append(f"dialog: {dialog.message}"))
    page.on("request", lambda request: wrong.append(request.url) if not _local(request.url, path) else None)
    try:
        page.goto(path.resolve().as_uri())
        yield page, wrong
    finally:
        context.close()


def _local(url: str, path: Path) -> bool:
    return url.startswith((path.resolve().parent.as_uri(), "data:", "blob:"))


def written(folder: Path, *runs: RunRecords, single_file: bool = False) -> Path:
    return write_report(runs, folder / "report.html", single_file)


@pytest.mark.parametrize("single_file", [False, True])
def test_choosing_an_output_draws_it_and_dark_is_dark(browser: Any, tmp_path: Path, single_file: bool) -> None:
    out = written(tmp_path, run(NAMES, 25, moving=True), single_file=single_file)
    with opened(browser, out, color_scheme="light") as (page, wrong):
        page.wait_for_function(WHOLE)
        titles = "[...document.querySelectorAll('#outputs-figure .panel > p')].map((own) => own.textContent)"
        assert page.evaluate(titles) == [f"{name} · {measure}" for name in NAMES for measure in ("loss", "mae")]
        page.select_option("#outputs-figure-choice", "kind")
        assert page.evaluate(titles) == ["kind · loss", "kind · mae"]
        assert "loss of kind" in page.text_content("#outputs-figure-words")
        page.click("#outputs-figure-log")
        assert page.get_attribute("#outputs-figure-log", "aria-pressed") == "true"
        axis = "document.querySelector('#outputs-figure [role=img]')._fullLayout.yaxis.type"
        assert page.evaluate(axis) == "log"
        before = page.evaluate("getComputedStyle(document.body).backgroundColor")
        page.focus("#theme")
        page.keyboard.press("Enter")
        after = page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert before != after and page.get_attribute("#theme", "aria-pressed") == "true"
        text = "document.querySelector('#outputs-figure [role=img]')._fullLayout.font.color"
        ink = "getComputedStyle(document.documentElement).getPropertyValue('--ink')"
        assert page.evaluate(text) == page.evaluate(ink)
        assert wrong == []


def test_every_figure_can_be_reached_by_the_keyboard_and_has_a_text(browser: Any, tmp_path: Path) -> None:
    with opened(browser, written(tmp_path, run(NAMES, 25, moving=True))) as (page, wrong):
        page.wait_for_function(WHOLE)
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.className") == "skip"
        page.keyboard.press("Enter")
        assert page.evaluate("location.hash") == "#main"
        reached = set()
        for _ in range(80):
            page.keyboard.press("Tab")
            reached.add(page.evaluate("document.activeElement.id || document.activeElement.nodeName"))
        assert {"equation-figure-choice", "outputs-figure-choice", "outputs-figure-log", "SUMMARY"} <= reached
        drawn = "[...document.querySelectorAll('[role=img]')]"
        alts = page.evaluate(f"{drawn}.map((own) => own.getAttribute('aria-label'))")
        assert len(alts) >= 10 and all(any(c.isdigit() for c in alt) for alt in alts)
        assert wrong == []


LONG_NAMES = [f"a_rather_long_name_of_an_output_{i}" for i in range(30)]


@pytest.mark.parametrize("names, runs", [(NAMES, 1), (HOSTILE, 1), (LONG_NAMES, 1), (NAMES, 3)])
def test_a_narrow_screen_is_not_overflown(browser: Any, tmp_path: Path, names: list[str], runs: int) -> None:
    made = [run(names, 25, moving=True, name="a" * 80, weights={names[0]: 1.0 + i}) for i in range(runs)]
    out = written(tmp_path, *made)
    with opened(browser, out, 390, has_touch=True, is_mobile=True) as (page, wrong):
        page.wait_for_function(WHOLE)
        for element in page.query_selector_all("summary"):
            element.click()
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        assert page.evaluate("Math.max(...[...document.querySelectorAll('.panel')].map((p) => p.scrollWidth))") <= 390
        assert wrong == []


def test_drawings_fit_their_places_also_after_the_window_changed(browser: Any, tmp_path: Path) -> None:
    made = [run(NAMES, 25, moving=True, weights={"price": 1.0 + i}) for i in range(3)]
    fits = """[...document.querySelectorAll('.panel')].every((panel) =>
        Math.abs(panel.querySelector('.main-svg').getBoundingClientRect().width - panel.clientWidth) < 1)"""
    with opened(browser, written(tmp_path, *made)) as (page, wrong):
        page.wait_for_function(WHOLE)
        assert page.evaluate(fits)
        page.set_viewport_size({"width": 700, "height": 850})
        page.wait_for_function(fits)
        page.evaluate("dispatchEvent(new Event('beforeprint'))")
        assert page.evaluate("document.querySelector('#sections').clientWidth") == 660 and page.evaluate(fits)
        page.evaluate("dispatchEvent(new Event('afterprint'))")
        page.wait_for_function(fits)
        assert wrong == []


@pytest.mark.parametrize("runs", [1, 2])
def test_names_cannot_do_anything(browser: Any, tmp_path: Path, runs: int) -> None:
    own = [run(HOSTILE, 25, name=HOSTILE[i], moving=True, weights={HOSTILE[0]: 1.0 + i}) for i in range(runs)]
    with opened(browser, written(tmp_path, *own)) as (page, wrong):
        page.wait_for_function(WHOLE)
        for choice in page.query_selector_all("select"):
            choice.select_option(index=len(choice.query_selector_all("option")) - 1)
        boxes = page.query_selector_all("[role=img]")
        for box in boxes:
            box.scroll_into_view_if_needed()
            box.hover()
        page.evaluate("view => window.multiloss.update(view)", build_view(own))
        page.wait_for_timeout(300)
        assert page.evaluate("window.stolen") is None
        assert (
            page.evaluate("document.querySelectorAll('main a[href^=javascript], [role=img] a, main img').length") == 0
        )
        shown = page.evaluate("document.querySelector('#equation-figure .annotation-text').textContent")
        assert shown.startswith(short(HOSTILE[-1])), "the name is readable as it is"
        assert wrong == []


def test_a_new_view_is_drawn_in_place_and_what_was_chosen_stays(browser: Any, tmp_path: Path) -> None:
    with opened(browser, written(tmp_path, run(NAMES, 9, steps=0))) as (page, wrong):
        page.wait_for_function(WHOLE)
        page.select_option("#outputs-figure-choice", "kind")
        page.select_option("#equation-figure-choice", "epoch 4, training")
        page.click("#outputs-figure-log")
        page.click("#equation-figure summary")
        page.evaluate("document.querySelector('#outputs-figure [role=img]').mine = true")
        view = build_view([run(NAMES, 40, moving=True)])
        assert "epoch 4, training" not in json.dumps(view), "which the new view no longer offers"
        page.evaluate("view => window.multiloss.update(view)", view)
        page.evaluate("document.getElementById('flow').scrollIntoView({ behavior: 'instant' })")
        page.wait_for_selector("#flow-figure .main-svg", state="attached")
        page.evaluate("document.getElementById('outputs').scrollIntoView({ behavior: 'instant' })")
        page.wait_for_function("document.querySelector('#outputs-figure [role=img]').data[0].x.length === 40")
        assert page.input_value("#outputs-figure-choice") == "kind"
        assert page.input_value("#equation-figure-choice") == "epoch 4, training"
        assert "at epoch 40" in page.text_content("#summary")
        assert page.get_attribute("#outputs-figure-log", "aria-pressed") == "true"
        assert page.evaluate("document.querySelector('#equation-figure details').open")
        assert page.evaluate("document.querySelector('#outputs-figure [role=img]').mine"), (
            "the drawing was not made anew"
        )
        order = "[...document.querySelectorAll('section')].map((own) => own.id)"
        assert page.evaluate(order) == [section["id"] for section in view["sections"]]
        assert page.evaluate("[...document.querySelectorAll('#contents a')].map((own) => own.hash.slice(1))") == [
            section["id"] for section in view["sections"][1:]
        ]
        page.evaluate("view => window.multiloss.update(view)", build_view([run(NAMES, 41, moving=True)]))
        assert page.input_value("#equation-figure-choice") == "epoch 4, training"
        page.select_option("#equation-figure-choice", "epoch 41, training")
        page.evaluate("view => window.multiloss.update(view)", build_view([run(NAMES, 9, steps=0)]))
        assert page.query_selector("#flow-figure") is None
        assert wrong == []


def test_a_choice_that_nobody_touched_follows_the_last_epoch(browser: Any, tmp_path: Path) -> None:
    with opened(browser, written(tmp_path, run(NAMES, 9))) as (page, wrong):
        page.wait_for_function(WHOLE)
        assert page.input_value("#equation-figure-choice") == "epoch 9, training"
        for epochs in (10, 11):
            page.evaluate("view => window.multiloss.update(view)", build_view([run(NAMES, epochs)]))
            assert page.input_value("#equation-figure-choice") == f"epoch {epochs}, training"
        assert wrong == []


def test_two_hundred_outputs_can_be_searched(browser: Any, tmp_path: Path) -> None:
    names = [f"output_{i}" for i in range(200)]
    with opened(browser, written(tmp_path, run(names, 20))) as (page, wrong):
        page.wait_for_function(DRAWN)
        page.fill("#outputs-figure-search", "put_17")
        shown = "[...document.querySelectorAll('#outputs-figure-choice option')].filter((own) => !own.hidden).length"
        assert page.evaluate(shown) == 11
        assert "put_17" in page.input_value("#outputs-figure-choice")
        assert "put_17" in page.text_content("#outputs-figure .panel > p")
        assert wrong == []


def test_without_plotly_the_page_says_so_and_keeps_its_tables(browser: Any, tmp_path: Path) -> None:
    out = written(tmp_path, run(NAMES, 5))
    (tmp_path / "plotly.min.js").unlink()
    with opened(browser, out) as (page, wrong):
        page.wait_for_function("!document.getElementById('no-plotly').hidden")
        assert page.query_selector_all("table") and [one for one in wrong if "ERR_FILE_NOT_FOUND" not in one] == []


@pytest.mark.parametrize("names, epochs", [(NAMES, 10_000), ([f"output_{i}" for i in range(200)], 100)])
def test_a_large_report_opens_at_once(
    browser: Any, tmp_path: Path, names: list[str], epochs: int, record_property: Any
) -> None:
    """What is ours is bounded: the page until it can be read, and the first figures beside Plotly's own start.

    A machine without other load takes less than a second; the bounds leave room for one that has.
    """
    out = written(tmp_path, run(names, epochs, moving=True))
    ready, whole = [], []
    for _ in range(3):
        with opened(browser, out) as (page, wrong):
            page.wait_for_function(DRAWN)
            timing = json.loads(page.evaluate("JSON.stringify(performance.timing)"))
            ready.append((timing["domContentLoadedEventEnd"] - timing["navigationStart"]) / 1000)
            whole.append((timing["domComplete"] - timing["navigationStart"]) / 1000)
            assert wrong == []
    record_property("readable_s", statistics.median(ready))
    record_property("complete_s", statistics.median(whole))
    assert statistics.median(ready) < 3.0, f"readable after {ready} s"
    assert statistics.median(whole) < 20.0, f"complete after {whole} s"


def test_a_printed_page_says_which_choice_it_shows(browser: Any, tmp_path: Path) -> None:
    with opened(browser, written(tmp_path, run(NAMES, 9))) as (page, wrong):
        page.wait_for_function(WHOLE)
        page.select_option("#equation-figure-choice", "epoch 4, training")
        page.click("#outputs-figure-log")
        assert not page.is_visible("#equation-figure-chosen"), "the menu says it on the screen"
        page.emulate_media(media="print")
        assert page.is_visible("#equation-figure-chosen") and not page.is_visible("#equation-figure-choice")
        assert page.text_content("#equation-figure-chosen") == "epoch 4, training"
        assert page.text_content("#outputs-figure-chosen") == "all outputs, logarithmic"
        assert wrong == []


def test_a_long_name_stays_in_its_column(browser: Any, tmp_path: Path) -> None:
    out = written(tmp_path, run(["n" * 90, "kind"], 9, moving=True))
    beyond = """[...document.querySelectorAll('th, td')].filter(
        (cell) => cell.clientWidth && cell.scrollWidth > cell.clientWidth + 1).length"""
    for width in (1280, 390):
        with opened(browser, out, width) as (page, wrong):
            page.wait_for_function(WHOLE)
            page.evaluate("document.querySelectorAll('details').forEach((own) => { own.open = true; })")
            assert page.evaluate(beyond) == 0
            title = page.query_selector("#outputs-figure .panel > p")
            assert "…" in title.text_content() and title.get_attribute("title") == f"{'n' * 90} · loss"
            assert wrong == []
