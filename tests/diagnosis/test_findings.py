"""What holds for all findings: silence on healthy runs, numbers in every sentence, commands that work."""

from __future__ import annotations

import json
import shlex
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import torch
from findings_runs import Data, losses_of, make_data, make_model, of_rule, only, train

import multiloss as ml
from multiloss.config.build import prepare
from multiloss.config.load import read_config
from multiloss.core.run_records import RunRecords
from multiloss.diagnosis.findings import RULES, findings
from multiloss.diagnosis.rules import results
from multiloss.objective.metric_registry import ALIASES, METRICS, row_of

PAGE = Path(__file__).parents[2] / "docs" / "findings.md"


def small_penalty() -> ml.Objective:
    metrics = {"price": ["mae", "r2"], "kind": ["accuracy", "auroc"]}
    return ml.Objective(losses_of(make_data()), metrics=metrics, penalties=[ml.L2(1e-4)])


HEALTHY: dict[str, Any] = {
    "two regressions": lambda seed: (only(make_data(seed=seed), "price", "size"), {}),
    "class and regression": lambda seed: (only(make_data(seed=seed), "price", "kind"), {}),
    "a fifth of the labels missing": lambda seed: (make_data(seed=seed, missing=0.2), {}),
    "small penalty, metrics": lambda seed: (make_data(seed=seed), {"objective": small_penalty()}),
    "SGD": lambda seed: (make_data(seed=seed), {"optimizer": "sgd", "lr": 0.05}),
    "slow": lambda seed: (make_data(seed=seed), {"lr": 1e-3}),
    "narrow, small batches": lambda seed: (make_data(seed=seed), {"model": make_model(*make_data()[1], width=6),
                                                                  "batch_size": 6, "epochs": 6}),
    "weights": lambda seed: (make_data(seed=seed), {"objective": ml.Objective(
        losses_of(make_data()), loss_weights={"price": 1.0, "size": 0.3, "kind": ml.ramp(0, 1)})}),
    "balanced": lambda seed: (make_data(seed=seed), {"balancing": "pcgrad"}),
}  # fmt: skip


@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.slow) for seed in (1, 2, 3))])
@pytest.mark.parametrize("kind", HEALTHY)
def test_a_healthy_run_is_silent(kind: str, seed: int, tmp_path: Path) -> None:
    data, options = HEALTHY[kind](seed)
    records = train(tmp_path, data, seed=seed, **options)
    assert len(records.flows) >= 12 and len(records.history) >= 6
    assert [str(finding) for finding in findings(records)] == []


@pytest.fixture(scope="module")
def everything_wrong(tmp_path_factory: pytest.TempPathFactory) -> RunRecords:
    """A run with many faults at once."""
    x, targets = make_data(missing=0.97)
    targets["size"] = 40 * targets["size"]
    objective = ml.Objective(losses_of((x, targets)), penalties=[ml.L2(1e-3)], metrics={"size": ["r2"]})
    return train(tmp_path_factory.mktemp("wrong"), (x, targets), objective=objective)


def test_findings_are_ordered_carry_their_numbers_and_go_through_json(everything_wrong: RunRecords) -> None:
    found = findings(everything_wrong)
    order = [rule.__name__ for rule in RULES]
    places = [order.index(finding.rule) for finding in found]
    assert places == sorted(places) and len(set(places)) >= 3
    for finding in found:
        assert any(character.isdigit() for character in finding.text), finding.text
        assert not finding.text.endswith(".") and not finding.advice.endswith(".")
        numbers = [value for value in finding.evidence.values() if isinstance(value, float | int)]
        assert numbers, finding
        back = json.loads(json.dumps(finding.to_dict(), allow_nan=False))
        assert back == finding.to_dict() and back["rule"] == finding.rule
        assert str(finding).startswith(finding.text)


def test_a_run_under_way_is_read_at_every_moment(everything_wrong: RunRecords) -> None:
    records = everything_wrong
    for epochs in range(len(records.history) + 1):
        ledgers = [record for record in records.ledgers if (record.epoch or 0) <= epochs]
        flows = [flow for flow in records.flows if (flow.epoch or 0) <= epochs + 1]
        part = replace(records, history=records.history[:epochs], ledgers=ledgers, flows=flows)
        assert all(finding.text for finding in findings(part))
        assert all(finding.text for finding in findings(replace(part, flows=[])))
        assert all(finding.text for finding in findings(replace(part, facts={})))


