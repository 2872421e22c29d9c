"""What does `watch_gradients` cost at its default? The same Trainer with and without it, paired in one run.

python -m benchmarks.watching --models energy,tickets,fashion --rounds 20
"""

from __future__ import annotations

import argparse
import json
import math
import os
import sys

from benchmarks.contenders import TrainerContender
from benchmarks.measure import alternate, checked, ratio
from benchmarks.report import machine, markdown
from benchmarks.tasks import TASKS, Task
from benchmarks.training import names

STEPS = 400  # of a fit: four looks at the default
HEADER = ["model", "steps of a fit", "watched / not", "95 % of median", "quartiles", "pairs", "load"]


def row(task: Task, rounds: int, steps: int) -> list[str]:
    """Fit both once to warm up, then pair by pair."""
    watched, plain = TrainerContender(task, 1, "auto"), TrainerContender(task, 1, "never")
    epochs = math.ceil(steps / task.steps)
    for contender in (watched, plain):
        checked(contender, 1)
    found = ratio(*alternate(watched, plain, rounds, epochs))
    looks = len(watched.trainer.history.flows) if watched.trainer.history is not None else 0
    return [
        task.name,
        f"{epochs * task.steps} ({looks} looks)",
        f"{found.median:.3f}",
        f"{found.low:.3f}-{found.high:.3f}",
        f"{found.quartile1:.3f}-{found.quartile3:.3f}",
        str(rounds),
        f"{os.getloadavg()[0]:.2f}",
    ]


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.watching", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--models", type=lambda text: names(list(TASKS), text), default=list(TASKS))
    parser.add_argument("--rounds", type=int, default=20, help="pairs of fits")
    parser.add_argument("--steps", type=int, default=STEPS, help="least steps of a fit")
    args = parser.parse_args()
    print(json.dumps(machine()))
    print(markdown(HEADER, [row(TASKS[name](), args.rounds, args.steps) for name in args.models]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
