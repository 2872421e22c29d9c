"""Everything that the page of a comparison shows, as plain values."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np

from multiloss.core.run_files import CONFIG, finite, read_run_json
from multiloss.studies.compared import Compared
from multiloss.studies.evidence import measure_of
from multiloss.studies.method import method
from multiloss.studies.plan import Plan
from multiloss.studies.runner import DoneRun
from multiloss.studies.scores import Scores, held_out_scores, over_seeds
from multiloss.studies.study_folder import RUNS
from multiloss.studies.table import curves
from multiloss.studies.variants import SHARED

REPORT = "report.html"


def study_data(compared: Compared) -> dict[str, Any]:
    """Return what `multiloss.report.study` draws.

    Args:
        compared: A comparison that is done.

    Returns:
        Plain values without NaN, which go through JSON:
        `name`, `folder`, `settings` (of the plan), `verdict`, `costs` (by variant);
        `measures`: by output the score by which it is judged;
        `runs`: each with its `link`, relative to the study's folder: its report where it has one, else its folder;
        `scores`: by output, measure and variant on the test rows: mean, interval over seeds, and `seeds`, pairs of a
        seed and its value;
        `trivial`: the same measures of the trivial prediction, by output;
        `delta_m`: by variant, over seeds; absent where a baseline is 0;
        `curves`: median and quartiles over seeds by output, measure, part and variant, runs that diverged left out;
        `method`: how it was tested, as pairs of a question and its rule;
        `commands` and `config`: how to repeat it.

    Raises:
        RunError: If a run's folder is damaged.
    """
    plan, scores = compared.plan, held_out_scores(compared.table)
    found = {
        "name": compared.folder.resolve().name,
        "folder": str(compared.folder.resolve()),
        "settings": plan.settings,
        "measures": {output: measure_of(plan, output) for output in plan.settings["outputs"]},
        "verdict": compared.verdict.to_dict(),
        "costs": {variant: cost.to_dict() for variant, cost in compared.costs.items()},
        "runs": [_run(run, compared.folder) for run in compared.runs],
        "scores": [
            {
                "output": output,
                "measure": measure,
                "variant": variant,
                **over_seeds(list(own.values())),
                "seeds": sorted(own.items()),
            }
            for (output, measure, variant), own in scores.items()
        ],
        "trivial": _trivial(compared.runs),
        "delta_m": {variant: asdict(own) for variant, own in compared.delta_m.items()},
        "curves": _curves(compared, scores),
        "method": method(compared),
        "commands": _commands(plan),
        "config": _config(compared),
    }
    plain: dict[str, Any] = finite(found)
    return plain


def _run(run: DoneRun, folder: Path) -> dict[str, Any]:
    planned = run.planned
    page = REPORT if (run.folder / REPORT).is_file() else ""
    own = {"name": planned.name, "variant": planned.variant, "outputs": list(planned.outputs), "seed": planned.seed}
    return {**own, "link": quote(f"{RUNS}/{planned.name}/{page}"), "problem": run.problem}


def _trivial(runs: Sequence[DoneRun]) -> dict[str, dict[str, float | None]]:
    """Return what the prediction that learned nothing scores: the same in every run, but for losses."""
    found: dict[str, dict[str, float | None]] = {}
    for run in runs:
        missing = [output for output in run.planned.outputs if output not in found]
        if run.problem is None and missing:
            test = read_run_json(run.folder)["test"]
            for output in missing:
                found[output] = {measure: own["baseline"] for measure, own in test[output].items()}
    return found


def _curves(compared: Compared, scores: Scores) -> list[dict[str, Any]]:
    good = [run for run in compared.runs if run.problem is None]
    cells: dict[tuple[str, str], dict[int, list[float]]] = {}
    for row in curves(good).iter_rows(named=True):
        # by run and key; one seed of `separate` is several runs, and an output stands in one of them
        if row["value"] is not None:
            cells.setdefault((row["variant"], row["key"]), {}).setdefault(row["epoch"], []).append(row["value"])
    return [
        {"output": output, "measure": measure, "part": part, "variant": variant, **_band(epochs)}
        for output, measure, variant in scores
        for part, prefix in (("validation", "val_"), ("train", ""))
        if (epochs := cells.get((variant, f"{prefix}{output}_{measure}")))
    ]


def _band(epochs: dict[int, list[float]]) -> dict[str, Any]:
    order = sorted(epochs)
    low, middle, high = zip(*(np.quantile(epochs[epoch], [0.25, 0.5, 0.75]).tolist() for epoch in order), strict=True)
    counts = [len(values) for values in epochs.values()]
    ends = {"seeds": max(counts), "fewest": min(counts)}
    return {"epochs": order, "low": list(low), "median": list(middle), "high": list(high), **ends}


def _commands(plan: Plan) -> dict[str, str]:
    """Return what repeats the study, and one run of it, from within its folder."""
    own, asked = plan.settings, plan.settings["asked"]
    shared = next(run for run in plan.runs if run.variant == SHARED)
    config = shlex.quote(f"{RUNS}/{shared.name}/{CONFIG}")
    words = ["multiloss compare", config]
    training = shared.config.training  # of its first run: the seed and the threads are the study's
    words += [f"training.{key}={asked[key]}" for key in ("seed", "threads") if asked[key] != getattr(training, key)]
    words.append(f"--seeds {own['seeds']}")
    words += [f"--balancing {shlex.quote(','.join(asked['balancing']))}"] if asked["balancing"] else []
    losses = [f"{name}={','.join(given)}" for name, given in asked["losses"].items() if given]
    words += [f"--losses {shlex.quote(text)}" for text in losses]
    return {"study": " ".join([*words, "--out again"]), "run": f"multiloss fit {config}"}


def _config(compared: Compared) -> str:
    """Return the configuration of the shared model."""
    shared = next(run for run in compared.plan.runs if run.variant == SHARED)
    return shared.config.to_yaml()
