"""From a batch to its named losses: the one path of training, evaluation and diagnosis."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import nn

from multiloss.core.losses import Losses
from multiloss.core.records import LedgerRecord
from multiloss.data.batch import Batch, Source
from multiloss.nn.base import ModelCaller
from multiloss.objective.ledger import Ledger
from multiloss.objective.metrics import OutputMetrics
from multiloss.objective.objective import START, Objective
from multiloss.objective.schedule import Progress
from multiloss.training.devices import Devices


class Forward:
    """Calls the model, then the objective.

    Args:
        model, caller: The model and how it is called.
        objective: The objective.
        devices: Precision of the forward pass.
    """

    def __init__(self, model: nn.Module, caller: ModelCaller, objective: Objective, devices: Devices) -> None:
        self.model, self.caller, self.objective, self.devices = model, caller, objective, devices
        self.progress: Progress = START

    def __call__(self, batch: Batch, metrics: OutputMetrics | None = None) -> Losses:
        """Return the losses of a batch at the present `progress`; gather predictions for `metrics`."""
        with self.devices.autocast():
            outputs = self.caller(batch.inputs)
            losses = self.objective(
                outputs,
                batch.targets,
                model=self.model,
                sample_weight=batch.sample_weight,
                counts=batch.counts,
                progress=self.progress,
            )
        if metrics is not None:
            metrics.add(outputs, batch.targets)
        return losses

    def evaluate(
        self,
        source: Source,
        metrics: OutputMetrics,
        *,
        epoch: int | None = None,
        split: str | None = None,
        outside: Iterable[str] = (),
    ) -> tuple[LedgerRecord, dict[str, float | None]]:
        """Return the account and the metrics of a whole set, with the parameters as they are."""
        ledger = Ledger(reduction=self.objective.reduction)
        training = self.model.training
        self.model.eval()
        with torch.no_grad():
            for batch in source.batches(None):
                ledger.add(self(batch, metrics).record())
        self.model.train(training)
        return ledger.whole(epoch=epoch, split=split, outside=outside), metrics.compute()
