"""How fast is `multiloss.Trainer`, against a hand-written loop and against other trainers, paired in one run.

python -m benchmarks.training --models energy,tickets,fashion --threads 1,2 --peers auto --json training.json
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import sys
from pathlib import Path

import torch

from benchmarks.contenders import HandLoopContender, TrainerContender
from benchmarks.measure import Contender, alternate, checked
from benchmarks.peers import NEEDS, PeerError, Worker, missing
from benchmarks.report import Comparison, machine, table
from benchmarks.tasks import TASKS, Task

BUSY = 0.5  # a load average above this before anything was started means that somebody else is computing


def compare(task: Task, threads: int, opponent: Contender, version: str, rounds: int) -> Comparison:
    """Warm both up, then time their rounds pair by pair."""
    trainer = TrainerContender(task, threads)
    first = [checked(contender, 1)[0] for contender in (trainer, opponent)]
    losses = [checked(contender, task.epochs_per_round)[1] for contender in (trainer, opponent)]
    before = os.getloadavg()[0]
    seconds = alternate(trainer, opponent, rounds, task.epochs_per_round)
    steps = task.epochs_per_round * task.steps
    trainer_ms, opponent_ms = ([1e3 * s / steps for s in each] for each in seconds)
    load = (before, os.getloadavg()[0])
    return Comparison(task.name, threads, opponent.name, version, trainer_ms, opponent_ms, *first, *losses, load)


def compare_peer(task: Task, threads: int, peer: str, rounds: int) -> Comparison:
    """Compare with a peer in a worker process, which is idle while the Trainer computes."""
    worker = Worker(peer, task, threads)
    try:
        return compare(task, threads, worker, worker.version, rounds)
    finally:
        worker.close()


def names(known: list[str], text: str) -> list[str]:
    """Split a comma-separated list and refuse what is not known."""
    found = [name.strip() for name in text.split(",") if name.strip()]
    unknown = [name for name in found if name not in known]
    if unknown or not found:
        raise argparse.ArgumentTypeError(f"expected some of {', '.join(known)}, found {text!r}")
    return found


def numbers(text: str) -> list[int]:
    """Split a comma-separated list of counts."""
    found = [int(number) for number in text.split(",")]
    if min(found) < 1:
        raise argparse.ArgumentTypeError(f"expected whole numbers above 0, found {text!r}")
    return found


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.training", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--models", type=lambda text: names(list(TASKS), text), default=list(TASKS))
    parser.add_argument("--rounds", type=int, default=20, help="pairs of rounds against the hand-written loop")
    parser.add_argument("--peer-rounds", type=int, help="pairs of rounds against each peer; half of --rounds if absent")
    parser.add_argument("--threads", type=numbers, default=[1], help="for example 1,2")
    parser.add_argument("--peers", default="auto", help=f"auto, none, or some of {', '.join(NEEDS)}")
    parser.add_argument("--json", type=Path, help="also write every pair's times here")
    args = parser.parse_args()
    if args.rounds < 2:
        parser.error(f"--rounds: expected at least 2 pairs, found {args.rounds}")
    args.peer_rounds = args.peer_rounds or max(2, args.rounds // 2)
    try:
        args.peers = (
            [] if args.peers == "none" else names(list(NEEDS), ",".join(NEEDS) if args.peers == "auto" else args.peers)
        )
    except argparse.ArgumentTypeError as error:
        parser.error(f"--peers: {error}")
    return args


def main() -> int:
    args = arguments()
    load = os.getloadavg()[0]
    print(json.dumps(machine()))
    if load > BUSY:
        print(f"load average {load:.2f} before the start: somebody else is computing, so the spread will be wide")
    absent = {peer: missing(peer) for peer in args.peers if missing(peer)}
    for peer, packages in absent.items():
        print(f"{peer}: not installed (no {', '.join(packages)}), so not measured")
    comparisons: list[Comparison] = []
    failed: dict[str, str] = {}
    for task in (TASKS[name]() for name in args.models):
        for threads in args.threads:
            comparisons.append(compare(task, threads, HandLoopContender(task, threads), torch.__version__, args.rounds))
            _say(comparisons[-1])
            for peer in (peer for peer in args.peers if peer not in absent):
                try:
                    comparisons.append(compare_peer(task, threads, peer, args.peer_rounds))
                    _say(comparisons[-1])
                except PeerError as error:
                    failed[f"{task.name}, {threads} threads, {peer}"] = str(error)
                    print(f"{task.name}, {threads} threads: {error}", file=sys.stderr)
    print("\n" + table(comparisons))
    if args.json:
        record = {
            "machine": machine(),
            "load_before": load,
            "not_installed": absent,
            "failed": failed,
            "comparisons": [
                dataclasses.asdict(found) | {"ratio_of": found.label, "ratio": dataclasses.asdict(found.ratio)}
                for found in comparisons
            ],
        }
        args.json.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    return 1 if failed else 0


def _say(found: Comparison) -> None:
    ratio = found.ratio
    print(
        f"{found.task}, {found.threads} thread{'s' if found.threads > 1 else ''}: {found.label} = {ratio.median:.3f} "
        f"(95 % of the median {ratio.low:.3f} to {ratio.high:.3f}, {len(found.trainer_ms)} pairs)",
        flush=True,
    )


if __name__ == "__main__":
    sys.exit(main())
