"""The page as a document: what it holds, what it leaves out, and that names cannot harm it."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from report_records import HOSTILE, account, broken, run

from multiloss.core.errors import RunError
from multiloss.core.run_records import RunRecords
from multiloss.report.curves import Digest
from multiloss.report.differences import scores_table, settings_table, verdicts, winners
from multiloss.report.labels import clean, label, short
from multiloss.report.page import PLOTLY, render_page, write_report
from multiloss.report.summary import headline, lead, tiles
from multiloss.report.view import build_view

NAMES = ["price", "kind"]
VOID = {"meta", "link", "input", "br", "img", "hr"}


class Document(HTMLParser):
    """Reads a page strictly: every element that opens must close, in order."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.headings: list[int] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        own = dict(attrs)
        self.elements.append((tag, own))
        if own.get("id"):
            self.ids.append(own["id"] or "")
        if re.fullmatch("h[1-6]", tag):
            self.headings.append(int(tag[1]))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open and self.open[-1] == tag, f"</{tag}> closes {self.open[-1:]}"
        self.open.pop()

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [own for name, own in self.elements if name == tag]


def page_of(*runs: RunRecords) -> str:
    return render_page(build_view(runs), plotly="beside")


def sections(view: dict[str, Any]) -> list[str]:
    return [section["id"] for section in view["sections"]]


def html_of(view: dict[str, Any], section: str) -> str:
    return next(str(own["html"]) for own in view["sections"] if own["id"] == section)


def table_of(view: dict[str, Any], section: str) -> list[list[str]]:
    rows = re.findall(r"<tr>(.*?)</tr>", html_of(view, section), re.DOTALL)
    return [[re.sub("<.*?>", "", cell) for cell in re.findall(r"<t[hd].*?>(.*?)</t[hd]>", row)] for row in rows]


SCORES = {
    "part_rows": {"train": 70, "validation": 15, "test": 15},
    "test": {
        "price": {"loss": {"value": 0.25, "baseline": 1.0, "better": True}},
        "kind": {"loss": {"value": 1.5, "baseline": 1.0, "better": False}},
    },
    "kept": {"epoch": 7, "why": "best val_task_loss"},
}


def test_a_run_with_everything_has_every_section() -> None:
    view = build_view([run(NAMES, 20, moving=True, facts=SCORES)])
    assert sections(view) == [
        *("summary", "findings", "results", "equation", "contributions", "outputs"),
        *("flow", "conflicts", "weights", "labels", "configuration"),
    ]
    assert [figure["id"] for section in view["sections"] for figure in section["figures"]] == [
        *("equation-figure", "contributions-figure", "outputs-figure"),
        *("flow-figure", "shares-figure", "conflicts-figure", "weights-figure", "labels-figure"),
    ]
    assert table_of(view, "results")[1:] == [
        ["price", "loss", "0.2500", "1.0000", "better"],
        ["kind", "loss", "1.5000", "1.0000", "not better"],
    ]


def test_what_has_no_data_is_left_out_and_a_run_without_gradients_says_how_to_get_them() -> None:
    view = build_view([run(["price"], 20, steps=0)])
    assert not {"results", "conflicts"} & set(sections(view))
    assert "watch_gradients=&#34;every 100 steps&#34;" in html_of(view, "flow") and "<figure" not in html_of(
        view, "flow"
    )
    assert "<figure" not in html_of(view, "weights") and "They did not move" in html_of(view, "weights")
    assert all(figure["panels"] for section in view["sections"] for figure in section["figures"])


def test_a_run_that_only_began() -> None:
    view = build_view([RunRecords("begun", {"seed": 3})])
    assert sections(view) == ["summary", "configuration"] and "No epoch is done yet" in html_of(view, "summary")
    assert sections(build_view([RunRecords("a"), RunRecords("b")])) == ["summary", "settings", "configuration"]
    with pytest.raises(RunError, match="at least one run"):
        build_view([])


def test_a_run_of_one_epoch_and_numbers_that_are_not_finite() -> None:
    made = run(NAMES, 1, steps=1)
    broken = replace(made.ledgers[0], total=float("nan"))
    view = build_view([replace(made, ledgers=[broken, made.ledgers[1]])])
    assert json.loads(json.dumps(view, allow_nan=False)) == view


