"""The page of a study as a document: verdicts first, every number where it belongs, and names that cannot harm it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from report_records import HOSTILE
from study_records import study
from test_report_view import Document

from multiloss.report.page import PLOTLY, render_page
from multiloss.report.study import build_study_view, write_study_report
from multiloss.report.study_costs import KINDS, amount
from multiloss.report.study_facts import Facts


def page_of(data: dict[str, Any]) -> str:
    return render_page(build_study_view(data), plotly="beside")


def sections(data: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {section["id"]: section for section in build_study_view(data)["sections"]}


def figure(data: dict[str, Any], section: str, name: str) -> dict[str, Any]:
    return next(own for own in sections(data)[section]["figures"] if own["id"] == name)


def test_the_verdicts_stand_first_with_a_mark_that_is_not_a_colour_alone() -> None:
    found = build_study_view(study())["sections"]
    assert [section["id"] for section in found] == [
        "summary", "gains", "scores", "costs", "curves", "method", "configuration",
    ]  # fmt: skip
    summary = found[0]
    assert summary["title"].startswith("Sharing helps price by 8.0 %")
    html = summary["html"]
    assert html.index("Recommended: shared, because") < html.index('<ul class="verdicts">') < html.index("To train")
    assert html.index("Better</p>") < html.index("Worse</p>")
    assert "+8.0 %</b> <span>6.0 to 10.0" in html and "-3.0 points</b> <span>-5.0 to -1.0" in html
    assert "kind is worse shared" in html  # a name keeps its case where it begins the sentence


def test_the_forest_has_a_line_at_nothing_and_each_variant_where_its_gain_is() -> None:
    forest = figure(study(), "gains", "gains-figure")
    price, kind = forest["panels"]
    assert [trace["x"] for trace in price["data"]] == [[8.0], [1.0]]
    assert price["data"][0]["error_x"]["array"] == [2.0] and price["data"][0]["error_x"]["arrayminus"] == [2.0]
    assert [trace["marker"]["symbol"] for trace in price["data"]] == ["triangle-up", "circle-open"]
    assert kind["data"][0]["marker"]["symbol"] == "triangle-down"
    assert price["layout"]["yaxis"]["ticktext"] == ["shared", "separate-narrow"]
    assert price["layout"]["shapes"][0]["x0"] == price["layout"]["shapes"][0]["x1"] == 0
    low, high = kind["layout"]["xaxis"]["range"]
    assert low < -5 and high > 0  # nothing is in sight though all of the interval is below it
    assert "shared +8.0 % (6.0 to 10.0), better" in price["alt"]


def test_costs_are_ratios_to_the_separate_models() -> None:
    data = study()
    _, epoch, _, _, parameters, _, row_memory, memory = (amount(data["costs"], "shared", kind) for kind in KINDS)
    assert (epoch.text, epoch.ratio) == ("50.0 ms", {"mean": 0.5, "low": 0.45, "high": 0.55})
    assert (parameters.text, parameters.ratio["mean"]) == ("1,000", 1000 / 1600)
    assert (row_memory.text, memory.text) == ("9.0 kB", "0.50 MB")
    panels = figure(data, "costs", "costs-figure")["panels"]
    assert [panel["title"] for panel in panels] == [kind.name for kind in KINDS]
    assert panels[0]["data"][0]["x"] == [0.5, 1.0, 0.8]
    assert panels[4]["alt"] == "Parameters: shared 1,000 · 0.62×; separate 1,600; separate-narrow 1,000 · 0.62×."


def test_scores_carry_every_seed_the_mean_and_its_interval() -> None:
    data = study()
    price = figure(data, "scores", "scores-figure")["panels"][0]
    dots, mean = price["data"][:2]
    assert dots["x"] == [2.0, 2.4] and dots["text"] == ["seed 0", "seed 1"]
    assert mean["x"] == [2.2] and mean["error_x"]["array"] == pytest.approx([0.3])
    assert "2.20 (1.90 to 2.50)" in sections(data)["scores"]["html"]
    assert "8.0000" in sections(data)["scores"]["html"]  # the trivial prediction


def test_a_band_holds_the_quartiles_around_the_median() -> None:
    curves = figure(study(), "curves", "curves-figure")
    assert [option["label"] for option in curves["options"]] == ["all outputs", "price", "kind"]
    first = curves["panels"][curves["options"][0]["panels"][0]]
    assert first["title"] == "price · mae, validation"
    band = next(trace for trace in first["data"] if "fill" in trace)
    assert band["x"] == [1, 2, 2, 1] and band["y"] == [6.0, 5.0, 3.0, 4.0]
    line = next(trace for trace in first["data"] if "fill" not in trace)
    assert line["y"] == [5.0, 4.0]
    assert "shared from 5.0000 to 4.0000" in first["alt"]


def test_every_verdict_figure_and_row_links_to_its_runs() -> None:
    document = Document(page_of(study()))
    links = [own["href"] for own in document.all("a") if str(own["href"]).startswith("runs/")]
    assert set(links) == {run["link"] for run in study()["runs"]}
    data = study()
    for section in ("summary", "gains", "scores", "costs", "curves", "configuration"):
        assert 'href="runs/shared/seed-0/report.html"' in sections(data)[section]["html"]


def test_a_run_that_diverged_is_reported() -> None:
    data = study()
    data["runs"][1]["problem"] = "expected a finite loss, found nan at step 3"
    found = sections(data)
    assert list(found)[1] == "diverged"
    assert "found nan at step 3" in found["diverged"]["html"] and "runs/shared/seed-1/" in found["diverged"]["html"]
    assert "1 diverged" in found["summary"]["html"]


def test_what_has_no_interval_and_no_verdict_is_still_a_page() -> None:
    data = study()
    data["verdict"] |= {"outputs": [], "overall": "nothing can be said of sharing.", "recommended": "separate"}
    data["curves"], data["delta_m"] = [], {}
    for own in data["scores"]:
        own |= {"low": None, "high": None}
    assert list(sections(data)) == ["summary", "scores", "costs", "method", "configuration"]
    Document(page_of(data))


def test_names_cannot_harm_the_page() -> None:
    page = page_of(study(price=HOSTILE[0], kind=HOSTILE[4]))
    document = Document(page)
    assert not document.open and len(document.ids) == len(set(document.ids))
    assert [own for own in document.all("script") if own.get("src") not in (None, "plotly.min.js")] == []
    assert not any(str(own.get("href")).startswith("javascript") for own in document.all("a"))
    assert not document.all("img") and page.count("<script") == 3
    assert all(not (name or "").startswith("on") for _, own in document.elements for name in own)
    panel = build_study_view(study(price=HOSTILE[5]))["sections"][1]["figures"][0]["panels"][0]
    assert "<b>" not in json.dumps(panel["layout"])


def test_the_headings_of_the_page_go_down_one_by_one() -> None:
    document = Document(page_of(study()))
    assert document.headings[0] == 1 and document.headings.count(1) == 1
    assert all(after - before <= 1 for before, after in zip(document.headings, document.headings[1:], strict=False))


def test_the_page_is_written_beside_its_runs_or_with_links_to_them(tmp_path: Path) -> None:
    data = study() | {"folder": str(tmp_path)}
    inside = write_study_report(data, tmp_path / "report.html")
    assert (tmp_path / PLOTLY).is_file() and 'href="runs/shared/seed-0/report.html"' in inside.read_text()
    outside = write_study_report(data, tmp_path / "elsewhere" / "page.html", single_file=True)
    assert f'href="{tmp_path.as_uri()}/runs/shared/seed-0/report.html"' in outside.read_text()
    assert not (tmp_path / "elsewhere" / PLOTLY).exists()


def test_many_outputs_are_offered_one_by_one() -> None:
    data = study()
    one = data["verdict"]["outputs"][0]
    data["settings"]["outputs"] = {f"y{i}": {} for i in range(30)}
    data["settings"]["labels"], data["curves"] = {}, []
    data["measures"] = dict.fromkeys(data["settings"]["outputs"], "mae")
    data["verdict"]["outputs"] = [{**one, "output": name} for name in data["measures"]]
    assert "scores" not in sections(data)  # of these outputs no run has a score
    options = figure(data, "gains", "gains-figure")["options"]
    assert options[0]["label"] == "12 of 30 outputs" and len(options) == 31
    assert Facts(data).outputs[-1] == "y29"
