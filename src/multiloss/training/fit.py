"""One fit: the loop over steps and epochs, and where it may stop and go on."""

from __future__ import annotations

import copy
import logging
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, TypeAlias

import torch
from torch import nn
from torch.optim import Optimizer

from multiloss.backward import backward
from multiloss.balancing.base import Balancing
from multiloss.balancing.kinds import GramianWeighting
from multiloss.core.errors import NonFiniteError
from multiloss.core.losses import Losses
from multiloss.core.records import StepRecord
from multiloss.data.batch import Batch, Source
from multiloss.objective.ledger import Ledger
from multiloss.objective.metrics import OutputMetrics
from multiloss.objective.objective import Objective
from multiloss.objective.schedule import Progress
from multiloss.training import checkpoint
from multiloss.training.account import learning_rates, log_keys, mention_penalty, outside_lines
from multiloss.training.balanced import MethodFeed, split_batch
from multiloss.training.callbacks import Callback, direction
from multiloss.training.fit_state import fit_state, restore_fit
from multiloss.training.forward import Forward
from multiloss.training.guard import Guard
from multiloss.training.history import History, Logs, record_logs
from multiloss.training.nonfinite import explain_nonfinite, nonfinite_gradients, nonfinite_losses, without
from multiloss.training.optimizer import has_sparse
from multiloss.training.run_log import RunLog
from multiloss.training.signals import on_signal
from multiloss.training.watch import GradientWatch

OnNonfinite: TypeAlias = Literal["raise", "skip"]

logger = logging.getLogger("multiloss")