def test_headlines() -> None:
    assert headline(run(NAMES, 20, facts=SCORES)) == (
        "1 of 2 outputs beats the trivial prediction on 15 test rows; kind does not."
    )
    good = {**SCORES, "test": dict.fromkeys(NAMES, SCORES["test"]["price"])}  # type: ignore[index]
    assert headline(run(NAMES, 20, facts=good)) == "Both outputs beat the trivial prediction on 15 test rows."
    plain = run(["price"], 20)
    first, last = plain.split("train")[0].total, plain.split("train")[-1].total
    assert headline(plain) == f"The total fell from {first:.4f} to {last:.4f} in 20 epochs."
    share = 100 * plain.split("train")[-1]["price"].contribution / last
    assert f"{share:.1f}\xa0% come from price" in lead(plain)
    assert "Epoch 7 of 20 was kept (best val_task_loss)." in lead(run(NAMES, 20, facts=SCORES))


def test_a_run_that_is_not_a_number_gets_no_clean_bill() -> None:
    made = broken(run(NAMES, 9), "kind", 7)
    assert headline(made) == "kind is not a number at epoch 7 in training."
    view = build_view([made])
    summary, found = html_of(view, "summary"), html_of(view, "findings")
    assert "Before that, all was finite; what comes after it says nothing." in summary and "0.0000" not in summary
    scored = lead(replace(made, facts=SCORES))
    assert scored.startswith("kind is not a number at epoch 7 in training, for the first time; what comes after")
    assert "<dt>Total, epoch 9</dt><dd><b>not a number</b>" in summary and "No rule fired" not in found
    assert (
        "kind is not a number at epoch 7 in training, for the first time; accounts that are not finite: 3 of 18."
        in found
    )
    assert json.loads(json.dumps(view, allow_nan=False)) == view


def test_the_best_epoch_is_that_of_its_own_account() -> None:
    made = broken(run(["a"], 1), "a", 1, "validation")
    later = [account({"a": value}, epoch=epoch, split="validation") for epoch, value in ((2, 0.5), (3, 0.75))]
    tile = tiles(replace(made, ledgers=[*made.ledgers, *later]), None).tiles[1]
    assert tile[:2] == ("Best on validation", "0.5000") and tile.detail == "outputs only, at epoch 2"


def test_the_tiles_of_the_gradient_say_of_which_step_they_are() -> None:
    found = {tile.name: tile.detail for tile in tiles(run(["a", "b", "c"], 5, steps=6), 0).tiles}
    assert found["Gradient of the shared part"] == "of the norms: c, at step 500 (epoch 6)"
    mean = (0.5 - 0.5 + 0.5) / 3  # of a and b, of a and c, of b and c
    assert found["In conflict"] == f"of the pairs of losses, mean of 6 steps; mean cosine {mean:+.2f}"


TURNED = "gain\u202e15.0\u2066\u200f\x07"


def test_characters_that_turn_digits_round_are_dropped_wherever_names_stand() -> None:
    names, facts = [TURNED, "kind"], {**SCORES, "test": {TURNED: SCORES["test"]["kind"]}}  # type: ignore[index]
    made = run(names, 9, name=f"run\u202e1{TURNED}", moving=True, facts=facts, weights={TURNED: 2.0})
    own = replace(made, config=f"outputs: {{'{TURNED[:-1]}': 1}}")
    for runs in ([own], [own, replace(made, name="other")]):
        view = build_view(runs)
        text = json.dumps(view, ensure_ascii=False) + render_page(view, plotly="beside")
        assert "gain15.0" in text and not re.search("[\u061c\u200e\u200f\u202a-\u202e\u2066\u2067\x00-\x08]", text)
    assert clean("a\tb\n\u202dc") == "a\tb\nc"
    assert label("\u05d0\u2069\u202e1") == "\u2068\u05d01\u2069", "what is read from the right is isolated"
    assert short("\u05d0" * 40, 4) == "\u2068\u05d0\u05d0…\u05d0\u05d0\u2069"


