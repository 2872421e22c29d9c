"""The configuration of one output alone: the same in everything that can be the same."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from multiloss.config.schema import Config, TrainingConfig


def alone(config: Config, name: str, hidden: list[str]) -> tuple[Config, list[str]]:
    """Return the configuration that trains one output of several, and what could not stay as it was.

    Trunk, head, loss, its weight, inputs, split and budget stay. There is nothing to balance. A key that watches
    another output becomes the loss of this one; rates and penalties of another output's head are left out.

    Args:
        config: Complete, with several outputs.
        name: The output.
        hidden: Columns that tell of other outputs, and must not be inputs.

    Returns:
        The configuration, and a sentence for each key that was changed.
    """
    others = [other for other in config.outputs if other != name]
    heads = tuple(f"heads.{other}" for other in others)
    notes: list[str] = []

    def elsewhere(part: object) -> bool:
        return str(part) in (*others, *heads) or str(part).startswith(tuple(f"{head}." for head in heads))

    penalties = [penalty for penalty in config.penalties if not elsewhere(penalty.get("on"))]
    if len(penalties) < len(config.penalties):
        notes.append(f"separate {name}: penalties on other outputs' heads are left out")
    training = _watching(config.training, name, list(config.outputs), notes)
    if isinstance(training.lr, Mapping):
        training = training.model_copy(update={"lr": {k: v for k, v in training.lr.items() if not elsewhere(k)}})
    changed = {
        "outputs": {name: config.outputs[name]},
        "inputs": {**config.inputs, **dict.fromkeys(hidden, "unused")},
        "penalties": penalties,
        "balancing": None,
        "engine": "auto",
        "training": training,
    }
    return config.model_copy(update=changed, deep=True), notes


def _watching(training: TrainingConfig, name: str, outputs: list[str], notes: list[str]) -> TrainingConfig:
    """Return the settings with every watched key one that the separate run has."""

    def own(key: str) -> str:
        plain = key.removeprefix("val_")
        about = max((output for output in outputs if plain.startswith(f"{output}_")), key=len, default=name)
        if about == name:
            return key
        instead = "val_task_loss" if key.startswith("val_") else "task_loss"
        notes.append(f"separate {name}: {instead} is watched in place of {key}")
        return instead

    changed: dict[str, Any] = {"monitor": own(training.monitor)}
    if training.early_stopping is not None:
        key = own(training.early_stopping.monitor)
        changed["early_stopping"] = training.early_stopping.model_copy(update={"monitor": key})
    if isinstance(training.lr_schedule, Mapping) and "monitor" in training.lr_schedule:
        changed["lr_schedule"] = {**training.lr_schedule, "monitor": own(training.lr_schedule["monitor"])}
    return training.model_copy(update=changed)
