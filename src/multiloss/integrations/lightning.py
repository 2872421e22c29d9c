"""The equation of the loss, epoch by epoch, for a LightningModule that logs its parts."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Mapping, Sequence
from typing import Any, TextIO

from multiloss.core.errors import nearest
from multiloss.core.optional import require
from multiloss.core.records import LedgerRecord
from multiloss.integrations.equation import SINGLE, Addend, balance, equation
from multiloss.integrations.logged_names import parts_of, short, validation_name


def _package() -> str:
    """Return which of the framework's two packages is meant: the one that is loaded, else the one that is there."""
    old = "pytorch_lightning"
    loaded = [name for name in ("lightning.pytorch", old) if name in sys.modules]
    missing = not loaded and importlib.util.find_spec("lightning") is None and importlib.util.find_spec(old) is not None
    return loaded[0] if loaded else old if missing else "lightning.pytorch"


_Callback: Any = require(_package(), "multiloss.integrations.lightning", "multiloss[lightning]").Callback


class ExplainLoss(_Callback):  # type: ignore[misc]
    r"""Prints what the total that a LightningModule logs is made of, from the parts that it logs.

    $$\mathrm{total} = \sum_k w_k \cdot \mathrm{part}_k + \mathrm{unexplained}$$

    Nothing is computed anew: the values are those of `trainer.callback_metrics` at the end of an epoch. Log the total
    and its parts with `on_epoch=True`, so that all are means over the same batches; where they are not, that is said.

    Args:
        total: Name under which `training_step` logs the total. The validation's is found from it: `val_loss`.
        parts: Names of its parts; by default all of the same stage with the word `loss`, such as `train_loss_a`.
        weights: What the total multiplies each part with, by name (`train_loss_a` or `a`); 1 where none is given.
        stream: Where the lines go; the progress bar or standard output by default.

    Attributes:
        ledgers: One record for each epoch and set, in order. Epochs are counted from 0, as Lightning shows them.

    Examples:
        >>> import torch
        >>> from lightning.pytorch import LightningModule, Trainer
        >>> class Ticket(LightningModule):
        ...     def __init__(self):
        ...         super().__init__()
        ...         self.layer = torch.nn.Linear(1, 1)
        ...
        ...     def training_step(self, batch):
        ...         a, b = self.layer(batch).mean() * 0 + 0.5, torch.tensor(2.0)
        ...         losses = {"train_loss": a + 0.2 * b, "train_loss_a": a, "train_loss_b": b}
        ...         self.log_dict(losses, on_step=False, on_epoch=True)
        ...         return losses["train_loss"]
        ...
        ...     def configure_optimizers(self):
        ...         return torch.optim.SGD(self.parameters(), 0.1)
        >>> explain = ExplainLoss("train_loss", weights={"b": 0.2})
        >>> rows = torch.utils.data.DataLoader(torch.ones(8, 1), batch_size=4)
        >>> off = {f"enable_{part}": False for part in ("checkpointing", "progress_bar", "model_summary")}
        >>> Trainer(max_epochs=1, accelerator="cpu", callbacks=[explain], logger=False, **off).fit(Ticket(), rows)
        epoch 0  train_loss 0.9000 = 1 x a 0.5000 + 0.2 x b 2.0000
    """

    def __init__(
        self,
        total: str = "train_loss",
        parts: Sequence[str] | None = None,
        weights: Mapping[str, float] | None = None,
        stream: TextIO | None = None,
    ) -> None:
        super().__init__()
        self.total, self.parts, self.weights, self.stream = total, parts, dict(weights or {}), stream
        self.ledgers: list[LedgerRecord] = []
        self._ended: int | None = None
        self._batches = {"train": 0, "validation": 0}
        self._said: set[str] = set()

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        """Begin a new list of records."""
        self.ledgers, self._ended, self._said = [], None, set()

    def on_train_epoch_start(self, trainer: Any, pl_module: Any) -> None:
        """Account for the last epoch: only now is everything logged, hooks of the module included."""
        self._account(trainer)
        self._batches = {"train": 0, "validation": 0}

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Count a batch."""
        self._batches["train"] += 1

    def on_validation_start(self, trainer: Any, pl_module: Any) -> None:
        """Forget an earlier validation of the epoch: its values are overwritten."""
        self._batches["validation"] = 0

    def on_validation_batch_end(
        self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        """Count a batch."""
        self._batches["validation"] += not trainer.sanity_checking

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        """Note which epoch ended."""
        self._ended = trainer.current_epoch

    def on_train_end(self, trainer: Any, pl_module: Any) -> None:
        """Account for the last epoch."""
        self._account(trainer)

    def _account(self, trainer: Any) -> None:
        epoch, self._ended = self._ended, None
        if epoch is None or not trainer.is_global_zero:
            return
        logged = {name: float(value) for name, value in trainer.callback_metrics.items()}
        if self.total not in logged:
            expected = f"expected self.log({self.total!r}, ...) in training_step, found none"
            self._write(trainer, self._once(f"not explained: {expected}. {nearest(self.total, logged)}"))
            return
        lines = self._explain(trainer, epoch, "train", self.total, self.parts, logged)
        total = validation_name(self.total, logged)
        if total is not None and self._batches["validation"]:
            named = [validation_name(part, logged) for part in self.parts or ()]
            parts = [part for part in named if part is not None] if self.parts is not None else None
            lines += self._explain(trainer, epoch, "validation", total, parts, logged)
        self._write(trainer, lines)

    def _explain(
        self, trainer: Any, epoch: int, split: str, total: str, parts: Sequence[str] | None, logged: dict[str, float]
    ) -> list[str]:
        """Keep the record of one set, and return its lines."""
        names = parts_of(total, logged) if parts is None else [part for part in parts if part in logged]
        missing = sorted(set(parts or ()) - set(names))
        lines = self._once(f"parts: expected logged names, found {missing}") if missing else []
        loop = trainer.fit_loop.epoch_loop
        reductions = _reductions(loop if split == "train" else loop.val_loop, [total, *names])
        if len(set(reductions.values())) > 1:
            why = "the total and its parts are not reduced alike"
            each = ", ".join(f"{name} is {kind}" for name, kind in reductions.items())
            lines += self._once(f"not comparable: {each}: log all with on_epoch=True and one reduction")
        elif not all(name in self.weights or short(name) in self.weights for name in names):
            why = "weights were taken as 1 where none is given: give weights={...}, or log what else is added"
        else:
            why = "not known: something is added that is not logged"
        if set(reductions.values()) == {_STEP}:
            lines += self._once(f"{total} and its parts are values of one step: log with on_epoch=True for means")
        addends = []
        for name in names:
            weight = self.weights.get(name, self.weights.get(short(name), 1.0))
            addends.append(Addend(short(name), "loss", logged[name], weight, weight * logged[name]))
        record = balance(
            logged[total],
            addends,
            steps=self._batches[split],
            why=why,
            epsilon=2.0**-8 if "16" in str(trainer.precision) else SINGLE,
            outside=_outside(trainer),
            reduction="as logged",
            epoch=epoch,
            split=split,
        )
        self.ledgers.append(record)
        lines += equation(record, total, f"epoch {epoch}")
        return lines + [line for text in record.outside for line in self._once(f"not in the loss: {text}")]

    def _once(self, line: str) -> list[str]:
        """Return the line the first time, nothing after."""
        new = line not in self._said
        self._said.add(line)
        return [line] if new else []

    def _write(self, trainer: Any, lines: Sequence[str]) -> None:
        bar = trainer.progress_bar_callback
        if self.stream is None and bar is not None:
            for line in lines:
                bar.print(line)
            return
        stream = self.stream or sys.stdout
        stream.write("".join(f"{line}\n" for line in lines))
        stream.flush()


_STEP = "the last step's"


def _reductions(loop: Any, names: Sequence[str]) -> dict[str, str]:
    """Return what each logged value is: that of the last step, or a mean (sum, ...) over the epoch."""
    metas = {metric.meta.name: metric.meta for metric in getattr(loop, "_results", {}).values()}
    logged = [metas[name] for name in names if name in metas]
    return {meta.name: f"the epoch's {meta.reduce_fx.__name__}" if meta.on_epoch else _STEP for meta in logged}


def _outside(trainer: Any) -> list[str]:
    """Say what moved the parameters without being in the loss."""
    from multiloss.training.optimizer import decay_lines  # loads the whole of training, which only a fit needs

    lines = [line for optimizer in trainer.optimizers for line in decay_lines(optimizer)]
    clip = trainer.gradient_clip_val
    return lines + ([f"gradient clipping at {trainer.gradient_clip_algorithm or 'norm'} {clip:g}"] if clip else [])