@pytest.mark.parametrize("config", ["", "- a\n- b", "a: [", "training: null"])
def test_a_configuration_that_says_nothing_is_no_error(config: str, everything_wrong: RunRecords) -> None:
    records = replace(everything_wrong, config=config)
    assert {finding.rule for finding in findings(records)} >= {"units_far_apart", "label_starvation"}


def wrong_table(folder: Path, rows: int = 120) -> RunRecords:
    """Return a run of the command line: a trunk that shrinks, and an output that no input tells."""
    g = torch.Generator().manual_seed(0)
    x = torch.randn(rows, 4, generator=g)
    noise = torch.randn(rows, generator=g)
    columns = {f"x{i}": x[:, i].tolist() for i in range(4)}
    frame = pl.DataFrame({**columns, "price": (5 * x[:, 0] + 100).tolist(), "luck": noise.tolist()})
    frame.write_csv(folder / "table.csv")
    raw = {
        "table": str(folder / "table.csv"),
        "outputs": {"price": {}, "luck": {"weight": 2.0}},
        "penalties": [{"name": "l2", "coefficient": 0.02, "on": "heads.*"}],
        "model": {"trunk": [64]},
        "training": {"epochs": 25, "batch_size": 8, "lr": 0.01, "watch_gradients": "every 5 steps",
                     "monitor": "val_loss", "keep": "last", "early_stopping": {"monitor": "val_loss", "patience": 99}},
    }  # fmt: skip
    prepare(read_config(raw, "test"), folder / "run", progress=False).fit()
    return RunRecords.read(folder / "run")


def test_a_run_of_the_command_line_and_its_commands(tmp_path: Path, everything_wrong: RunRecords) -> None:
    """An output of noise is worse than its mean on the test rows; every override that is offered can be read."""
    records = wrong_table(tmp_path)
    (finding,) = of_rule(records, "worse_than_trivial")
    loss = records.facts["test"]["luck"]["loss"]
    assert finding.outputs == ("luck",) and finding.evidence["loss"] == loss["value"] > loss["baseline"]
    assert (
        f"loss {loss['value']:.4f} (trivial {loss['baseline']:.4f})" in finding.text
        and "test rows (18)" in finding.text
    )
    assert finding.command == "multiloss weights config.yaml"
    heavy = replace(everything_wrong, config=records.config)
    changes = [f.command for f in findings(heavy) if f.command and f.command.startswith("multiloss fit")]
    assert len(changes) >= 3
    assert records.config is not None
    known: dict[str, Any] = {"price": {}, "luck": {}, "size": {}, "kind": {}}
    for command in changes:
        read_config({"table": "t.csv", "outputs": known}, command, shlex.split(command)[3:])


def test_every_rule_is_on_the_page_with_its_thresholds() -> None:
    page = PAGE.read_text()
    for rule in RULES:
        assert f"## `{rule.__name__}`" in page
        assert "hreshold" in (rule.__doc__ or ""), rule.__name__
        module = __import__(rule.__module__, fromlist=["x"])
        for name, value in vars(module).items():
            if name.isupper() and isinstance(value, float | int):
                assert f"`{name} = {value:g}`" in page, name


def test_directions_of_metrics_are_those_that_training_measures() -> None:
    rising = {name: row.rising for name in (*METRICS, *ALIASES) if (row := row_of(name)) is not None}
    assert rising == dict.fromkeys(results.RISING, True) | dict.fromkeys(results.FALLING, False)


def test_many_outputs_and_many_epochs_are_read_in_seconds(tmp_path: Path) -> None:
    data: Data = only(make_data(rows=48), "price", "size")
    records = train(tmp_path, data, epochs=6)
    long = replace(
        records,
        history=[row | {"epoch": i} for i, row in enumerate(records.history * 500, 1)],
        ledgers=records.ledgers * 500,
        flows=records.flows * 100,
    )
    began = time.monotonic()
    findings(long)
    assert time.monotonic() - began < 5