class Fit:
    """The state of one call of `Trainer.fit`; what callbacks see.

    Attributes:
        model, objective, optimizer, history: What is trained, on what, by what, and what came of it.
        epoch, epochs: The epoch under way, from 1, and how many were asked for.
        step, step_in_epoch: Steps done in all, and in this epoch.
        steps_per_epoch: Steps in an epoch; 0 where a loader has no length.
        keys: Keys that each epoch's logs will have.
        finished: Whether training ended by itself, not by a signal or an error.
        folder: The run folder, if there is one.
    """

    def __init__(
        self,
        forward: Forward,
        optimizer: Optimizer,
        *,
        metrics: Callable[[], OutputMetrics],
        callbacks: Sequence[Callback],
        train: Source,
        validation: Source | None,
        terms: Sequence[str],
        epochs: int,
        seed: int,
        clip: float | None,
        on_nonfinite: OnNonfinite,
        run_log: RunLog | None,
        checkpoint_seconds: float,
        balancing: Balancing | None = None,
        engine: str = "auto",
        watch_every: int | None = None,
    ) -> None:
        self.forward, self.optimizer, self.devices = forward, optimizer, forward.devices
        self.model: nn.Module = forward.model
        self.objective: Objective = forward.objective
        self.callbacks, self.train, self.validation = list(callbacks), train, validation
        self.epochs, self.seed, self.clip, self.on_nonfinite = epochs, seed, clip, on_nonfinite
        self.run_log, self.checkpoint_seconds = run_log, checkpoint_seconds
        self.folder: Path | None = run_log.folder if run_log is not None else None
        self.metrics, self._held_metrics = metrics(), metrics()
        self.ledger = Ledger(reduction=self.objective.reduction)
        self.history = History()
        self.guard = Guard(optimizer, self.devices.device, has_sparse(self.model))
        self.epoch, self.step, self.step_in_epoch, self.seconds = 1, 0, 0, 0.0
        self.steps_per_epoch = train.steps or 0
        self.finished = self.said_penalty = False
        self.stopped: str | None = None
        self.skipped: dict[str, int] = {}
        self.balancing, self.engine = balancing, engine
        self.feed = None if balancing is None else MethodFeed(balancing, forward, validation)
        if balancing is not None:
            parts = {output: [t for t in terms if t.split("/")[0] == output] for output in self.objective.terms}
            balancing.expect([name for output, own in parts.items() for name in own or [output]])
        self.watch = None if watch_every is None else GradientWatch(watch_every, len(self.objective.terms))
        self.clipped = torch.zeros((), device=self.devices.device)
        self.epoch_start_random: dict[str, Any] = {}
        self.keys = log_keys(self, terms)
        self._parameters = [p for group in optimizer.param_groups for p in group["params"]]
        self._signal: int | None = None
        self._recent: list[tuple[int, Batch]] = []
        self._step_hooks = [c for c in self.callbacks if type(c).on_step_end is not Callback.on_step_end]

    def direction(self, key: str) -> bool | None:
        """Return whether a higher value of a metric's key is better; `None` if nobody knows."""
        return direction(key, dict(self.objective.metrics))

    def stop(self, reason: str) -> None:
        """End training after this epoch."""
        self.stopped = reason

    def run(self, resume: bool = False) -> History:
        """Train to the last epoch, or until something stops it."""
        if resume:
            self._go_on()
        self._saved_at = time.monotonic()
        with on_signal(self._note_signal):
            try:
                while self.epoch <= self.epochs and not self.stopped and self._signal is None:
                    self._run_epoch()
                self.finished = self._signal is None or self.epoch > self.epochs or self.stopped is not None
                self.save()  # before a callback puts other parameters in place of the last ones
            finally:
                for callback in self.callbacks:
                    callback.on_fit_end(self)
                self.guard.leave()
        self.history.stopped = self.stopped
        if not self.finished:
            self._say_interrupted()
        return self.history

    def _go_on(self) -> None:
        if self.folder is None or self.run_log is None:
            return
        path = checkpoint_path(self.folder)
        if path.exists():
            restore_fit(self, checkpoint.load(path))
        else:
            logger.warning("%s holds no checkpoint yet; training begins anew", self.folder)
            self.run_log.rewind(1, 0)

    def save(self) -> None:
        """Write the checkpoint, if there is a run folder, so that a later fit goes on from this very step."""
        if self.folder is not None:
            self._read_watch()
            checkpoint.save(checkpoint_path(self.folder), fit_state(self))
        self._saved_at = time.monotonic()

    def _run_epoch(self) -> None:
        began = time.perf_counter() - self.seconds
        self.model.train()
        for batch in self._batches():
            self._train_step(batch)
            due = self.folder is not None and time.monotonic() - self._saved_at > self.checkpoint_seconds
            if due or self._signal is not None:
                self.seconds = time.perf_counter() - began
                self._check_finite()
                if self._signal is not None:
                    return
                self.save()
        self._check_finite()
        if self.feed is not None:
            self.feed.end_epoch()
        outside = outside_lines(self)
        record = self.ledger.epoch(epoch=self.epoch, split="train", outside=outside)
        logs: Logs = {"epoch": self.epoch, **record_logs(record, self.metrics.compute())}
        records = [record]
        if self.validation is not None:
            held, metrics = self.forward.evaluate(
                self.validation, self._held_metrics, epoch=self.epoch, split="validation", outside=outside
            )
            records.append(held)
            logs |= record_logs(held, metrics, "val_")
        logs |= learning_rates(self.optimizer)
        logs["seconds"] = time.perf_counter() - began
        self._read_watch()
        self.history.rows.append(logs)
        self.history.ledgers += records
        if self.run_log is not None:
            self.run_log.append(logs, records)
        mention_penalty(self, records[-1])
        for callback in self.callbacks:
            callback.on_epoch_end(self, logs)
        self.devices.log({key: value for key, value in logs.items() if key != "epoch"}, self.epoch)
        self.epoch, self.step_in_epoch, self.seconds = self.epoch + 1, 0, 0.0

    def _batches(self) -> Iterator[Batch]:
        order = torch.Generator().manual_seed(self.seed * 1_000_003 + self.epoch)
        if not self.step_in_epoch:
            self.epoch_start_random = checkpoint.random_state() if self.folder is not None else {}
            return self.train.batches(order)
        # what was seen is drawn once more from the state in which the epoch began, and left out
        here = checkpoint.random_state()
        checkpoint.set_random_state(self.epoch_start_random)
        batches = self.train.batches(order, self.step_in_epoch)
        checkpoint.set_random_state(here)
        return batches

    def _train_step(self, batch: Batch) -> None:
        skip, scaler = self.on_nonfinite == "skip", self.devices.scaler
        self.forward.progress = Progress(self.epoch - 1, self.step, self.steps_per_epoch, self.epochs)
        if self.feed is not None:
            self.feed.before_forward()
        parts = self.balancing.batches if isinstance(self.balancing, GramianWeighting) else 1
        losses = [self.forward(part, self.metrics) for part in (split_batch(batch, parts) if parts > 1 else [batch])]
        if not skip:
            self._recent.append((self.step, batch))
        if self.feed is not None:
            self.feed.before_backward(self.step)
        if self.watch is not None:
            self.watch.before_backward(self, losses[0])
        record = self._finite_step(losses) if skip else self._differentiate(losses)
        if self.watch is not None:
            self.watch.after_backward(self, record.balancing)
        if scaler is not None:
            scaler.unscale_(self.optimizer)
        if not skip:
            self.guard.watch(record.total, gradients=scaler is None)
            if len(self._recent) >= self.guard.every:
                self._check_finite()
        if self.clip is not None:
            self.clipped += nn.utils.clip_grad_norm_(self._parameters, self.clip) > self.clip
        if scaler is None:
            self.optimizer.step()
        else:
            scaler.step(self.optimizer)
            scaler.update()
        self.step += 1
        self.step_in_epoch += 1
        self.ledger.add(record)
        if self.feed is not None:
            self.feed.after_step(batch)
        for callback in self._step_hooks:
            callback.on_step_end(self)

    def _differentiate(self, losses: Sequence[Losses], retain_graph: bool = False) -> StepRecord:
        for parameter in self._parameters:
            parameter.grad = None
        try:
            return backward(
                losses[0] if len(losses) == 1 else losses,
                balancing=self.balancing,
                model=self.model,
                engine=self.engine,
                scaler=self.devices.scaler,
                retain_graph=retain_graph,
            )
        except NonFiniteError:
            if self.on_nonfinite == "skip":
                raise
            raise explain_nonfinite(self._recent, self.forward, self._parameters, self.epoch, self.folder) from None

    def _finite_step(self, losses: Sequence[Losses]) -> StepRecord:
        """Differentiate what is finite and leave the rest out of this step. Asks the device."""
        bad = nonfinite_losses(losses)
        before = None if self.balancing is None else copy.deepcopy(self.balancing.state_dict())
        while True:
            for name in bad:
                self.skipped[name] = self.skipped.get(name, 0) + 1
            losses = [without(own, bad) for own in losses]
            try:
                record = self._differentiate(losses, retain_graph=True)
                bad = nonfinite_gradients(losses, self._parameters)
            except NonFiniteError as error:
                bad = list(error.names)
            if not bad:
                return record
            if self.balancing is not None and before is not None:
                self.balancing.load_state_dict(copy.deepcopy(before))  # what it saw of this step did not happen

    def _check_finite(self) -> None:
        recent, self._recent = self._recent, []
        if recent and self.guard.tripped():
            self.guard.clear()
            raise explain_nonfinite(recent, self.forward, self._parameters, self.epoch, self.folder)

    def _read_watch(self) -> None:
        flows = [] if self.watch is None else self.watch.read()
        self.history.flows += flows
        if self.run_log is not None:
            self.run_log.append_flows(flows)

    def _note_signal(self, number: int) -> None:
        self._signal = number

    def _say_interrupted(self) -> None:
        self.history.stopped = f"{signal.Signals(self._signal or 0).name} in epoch {self.epoch} after {self.step} steps"
        saved = f"saved in {self.folder}; fit(..., resume=True) goes on" if self.folder else "not saved: no out= folder"
        logger.warning("stopped by %s; %s", self.history.stopped, saved)


def checkpoint_path(folder: Path) -> Path:
    """Return where a run folder keeps its checkpoint."""
    return folder / checkpoint.LAST
