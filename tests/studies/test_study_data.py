"""What the page of a comparison is given: numbers that agree with the records of its runs."""

from __future__ import annotations

import json
import statistics
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from study_tables import make_config, write_table

from multiloss.config.load import load_config
from multiloss.core.run_files import read_lines
from multiloss.report.study import write_study_report
from multiloss.report.study_sections import _meaning
from multiloss.studies.compare import COSTS, conclude
from multiloss.studies.compared import Compared
from multiloss.studies.costs import Cost, Measured
from multiloss.studies.one_run import PROBLEM
from multiloss.studies.page import study_data
from multiloss.studies.runner import read_study, run_plan
from multiloss.studies.variants import compare_plan

ASKED: dict[str, Any] = {"seeds": 2, "balancing": ["log_sum"], "losses": {"price": ["mae"]}}


def concluded(folder: Path) -> Compared:
    """What a study comes to, with costs that nobody measured."""
    plan, runs = read_study(folder)
    time = Measured(1.0, 0.9, 1.1)
    cost = Cost(1, 10, 8.0, time, time, time, time, 100, 200, time, time, time, time).to_dict()
    costs = dict.fromkeys(plan.settings["variants"], cost)
    (folder / COSTS).write_text(json.dumps({"plan": plan.digest(), "costs": costs}))
    return conclude(plan, runs, folder)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study of two seeds, with a balancing method and a loss to try."""
    place = tmp_path_factory.mktemp("study")
    plan = compare_plan(make_config(write_table(place)), **ASKED)
    run_plan(plan, place / "study")
    return place / "study"


@pytest.fixture(scope="module")
def data(folder: Path) -> dict[str, Any]:
    return study_data(concluded(folder))


def test_the_data_are_plain(data: dict[str, Any]) -> None:
    assert json.loads(json.dumps(data, allow_nan=False)).keys() == data.keys()
    assert data["name"] == "study" and data["measures"] == {"price": "mae", "kind": "accuracy"}


def test_scores_are_those_of_the_runs(data: dict[str, Any], folder: Path) -> None:
    own = next(s for s in data["scores"] if (s["output"], s["measure"], s["variant"]) == ("price", "rmse", "separate"))
    facts = [json.loads((folder / f"runs/separate/price/seed-{i}/run.json").read_text()) for i in (0, 1)]
    values = [one["test"]["price"]["rmse"]["value"] for one in facts]
    assert [list(pair) for pair in own["seeds"]] == [[0, values[0]], [1, values[1]]]
    assert own["mean"] == pytest.approx(statistics.mean(values))
    half = 12.7062 * statistics.stdev(values) / 2**0.5  # Student's t of one degree of freedom, 97.5 %
    assert own["high"] - own["mean"] == pytest.approx(half, rel=1e-4)
    assert data["trivial"]["price"]["rmse"] == facts[0]["test"]["price"]["rmse"]["baseline"]


def test_delta_m_is_the_mean_of_the_relative_gains(data: dict[str, Any]) -> None:
    def mean(output: str, measure: str, variant: str) -> float:
        keys = (output, measure, variant)
        found = next(s for s in data["scores"] if (s["output"], s["measure"], s["variant"]) == keys)
        values: list[float] = [value for _, value in found["seeds"]]
        return statistics.mean(values)

    price = 1 - mean("price", "mae", "log_sum") / mean("price", "mae", "separate")
    kind = mean("kind", "accuracy", "log_sum") / mean("kind", "accuracy", "separate") - 1
    assert data["delta_m"]["log_sum"]["mean"] == pytest.approx((price + kind) / 2)
    assert "separate" not in data["delta_m"]


def test_curves_are_quartiles_of_the_histories(data: dict[str, Any], folder: Path) -> None:
    keys = ("price", "mae", "validation", "shared")
    own = next(c for c in data["curves"] if (c["output"], c["measure"], c["part"], c["variant"]) == keys)
    lines = [read_lines(folder / f"runs/shared/seed-{i}/history.jsonl") for i in (0, 1)]
    assert own["epochs"] == [1, 2, 3] and own["seeds"] == own["fewest"] == 2
    for i in range(3):
        low, high = sorted(one[i]["val_price_mae"] for one in lines)
        assert own["median"][i] == pytest.approx((low + high) / 2)
        assert own["low"][i] == pytest.approx(low + (high - low) / 4)
    single = [c for c in data["curves"] if c["variant"] == "separate" and c["part"] == "train"]
    assert {(c["output"], c["measure"]) for c in single} >= {("price", "loss"), ("kind", "loss")}


def test_the_command_repeats_the_plan(data: dict[str, Any], folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    words = "training.threads=auto --seeds 2 --balancing log_sum --losses price=mae --out again"
    assert data["commands"]["study"] == f"multiloss compare runs/shared/seed-0/config.yaml {words}"
    monkeypatch.chdir(folder)
    config = load_config(Path("runs/shared/seed-0/config.yaml"), ["training.threads=auto"])
    again = compare_plan(config, **ASKED)
    assert again.digest() == read_study(folder)[0].digest()


def test_what_was_asked_for_is_asked_for_together(folder: Path) -> None:
    compared = concluded(folder)
    losses = {"pcgrad": ["mae", "huber"], "kind of home": ["focal"]}  # an output may be called as a method is
    asked = {"balancing": ["log_sum", "pcgrad"], "losses": losses, "seed": 7, "threads": "auto"}
    plan = replace(compared.plan, settings={**compared.plan.settings, "asked": asked})
    words = study_data(replace(compared, plan=plan))["commands"]["study"].split(" --")
    assert words == [
        "multiloss compare runs/shared/seed-0/config.yaml training.seed=7 training.threads=auto",
        "seeds 2",
        "balancing log_sum,pcgrad",
        "losses pcgrad=mae,huber",
        "losses 'kind of home=focal'",
        "out again",
    ]


def test_variants_are_told_by_what_was_asked_for_and_not_by_their_names() -> None:
    asked = {"balancing": ["pcgrad", "log_sum"], "losses": {"pcgrad": ["mae"], "a=b": ["huber"]}}
    expected = {
        "pcgrad": "the shared model with balancing=pcgrad",
        "log_sum": "the shared model with balancing=log_sum",
        "pcgrad=mae": "the shared model with the loss mae for pcgrad",
        "a=b=huber": "the shared model with the loss huber for a=b",
        "shared": "one model for all outputs, as configured",
        "separate": "each output alone, with the same trunk",
    }
    assert {variant: _meaning(variant, asked) for variant in expected} == expected


def test_the_method_names_this_study_and_its_rules(data: dict[str, Any], folder: Path) -> None:
    told = dict(data["method"])
    assert "seeds 0 to 1" in told["Same for all"] and "at most 3 epochs in batches of 16" in told["Same for all"]
    assert "price by its absolute error and kind by its share of right answers" in told["Judged by"]
    assert f"all {len(data['verdict']['outputs'])} comparisons, is below 0.05" in told["Claim"]
    assert "Diverged" not in told


def test_a_link_leads_to_the_report_of_a_run_where_it_has_one(data: dict[str, Any], folder: Path) -> None:
    assert {run["link"] for run in data["runs"] if run["variant"] == "price=mae"} == {
        "runs/price%3Dmae/seed-0/", "runs/price%3Dmae/seed-1/",
    }  # fmt: skip
    report = folder / "runs/shared/seed-0/report.html"
    report.write_text("")
    links = {run["name"]: run["link"] for run in study_data(concluded(folder))["runs"]}
    report.unlink()
    assert (
        links["shared/seed-0"] == "runs/shared/seed-0/report.html" and links["shared/seed-1"] == "runs/shared/seed-1/"
    )


def test_the_page_links_to_folders_that_are_there(data: dict[str, Any], folder: Path, tmp_path: Path) -> None:
    page = write_study_report(data, folder / "report.html").read_text()
    assert all(f'href="{run["link"]}"' in page for run in data["runs"])
    assert all((folder / "runs" / run["name"]).is_dir() for run in data["runs"])


def test_a_run_that_diverged_is_told_and_left_out(folder: Path) -> None:
    problem = folder / "runs/log_sum/seed-1" / PROBLEM
    problem.write_text(json.dumps({"problem": "found nan"}))
    try:
        data = study_data(concluded(folder))
    finally:
        problem.unlink()
    assert [run["problem"] for run in data["runs"] if run["name"] == "log_sum/seed-1"] == ["found nan"]
    own = next(s for s in data["scores"] if (s["output"], s["measure"], s["variant"]) == ("price", "mae", "log_sum"))
    assert [seed for seed, _ in own["seeds"]] == [0] and own["mean"] is not None and own["low"] is None
    assert {c["seeds"] for c in data["curves"] if c["variant"] == "log_sum"} == {1}
    assert "Diverged" in dict(data["method"]) and "log_sum" not in data["delta_m"]
