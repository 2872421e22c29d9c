"""From a configuration to the parts of a run: plans, model, objective, callbacks, and the complete configuration."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from multiloss.config.checks import BY_LABELS, lr_schedules
from multiloss.config.schema import Config, OutputConfig
from multiloss.core.errors import ConfigError, nearest
from multiloss.data.columns import OutputColumn
from multiloss.data.plan import ColumnPlan
from multiloss.data.schema import TableSchema
from multiloss.nn.hard_sharing import HardSharing
from multiloss.objective.defaults import default_losses, default_metrics
from multiloss.objective.losses import balanced_class_weight
from multiloss.objective.objective import Objective
from multiloss.training.callbacks import BestCheckpoint, Callback, EarlyStopping, LRSchedule
from multiloss.training.checkpoint import seeded
from multiloss.training.tables import build_table_model
from multiloss.training.trainer import Trainer


def complete(config: Config, plans: Iterable[ColumnPlan], schema: TableSchema, targets: Mapping[str, Tensor]) -> Config:
    """Return the configuration with everything that was inferred written out, so that it stands without the table.

    Args:
        config: What the user wrote.
        plans: What each column is used for.
        schema: Of the training rows.
        targets: Of the training rows, for class weights found from them.

    Raises:
        ConfigError: If a class weight names a class that does not exist, or fits no output of this kind.
    """
    inputs = {plan.name: plan.kind for plan in plans if plan.role in ("input", "unused")}
    problems: list[str] = []
    outputs = {
        output.name: _completed(config.outputs[output.name], output, targets[output.name], problems)
        for output in schema.outputs
    }
    if problems:
        raise ConfigError(problems)
    return config.model_copy(update={"inputs": inputs, "outputs": outputs}, deep=True)


def _completed(own: OutputConfig, output: OutputColumn, target: Tensor, problems: list[str]) -> OutputConfig:
    kinds = {output.name: output.kind}
    loss = own.loss if own.loss is not None else default_losses(kinds)[output.name]
    metrics = own.metrics if own.metrics is not None else default_metrics(kinds)[output.name]
    if isinstance(loss, Mapping) and "class_weight" in loss:
        loss = {**loss, "class_weight": _class_weight(loss["class_weight"], output, target, problems)}
    return own.model_copy(update={"kind": output.kind, "loss": loss, "metrics": metrics})


def _class_weight(given: Any, output: OutputColumn, target: Tensor, problems: list[str]) -> Any:
    where = f"outputs.{output.name}.loss.class_weight"
    if given is not None and output.kind not in ("multiclass", "ordinal"):
        problems.append(f"{where}: expected an output of several classes, found {output.kind}; leave it out")
        return None
    if given == BY_LABELS:
        return balanced_class_weight(target, output.size)
    if isinstance(given, Mapping):
        unknown = [name for name in given if name not in output.classes]
        problems += [f"{where}: unknown class {name!r}. {nearest(name, output.classes)}" for name in unknown]
        return [float(given.get(name, 1.0)) for name in output.classes]
    return given


def build_objective(config: Config) -> Objective:
    """Return the objective of a complete configuration."""
    own = config.outputs
    return Objective(
        {name: None if output.loss == "none" else output.loss for name, output in own.items()},
        loss_weights={name: output.weight for name, output in own.items() if output.loss != "none"},
        metrics={name: output.metrics or [] for name, output in own.items()},
        penalties=config.penalties,
        reduction=config.reduction,
    )


def build_model(config: Config, schema: TableSchema) -> HardSharing:
    """Return the model of a configuration, its start decided by the seed."""
    model = config.model
    with seeded(config.training.seed):
        return build_table_model(
            schema,
            trunk=model.trunk,
            heads={name: output.head for name, output in config.outputs.items()},
            activation=model.activation,
            dropout=model.dropout,
            norm=model.norm,
        )


def build_callbacks(config: Config, validation: bool) -> tuple[list[Callback], BestCheckpoint | None]:
    """Return what watches the fit, and what remembers the best epoch, if something does.

    Args:
        config: The configuration.
        validation: Whether there are validation rows; without them no key that begins with `val_` exists.
    """
    training = config.training
    callbacks: list[Callback] = []
    best = None
    if training.keep == "best" and (validation or not training.monitor.startswith("val_")):
        # The checkpoint must hold the last epoch, for a fit that goes on; so the best is put back after it.
        best = BestCheckpoint(training.monitor, restore=False)
        callbacks.append(best)
    if training.early_stopping is not None:
        own = training.early_stopping
        callbacks.append(EarlyStopping(own.monitor, patience=own.patience, min_delta=own.min_delta, mode=own.mode))
    if training.lr_schedule is not None:
        callbacks.append(_lr_schedule(training.lr_schedule))
    return callbacks, best


def _lr_schedule(given: Any) -> LRSchedule:
    options = dict(given) if isinstance(given, Mapping) else {"name": given}
    kind = lr_schedules()[options.pop("name")]
    interval, monitor = options.pop("interval", "epoch"), options.pop("monitor", "val_task_loss")

    def make(optimizer: torch.optim.Optimizer) -> Any:
        try:
            return kind(optimizer, **options)
        except (TypeError, ValueError) as error:
            raise ConfigError([f"training.lr_schedule: {kind.__name__}: {error}"]) from error

    return LRSchedule(make, interval=interval, monitor=monitor)


def orders(config: Config) -> dict[str, Sequence[object]]:
    """Return the classes of the outputs whose order was given."""
    return {name: output.classes for name, output in config.outputs.items() if output.classes is not None}


def build_trainer(
    config: Config, model: HardSharing, callbacks: Sequence[Any] = (), out: Path | None = None, progress: bool = False
) -> Trainer:
    """Return the trainer of a complete configuration."""
    training = config.training
    return Trainer(
        model,
        build_objective(config),
        balancing=config.balancing,
        engine=config.engine,
        watch_gradients=training.watch_gradients,
        optimizer=training.optimizer,
        lr=training.lr,
        clip=training.clip,
        callbacks=callbacks,
        device=training.device,
        precision=training.precision,
        trackers=training.trackers if out is not None else (),
        threads=training.threads,
        on_nonfinite=training.on_nonfinite,
        out=out,
        checkpoint_seconds=training.checkpoint_seconds,
        progress=progress,
    )
