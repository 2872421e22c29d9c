"""One study of a planted table: trained and judged by the code of the command."""

from __future__ import annotations

import logging
import math
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import NormalDist
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.planted.truths import TRUTHS, VALIDATION, Truth

if TYPE_CHECKING:
    from multiloss.studies.evidence import Held
    from multiloss.studies.plan import Plan, PlannedRun
    from multiloss.studies.runner import DoneRun

BY_SIZE = "it may be the size, not the sharing"
LEVEL = 0.05


@dataclass(frozen=True)
class Studied:
    """What a study says of the shared model.

    Attributes:
        says: The claim on each output, `, by size` behind it where the verdict says that it may be that.
        gains: Of each output, in percent of the separate models' error.
        cells, rows: Whether a plain test that takes seeds times rows for so many samples, or the rows' means over
            seeds, would claim something.
    """

    says: Mapping[str, str]
    gains: Mapping[str, float]
    cells: bool
    rows: bool
    seconds: float

    def is_right(self, truth: Truth) -> bool:
        return all(said in truth.right[output] for output, said in self.says.items())


def study(name: str, repeat: int) -> Studied:
    """Train and judge one study, on rows of its own."""
    from multiloss.studies.evidence import Held, compare_variants, flow_facts
    from multiloss.studies.variants import NARROW, SHARED
    from multiloss.studies.verdict import judge

    logging.disable(logging.WARNING)
    truth, began = TRUTHS[name], time.perf_counter()
    with tempfile.TemporaryDirectory() as scratch:
        raw = _configuration(truth, np.random.default_rng([list(TRUTHS).index(name), repeat]), Path(scratch))
        plan, runs = _trained(truth, raw, Path(scratch) / "study")
        held = Held(plan, runs, "test")
        verdict = judge(
            compare_variants(plan, runs, "test"),
            flow=flow_facts(runs),
            sizes=held.against(NARROW, [SHARED]).get(SHARED, {}),
        )
        differences = _differences(held)
    shared = {own.output: own for own in verdict.outputs if own.variant == SHARED}
    if shared.keys() != truth.right.keys():
        raise RuntimeError(f"{name} {repeat}: expected a verdict on {[*truth.right]}, found {[*shared]}")
    return Studied(
        says={output: own.claim + (", by size" if BY_SIZE in own.sentence else "") for output, own in shared.items()},
        gains={output: own.gain.mean for output, own in shared.items()},
        cells=_plain_claim([own.ravel() for own in differences]),
        rows=_plain_claim([own.mean(0) for own in differences]),
        seconds=time.perf_counter() - began,
    )


def _configuration(truth: Truth, draw: np.random.Generator, scratch: Path) -> dict[str, Any]:
    import polars as pl

    table = scratch / "table.csv"
    frame = pl.DataFrame(truth.columns(draw, truth.total))
    frame.fill_nan(None).write_csv(table)
    return {
        "table": str(table),
        "outputs": {
            output: {"kind": "regression", "metrics": ["mse"], "weight": truth.weights.get(output, 1.0)}
            for output in truth.right
        },
        "split": {"validation": VALIDATION / truth.total, "test": truth.rows[1] / truth.total},
        "model": {"trunk": truth.trunk, "activation": "tanh"},
        "training": truth.training,
    }


def _trained(truth: Truth, raw: dict[str, Any], folder: Path) -> tuple[Plan, list[DoneRun]]:
    """Return the plan and the runs that the command would have; of a null truth, those that make it one."""
    from multiloss.config.load import read_config
    from multiloss.studies.runner import run_plan
    from multiloss.studies.variants import SEPARATE, SHARED, compare_plan

    config = read_config(raw, "planted", ())
    if truth.null is None:
        plan = compare_plan(config, seeds=truth.seeds)
        return plan, run_plan(plan, folder)
    if truth.null == "own seeds":
        plan = _with_own_seeds(compare_plan(config, seeds=truth.seeds), truth.seeds)
        return plan, run_plan(plan, folder)
    plan = compare_plan(config, seeds=2 * truth.seeds)
    plan = replace(
        plan,
        runs=tuple(run for run in plan.runs if run.variant == SHARED),
        settings={**plan.settings, "variants": [SHARED, SEPARATE]},
    )
    return plan, [_relabelled(run, truth.seeds) for run in run_plan(plan, folder)]


def _with_own_seeds(plan: Plan, seeds: int) -> Plan:
    """Return the plan with seeds in the separate runs that no shared run has."""
    from multiloss.studies.variants import SHARED

    def other(run: PlannedRun) -> PlannedRun:
        training = run.config.training.model_copy(update={"seed": run.seed + seeds})
        return replace(run, config=run.config.model_copy(update={"training": training}))

    return replace(plan, runs=tuple(run if run.variant == SHARED else other(run) for run in plan.runs))


def _relabelled(run: DoneRun, seeds: int) -> DoneRun:
    """Return a shared run, from a seed on as if it were one of the separate models."""
    from multiloss.studies.variants import SEPARATE

    own = run.planned
    return run if own.seed < seeds else replace(run, planned=replace(own, variant=SEPARATE, seed=own.seed - seeds))


def _differences(held: Held) -> list[np.ndarray]:
    """Return shared minus separate of each output, `[seeds, labelled rows]`; refused where a run is its own rival."""
    from multiloss.studies.variants import SEPARATE, SHARED

    found = []
    for output in held.scores[SHARED]:
        a, b = held.pair(SHARED, SEPARATE, output, held.seeds(SHARED, SEPARATE, [output]))
        difference = (a - b)[:, ~np.isnan(a[0])]
        if not difference.any(1).all():
            raise RuntimeError(f"{output}: expected scores that differ in every seed, found equal ones")
        found.append(difference)
    return found


def _plain_claim(samples: Sequence[np.ndarray]) -> bool:
    """Return whether a test of any output's mean, corrected for their number, claims a difference."""
    far = NormalDist().inv_cdf(1 - LEVEL / 2 / len(samples))
    return any(abs(own.mean()) > far * own.std(ddof=1) / math.sqrt(own.size) for own in samples)
