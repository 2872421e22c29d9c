"""What a reader of a comparison should know before its numbers."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence

from multiloss.config.build import Experiment
from multiloss.config.schema import Config
from multiloss.core.labels import labelled

BY_SIZE = ("sgd",)
"""Optimisers whose steps grow with the gradient; all others divide by its size."""
FEW_SEEDS = 5


def notes_of(experiment: Experiment, outputs: Sequence[str], seeds: int) -> list[str]:
    """Return a sentence for everything in rows, settings and seeds that bears on what may be concluded.

    Args:
        experiment: The shared model.
        outputs: Those that it trains.
        seeds: Runs of each variant.
    """
    return [*_of_rows(experiment, outputs), *_of_settings(experiment.config), *_of_seeds(seeds)]


def _of_rows(experiment: Experiment, outputs: Sequence[str]) -> list[str]:
    train = experiment.parts["train"]
    present = {name: labelled(train.targets[name]).reshape(train.rows, -1).any(1) for name in outputs}
    counts = {name: int(own.sum()) for name, own in present.items()}
    notes = [
        f"no training row has labels of both {a} and {b}: they share the trunk, but never a row"
        for a, b in itertools.combinations(outputs, 2)
        if not (present[a] & present[b]).any()
    ]
    if min(counts.values()) < train.rows:
        own = ", ".join(f"{name} on {count:,}" for name, count in counts.items())
        notes.append(f"separate models train on the rows that have a label of theirs: {own} of {train.rows:,}")
    return notes


def _of_settings(config: Config) -> list[str]:
    training = config.training
    name = training.optimizer["name"] if isinstance(training.optimizer, Mapping) else training.optimizer
    notes = []
    if str(name).lower() in BY_SIZE:
        notes.append(
            f"the optimiser is {str(name).lower()}: loss weights and the number of losses act like a learning rate. "
            "The shared trunk moves with the weighted sum of all gradients, a separate one with its own, weight kept; "
            "a difference may come of that: compare again at other values of training.lr, or with adam"
        )
    if config.penalties or training.clip is not None:
        notes.append(
            "penalties and clipping keep their values in separate models, where they meet one loss instead of several"
        )
    if config.split.method == "time":
        notes.append(
            "rows that follow each other in time may depend on each other; intervals take them for independent"
        )
    return notes


def _of_seeds(seeds: int) -> list[str]:
    few = f"{seeds} seeds: intervals are wide, and claims are hardly to be had; {FEW_SEEDS} or more are better"
    return [few] if seeds < FEW_SEEDS else []
