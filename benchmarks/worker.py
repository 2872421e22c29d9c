"""A process that keeps one peer warm and trains when asked; a line of JSON in, a line of JSON out.

Run by `benchmarks.peers`, never by hand: `python -m benchmarks.worker PEER MODEL THREADS`.
"""

from __future__ import annotations

import json
import os
import sys
from functools import partial
from typing import Protocol

from benchmarks.measure import timed
from benchmarks.tasks import TASKS, Task


class Peer(Protocol):
    """What `keras_peer` and `lightning_peer` offer."""

    version: str

    def fit(self, epochs: int) -> float: ...


def make(peer: str, task: Task, threads: int) -> Peer:
    if peer == "lightning":
        from benchmarks import lightning_peer

        return lightning_peer.Peer(task, threads)
    from benchmarks import keras_peer

    return keras_peer.Peer(task, threads)


def serve(name: str, model: str, threads: int) -> None:
    # Frameworks print to the standard output when they please; answers keep a channel of their own.
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    peer = make(name, TASKS[model](), threads)
    print(json.dumps({"version": peer.version}), file=answers)
    for line in sys.stdin:
        seconds, loss = timed(partial(peer.fit, json.loads(line)))
        print(json.dumps({"seconds": seconds, "loss": loss}), file=answers)


if __name__ == "__main__":
    serve(sys.argv[1], sys.argv[2], int(sys.argv[3]))
