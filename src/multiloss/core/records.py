"""What is written down: a step as it happened, and the ledger's lines made from steps."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeAlias

if TYPE_CHECKING:
    from torch import Tensor

TermKind: TypeAlias = Literal["loss", "penalty", "unexplained"]


class StepTerm(NamedTuple):
    """One addend of one step. `value` stays on its device until the ledger reads a window of steps."""

    name: str
    kind: TermKind
    value: Tensor
    weight: float
    balancing_weight: float | Tensor = 1.0
    """What a balancing method multiplied it with; a tensor stays on its device until the ledger reads it."""
    labels: int | Tensor | None = None
    """Labels behind the value; `None` where labels do not apply (penalties) or nobody said."""
    denominator: float | Tensor | None = None
    """What the sum over labels was divided by; `None` counts the step as one."""


class BalancingRecord(NamedTuple):
    """What a balancing method saw and did in one step. Rows are `losses`; tensors stay on their device."""

    method: str
    losses: tuple[str, ...]
    weights: Tensor | None
    """`[m]`, as multiplied; `None` where a method works by coordinate. Blocks with their own weights: their mean."""
    norms: Tensor | None = None
    """`[m]`, norms of the weighted losses' gradients of the shared parameters, where they were computed."""
    cosines: Tensor | None = None
    """`[m, m]`, cosines between these gradients; 0 where a gradient is zero."""
    engine: str | None = None
    """What computed the gradients."""
    done: str = ""
    """What was done, where it is not the method's plain rule: weights reused, a loss left out."""
    head_weights: Tensor | None = None
    """`[m]`, what multiplied the gradients of parameters that one loss alone reaches; `None` for ones."""
    sums: bool = True
    """Whether the shared parameters got the sum of this step's gradients times `weights`."""


class StepRecord(NamedTuple):
    """One step: its terms and the total that was differentiated, both as detached tensors."""

    terms: tuple[StepTerm, ...]
    total: Tensor | None
    """`None` where no term was present, so that nothing was differentiated."""
    absent: tuple[str, ...] = ()
    """Losses for which the step held no label."""
    absent_weights: tuple[float, ...] = ()
    """Their weights, as far as known."""
    balancing: BalancingRecord | None = None
    """What a balancing method saw and did, if there was one."""


