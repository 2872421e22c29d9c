"""The ledger: where every digit of the total came from."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any, TypeAlias

import torch
from torch import Tensor

from multiloss.core.errors import ObjectiveError, listed
from multiloss.core.losses import Losses
from multiloss.core.records import LedgerRecord, StepRecord, StepTerm, TermKind, TermRecord

Addend: TypeAlias = Tensor | tuple[float, Tensor] | tuple[float, Tensor, int]

_EPSILONS = {dtype: torch.finfo(dtype).eps for dtype in (torch.float64, torch.float32, torch.float16, torch.bfloat16)}
WINDOW = 256  # steps kept as tensors on the device before they are read in one go


class Ledger:
    r"""Adds up named losses, and keeps account of what the total was made of.

    For a loop of your own, call it with the losses and differentiate what it returns. A trainer feeds it with
    `add`. Per step and term, `contribution = weight * balancing_weight * value`. Per epoch, `value` is the mean over
    labels (over steps where no count is given), `contribution` and `total` are means over steps, so that
    $\sum_k \mathrm{contribution}_k = \mathrm{total}$ holds even while weights move. The total is measured, not
    summed from the parts: a remainder beyond rounding becomes a line of its own, `unexplained`.

    Nothing is read from the device until a window of steps is full or a record is asked for.

    Args:
        penalties: Names of the terms that regularise, for a loop of your own.
        reduction: What losses were divided by, for the record.

    Example:
        >>> import torch
        >>> ledger = Ledger(penalties=["l2"])
        >>> total = ledger(a=torch.tensor(0.5), b=(0.2, torch.tensor(2.0)), l2=(1e-2, torch.tensor(10.0)))
        >>> print(ledger.epoch())
        total 1.0000 = 1.0 x a 0.5000 (50.0 %) + 0.2 x b 2.0000 (40.0 %) + penalty 0.1000 (10.0 %)
    """

    def __init__(self, penalties: Iterable[str] = (), reduction: str = "labelled") -> None:
        self.penalties = frozenset(penalties)
        self.reduction = reduction
        self.reset()

    def reset(self) -> None:
        """Forget every step."""
        self._window: list[StepRecord] = []
        self._sums: dict[str, _Sums] = {}
        self._total, self._steps, self._epsilon = 0.0, 0, 0.0

    def __call__(self, terms: Mapping[str, Addend] | None = None, /, **named: Addend) -> Tensor:
        """Record one step and return its total, ready for `backward()`.

        Args:
            terms: Addends by name, where names are no identifiers (`"a/ce"`).
            named: Addends by name: a scalar, `(weight, scalar)` or `(weight, scalar, number of labels)`.

        Raises:
            ObjectiveError: If an addend is none of these, or a weight is negative or not finite.
        """
        addends = {**(terms or {}), **named}
        problems: list[str] = []
        built = [self._term(name, addend, problems) for name, addend in addends.items()]
        if problems or not built:
            raise ObjectiveError(listed(problems or ["expected at least one loss, found none"], "ledger"))
        losses = Losses(tuple(term for term in built if term is not None))
        self.add(losses.record())
        return losses.total

    def _term(self, name: str, addend: Addend, problems: list[str]) -> StepTerm | None:
        parts = addend if isinstance(addend, tuple) else (1.0, addend)
        weight, value, count = (*parts, None) if len(parts) == 2 else parts
        if not isinstance(value, Tensor) or value.numel() != 1:
            shown = f"shape {tuple(value.shape)}" if isinstance(value, Tensor) else type(value).__name__
            problems.append(f"{name}: expected a scalar tensor or (weight, scalar tensor), found {shown}")
        elif not isinstance(weight, int | float) or not math.isfinite(weight) or weight < 0:
            problems.append(f"{name}: expected a finite weight >= 0, found {weight!r}")
        else:
            kind: TermKind = "penalty" if name in self.penalties else "loss"
            return StepTerm(name, kind, value.reshape(()), float(weight), 1.0, count, count)
        return None

    def add(self, step: StepRecord) -> None:
        """Record one step. Costs a list append; the device is read once in a window of steps."""
        self._window.append(step)
        if len(self._window) >= WINDOW:
            self._read()

    def _read(self) -> None:
        """Move the window's steps into the sums: one transfer, then plain float64 additions in order."""
        window, self._window = self._window, []
        tensors: list[Tensor] = []
        for step in window:
            for term in step.terms:
                tensors.append(term.value)
                tensors += [x for x in (term.labels, term.denominator) if isinstance(x, Tensor)]
            tensors += [] if step.total is None else [step.total]
        numbers = iter(_to_host(tensors))
        for step in window:
            for term in step.terms:
                value = next(numbers)
                labels = next(numbers) if isinstance(term.labels, Tensor) else term.labels
                divisor = next(numbers) if isinstance(term.denominator, Tensor) else term.denominator
                sums = self._sums.get(term.name) or self._sums.setdefault(term.name, _Sums(term.kind))
                sums.add(term, value, labels, divisor)
            for name in step.absent:
                self._sums.setdefault(name, _Sums("loss")).count_labels(0)
            if step.total is not None:
                self._total += next(numbers)
                self._epsilon = max(self._epsilon, _EPSILONS[step.total.dtype])
            self._steps += 1

    def epoch(self, *, epoch: int | None = None, split: str | None = None, outside: Iterable[str] = ()) -> LedgerRecord:
        """Return the account of all steps since the last call, and begin anew.

        Args:
            epoch: Number of the epoch, written into the record.
            split: Name of the set, written into the record.
            outside: What is not in the sum and should be listed beside it.
        """
        record = self.peek(epoch=epoch, split=split, outside=outside)
        self.reset()
        return record

    def whole(self, *, epoch: int | None = None, split: str | None = None, outside: Iterable[str] = ()) -> LedgerRecord:
        """Like `epoch`, for steps between which nothing moved: an evaluation.

        The steps are parts of one set, so each contribution is `weight * value` with the value of the whole set,
        and the total is their sum: the numbers do not depend on how the set was cut into batches.
        """
        record = self.peek(epoch=epoch, split=split, outside=outside, moving=False)
        self.reset()
        return record

    def peek(
        self,
        *,
        epoch: int | None = None,
        split: str | None = None,
        outside: Iterable[str] = (),
        moving: bool = True,
    ) -> LedgerRecord:
        """Return the account so far without beginning anew."""
        self._read()
        steps = max(self._steps, 1)
        measured = self._total / steps
        by_step = {name: sums.contribution / steps for name, sums in self._sums.items()}
        missing = measured - math.fsum(by_step.values())
        tolerance = 8 * self._epsilon * math.fsum(abs(value) for value in by_step.values())
        added = by_step if moving else {name: sums.product() for name, sums in self._sums.items()}
        unexplained = missing if not abs(missing) <= tolerance else 0.0
        total = measured if moving else math.fsum(added.values()) + unexplained
        terms = [sums.line(name, added[name], total, self._steps) for name, sums in self._sums.items()]
        if unexplained:
            share = _share(unexplained, total)
            terms.append(TermRecord("unexplained", "unexplained", None, 1.0, 1.0, unexplained, share, None))
        return LedgerRecord(total, tuple(terms), self._steps, tuple(outside), self.reduction, epoch, split)

    def to_dict(self) -> dict[str, float]:
        """Return the account so far under Keras's names, for any logger: `loss`, `a_loss`, ..., `penalty`."""
        record = self.peek()
        losses = {f"{t.name}_loss": t.value for t in record if t.kind == "loss" and t.value is not None}
        penalty = {"penalty": record.penalty} if any(t.kind == "penalty" for t in record) else {}
        return {"loss": record.total, **losses, **penalty}

    def state_dict(self) -> dict[str, Any]:
        """Return the account so far as plain numbers: restoring it goes on as if never interrupted."""
        self._read()
        sums = {name: value.state() for name, value in self._sums.items()}
        return {"sums": sums, "total": self._total, "steps": self._steps, "epsilon": self._epsilon}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        self.reset()
        self._total, self._steps, self._epsilon = state["total"], state["steps"], state["epsilon"]
        self._sums = {name: _Sums.from_state(sums) for name, sums in state["sums"].items()}


