"""A comparison from a table to its verdict: what is measured is what the runs' own files say."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from study_tables import make_config, write_table

from multiloss.config.load import load_config
from multiloss.core.errors import ConfigError, RunError
from multiloss.core.run_records import RunRecords
from multiloss.studies import compare as compare_module
from multiloss.studies.compare import compare, conclude, recommended_config, redraw
from multiloss.studies.compared import Compared
from multiloss.studies.costs import Cost, Model, measure_costs
from multiloss.studies.evidence import compare_variants, ended, flow_facts, measure_of
from multiloss.studies.rows import read_rows
from multiloss.studies.scores import held_out_scores
from multiloss.studies.statistics import paired_difference, relative_difference

OWN = ("training.watch_gradients=every step", "training.batch_size=12")


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Compared:
    folder = tmp_path_factory.mktemp("compare")
    return compare(make_config(write_table(folder), *OWN), out=folder / "study", seeds=2, losses={"price": ["huber"]})


def test_every_variant_is_compared_on_the_runs_own_rows(found: Compared) -> None:
    variants = ["shared", "separate", "separate-narrow", "price=huber"]
    assert list(found.plan.settings["variants"]) == variants
    runs = {run.planned.name: read_rows(run.folder) for run in found.runs}
    for own in found.verdict.outputs:
        measure = {"price": "mae", "kind": "accuracy"}[own.output]
        base = [runs[f"separate/{own.output}/seed-{seed}"] for seed in range(2)]
        narrow = own.variant == "separate-narrow"
        names = [f"{own.variant}/{own.output}/seed-{s}" if narrow else f"{own.variant}/seed-{s}" for s in range(2)]
        key = f"test/{own.output}/{measure}"
        a, b = (np.stack([rows[key].numpy() for rows in each]) for each in ([runs[name] for name in names], base))
        relative = relative_difference(a, b) if measure == "mae" else None  # with 2 seeds it may have no bounds
        expected = relative or paired_difference(a, b)
        assert own.metric == measure and own.unit == ("points" if measure == "accuracy" else "%" if relative else "")
        bounds = [own.difference.mean, own.difference.low, own.difference.high]
        assert bounds == pytest.approx([expected.mean, expected.low, expected.high])
        better = -np.nanmean(a) + np.nanmean(b) if measure == "mae" else np.nanmean(a) - np.nanmean(b)
        assert np.sign(own.gain.mean) == pytest.approx(np.sign(better))
    assert {(own.variant, own.output) for own in found.verdict.outputs} == {
        (variant, output) for variant in variants if variant != "separate" for output in ("price", "kind")
    }


def test_what_is_written_beside_the_runs(found: Compared) -> None:
    verdict = json.loads((found.folder / "verdict.json").read_text())
    assert verdict["overall"] == found.verdict.overall and verdict["recommended"] == found.verdict.recommended
    table = pl.read_csv(found.folder / "table.csv")
    assert table.columns == ["variant", "run", "seed", "output", "part", "measure", "value"]
    assert table.height == found.table.height
    facts = json.loads((found.folder / "runs/shared/seed-1/run.json").read_text())
    held = table.filter(run="shared/seed-1", part="test", output="price", measure="rmse")["value"].to_list()
    assert held == [pytest.approx(facts["test"]["price"]["rmse"]["value"])]
    costs = json.loads((found.folder / "costs.json").read_text())["costs"]
    assert {name: Cost.from_dict(cost) for name, cost in costs.items()} == found.costs


def test_costs_are_those_of_the_models(found: Compared) -> None:
    shared, separate = found.costs["shared"], found.costs["separate"]
    assert (shared.models, separate.models) == (1, 2)
    assert shared.parameters == found.plan.settings["parameters"]["shared"]
    assert separate.parameters == found.plan.settings["parameters"]["separate"]
    inputs = 2 + 3  # two numbers; Ulm, Bern and unknown
    assert shared.multiply_adds >= inputs * 12 + 12 + 12 and shared.multiply_adds < separate.multiply_adds
    assert separate.epoch_ratio.value == separate.row_ratio.value == 1.0
    for cost in (shared, separate):  # none stopped early
        assert cost.train_seconds.value == pytest.approx(3 * cost.epoch_seconds.value, rel=1e-12)
    assert 0 < shared.row_seconds.low <= shared.row_seconds.value <= shared.row_seconds.high
    assert 4 * shared.parameters < shared.row_memory < shared.batch_memory


def test_a_comparison_that_is_done_is_only_concluded(found: Compared, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object, **__: object) -> None:
        raise AssertionError("nothing is trained or measured again")

    monkeypatch.setattr("multiloss.studies.one_run.prepare", refused)
    monkeypatch.setattr(compare_module, "measure_costs", refused)
    config = make_config(Path(found.plan.settings["table"]), *OWN)
    again = compare(config, out=found.folder, seeds=2, losses={"price": ["huber"]})
    assert again.verdict.to_dict() == found.verdict.to_dict()
    held = (found.folder / "costs.json").read_text()
    for text in ("{", "{}", "[]"):
        (found.folder / "costs.json").write_text(text)
        with pytest.raises(RunError, match=r"costs.json is damaged.*measured again"):
            conclude(found.plan, found.runs, found.folder)
    (found.folder / "costs.json").write_text(held.replace(found.plan.digest(), "another"))
    with pytest.raises(AssertionError, match="measured again"):
        conclude(found.plan, found.runs, found.folder)
    (found.folder / "costs.json").write_text(held)


def test_the_recommended_configuration_can_be_trained(found: Compared, tmp_path: Path) -> None:
    for recommended in ("shared", "separate"):
        chosen = replace(found, verdict=replace(found.verdict, recommended=recommended))
        written = recommended_config(chosen)
        expected = {"config.yaml"} if recommended == "shared" else {"price.yaml", "kind.yaml"}
        assert written.keys() == expected
        for name, text in written.items():
            (tmp_path / name).write_text(text)
            config = load_config(tmp_path / name)
            assert (config.training.seed, config.training.threads) == (0, "auto")
            assert list(config.outputs) == (["price", "kind"] if len(written) == 1 else [name.removesuffix(".yaml")])


def test_the_first_metric_that_is_a_mean_over_rows_judges(found: Compared) -> None:
    def judged(kind: str, metrics: list[str] | None) -> str:
        outputs = {"y": {"kind": kind, "loss": "huber", "metrics": metrics}}
        return measure_of(replace(found.plan, settings={**found.plan.settings, "outputs": outputs}), "y")

    assert [judged("regression", own) for own in (["r2", "rmse"], ["mae", "rmse"], ["r2"], None)] == [
        *("mse", "mae", "mse", "mse")
    ]
    assert [judged("binary", own) for own in (["auroc", "accuracy"], ["auroc"], [])] == [
        *("accuracy", "log_loss", "log_loss")
    ]


def test_what_the_gradients_say_is_read_from_the_shared_runs(found: Compared) -> None:
    flows = [
        flow
        for run in found.runs
        if run.planned.variant == "shared"
        for flow in RunRecords.read(run.folder).flows
        if len(flow.losses) > 1
    ]
    facts = flow_facts(found.runs)
    against = np.mean([flow.cosines[0][1] < 0 for flow in flows])
    shares = {name: np.median([flow.norm_shares[name] for flow in flows]) for name in ("price", "kind")}
    assert len(flows) == 36  # 63 rows with a label
    for name, other in (("price", "kind"), ("kind", "price")):
        assert facts[name].opponent == other and facts[name].conflict_rate == pytest.approx(against)
        assert facts[name].share == pytest.approx(shares[name]) and facts[name].among == 2
        assert facts[name].ruler == (other if shares[other] >= 0.75 else None)
    few = [run for run in found.runs if run.planned.seed == 0]
    assert all(own.conflict_rate is None and own.share is not None for own in flow_facts(few).values())


def test_a_diverged_run_is_counted_and_its_seed_left_out(found: Compared) -> None:
    runs = [replace(run, problem="diverged") if run.planned.name == "shared/seed-0" else run for run in found.runs]
    assert ended(runs)["shared"] == {"price": (1, 2), "kind": (1, 2)}
    assert ended(runs)["separate"] == {"price": (0, 2), "kind": (0, 2)}
    left = compare_variants(found.plan, runs, "test")
    assert "shared" not in left and set(left) == {"separate-narrow", "price=huber"}  # one seed gives no interval


def test_a_study_whose_runs_all_diverge_recommends_nothing(tmp_path: Path) -> None:
    config = make_config(write_table(tmp_path), "training.optimizer=sgd", "training.lr=1e30", "training.epochs=2")
    found = compare(config, out=tmp_path / "study", seeds=2)
    assert all(own == (2, 2) for outputs in ended(found.runs).values() for own in outputs.values())
    assert all(run.problem is not None and "not finite" in run.problem.lower() for run in found.runs)
    assert "2 of 2 runs of shared diverged" in found.verdict.overall and found.verdict.recommended is None
    assert found.verdict.outputs == () and not found.delta_m and len(found.verdict.uncompared) == 4
    with pytest.raises(RunError, match="expected a recommendation, found none: runs of shared, separate"):
        recommended_config(found)


def test_the_mean_gain_is_that_of_the_means(found: Compared) -> None:
    means = {
        (output, variant): held[0]
        for output, measure in (("price", "mae"), ("kind", "accuracy"))
        for variant in ("shared", "separate")
        if (held := [np.mean([*held_out_scores(found.table)[output, measure, variant].values()])])
    }
    gains = [1 - means["price", "shared"] / means["price", "separate"]]
    gains.append(means["kind", "shared"] / means["kind", "separate"] - 1)
    own = found.delta_m["shared"]
    assert own.mean == pytest.approx(np.mean(gains)) and own.low <= own.mean <= own.high


def test_the_page_can_be_drawn_again_without_the_table(found: Compared, tmp_path: Path) -> None:
    copy = shutil.copytree(found.folder, tmp_path / "study")
    before = json.loads((copy / "verdict.json").read_text())
    for name in ("verdict.json", "report.html", "table.csv"):
        (copy / name).unlink()
    table = Path(found.plan.settings["table"])
    table.rename(tmp_path / "elsewhere.csv")
    try:
        assert redraw(copy, copy / "report.html") == copy / "report.html"
    finally:
        (tmp_path / "elsewhere.csv").rename(table)
    assert json.loads((copy / "verdict.json").read_text()) == before and (copy / "report.html").stat().st_size > 10_000
    shutil.rmtree(copy / "runs" / "shared" / "seed-1")
    with pytest.raises(RunError, match="expected every run of the study, found 11 of 12"):
        redraw(copy, copy / "report.html")


@pytest.mark.parametrize(
    ("outputs", "options", "message"),
    [
        ({"price": {}}, {}, "two"),
        ({"price": {}, "kind": {}}, {"seeds": 1}, "seed"),
        ({"price": {}, "kind": {}}, {"losses": {"kind": ["mse"]}}, "kind"),
        ({"price": {}, "kind": {}}, {"balancing": ["pcgard"]}, "pcgrad"),
    ],
)
def test_what_cannot_be_compared_is_one_clear_error(
    tmp_path: Path, outputs: dict[str, object], options: dict[str, object], message: str
) -> None:
    config = make_config(write_table(tmp_path), outputs=outputs)
    with pytest.raises(ConfigError, match=message):
        compare(config, out=tmp_path / "study", **options)  # type: ignore[arg-type]
    assert not (tmp_path / "study").exists()


def test_costs_put_what_costs_more_above(tmp_path: Path) -> None:
    table = write_table(tmp_path)
    small, large = Model(make_config(table), 4.0), Model(make_config(table, "model.trunk=[2000, 2000]"), 2.5)
    found = measure_costs({"separate": [small, small], "shared": [large]}, rounds=3)
    assert found["shared"].epoch_ratio.low > 1 and found["shared"].batch_ratio.low > 1
    for cost, epochs in ((found["separate"], 4.0), (found["shared"], 2.5)):
        assert cost.train_seconds.value == pytest.approx(epochs * cost.epoch_seconds.value, rel=1e-12)