@dataclass(frozen=True)
class TermRecord:
    """One line of the ledger, in plain numbers.

    `contribution` is what the term added to `total`; `share` its part of it (`None` where the total is zero or not
    finite); `value` is `None` where no label was seen. `note` says why `weight * balancing_weight * value` is not
    `contribution`, where it is not.
    """

    name: str
    kind: TermKind
    value: float | None
    weight: float
    balancing_weight: float
    contribution: float
    share: float | None
    count: int | None
    note: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the line as plain objects; `note` only where there is one."""
        line = {key: value for key, value in self.__dict__.items() if key != "note"}
        return line if self.note is None else {**line, "note": self.note}


@dataclass(frozen=True)
class LedgerRecord:
    """Where every digit of a total came from: `sum(term.contribution) == total`.

    Attributes:
        total: The total, as it was differentiated (training) or computed (evaluation).
        terms: One line for each addend; a remainder beyond rounding is a line of kind `unexplained`.
        steps: Steps behind the record.
        outside: What moved the parameters, or did not, without being in the sum.
        reduction: What a loss was divided by, `labelled` or `batch`.
        epoch, split: Where the record belongs, if anywhere.

    Examples:
        >>> line = TermRecord("a", "loss", 2.0, 0.5, 1.0, 1.0, 1.0, 8)
        >>> print(LedgerRecord(1.0, (line,), 1))
        total 1.0000 = 0.5 x a 2.0000 (100.0 %)
    """

    total: float
    terms: tuple[TermRecord, ...]
    steps: int
    outside: tuple[str, ...] = ()
    reduction: str = "labelled"
    epoch: int | None = None
    split: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the record as plain objects, as `ledger.jsonl` holds it."""
        return {
            "epoch": self.epoch,
            "split": self.split,
            "total": self.total,
            "terms": [term.to_dict() for term in self.terms],
            "outside": list(self.outside),
            "reduction": self.reduction,
            "steps": self.steps,
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> LedgerRecord:
        """Return the record that `to_dict` wrote; JSON's null for a total or a contribution was NaN or infinity."""
        terms = tuple(_term(term) for term in data["terms"])
        own = {"total": _number(data["total"]), "terms": terms, "outside": tuple(data["outside"])}
        return cls(**{**data, **own})

    def __getitem__(self, name: str) -> TermRecord:
        for term in self.terms:
            if term.name == name:
                return term
        raise KeyError(name)

    def __iter__(self) -> Iterator[TermRecord]:
        return iter(self.terms)

    @property
    def penalty(self) -> float:
        """What all penalties together added to the total."""
        return exact_sum([term.contribution for term in self.terms if term.kind == "penalty"])

    def __str__(self) -> str:
        parts = [_addend(term) for term in self.terms if term.kind == "loss"]
        for kind in ("penalty", "unexplained"):
            group = [term for term in self.terms if term.kind == kind]
            if group:
                share = None if any(t.share is None for t in group) else exact_sum([t.share or 0.0 for t in group])
                parts.append(f"{kind} {digits(exact_sum([t.contribution for t in group]))}{_percent(share)}")
        where = f"epoch {self.epoch}  " if self.epoch is not None else ""
        where += f"{self.split}  " if self.split not in (None, "train") else ""
        return f"{where}total {digits(self.total)} = {' + '.join(parts) or '0 (no term had a label)'}"


def _term(data: Mapping[str, Any]) -> TermRecord:
    value, contribution = data["value"], data["contribution"]
    value = math.nan if value is None and contribution is None else value  # without labels a term adds 0
    return TermRecord(**{**data, "value": value, "contribution": _number(contribution)})


def _number(value: float | None) -> float:
    return math.nan if value is None else value


def _addend(term: TermRecord) -> str:
    if term.value is None:
        return f"{term.name} 0 (no label)"
    weight = f"{term.weight:.6g}" if term.weight % 1 else f"{term.weight:.1f}"
    if term.balancing_weight != 1.0:
        weight += f" x {term.balancing_weight:.4g}"
    if term.note is None:
        return f"{weight} x {term.name} {digits(term.value)}{_percent(term.share)}"
    return f"{term.name} {digits(term.contribution)} [{weight} x {digits(term.value)}]{_percent(term.share)}"


def _percent(share: float | None) -> str:
    return "" if share is None else f" ({100 * share:.1f} %)"


def exact_sum(numbers: list[float]) -> float:
    """Return the sum, rounded once; NaN or infinite where an addend is, as torch would have it.

    Examples:
        >>> exact_sum([1e16, 1.0, -1e16]), exact_sum([float("inf"), float("-inf")])
        (1.0, nan)
    """
    return math.fsum(numbers) if all(map(math.isfinite, numbers)) else sum(numbers)


def digits(value: float | None) -> str:
    """Return a number as people read losses: four decimals, or four digits where that would hide it.

    Examples:
        >>> digits(1.27228), digits(0.0000123), digits(123456.0), digits(None)
        ('1.2723', '1.230e-05', '1.235e+05', '-')
    """
    if value is None:
        return "-"
    return f"{value:.4f}" if value == 0 or 1e-3 <= abs(value) < 1e5 or not math.isfinite(value) else f"{value:.3e}"


def tenths(value: float) -> str:
    """Return a gain as people read it: one decimal, or two digits where that would hide it.

    Examples:
        >>> tenths(4.06), tenths(-1.1), tenths(0.096), tenths(0.0), tenths(0.0123)
        ('4.1', '-1.1', '0.1', '0.0', '0.012')
    """
    return f"{value:.1f}" if value == 0 or abs(value) >= 0.05 else f"{value:.2g}"


def spelled(count: int) -> str:
    """Return a small number as a word.

    Examples:
        >>> spelled(2), spelled(12)
        ('two', '12')
    """
    words = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
    return words[count] if count < len(words) else str(count)
