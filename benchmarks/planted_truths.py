"""Does `multiloss compare` find what is true? Tables whose truth is known by construction, 20 studies of each.

python -m benchmarks.planted_truths --repeats 20 --workers 2

* helps: one signal, tanh(2 w x) of 12 inputs, stands behind both outputs, each with noise of its own. y1 has 24
  labelled rows to learn it from, y2 has 120, the losses weigh as their labels, and a trunk of two units holds the
  signal. Right: `better` on y1.
* hurts: y1 = a + b and y2 = a - b of two inputs a (twice as strong) and b, and a trunk of one unit. Shared it can hold
  a alone, because the outputs want b in opposite directions; separate, each holds its own. Right: `worse` on both.
* nothing: a trunk that does not learn, and the last epoch is kept. Each of three outputs is then a linear model of
  random features, whose parameters no other output touches: its errors come from one distribution, shared or separate.
  Right: no difference on any; each study may claim one wrongly with a chance of 5 %.

Only the verdict on the shared model counts. A study trains every variant that `multiloss compare` does, with 5 seeds.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import logging
import math
import multiprocessing
import os
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.report import markdown

SEEDS = 5
LEVEL = 0.05
RARE = 0.02
"""How rarely a right procedure may fail a bound by chance."""
Columns = dict[str, np.ndarray]


@dataclass(frozen=True)
class Truth:
    """A kind of table, the model that is trained on it, and what is right to say."""

    columns: Callable[[np.random.Generator], Columns]
    right: dict[str, str]
    trunk: list[int]
    training: dict[str, Any]
    held_out: tuple[float, float]
    """Shares of the rows for validation and for test."""
    weights: dict[str, float] = field(default_factory=dict)


def helps(draw: np.random.Generator) -> Columns:
    inputs, direction = draw.normal(size=(2000, 12)), draw.normal(size=12)
    signal = np.tanh(2 * inputs @ direction / np.linalg.norm(direction))
    outputs = signal[:, None] + 0.3 * draw.normal(size=(2000, 2))
    outputs[np.arange(2000) % 5 > 0, 0] = np.nan
    return _named(inputs, outputs)


def hurts(draw: np.random.Generator) -> Columns:
    inputs = draw.normal(size=(400, 2))
    a, b = 2 * inputs[:, 0], inputs[:, 1]
    return _named(inputs, np.stack([a + b, a - b], 1) + 0.3 * draw.normal(size=(400, 2)))


def nothing(draw: np.random.Generator) -> Columns:
    inputs, directions = draw.normal(size=(400, 4)), draw.normal(size=(4, 3))
    return _named(inputs, inputs @ directions + draw.normal(size=(400, 3)))


def _named(inputs: np.ndarray, outputs: np.ndarray) -> Columns:
    named = {f"x{i}": column for i, column in enumerate(inputs.T)}
    return named | {f"y{i}": column for i, column in enumerate(outputs.T, 1)}


FROZEN = {"epochs": 15, "lr": {"trunk": 0.0, "default": 0.02}, "batch_size": 16, "keep": "last"}
TRUTHS = {
    "helps": Truth(helps, {"y1": "better"}, [2], {"epochs": 40, "lr": 0.05, "batch_size": 8}, (0.14, 0.8), {"y1": 0.2}),
    "hurts": Truth(
        hurts, dict.fromkeys(("y1", "y2"), "worse"), [1], {"epochs": 25, "lr": 0.05, "batch_size": 16}, (0.2, 0.5)
    ),
    "nothing": Truth(nothing, dict.fromkeys(("y1", "y2", "y3"), "no difference"), [16], FROZEN, (0.2, 0.5)),
}


def claims(name: str, repeat: int) -> tuple[dict[str, str], float]:
    """Return what a study claims of the outputs of the shared model, and the seconds it took."""
    import polars as pl

    from multiloss.config.load import read_config
    from multiloss.studies.evidence import compare_variants, flow_facts
    from multiloss.studies.runner import run_plan
    from multiloss.studies.variants import SHARED, compare_plan
    from multiloss.studies.verdict import judge

    logging.disable(logging.WARNING)
    truth, began = TRUTHS[name], time.perf_counter()
    with tempfile.TemporaryDirectory() as scratch:
        table = Path(scratch) / "table.csv"
        draw = np.random.default_rng([list(TRUTHS).index(name), repeat])
        frame = pl.DataFrame(truth.columns(draw))
        frame.fill_nan(None).write_csv(table)
        validation, test = truth.held_out
        raw = {
            "table": str(table),
            "outputs": {
                name: {"kind": "regression", "metrics": ["mse"], "weight": truth.weights.get(name, 1.0)}
                for name in frame.columns
                if name[0] == "y"
            },
            "split": {"validation": validation, "test": test},
            "model": {"trunk": truth.trunk, "activation": "tanh"},
            "training": truth.training,
        }
        plan = compare_plan(read_config(raw, name, ()), seeds=SEEDS)
        runs = run_plan(plan, Path(scratch) / "study")
        verdict = judge(compare_variants(plan, runs, "test"), flow=flow_facts(runs))
    return {own.output: own.claim for own in verdict.outputs if own.variant == SHARED}, time.perf_counter() - began


def at_least(repeats: int, chance: float) -> int:
    """Return how many of so many repeats must be right: fewer come with a chance below `RARE`.

    Of 20 repeats that are each right with a chance of 95 % it is 17.
    """
    below = 0.0
    for right in range(repeats + 1):
        below += math.comb(repeats, right) * chance**right * (1 - chance) ** (repeats - right)
        if below >= RARE:
            return right
    return repeats


def judged(name: str, repeats: int, pool: ProcessPoolExecutor) -> dict[str, Any]:
    """Return how often the studies of one truth are right."""
    truth = TRUTHS[name]
    found = list(pool.map(claims, [name] * repeats, range(repeats)))
    wrong = {str(i): said for i, (said, _) in enumerate(found) if not truth.right.items() <= said.items()}
    # what is there is found in 19 of 20; where nothing is, the level lets one in 20 studies claim something
    needed = at_least(repeats, 1 - LEVEL) if name == "nothing" else math.ceil(0.95 * repeats)
    seconds = sorted(spent for _, spent in found)[repeats // 2]
    return {
        "truth": name, "right": repeats - len(wrong), "repeats": repeats, "needed": needed,
        "seconds": round(seconds, 1), "wrong": wrong,
    }  # fmt: skip


def _said(name: str) -> str:
    return ", ".join(f"{output} {claim}" for output, claim in TRUTHS[name].right.items())


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.planted_truths", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("--repeats", type=int, default=20, help="studies of each truth")
    parser.add_argument("--workers", type=int, default=1, help="studies side by side")
    parser.add_argument("--truths", type=lambda text: text.split(","), default=list(TRUTHS), help=", ".join(TRUTHS))
    args = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"
    began = time.perf_counter()
    with contextlib.ExitStack() as stack:
        context = multiprocessing.get_context("spawn")
        pool = stack.enter_context(ProcessPoolExecutor(args.workers, mp_context=context))
        found = [judged(name, args.repeats, pool) for name in args.truths]
    for own in found:
        print(json.dumps(own))
    rows = [
        [own["truth"], _said(own["truth"]), *(str(own[key]) for key in ("right", "repeats", "needed", "seconds"))]
        for own in found
    ]
    print(markdown(["truth", "right verdict", "right", "of", "needed", "s a study"], rows))
    print(f"{time.perf_counter() - began:.0f} s in all")
    return int(any(own["right"] < own["needed"] for own in found))


if __name__ == "__main__":
    sys.exit(main())