def test_sentences_say_what_is_there() -> None:
    with_penalty, without = (build_view([run(NAMES, 5, penalty=penalty)]) for penalty in (0.3, 0.0))
    hatched = "Penalties are hatched"
    assert hatched in html_of(with_penalty, "contributions") and hatched not in html_of(without, "contributions")
    assert "which in training was differentiated" in html_of(with_penalty, "equation")
    made = run(NAMES, 5)
    alone = replace(made, ledgers=made.split("validation"))
    assert "differentiated" not in re.sub(
        "<pre.*?</pre>", "", html_of(build_view([alone]), "equation"), flags=re.DOTALL
    )
    found = html_of(build_view([run(["a", "b"], 9, facts=UNITS, weights={"b": 500.0})]), "findings")
    assert (
        found.count('class="card ') == len(re.findall(r'class="found">[^<]*[^.]\.</p>\n<p>[^<]*[^.]\.</p>', found)) > 0
    )


UNITS = {"optimizer": {"name": "Adam", "lr": 0.001, "weight_decay": 0.0}, "test": {
    "a": {"loss": {"value": 2.0, "baseline": 1.0, "better": False}}}}  # fmt: skip


def test_a_command_says_from_where_it_is_run() -> None:
    made = run(["a", "b"], 9, name="mine", facts=UNITS)
    assert "From inside the run folder:" in html_of(build_view([made]), "findings")
    both = html_of(build_view([made, replace(made, name="other")]), "findings")
    assert "From inside the run folder of mine:" in both and "From inside the run folder of other:" in both


def test_a_long_name_is_cut_in_the_legend_and_whole_on_hover() -> None:
    name = "a_rather_long_name_of_an_output_that_goes_on"
    legend = re.findall(
        r'<ul class="keys">(.*?)</ul>', html_of(build_view([run([name], 9, steps=0)]), "contributions"), re.DOTALL
    )
    assert f'title="{name}"' in legend[0] and f">{name}<" not in legend[0] and short(name, 36) in legend[0]
    assert legend[0].count("title=") == 1


def test_the_same_records_give_the_same_view() -> None:
    views = [build_view([run(NAMES, 20, moving=True)]) for _ in range(2)]
    assert json.dumps(views[0]) == json.dumps(views[1])


@pytest.mark.parametrize("runs", [1, 3])
def test_the_page_is_well_formed_and_can_be_read_without_seeing_it(runs: int) -> None:
    made = [run(NAMES, 20, name=f"run-{i}", weights={"price": 1.0 + i}, moving=True, facts=SCORES) for i in range(runs)]
    page = page_of(*made)
    document = Document(page)
    assert not document.open and page.startswith("<!doctype html>") and document.all("html") == [{"lang": "en"}]
    assert len(set(document.ids)) == len(document.ids)
    assert document.headings[0] == 1 and document.headings.count(1) == 1
    assert all(after - before <= 1 for before, after in zip(document.headings, document.headings[1:], strict=False))
    figures = document.all("figure")
    assert figures and all(own["aria-labelledby"] in document.ids for own in figures)
    for own in document.all("label"):
        assert own["for"] in document.ids, "every menu has a label"
    assert len(document.all("label")) == len(document.all("select"))
    assert {"href": "#main", "class": "skip"} in document.all("a")
    targets = [own["href"] or "" for own in document.all("a")]
    assert all(target.startswith("#") and target[1:] in document.ids for target in targets)


def test_every_panel_has_an_alternative_text_with_numbers() -> None:
    view = build_view([run(NAMES, 20, moving=True)])
    panels = [panel for section in view["sections"] for figure in section["figures"] for panel in figure["panels"]]
    assert len(panels) > 20 and all(re.search(r"\d", panel["alt"]) and panel["alt"].endswith(".") for panel in panels)
    assert "price from 1.1 to 3" in next(p["alt"] for p in panels if p["alt"].startswith("Weight times"))


def test_nothing_is_loaded_from_elsewhere() -> None:
    page = page_of(run(NAMES, 20))
    document = Document(page)
    assert [own.get("src") for own in document.all("script") if "src" in own] == [PLOTLY]
    assert not document.all("link") and not document.all("img") and "@import" not in page and "url(" not in page
    assert "http://" not in page and "https://" not in page


