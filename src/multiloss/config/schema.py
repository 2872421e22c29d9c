"""The configuration of a run: every key, its default and its meaning."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from multiloss.config import checks
from multiloss.config.yaml_text import to_yaml
from multiloss.core.types import Kind

Mode = Literal["auto", "min", "max"]
Width = Annotated[int, Field(ge=1)]
Share = Annotated[float, Field(ge=0, lt=1)]


class Part(BaseModel):
    """Base of every part: no other keys, and no guesses at types."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)


class OutputConfig(Part):
    """One output."""

    kind: Annotated[Kind | None, Field(description="what it predicts; null: inferred from the column")] = None
    loss: Annotated[
        Any,
        BeforeValidator(checks.loss),
        Field(description="a name or {name: huber, delta: 2.0}; null: by kind; none: untrained"),
    ] = None
    weight: Annotated[
        Any,
        BeforeValidator(checks.weight),
        Field(description="a factor or {schedule: ramp, start: 0, end: 1, epochs: 10}"),
    ] = 1.0
    metrics: Annotated[
        list[Annotated[str, BeforeValidator(checks.metric)]] | None,
        Field(description="names of metrics, in the column's units; null: by kind"),
    ] = None
    head: Annotated[list[Width], Field(description="widths of layers of its own before its last one")] = []
    classes: Annotated[
        list[str] | None,
        BeforeValidator(checks.texts),
        Field(description="classes in order, a positive one last; null: sorted"),
    ] = None


class SplitConfig(Part):
    """Which rows are for training, validation and test."""

    method: Annotated[Literal["row", "group", "time"], Field(description="row, group or time")] = "row"
    column: Annotated[str | None, Field(description="the group or the time of a row")] = None
    validation: Annotated[Share, Field(description="share of the rows, 0 for none")] = 0.15
    test: Annotated[Share, Field(description="share of the rows, 0 for none")] = 0.15
    seed: Annotated[int | None, Field(ge=0, description="decides which rows; null: training.seed")] = None
    outputs: Annotated[
        dict[str, Kind] | None,
        Field(description="kinds of the columns whose labels every part gets its share of; null: the outputs"),
    ] = None

    @model_validator(mode="after")
    def _fits(self) -> SplitConfig:
        if self.validation + self.test >= 1:
            raise ValueError(f"expected validation + test below 1, found {self.validation + self.test:g}")
        if (self.method == "row") != (self.column is None):
            raise ValueError(
                f"expected a column for method group or time alone, found {self.column!r} for {self.method}"
            )
        return self


class ModelConfig(Part):
    """The model: table columns, encoded, through one trunk to every head."""

    trunk: Annotated[list[Width], Field(description="widths of the layers that all outputs share")] = [128, 128]
    activation: Annotated[str, BeforeValidator(checks.activation), Field(description="between layers")] = "relu"
    dropout: Annotated[Share, Field(description="of hidden values, while training")] = 0.0
    norm: Annotated[Literal["batch", "layer"] | None, Field(description="batch, layer or null")] = None


class EarlyStoppingConfig(Part):
    """When to stop before the last epoch."""

    monitor: Annotated[str, Field(description="a key of history.jsonl")] = "val_task_loss"
    patience: Annotated[int, Field(ge=1, description="epochs without improvement")] = 10
    min_delta: Annotated[float, Field(ge=0, description="change that counts as improvement")] = 0.0
    mode: Annotated[Mode, Field(description="direction; auto: from the key")] = "auto"


