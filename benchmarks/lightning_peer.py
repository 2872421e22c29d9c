"""What a Lightning user writes for each task: the default Trainer, `self.log` for every output's loss and metric.

Progress bar, logger, checkpoints and the sanity check are off, and the optimiser is the hand-written loop's, so what is
measured is the loop alone.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Sequence

import lightning
import torch
import torch.nn.functional as F
import torchmetrics
from lightning.pytorch import LightningModule, Trainer
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from benchmarks import models
from benchmarks.hand_loop import columns, fast_optimizer
from benchmarks.tasks import Output, Task

LOSSES = {
    "mse": F.mse_loss,
    "binary_cross_entropy": F.binary_cross_entropy_with_logits,
    "cross_entropy": F.cross_entropy,
}


def _metric(output: Output, target_classes: int) -> torchmetrics.Metric:
    if output.metric == "rmse":
        return torchmetrics.MeanSquaredError(squared=False)
    if output.loss == "binary_cross_entropy":
        return torchmetrics.classification.BinaryAccuracy()
    return torchmetrics.classification.MulticlassAccuracy(num_classes=target_classes, average="micro")


class Module(LightningModule):
    """The model with its losses, its metrics and their logging."""

    def __init__(self, task: Task) -> None:
        super().__init__()
        self.task, self.model = task, models.build(task.name)
        self.optimizer = fast_optimizer(task, self.model)  # one for all rounds, so that training goes on
        self.metrics = nn.ModuleDict(
            {
                f"{stage}{name}": _metric(output, int(task.targets[name].max()) + 1)
                for stage in ("", "val_")
                for name, output in task.outputs.items()
            }
        )

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return self.optimizer

    def training_step(self, batch: Sequence[Tensor], index: int) -> Tensor:
        return self._step(batch, "")

    def validation_step(self, batch: Sequence[Tensor], index: int) -> None:
        self._step(batch, "val_")

    def _step(self, batch: Sequence[Tensor], stage: str) -> Tensor:
        size, inputs = len(batch[0]), len(self.task.inputs)
        out = self.model(*batch[:inputs])
        total = torch.zeros(())
        for (name, output), target in zip(self.task.outputs.items(), batch[inputs:], strict=True):
            loss = LOSSES[output.loss](out[name], target)
            total = total + output.weight * loss
            metric = self.metrics[f"{stage}{name}"]
            metric(out[name], target)
            self.log(f"{stage}{name}_loss", loss, on_step=False, on_epoch=True, batch_size=size)
            self.log(f"{stage}{name}_{output.metric}", metric, on_step=False, on_epoch=True)
        self.log(f"{stage}loss", total, on_step=False, on_epoch=True, batch_size=size)
        return total


class Peer:
    """One module and one Trainer; each call of `fit` goes on from where the last one ended."""

    def __init__(self, task: Task, threads: int) -> None:
        torch.set_num_threads(threads)
        logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
        warnings.filterwarnings("ignore", module="lightning")
        self.version = f"lightning {lightning.__version__}"
        self.module = Module(task)
        self.trainer = Trainer(
            accelerator="cpu",
            max_epochs=0,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            num_sanity_val_steps=0,
        )
        self.train = DataLoader(
            TensorDataset(*columns(task.inputs, task.targets)), batch_size=task.batch_size, shuffle=True
        )
        self.validation = None
        if task.validation is not None:
            self.validation = DataLoader(TensorDataset(*columns(*task.validation)), batch_size=task.validation_batch)

    def fit(self, epochs: int) -> float:
        """Train, and return the loss of the last epoch."""
        self.trainer.fit_loop.max_epochs += epochs
        self.trainer.fit(self.module, self.train, self.validation)
        return float(self.trainer.callback_metrics["loss"])