class _Mean:
    """A running mean that is exact where the number never changes."""

    __slots__ = ("first", "moved", "n", "total")

    def __init__(self) -> None:
        self.total, self.first, self.moved, self.n = 0.0, 1.0, False, 0

    def add(self, number: float) -> None:
        if not self.n:
            self.first = number
        elif number != self.first:
            self.moved = True
        self.total += number
        self.n += 1

    @property
    def value(self) -> float:
        return self.total / self.n if self.moved else self.first

    def state(self) -> list[float]:
        return [self.total, self.first, self.moved, self.n]

    @classmethod
    def from_state(cls, state: list[Any]) -> _Mean:
        mean = cls()
        mean.total, mean.first, mean.moved, mean.n = state
        return mean


class _Sums:
    """Running sums of one term, in float64."""

    __slots__ = ("balancing_weight", "contribution", "count", "denominator", "kind", "numerator", "weight")

    def __init__(self, kind: TermKind) -> None:
        self.kind = kind
        self.weight, self.balancing_weight = _Mean(), _Mean()
        self.contribution = self.numerator = self.denominator = 0.0
        self.count: int | None = None

    def add(self, term: StepTerm, value: float, labels: float | None, divisor: float | None) -> None:
        if labels is not None:
            self.count_labels(int(labels))
        if divisor is None:
            divisor = 1.0
        elif divisor == 0:
            return  # no label: the value is an empty mean
        self.contribution += term.weight * term.balancing_weight * value
        self.weight.add(term.weight)
        self.balancing_weight.add(term.balancing_weight)
        self.numerator += value * divisor
        self.denominator += divisor

    def count_labels(self, count: int) -> None:
        self.count = (self.count or 0) + count

    @property
    def value(self) -> float | None:
        return self.numerator / self.denominator if self.denominator else None

    def product(self) -> float:
        return self.weight.value * self.balancing_weight.value * (self.value or 0.0)

    def line(self, name: str, contribution: float, total: float, steps: int) -> TermRecord:
        note = None
        if abs(self.product() - contribution) > 1e-6 * abs(contribution):
            without = steps - self.weight.n
            reasons = ["the weight moved"] if self.weight.moved or self.balancing_weight.moved else []
            reasons += [f"{without} of {steps} steps had no label"] if without else []
            reasons += [] if reasons else ["steps hold different numbers of labels"]
            note = f"mean over steps; weight x value is {self.product():.6g}: {', '.join(reasons)}"
        weight, balancing = self.weight.value, self.balancing_weight.value
        share = _share(contribution, total)
        return TermRecord(name, self.kind, self.value, weight, balancing, contribution, share, self.count, note)

    def state(self) -> dict[str, Any]:
        means = {"weight": self.weight.state(), "balancing_weight": self.balancing_weight.state()}
        plain = ("kind", "contribution", "numerator", "denominator", "count")
        return {**{name: getattr(self, name) for name in plain}, **means}

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> _Sums:
        sums = cls(state["kind"])
        for name, value in state.items():
            setattr(sums, name, _Mean.from_state(value) if isinstance(value, list) else value)
        return sums


def _share(part: float, total: float) -> float | None:
    return part / total if total and math.isfinite(total) else None


def _to_host(tensors: list[Tensor]) -> list[float]:
    if not tensors:
        return []
    if any(t.dtype != tensors[0].dtype or t.device != tensors[0].device for t in tensors):
        tensors = [t.to(tensors[0].device, torch.float64) for t in tensors]
    return torch.stack(tensors).double().tolist()