class TrainingConfig(Part):
    """How the model is trained."""

    optimizer: Annotated[
        Any, BeforeValidator(checks.optimizer), Field(description="a name, or {name: sgd, momentum: 0.9}")
    ] = "adam"
    lr: Annotated[
        Any, BeforeValidator(checks.learning_rate), Field(description="one rate, or {trunk: 0.0001, default: 0.001}")
    ] = 0.001
    epochs: Annotated[int, Field(ge=1, description="passes over the training rows")] = 50
    batch_size: Annotated[int, Field(ge=1, description="rows in a batch")] = 32
    seed: Annotated[int, Field(ge=0, description="decides start, order and dropout, and the split")] = 0
    clip: Annotated[float | None, Field(gt=0, description="largest norm of the gradient, or null")] = None
    early_stopping: Annotated[
        EarlyStoppingConfig | None, Field(description="null, or {monitor: val_task_loss, patience: 10}")
    ] = None
    keep: Annotated[Literal["best", "last"], Field(description="which epoch's model is kept: best or last")] = "best"
    monitor: Annotated[str, Field(description="the key that says which epoch is best")] = "val_task_loss"
    lr_schedule: Annotated[
        Any,
        BeforeValidator(checks.lr_schedule),
        Field(description="null or one of torch: {name: CosineAnnealingLR, T_max: 50}"),
    ] = None
    threads: Annotated[
        Any, BeforeValidator(checks.threads), Field(description="auto: by the size of the model; or a number")
    ] = "auto"
    device: Annotated[str, Field(description="auto, cpu, cuda, cuda:1, ...")] = "auto"
    precision: Annotated[Literal["no", "bf16", "fp16"], Field(description="no (float32), bf16 or fp16")] = "no"
    trackers: Annotated[
        list[Literal["tensorboard", "wandb", "mlflow"]], Field(description="tensorboard, wandb, mlflow")
    ] = []
    on_nonfinite: Annotated[
        Literal["raise", "skip"], Field(description="what to do at NaN: raise, or skip the loss in that step")
    ] = "raise"
    watch_gradients: Annotated[
        str,
        BeforeValidator(checks.watch_gradients),
        Field(description="when to see which loss moves the trunk: auto, never or every 100 steps"),
    ] = "auto"
    checkpoint_seconds: Annotated[float, Field(ge=0, description="time between two checkpoints")] = 30.0


class Config(Part):
    """Everything that decides a run.

    Examples:
        >>> config = Config(table="homes.csv", outputs={"price": OutputConfig(loss="huber")})
        >>> config.outputs["price"].weight, config.training.batch_size
        (1.0, 32)
    """

    table: Annotated[str, Field(description="CSV or Parquet, relative to this file")]
    outputs: Annotated[
        dict[Annotated[str, BeforeValidator(checks.output_name)], OutputConfig],
        BeforeValidator(checks.outputs),
        Field(description="columns to predict: {price: {loss: huber}} or a list"),
    ]
    inputs: Annotated[
        Any,
        BeforeValidator(checks.inputs),
        Field(description="null: all others; a list; or {column: number, category or unused}"),
    ] = None
    split: Annotated[SplitConfig, Field(description="which rows are held out")] = SplitConfig()
    model: Annotated[ModelConfig, Field(description="the network")] = ModelConfig()
    penalties: Annotated[
        list[Annotated[dict[str, Any], BeforeValidator(checks.penalty)]],
        Field(description="terms beside the losses: [{name: l2, coefficient: 0.01, on: trunk}]"),
    ] = []
    balancing: Annotated[
        Any,
        BeforeValidator(checks.balancing),
        Field(description="null, or what weighs the losses beside their weights: pcgrad, {name: nash_mtl, every: 10}"),
    ] = None
    engine: Annotated[
        str, BeforeValidator(checks.engine), Field(description="what computes each loss's gradient for it; auto")
    ] = "auto"
    reduction: Annotated[
        Literal["labelled", "batch"], Field(description="what a loss is divided by: its labels, or the batch")
    ] = "labelled"
    training: Annotated[TrainingConfig, Field(description="optimiser, length and records")] = TrainingConfig()

    def to_yaml(self) -> str:
        """Return the whole configuration, defaults written out, as YAML that `load_config` reads."""
        return to_yaml(self.model_dump())