def test_hostile_names_are_text_wherever_they_stand() -> None:
    plain = [chr(97 + i) * len(name) for i, name in enumerate(HOSTILE)]
    pages = []
    for names in (HOSTILE, plain):
        facts = {"kept": {"epoch": 2, "why": names[1]}}
        made = run(names, 20, name=names[0], moving=True, facts=facts)
        pages += [page_of(made), page_of(made, replace(made, name=names[2]))]
    for hostile, harmless in zip(pages[:2], pages[2:], strict=True):
        document, same = Document(hostile), Document(harmless)
        assert not document.open, "no name closes an element"
        assert [tag for tag, _ in document.elements] == [tag for tag, _ in same.elements], "no name opens one"
        assert not [name for _, own in document.elements for name in own if name.startswith("on")]
    drawn = [re.findall(r'id="view">(.*?)</script>', page)[0] for page in (pages[0], pages[2])]
    assert "<" not in drawn[0]
    counts: list[int] = []
    for text in drawn:  # what Plotly would read as markup is our own
        figures = [figure for section in json.loads(text)["sections"] for figure in section["figures"]]
        plotted = json.dumps([[panel["data"], panel["layout"]] for figure in figures for panel in figure["panels"]])
        assert set(re.findall("<.*?>", plotted)) == {"<b>", "</b>", "<br>", "<extra>", "</extra>"}
        counts.append(plotted.count("<"))
    assert counts[0] == counts[1] > 0


def test_labels_are_cut_before_they_are_escaped() -> None:
    assert label("<" * 40) == "&lt;" * 14 + "…" + "&lt;" * 14
    assert label("a\nb") == "a b"


def test_the_page_of_many_epochs_or_outputs_stays_small() -> None:
    for made in (run(NAMES, 10_000, steps=100, moving=True), run([f"o{i}" for i in range(200)], 90, moving=True)):
        page = page_of(made)
        assert len(page) < 2_000_000
        assert "the first, the last, and the lowest and highest of each stretch" in page


def test_a_report_is_written_with_plotly_beside_it_once_or_inside(tmp_path: Path) -> None:
    out = write_report([run(NAMES, 3)], tmp_path / "here" / "report.html", False)
    beside = out.with_name(PLOTLY)
    assert out.is_file() and beside.stat().st_size > 1_000_000
    stamp = beside.stat().st_mtime_ns
    write_report([run(NAMES, 4)], out, False)
    assert beside.stat().st_mtime_ns == stamp, "the script is not written again"
    single = write_report([run(NAMES, 3)], tmp_path / "single.html", True)
    assert single.stat().st_size > beside.stat().st_size and not (tmp_path / PLOTLY).exists()
    assert 'src="plotly' not in single.read_text()
    with pytest.raises(RunError, match="could not write"):
        write_report([run(NAMES, 3)], out / "below-a-file" / "report.html", False)


def test_a_live_page_knows_where_news_comes_from() -> None:
    view = build_view([run(NAMES, 3)])
    page = render_page(view, plotly="beside", live={"events": "/events?token=a", "data": "/view?</script>"})
    document = Document(page)
    assert "live-status" in document.ids and "live" in document.ids
    assert json.loads(re.findall(r'id="live">(.*?)</script>', page)[0])["data"] == "/view?</script>"
    assert "live-status" not in Document(render_page(view, plotly="beside")).ids


def compared() -> list[RunRecords]:
    """Three runs whose losses are known: weight 2 halves what an output ends with."""
    made = []
    for name, price, kind in (("even", 1.0, 1.0), ("price-first", 0.5, 1.5), ("kind-first", 2.0, 0.5)):
        own = run(NAMES, 10, name=name, weights={"price": 1 / price, "kind": 1 / kind}, penalty=0)
        scale = {"price": price, "kind": kind}
        ledgers = [
            replace(record, terms=tuple(replace(t, value=(t.value or 0) * scale[t.name]) for t in record))
            for record in own.ledgers
        ]
        config = f"outputs:\n  price: {{weight: {1 / price}}}\n  kind: {{weight: 1}}\ntable: {name}.csv\n"
        made.append(replace(own, ledgers=ledgers, config=config))
    return made


