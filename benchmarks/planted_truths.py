"""Does `multiloss compare` find what is true? Whole studies of tables whose truth is known by construction.

python -m benchmarks.planted_truths --repeats 20 --workers 2

Every study has rows of its own, is trained and judged by the code of the command, with 5 seeds if nothing else is said,
and is right if all that is said of the shared model is.

* helps: one signal, tanh of 40 inputs, stands behind both outputs, each with noise of its own, and a trunk of one unit
  holds it. y1 has 200 labelled rows to learn it from, y2 has 400. Right: y1 better, y2 not worse.
* size: the same with 20 inputs, 300 rows for each and a trunk of 10 units, which fits the noise. Half the units for
  each output do as well as all units for both. Right: both better, and it may be the size (12 seeds).
* hurts: y1 = tanh(a + b) + tanh(c + d), y2 = tanh(a - b) + tanh(c - d), b and d a fifth as strong, and a trunk of two
  units. Each output needs both units, and wants b and d in opposite directions. Right: both worse, and it may be the
  size, because one unit for each is no better (7 seeds).
* nothing: a trunk that does not learn. Each of two outputs is then a linear model of random features, whose
  parameters no other output touches: its errors come from one distribution, shared or separate. The separate runs have
  seeds of their own; with those of the shared ones y1 would be compared with itself. Right: no difference on any.
* same: the shared configuration, on a trunk that learns, with 10 seeds; five play shared, five separate. Right: no
  difference on any.

What is there must be found in 19 of 20 studies. Where nothing is, at most 5 % of studies may claim something. Of the
200 studies of `same`, 17 may: a procedure that claims something in 5 % exceeds that with a chance of 1.2 %; one of 10 %
does with 72 %, of 12 % with 93 %, of 15 % with 99.6 %. Of the 60 of `nothing`, 7 may: 5 % exceeds with 1 %, 20 % with
93 %, 30 % with 99.9 %.

The table of `same` is no easy one: what a seed moves in all rows is most of the variance of a difference. A plain test
that takes seeds times rows for independent samples claims something in 110 of its 200 studies, one over the rows' means
in 117. The command counts both beside its own claims.

What these two cannot show: a choice of rows that favours one side. Both sides have one distribution on every row, so
that no row is better for one in all seeds, and a test over the seeds' means passes. Simulations in
tests/studies/test_statistics.py cover it.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import multiprocessing
import os
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from statistics import median
from typing import Any

from benchmarks.planted.study import LEVEL, study
from benchmarks.planted.truths import TRUTHS
from benchmarks.report import markdown

RARE = 0.02
"""How rarely a right procedure may fail a bound by chance."""


def at_least(repeats: int, chance: float) -> int:
    """Return how many of so many repeats must be right: fewer come with a chance below `RARE`."""
    below = 0.0
    for right in range(repeats + 1):
        below += math.comb(repeats, right) * chance**right * (1 - chance) ** (repeats - right)
        if below >= RARE:
            return right
    return repeats


def judged(name: str, asked: int, pool: ProcessPoolExecutor) -> dict[str, Any]:
    """Return how often the studies of one truth are right."""
    truth = TRUTHS[name]
    repeats = truth.times * asked
    found = list(pool.map(study, [name] * repeats, range(repeats)))
    wrong = {str(i): dict(own.says) for i, own in enumerate(found) if not own.is_right(truth)}
    # what is there is found in 19 of 20; where nothing is, the level lets one in 20 studies claim something
    needed = math.ceil(0.95 * repeats) if truth.null is None else at_least(repeats, 1 - LEVEL)
    return {
        "truth": name, "right": repeats - len(wrong), "repeats": repeats, "needed": needed,
        "gains": {output: round(median(own.gains[output] for own in found), 1) for output in truth.right},
        "cells": sum(own.cells for own in found), "rows": sum(own.rows for own in found),
        "seconds": round(median(own.seconds for own in found), 1), "wrong": wrong,
    }  # fmt: skip


def _row(own: dict[str, Any]) -> list[str]:
    truth = TRUTHS[own["truth"]]
    right = ", ".join(f"{output} {' or '.join(said)}" for output, said in truth.right.items())
    gains = ", ".join(f"{gain:g}" for gain in own["gains"].values())
    plain = ["", ""] if truth.null is None else [str(own["cells"]), str(own["rows"])]
    counts = [str(own[key]) for key in ("right", "repeats", "needed")]
    return [own["truth"], right, *counts, gains, *plain, str(own["seconds"])]


HEADER = [
    "truth", "right", "is said in", "of", "needed", "median gain, %", "claims of a test over cells", "over rows",
    "s a study",
]  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.planted_truths", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("--repeats", type=int, default=20, help="studies of each truth; same: 10 times, nothing: 3")
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
    print(markdown(HEADER, [_row(own) for own in found]))
    print(f"{time.perf_counter() - began:.0f} s in all")
    return int(any(own["right"] < own["needed"] for own in found))


if __name__ == "__main__":
    sys.exit(main())
