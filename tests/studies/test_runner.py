from __future__ import annotations

import json
import logging
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from study_tables import frame, history, make_config, result, signal_in_step, write_table

from multiloss.cli.main import run as command_line
from multiloss.config.build import prepare
from multiloss.core.errors import ConfigError, RunError
from multiloss.studies import one_run, runner, study_folder
from multiloss.studies.plan import Plan, PlannedRun
from multiloss.studies.rows import read_rows, write_rows
from multiloss.studies.runner import DoneRun, read_study, run_plan
from multiloss.studies.table import tidy
from multiloss.studies.variants import compare_plan
from multiloss.training import checkpoint
from multiloss.training.fit import Fit, checkpoint_path

CHOSEN = ("shared/seed-0", "separate/price/seed-1", "separate-narrow/kind/seed-0")


def part_of(plan: Plan, *names: str) -> Plan:
    return replace(plan, runs=tuple(run for run in plan.runs if run.name in names))


@pytest.fixture(scope="module")
def plan(tmp_path_factory: pytest.TempPathFactory) -> Plan:
    table = write_table(tmp_path_factory.mktemp("table"))
    return part_of(compare_plan(make_config(table, "model.dropout=0.2"), seeds=2), *CHOSEN)


@pytest.fixture(scope="module")
def study(plan: Plan, tmp_path_factory: pytest.TempPathFactory) -> list[DoneRun]:
    """The runs of the plan, trained in this process without a break."""
    return run_plan(plan, tmp_path_factory.mktemp("whole") / "study")


@pytest.fixture
def copy(study: list[DoneRun], tmp_path: Path) -> Path:
    """A study of which a test may spoil a part."""
    return shutil.copytree(study[0].folder.parents[2], tmp_path / "study")


def longer(plan: Plan, **training: Any) -> Plan:
    """The plan with other settings of training, in every run."""

    def changed(run: PlannedRun) -> PlannedRun:
        own = run.config.training.model_copy(update=training)
        return replace(run, config=run.config.model_copy(update={"training": own}))

    return replace(plan, runs=tuple(map(changed, plan.runs)))


def same(found: list[DoneRun], expected: list[DoneRun]) -> None:
    assert [run.planned.name for run in found] == [run.planned.name for run in expected]
    for own, other in zip(found, expected, strict=True):
        assert own.problem is None
        assert result(own.folder) == result(other.folder)


def never(*_: object) -> bool:
    raise AssertionError("nothing was to be trained")


def test_a_study_is_its_plan_and_a_folder_for_every_run(study: list[DoneRun], plan: Plan) -> None:
    folder = study[0].folder.parents[2]
    record = json.loads((folder / "study.json").read_text())
    assert (record["kind"], record["version"], record["digest"]) == ("compare", 1, plan.digest())
    assert record["settings"]["variants"] == ["shared", "separate", "separate-narrow"]
    assert [run.planned.name for run in study] == list(CHOSEN)
    assert all(run.problem is None for run in study)
    assert {path.parent.relative_to(folder / "runs").as_posix() for path in folder.rglob("run.json")} == set(CHOSEN)
    assert read_study(folder) == (plan, study)


def test_the_scores_of_rows_are_those_of_the_run(study: list[DoneRun], plan: Plan) -> None:
    shared = study[0]
    rows, facts = read_rows(shared.folder), json.loads((shared.folder / "run.json").read_text())
    measures = {"price": ("mae", "mse"), "kind": ("accuracy", "log_loss")}
    names = {f"{part}/{output}/{m}" for part in ("validation", "test") for output in measures for m in measures[output]}
    assert set(rows) == names
    for part in ("validation", "test"):
        for output, own in measures.items():
            scores = [rows[f"{part}/{output}/{measure}"] for measure in own]
            labels = plan.settings["labels"][output][part]
            assert all(len(score) == plan.settings["rows"][part] for score in scores)
            assert [int((~score.isnan()).sum()) for score in scores] == [labels, labels]
    test = {output: {measure: own["value"] for measure, own in facts["test"][output].items()} for output in measures}
    means = {name.removeprefix("test/"): float(score.nanmean()) for name, score in rows.items() if name in names}
    assert means["price/mae"] == pytest.approx(test["price"]["mae"], rel=1e-9)
    assert means["price/mse"] == pytest.approx(test["price"]["rmse"] ** 2, rel=1e-9)
    assert means["kind/accuracy"] == pytest.approx(test["kind"]["accuracy"], rel=1e-6)
    assert means["kind/log_loss"] == pytest.approx(test["kind"]["loss"], rel=1e-6)
    assert set(read_rows(study[1].folder)) == {name for name in names if "/price/" in name}


