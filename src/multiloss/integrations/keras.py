"""The equation of the loss, epoch by epoch, for a model that Keras trains on tensorflow, jax or torch."""

from __future__ import annotations

import math
import sys
from typing import Any, TextIO, TypeAlias

from multiloss.core.optional import require
from multiloss.core.records import LedgerRecord
from multiloss.integrations.equation import Addend, balance, equation
from multiloss.integrations.keras_facts import epsilon, outside_lines, unnamed
from multiloss.integrations.keras_terms import Terms

_Callback: Any = require("keras", "multiloss.integrations.keras", "multiloss[keras]").callbacks.Callback
Logs: TypeAlias = dict[str, float]
Read: TypeAlias = tuple[list[Addend], int]
_FIRST = "Expected ExplainLoss before it: put ExplainLoss first among the callbacks"


class ExplainLoss(_Callback):  # type: ignore[misc]
    r"""Prints what Keras's loss is made of, and adds `task_loss` (the outputs without penalties) to the logs.

    Keras prints each output's unweighted loss, and a total that also holds every kernel regularizer, `add_loss` and
    activity regularizer, none of which it names:

    $$\mathrm{loss} = \sum_k w_k \cdot \mathrm{loss}_k + \sum_j \mathrm{penalty}_j$$

    All of them are means over the batches of an epoch, weighted with their rows. The addends are summed up inside the
    compiled step, as Keras sums the loss, so that the equation holds to float32 rounding for training, validation and
    `evaluate`. A remainder is a line of its own, `unexplained`.

    Args:
        stream: Where the lines go; standard output by default.

    Attributes:
        ledgers: One record for each epoch and set, in order. Epochs are counted from 1, as Keras prints them.

    Examples:
        >>> import keras
        >>> row = keras.Input((4,))
        >>> price = keras.layers.Dense(1, kernel_initializer="ones", kernel_regularizer="l2", name="price")(row)
        >>> model = keras.Model(row, price)
        >>> model.compile(optimizer=keras.optimizers.SGD(0.0), loss="mse")
        >>> explain = ExplainLoss()
        >>> history = model.fit(keras.ops.ones((8, 4)), keras.ops.ones((8, 1)), verbose=0, callbacks=[explain])
        epoch 1  loss 9.0400 = 1 x price 9.0000 + penalty 0.0400 (0.4 %)
                 penalty = l2(0.01) on price/kernel 0.0400
        >>> history.history["task_loss"], explain.ledgers[0]["price"].value
        ([9.0], 9.0)
    """

    def __init__(self, stream: TextIO | None = None) -> None:
        super().__init__()
        self.stream = stream
        self.ledgers: list[LedgerRecord] = []
        self._terms: Terms | None = None
        self._fitting = False
        self._trained: Read | None = None
        self._validated: tuple[Logs, Read] | None = None
        self._lines: list[str] = []
        self._said: set[str] = set()
        self._advised = False

    def on_train_begin(self, logs: Logs | None = None) -> None:
        """Join the model's step."""
        self._join(fitting=True)

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        """Write what the last epoch left: by now the progress bar has ended its line."""
        self._write()
        self._trained = self._validated = None

    def on_test_begin(self, logs: Logs | None = None) -> None:
        """Read the training's sums, which an evaluation begins by resetting."""
        if self._terms is None:
            self._join(fitting=False)
        elif self._trained is None:
            self._trained = self._terms.read()

    def on_test_end(self, logs: Logs | None = None) -> None:
        """Note the account of a validation, or write that of an evaluation."""
        if self._terms is None:
            return
        if self._fitting:
            self._validated = dict(logs or {}), self._terms.read()
        else:
            self._account(logs or {}, self._terms.read(), "evaluate", "loss")
            self._leave()

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """Note the accounts of the epoch."""
        if self._terms is None:
            return
        logs, number = logs or {}, epoch + 1
        read = self._trained or self._terms.read()
        outputs = sum(addend.contribution for addend in read[0] if addend.kind == "loss")
        if math.isfinite(outputs) and not math.isclose(outputs, logs.get("task_loss", outputs), rel_tol=1e-4):
            self._lines.append(f"epoch {number}  not explained: another callback evaluated the model before. {_FIRST}")
        else:
            self._account(logs, read, "train", "loss", number)
        if self._validated is not None:
            self._account(*self._validated, "validation", "val_loss", number)
        self._advise()

    def on_train_end(self, logs: Logs | None = None) -> None:
        """Leave the model's step, and write what the last epoch left."""
        self._leave()

    def _join(self, fitting: bool) -> None:
        self._fitting, self._said, self._advised, self.ledgers = fitting, set(), False, []
        self._terms = Terms(self.model, in_logs=fitting)

    def _leave(self) -> None:
        self._fitting = False
        if self._terms is not None:
            self._terms.remove()
            self._terms = None
        self._write()

    def _account(self, logs: Logs, read: Read, split: str, name: str, epoch: int | None = None) -> None:
        """Keep the record of one set, and its lines."""
        addends, steps = read
        step = "train_step" if split == "train" else "test_step"
        if not steps or "loss" not in logs:
            kind = type(self.model).__name__
            self._say(f"{name} not explained: expected {kind}.{step} to call compute_loss and to report `loss`")
            return
        record = balance(
            logs["loss"],
            addends,
            steps=steps,
            why=unnamed(self.model, step),
            epsilon=epsilon(),
            outside=outside_lines(self.model, [addend.name for addend in addends]),
            epoch=epoch,
            split=split,
        )
        self.ledgers.append(record)
        self._lines += equation(record, name, split if epoch is None else f"epoch {epoch}")
        for line in record.outside:
            self._say(f"not in the loss: {line}")
        printed = [(term, logs[f"{term.name}_loss"]) for term in record if f"{term.name}_loss" in logs]
        if any(not math.isclose(term.value or 0.0, value, rel_tol=1e-4) for term, value in printed if value == value):
            self._say("not as printed: Keras weighs every batch alike in an output's loss; in the loss, rows count")

    def _advise(self) -> None:
        """Say once when more than half of the loss that other callbacks watch is penalty."""
        last = self.ledgers[-1] if self.ledgers else None
        if last is None or self._advised or not any(term.kind == "loss" for term in last):
            return
        if last.penalty > 0.5 * abs(last.total):
            self._advised = True
            val = "val_" if last.split == "validation" else ""
            self._lines.append(
                f"note: {100 * last.penalty / last.total:.0f} % of {val}loss is penalty, and EarlyStopping, "
                f"ReduceLROnPlateau and ModelCheckpoint would watch it. The outputs alone are {val}task_loss: "
                f'monitor="{val}task_loss", mode="min"'
            )

    def _say(self, line: str) -> None:
        """Say once."""
        if line not in self._said:
            self._said.add(line)
            self._lines.append(line)

    def _write(self) -> None:
        stream = self.stream or sys.stdout
        stream.write("".join(f"{line}\n" for line in self._lines))
        stream.flush()
        self._lines = []