def test_runs_side_by_side_say_what_was_set_otherwise_and_which_is_best() -> None:
    digests = [Digest(own) for own in compared()]
    table = settings_table(digests)
    assert table is not None and table.rows == [["outputs.price.weight", "1.0", "2.0", "0.5"]]
    assert verdicts(digests) == {"price": "price-first", "kind": "kind-first"}
    scores = scores_table(digests)
    row = scores.rows[0]
    last = digests[0].measures["price"]["loss"]["validation"].last
    assert last is not None and row[:3] == ["price", "loss", f"{last:.4f}"]
    assert row[4] == f"{last / 2:.4f} (-50.0 %)" and row[6] == f"{2 * last:.4f} (+100.0 %)"
    assert scores.best[0] == [5], "the best of price-first"
    view = build_view(compared())
    assert sections(view) == [
        *("summary", "settings", "results", "outputs", "equation", "contributions", "flow", "findings"),
        "configuration",
    ]
    summary = html_of(view, "summary")
    assert "price is best in price-first; kind is best in kind-first." in summary
    assert "It may be chance: two seeds of the same configuration differ too; multiloss compare tells." in summary


def test_curves_of_several_runs_have_the_colours_of_the_runs() -> None:
    view = build_view(compared())
    figure = next(f for s in view["sections"] for f in s["figures"] if f["id"] == "outputs-figure")
    traces = figure["panels"][0]["data"]
    assert [trace["name"] for trace in traces][:2] == ["even, training", "even, validation"]
    assert [trace["line"]["color"] for trace in traces] == ["@run0", "@run0", "@run1", "@run1", "@run2", "@run2"]
    assert [trace["line"]["dash"] for trace in traces] == ["solid", "dash"] * 3, "as on the page of one run"
    keys = re.findall(r'<i class="(\w+)" data-colour="(@ink)"></i>(\w+)', html_of(view, "outputs"))
    assert keys == [("line", "@ink", "training"), ("dash", "@ink", "validation")]


def test_drawings_side_by_side_have_one_scale_and_one_order() -> None:
    view = build_view(compared())
    figures = {f["id"]: f for s in view["sections"] for f in s["figures"]}
    runs = compared()
    stacks = figures["contributions-figure"]
    assert [option["panels"] for option in stacks["options"]] == [[0, 1, 2], [3, 4, 5]]
    assert [panel["title"] for panel in stacks["panels"]] == 2 * [own.name for own in runs]
    highest = max(record.total for own in runs for record in own.split("train"))
    for panel in stacks["panels"][:3]:
        assert panel["layout"]["yaxis"]["range"] == pytest.approx([0, highest])
    assert all(panel["layout"]["yaxis"]["range"] == pytest.approx([0, 1]) for panel in stacks["panels"][3:])
    last = max(own.split("train")[-1].total for own in runs)
    waterfalls = figures["equation-figure"]["panels"]
    assert all(panel["layout"]["xaxis"]["range"] == pytest.approx([0, last]) for panel in waterfalls)
    assert [panel["data"][0]["text"] for panel in waterfalls] == [["kind", "price", "total"]] * 3


def test_runs_that_differ_in_nothing_or_have_the_same_name() -> None:
    view = build_view([run(NAMES, 5), run(NAMES, 5)])
    assert view["title"] == "made · made (2)" and "No setting differs" in html_of(view, "settings")
    assert "2 runs side by side." in html_of(view, "summary")


def test_a_run_without_an_output_of_the_other_lies_beside_it() -> None:
    view = build_view([run(NAMES, 5, name="two"), run(["price"], 5, name="one", steps=0)])
    assert [row[:2] for row in table_of(view, "results")[1:]] == [
        ["price", "loss"], ["price", "mae"], ["kind", "loss"], ["kind", "mae"],
    ]  # fmt: skip


def test_winners_without_a_value() -> None:
    assert winners([None, None], "loss") == [] and winners([0.5, 0.9, 0.9], "accuracy") == [1, 2]