def test_the_same_rows_in_every_run(study: list[DoneRun]) -> None:
    shared, price, kind = (read_rows(run.folder) for run in study)
    for alone in (price, kind):
        for name, values in alone.items():
            assert torch.equal(values.isnan(), shared[name].isnan()), name
            assert values.isnan().any() and not torch.equal(values.nan_to_num(), shared[name].nan_to_num())


@pytest.mark.parametrize("index", [0, 1])
def test_fit_of_a_runs_configuration_gives_its_numbers(study: list[DoneRun], index: int, tmp_path: Path) -> None:
    folder = study[index].folder
    with pytest.raises(SystemExit) as exit_:
        command_line(["fit", str(folder / "config.yaml"), "--out", str(tmp_path / "again")])
    assert exit_.value.code == 0
    expected = result(folder)
    assert {**result(tmp_path / "again"), "rows.safetensors": expected["rows.safetensors"]} == expected
    assert len(history(folder)) == 3


def test_what_is_done_is_not_done_again(
    copy: Path, plan: Plan, study: list[DoneRun], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner, "train_run", never)
    same(run_plan(plan, copy), study)
    shutil.rmtree(copy / "runs" / CHOSEN[1])
    assert [run.planned.name for run in read_study(copy)[1]] == [CHOSEN[0], CHOSEN[2]]
    monkeypatch.undo()
    told: list[tuple[Any, ...]] = []
    same(run_plan(plan, copy, progress=lambda *state: told.append(state)), study)
    assert told == [(2, 3, (CHOSEN[1],), None), (3, 3, (), 0.0)]


@pytest.mark.parametrize("lost", ["rows.safetensors", "model.safetensors", "run.json"])
def test_a_run_that_ended_too_early_to_write_everything_is_completed(
    copy: Path, plan: Plan, study: list[DoneRun], lost: str
) -> None:
    """As after a kill: the files are written in the order model, run.json's end, rows."""
    folder = copy / "runs" / CHOSEN[0]
    (folder / "rows.safetensors").unlink()
    if lost != "rows.safetensors":
        facts = json.loads((folder / "run.json").read_text())
        for key in ("finished", "kept", "final", "trivial", "test"):
            del facts[key]
        (folder / "run.json").write_text(json.dumps(facts))
        (folder / "model.safetensors").unlink()
    if lost == "run.json":  # before the first step
        shutil.rmtree(folder)
        folder.mkdir()
        shutil.copy(study[0].folder / "config.yaml", folder)
    same(run_plan(plan, copy), study)


