"""`multiloss compare`: what it prints and writes, what goes on after a kill, and what it refuses."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from statistics import fmean

import polars as pl
import pytest

import multiloss as ml
from cli.tables import Command, Outcome, files, homes, write
from multiloss.config.load import load_config

ENTRY = "from multiloss.cli.main import run; run()"
CONFIG = (
    "table: homes.csv\n"
    "outputs:\n"
    "  price: {loss: huber, metrics: [mae]}\n"
    "  kind: {metrics: [accuracy], head: [8]}\n"
    "model: {trunk: [16], dropout: 0.1}\n"
    "training: {lr: 0.01, epochs: 3, batch_size: 16}\n"
)
ASKED = ["homes.yaml", "--seeds", "2", "--balancing", "log_sum", "--losses", "price=mae,mse", "--out", "study"]


def begin(folder: Path, *words: str) -> subprocess.Popen[str]:
    """Start a command in a folder with the table and its configuration, in a process of its own."""
    write(folder / "homes.csv", homes())
    (folder / "homes.yaml").write_text(CONFIG)
    env = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(ml.__file__).parents[1])}
    command = [sys.executable, "-c", ENTRY, "compare", *words]
    return subprocess.Popen(command, cwd=folder, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def compared(folder: Path, *words: str) -> Outcome:
    process = begin(folder, *words)
    out, err = process.communicate(timeout=300)
    return Outcome(process.returncode, out, err)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("compare")


@pytest.fixture(scope="module")
def outcome(place: Path) -> Outcome:
    return compared(place, *ASKED, "--csv", "all.csv", "--apply", "best")


@pytest.fixture
def study(place: Path, outcome: Outcome) -> Path:
    assert outcome.code == 0, outcome.err
    return place / "study"


def test_the_verdict_comes_first_and_every_comparison_after_it(outcome: Outcome, study: Path) -> None:
    verdict, lines = json.loads((study / "verdict.json").read_text()), outcome.out.splitlines()
    assert lines[0] == verdict["overall"]
    table = lines[lines.index("") + 1 :]
    table = table[: table.index("")]
    whose = [(own["output"], own["variant"], own["metric"]) for own in verdict["outputs"]]
    assert [tuple(line.split()[:3]) for line in table[1 : 1 + len(whose)]] == whose
    variants = ("shared", "separate-narrow", "log_sum", "price=mae", "price=mse")
    assert {variant for _, variant, _ in whose} == set(variants)
    mean_gains = [line.removeprefix("Δm, the mean relative gain of the outputs, ") for line in table[1 + len(whose) :]]
    assert [line.split(":")[0] for line in mean_gains] == list(variants)
    for own in verdict["outputs"]:
        assert f"- {own['sentence']}" in lines
    assert f"recommended: {verdict['recommended']}, because {verdict['why']}" in lines


def test_scores_are_means_over_seeds(outcome: Outcome, study: Path) -> None:
    table = pl.read_csv(study / "table.csv").filter(part="test", output="price", measure="mae")
    means = [fmean(table.filter(variant=variant)["value"]) for variant in ("shared", "separate")]
    cells = next(line.split() for line in outcome.out.splitlines() if line.split()[:2] == ["price", "shared"])
    assert cells[3:5] == [f"{mean:.4g}" for mean in means]


def test_costs_stand_beside_each_other(outcome: Outcome, study: Path) -> None:
    costs = json.loads((study / "costs.json").read_text())["costs"]
    lines = outcome.out.splitlines()
    at = next(i for i, line in enumerate(lines) if line.startswith("cost (x separate)"))
    assert lines[at].split()[3:] == list(costs) and lines[at + 1].split()[1:3] == ["1", "2"]
    parameters = next(line for line in lines if line.startswith("parameters"))
    assert f"{costs['shared']['parameters']:,} (" in parameters and "(1.00)" in parameters


def test_progress_is_told_over_all_runs(outcome: Outcome, study: Path) -> None:
    runs = len(json.loads((study / "study.json").read_text())["runs"])
    assert outcome.err.splitlines()[0].startswith("study: study; where it is interrupted, the same command")
    told = outcome.err.splitlines()[1:]
    assert [line.split("/")[0] for line in told] == [str(n) for n in range(runs + 1)]
    assert told[0] == f"0/{runs} runs  shared/seed-0" and all("left" in line for line in told[1:-1])
    assert told[-1] == f"{runs}/{runs} runs  measuring what the models cost"


def test_the_csv_is_the_studys_table(study: Path) -> None:
    assert (study.parent / "all.csv").read_bytes() == (study / "table.csv").read_bytes()


def test_what_is_recommended_can_be_trained(outcome: Outcome, study: Path, multiloss: Command) -> None:
    best = study.parent / "best"
    assert files(best) in ({"config.yaml"}, {"price.yaml", "kind.yaml"})
    for path in best.iterdir():
        assert load_config(path).training.epochs == 3
        assert f"train it with: multiloss fit best/{path.name}" in outcome.out
        assert multiloss("fit", path, "training.epochs=1", "--out", path.stem).code == 0


def test_a_study_that_is_done_is_only_told_again(place: Path, outcome: Outcome, study: Path) -> None:
    before = {path: (study / path).stat().st_mtime_ns for path in files(study) if path.startswith("runs")}
    again = compared(place, *ASKED)
    assert again.code == 0 and again.out.startswith(outcome.out.splitlines()[0])
    assert {path: (study / path).stat().st_mtime_ns for path in files(study) if path.startswith("runs")} == before


def test_a_study_is_drawn_again_from_its_folder(study: Path, multiloss: Command, tmp_path: Path) -> None:
    (study.parent / "homes.csv").rename(tmp_path / "away.csv")
    outcome = multiloss("report", study, "--out", tmp_path / "page.html")
    (tmp_path / "away.csv").rename(study.parent / "homes.csv")
    assert outcome.code == 0 and outcome.out == f"report: {tmp_path / 'page.html'}\n"
    assert "multiloss compare" in (tmp_path / "page.html").read_text()


@pytest.mark.slow
def test_killed_with_two_workers_and_begun_again_it_says_the_same(study: Path, tmp_path: Path) -> None:
    process = begin(tmp_path, *ASKED, "--workers", "2")
    assert process.stderr is not None
    for line in process.stderr:
        if line.startswith("3/"):
            break
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL and not (tmp_path / "study" / "verdict.json").exists()
    until = time.monotonic() + 60
    while (again := compared(tmp_path, *ASKED, "--workers", "2")).code and time.monotonic() < until:
        assert "another process" in again.err  # workers that have not seen yet that nobody reads them
        time.sleep(1)
    assert again.code == 0, again.err
    found, expected = (json.loads((folder / "verdict.json").read_text()) for folder in (tmp_path / "study", study))
    assert found["outputs"] == expected["outputs"] and found["recommended"] == expected["recommended"]
    assert (tmp_path / "study" / "table.csv").read_bytes() == (study / "table.csv").read_bytes()


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--seeds", "1"], "seeds: expected a whole number of 2 or more, found 1"),
        (["--seeds", "many"], "Invalid value for '--seeds'"),
        (["--balancing", "pcgard"], "pcgrad"),
        (["--losses", "price"], "--losses: expected output=loss,loss, found 'price'"),
        (["--losses", "prize=mae"], "price"),
        (["--losses", "kind=mse"], "kind"),
        (["--workers", "0"], "workers: expected a whole number of 1 or more, found 0"),
        (["outputs.kind.loss=none"], "expected two outputs or more to train, found 'price'"),
        (["split.test=0"], "split.test: expected a share above 0"),
        (["training.epoch=3"], "epochs"),
        (["--apply", "full"], "--apply full: expected a new or an empty folder"),
        (["--csv", "homes.csv"], "--csv homes.csv: expected a new file"),
    ],
)
def test_bad_input_is_told_before_anything_is_trained(
    multiloss: Command, config: Path, tmp_path: Path, words: list[str], says: str
) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "config.yaml").write_text("mine")
    before = files(tmp_path)
    outcome = multiloss("compare", config, *words, "--out", "study")
    assert outcome.code == 2 and says in outcome.err, outcome.err
    assert outcome.out == "" and "goes on" not in outcome.err and files(tmp_path) == before


def test_mistakes_are_told_at_once(multiloss: Command, config: Path) -> None:
    outcome = multiloss("compare", config, "--seeds", "1", "--balancing", "pcgard", "--losses", "prize=mae")
    assert outcome.code == 2 and all(word in outcome.err for word in ("seeds:", "pcgrad", "'price'"))


def test_a_study_of_another_configuration_is_refused(multiloss: Command, study: Path, config: Path) -> None:
    before = {path: (study / path).read_bytes() for path in files(study) if (study / path).is_file()}
    outcome = multiloss("compare", config, "--out", study)
    assert outcome.code == 1 and "another" in outcome.err and str(study) in outcome.err
    assert {path: (study / path).read_bytes() for path in files(study) if (study / path).is_file()} == before


def test_a_table_with_too_few_labels(multiloss: Command, config: Path, table: Path) -> None:
    rows = homes()
    for row in rows[3:]:
        row["price"] = ""
    write(table, rows)
    outcome = multiloss("compare", config, "--out", "study")
    assert outcome.code == 2 and "labelled rows" in outcome.err and "'price'" in outcome.err