@pytest.mark.parametrize("step", [1, 11])
def test_a_study_that_a_signal_stopped_goes_on_with_the_same_numbers(
    plan: Plan, study: list[DoneRun], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    signal_in_step(monkeypatch, step, signal.SIGTERM)
    with pytest.raises(RunError, match=r"interrupted: 0 of 3 runs of .* are done. Do the same again"):
        run_plan(plan, tmp_path / "study")
    monkeypatch.undo()
    assert checkpoint.load(checkpoint_path(tmp_path / "study/runs" / CHOSEN[0]))["progress"][1] == step
    assert read_study(tmp_path / "study") == (plan, [])
    same(run_plan(plan, tmp_path / "study"), study)


def test_a_signal_that_comes_when_a_run_is_all_but_done_stops_the_study_after_it(
    plan: Plan, study: list[DoneRun], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save = Fit.save

    def stopping(fit: Fit) -> None:
        save(fit)
        if fit.epoch > fit.epochs:
            os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(Fit, "save", stopping)
    with pytest.raises(RunError, match=r"interrupted: 1 of 3 runs of .* are done"):
        run_plan(plan, tmp_path / "study")
    monkeypatch.undo()
    same(run_plan(plan, tmp_path / "study"), study)


def test_a_run_that_diverges_is_reported_and_not_tried_again(
    plan: Plan, study: list[DoneRun], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for lr in (1e38, 0.7):
        wild = longer(part_of(plan, CHOSEN[1]), optimizer="sgd", lr=lr, epochs=60).runs[0]
        mixed = replace(plan, runs=(wild, plan.runs[0]))
        folder = tmp_path / f"study-{lr}"
        diverged, fine = run_plan(mixed, folder)
        assert diverged.problem is not None
        assert "price" in diverged.problem
        assert result(fine.folder) == result(study[0].folder)
        record = json.loads((diverged.folder / "problem.json").read_text())
        assert record["error"] == "NonFiniteError" and record["problem"] == diverged.problem
        assert (diverged.folder / "config.yaml").is_file()
        assert (diverged.folder / "history.jsonl").exists() == (lr < 1)  # in the first epoch, or after it
        with monkeypatch.context() as patch:
            patch.setattr(runner, "train_run", never)
            assert run_plan(mixed, folder) == [diverged, fine]
    (diverged.folder / "problem.json").write_text("{}")
    with pytest.raises(RunError, match=r"problem.json is damaged .* and the study trains this run again"):
        run_plan(mixed, folder)


@pytest.fixture(scope="module")
def wild(tmp_path_factory: pytest.TempPathFactory) -> tuple[Plan, int]:
    """A study of a price and a number of visits, and a test row of it whose input is out of all bounds."""
    folder = tmp_path_factory.mktemp("wild")
    draw = np.random.default_rng(2)
    size = draw.uniform(0, 10, 100)
    values = {"size": size, "price": 3 * size + draw.normal(size=100), "visits": draw.poisson(size / 2)}
    table, outputs = pl.DataFrame(values), {"price": {}, "visits": {"kind": "count"}}
    config = make_config(write_table(folder, table), "training.epochs=8", outputs=outputs)
    row = int(prepare(config, folder / "none", progress=False).rows["test"][4])
    size[row] = 1e6
    write_table(folder, table.with_columns(size=size))
    names = ("shared/seed-0", "separate/visits/seed-0", "separate/price/seed-0")
    return part_of(compare_plan(config, seeds=2), *names), row


def test_a_run_whose_held_out_scores_are_not_finite_is_reported_and_the_study_goes_on(
    wild: tuple[Plan, int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan, row = wild
    runs = {run.planned.name: run for run in run_plan(plan, tmp_path / "study")}
    for name in ("shared/seed-0", "separate/visits/seed-0"):
        problem = runs[name].problem
        assert problem is not None
        assert problem.startswith(
            f"the held-out scores of visits are not finite in 1 of 15 test rows, row {row + 1} of the table."
        )
        assert json.loads((runs[name].folder / "problem.json").read_text())["error"] == "NonFiniteError"
        assert len(history(runs[name].folder)) == 8
        assert not (runs[name].folder / "rows.safetensors").exists()
    assert runs["separate/price/seed-0"].problem is None
    monkeypatch.setattr(runner, "train_run", never)
    assert run_plan(plan, tmp_path / "study") == list(runs.values())


def test_the_groups_of_rows_stand_beside_their_scores(tmp_path: Path) -> None:
    block = pl.Series("block", [f"b{row // 3}" for row in range(96)])
    table = write_table(tmp_path, frame().with_columns(block))
    config = make_config(table, "training.epochs=1", split={"method": "group", "column": "block"})
    runs = run_plan(part_of(compare_plan(config, seeds=2), *CHOSEN[:2]), tmp_path / "study")
    parts = prepare(runs[0].planned.config, tmp_path / "none", progress=False).rows
    for run in runs:
        rows = read_rows(run.folder)
        for part in ("validation", "test"):
            found = rows[f"{part}/group"]
            assert found.dtype == torch.float64 and len(found) == len(rows[f"{part}/price/mae"])
            names = block[parts[part].tolist()].to_list()
            assert len(set(names)) > 2
            for i, name in enumerate(names):
                assert (found == found[i]).tolist() == [other == name for other in names]
        assert not set(rows["validation/group"].tolist()) & set(rows["test/group"].tolist())
    assert not [measure for measure in tidy(runs)["measure"] if "group" in measure]


def test_a_folder_of_something_else_is_refused_and_left_as_it_is(copy: Path, plan: Plan, tmp_path: Path) -> None:
    other = longer(replace(plan, settings={**plan.settings, "seeds": 3}), lr=0.5)
    with pytest.raises(RunError) as raised:
        run_plan(other, copy)
    assert str(raised.value) == (
        f"{copy} holds a study of another plan (settings.seeds: 2 there, 3 here; "
        + "; ".join(f"runs.{name}.config.training.lr: 0.01 there, 0.5 here" for name in CHOSEN)
        + "). Name another folder, or give what it was begun with"
    )
    with pytest.raises(RunError, match=r"another plan \(1 run is in one of them alone\)"):
        run_plan(part_of(plan, *CHOSEN[1:]), copy)
    (tmp_path / "full").mkdir()
    (tmp_path / "full/notes.txt").write_text("mine")
    with pytest.raises(RunError, match=r"expected an empty folder or a study, found .*full with notes.txt"):
        run_plan(plan, tmp_path / "full")
    assert [path.name for path in (tmp_path / "full").iterdir()] == ["notes.txt"]
    with pytest.raises(RunError, match=r"expected a folder for the study, found the file"):
        run_plan(plan, tmp_path / "full/notes.txt")
    with pytest.raises(RunError, match=r"is no study: it has no study.json"):
        read_study(tmp_path / "full")


def test_a_study_may_grow_and_is_then_as_if_trained_at_once(
    plan: Plan, study: list[DoneRun], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = part_of(replace(plan, settings={**plan.settings, "seeds": 1}), *CHOSEN[:2])
    run_plan(begun, tmp_path / "study")
    trained: list[str] = []

    def train(run: PlannedRun, folder: Path) -> bool:
        trained.append(run.name)
        return one_run.train_run(run, folder)

    monkeypatch.setattr(runner, "train_run", train)
    same(run_plan(plan, tmp_path / "study"), study)
    assert trained == [CHOSEN[2]]
    assert (tmp_path / "study/study.json").read_bytes() == (study[0].folder.parents[2] / "study.json").read_bytes()
    with pytest.raises(RunError, match=r"another plan \(settings.seeds: 2 there, 1 here; 1 run is in one"):
        run_plan(begun, tmp_path / "study")  # it does not shrink


def test_a_study_does_not_grow_on_another_table_nor_with_another_run_of_a_name(copy: Path, plan: Plan) -> None:
    before = (copy / "study.json").read_bytes()
    for names in (CHOSEN, (*CHOSEN, "shared/seed-1")):
        runs = (*plan.runs, replace(plan.runs[0], name="shared/seed-1", seed=1))[: len(names)]
        other = replace(plan, runs=runs, settings={**plan.settings, "table_digest": "0" * 16})
        with pytest.raises(RunError, match=r"the table .*homes.csv has changed since the study was begun"):
            run_plan(other, copy)
    changed = longer(part_of(plan, CHOSEN[0]), lr=0.5).runs
    with pytest.raises(RunError, match=r"another plan \(runs.shared/seed-0.config.training.lr: 0.01 there, 0.5 here\)"):
        run_plan(replace(plan, runs=(*changed, *plan.runs[1:])), copy)
    assert (copy / "study.json").read_bytes() == before


def test_a_study_that_cannot_be_read_is_refused(copy: Path, plan: Plan) -> None:
    record = json.loads((copy / "study.json").read_text())
    for spoilt, message in (
        (json.dumps({**record, "version": 9}), "is a study of version 9; this multiloss reads version 1"),
        (json.dumps({**record, "runs": [{}]}), "study.json is damaged"),
        ("{", "study.json is damaged"),
    ):
        (copy / "study.json").write_text(spoilt)
        with pytest.raises(RunError, match=message):
            run_plan(plan, copy)


def test_two_processes_do_not_work_in_one_study(copy: Path, plan: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(study_folder, "PATIENCE", 0.1)
    with study_folder.alone_in(copy), pytest.raises(RunError, match="another process works in"):
        run_plan(plan, copy)
    run_plan(plan, copy)


def test_a_run_that_cannot_be_trained_stops_the_study_with_its_name(copy: Path, plan: Plan) -> None:
    shutil.rmtree(copy / "runs/shared")
    table = Path(plan.settings["table"])
    moved = table.rename(table.with_suffix(".moved"))
    try:
        with pytest.raises(RunError, match=r"shared/seed-0: .*homes.csv"):
            run_plan(plan, copy)
    finally:
        moved.rename(table)


@pytest.mark.parametrize("workers", [0, -1, True, 1.5])
def test_workers_are_counted(plan: Plan, tmp_path: Path, workers: Any) -> None:
    with pytest.raises(ConfigError, match="workers: expected a whole number of 1 or more"):
        run_plan(plan, tmp_path / "study", workers=workers)
    assert not (tmp_path / "study").exists()


def test_a_worker_that_dies_again_and_again_ends_the_study(
    plan: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", shutil.which("false"))
    with pytest.raises(RunError, match=r"its process ended 3 times \(exit code 1\). See .*workers.log"):
        run_plan(plan, tmp_path / "study", workers=2)


def test_warnings_of_the_table_are_said_once(
    plan: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def train(run: PlannedRun, folder: Path) -> bool:
        logging.getLogger("multiloss").warning("output %r: rare", "price")
        return one_run.train_run(run, folder)

    monkeypatch.setattr(runner, "train_run", train)
    run_plan(part_of(longer(plan, epochs=1), *CHOSEN[1:]), tmp_path / "study")
    assert caplog.messages.count("output 'price': rare") == 1


# ------------------------------------------------------------------ damage


def spoil(folder: Path, name: str, how: str) -> None:
    path = folder / name
    if how == "missing":
        path.unlink()
    elif how == "cut":
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    else:
        path.write_text(f"{how}\n")


def without_one_score(folder: Path) -> None:
    rows = read_rows(folder)
    del rows["test/price/mae"]
    write_rows(folder, rows)


@pytest.mark.parametrize(
    ("name", "how"),
    [
        ("run.json", "cut"),
        ("run.json", '{"version": 1, "finished": true}'),
        ("history.jsonl", "garbage"),
        ("history.jsonl", "missing"),
        ("history.jsonl", '{"loss": 1.0}'),
        ("ledger.jsonl", '{"epoch": 1}'),
        ("gradients.jsonl", '{"step": 1}'),
        ("rows.safetensors", "cut"),
        ("rows.safetensors", "one score less"),
    ],
)
def test_a_damaged_run_that_was_done_is_named_and_trained_again_once_deleted(
    copy: Path, plan: Plan, study: list[DoneRun], name: str, how: str
) -> None:
    folder = copy / "runs" / CHOSEN[0]
    if how == "one score less":
        without_one_score(folder)
    else:
        spoil(folder, name, how)
    for read in (lambda: read_study(copy), lambda: run_plan(plan, copy)):
        with pytest.raises(RunError) as raised:
            read()
        said = str(raised.value)
        assert str(folder / name) in said
        assert said.endswith(f"Delete the folder {folder}, and the study trains this run again")
    shutil.rmtree(folder)
    same(run_plan(plan, copy), study)


@pytest.fixture(scope="module")
def begun(plan: Plan, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study that a signal stopped in the last epoch of its first run."""
    folder = tmp_path_factory.mktemp("begun") / "study"
    train_step, steps = Fit._train_step, 0

    def stopping(fit: Fit, batch: Any) -> None:
        nonlocal steps
        steps += 1
        if steps == 11:
            os.kill(os.getpid(), signal.SIGTERM)
        train_step(fit, batch)

    with pytest.MonkeyPatch.context() as patch, pytest.raises(RunError, match="interrupted"):
        patch.setattr(Fit, "_train_step", stopping)
        run_plan(plan, folder)
    assert len(history(folder / "runs" / CHOSEN[0])) == 2
    return folder


@pytest.mark.parametrize(
    ("name", "how"),
    [
        ("run.json", "missing"),
        ("run.json", "cut"),
        ("history.jsonl", "garbage"),
        ("history.jsonl", "missing"),
        ("ledger.jsonl", "missing"),
        ("checkpoint/last.safetensors", "cut"),
    ],
)
def test_a_damaged_run_that_was_begun_is_named_and_trained_again_once_deleted(
    begun: Path, plan: Plan, study: list[DoneRun], tmp_path: Path, name: str, how: str
) -> None:
    copied = shutil.copytree(begun, tmp_path / "study")
    folder = copied / "runs" / CHOSEN[0]
    spoil(folder, name, how)
    with pytest.raises(RunError) as raised:
        run_plan(plan, copied)
    said = str(raised.value)
    assert str(folder / name) in said
    assert said.endswith(f"Delete the folder {folder}, and the study trains this run again")
    shutil.rmtree(folder)
    same(run_plan(plan, copied), study)


# ------------------------------------------------------------------ processes


@pytest.mark.slow
def test_workers_give_the_same_numbers_to_the_bit(plan: Plan, study: list[DoneRun], tmp_path: Path) -> None:
    told: list[tuple[Any, ...]] = []
    same(run_plan(plan, tmp_path / "study", workers=2, progress=lambda *state: told.append(state)), study)
    assert told[-1] == (3, 3, (), 0.0)
    assert any(len(running) == 2 for _, _, running, _ in told)


def wait_for_epochs(folder: Path, epochs: int = 3) -> None:
    """Wait until some run of a study has done some epochs."""
    until = time.monotonic() + 120
    while all(file.read_bytes().count(b"\n") < epochs for file in folder.rglob("history.jsonl")):
        assert time.monotonic() < until
        time.sleep(0.02)


@pytest.fixture(scope="module")
def long(plan: Plan, tmp_path_factory: pytest.TempPathFactory) -> tuple[Plan, list[DoneRun]]:
    """A study long enough to be stopped, and its runs without a break."""
    chosen = longer(part_of(plan, *CHOSEN[:2]), epochs=60, checkpoint_seconds=0.05)
    return chosen, run_plan(chosen, tmp_path_factory.mktemp("long") / "study")


@pytest.mark.slow
def test_killed_workers_lose_only_seconds(
    long: tuple[Plan, list[DoneRun]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan, expected = long
    started: list[subprocess.Popen[str]] = []
    popen = subprocess.Popen

    def start(*args: Any, **options: Any) -> subprocess.Popen[str]:
        started.append(popen(*args, **options))
        return started[-1]

    monkeypatch.setattr(subprocess, "Popen", start)
    killed: list[int] = []

    def kill(done: int, total: int, running: tuple[str, ...], left: float | None) -> None:
        if not killed and len(started) == 2:
            wait_for_epochs(tmp_path / "study")
            for process in started[:2]:
                process.kill()
                killed.append(process.pid)

    same(run_plan(plan, tmp_path / "study", workers=2, progress=kill), expected)
    assert len(killed) == 2
    assert len(started) >= 3  # the other may have been done
    assert [process.wait() for process in started[:2]] == [-signal.SIGKILL] * 2


@pytest.mark.slow
@pytest.mark.parametrize(("number", "workers"), [(signal.SIGINT, 2), (signal.SIGKILL, 2), (signal.SIGTERM, 1)])
def test_a_study_stopped_from_outside_goes_on(
    long: tuple[Plan, list[DoneRun]], tmp_path: Path, number: signal.Signals, workers: int
) -> None:
    plan, expected = long
    folder = tmp_path / "study"
    (tmp_path / "study.json").write_text(json.dumps(plan.to_dict()))
    script = [sys.executable, str(Path(__file__).with_name("study_script.py")), str(folder), str(workers)]
    with subprocess.Popen(script, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        wait_for_epochs(folder)
        process.send_signal(number)
        _, errors = process.communicate(timeout=60)
    if number == signal.SIGKILL:
        assert process.returncode == -signal.SIGKILL
    else:
        assert process.returncode == 1
        assert re.search(f"RunError: interrupted: [01] of 2 runs of {folder} are done", errors)
    again = subprocess.run(script, capture_output=True, text=True, timeout=240, check=False)
    assert again.returncode == 0, again.stderr
    same(read_study(folder)[1], expected)
    assert not list(folder.rglob("*.tmp"))
