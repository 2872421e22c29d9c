"""What a rule returns, and what all rules read records with."""

from __future__ import annotations

import math
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from multiloss.core.run_records import RunRecords

Confidence: TypeAlias = Literal["high", "medium", "low"]
Evidence: TypeAlias = "dict[str, float | str | list[Any] | None]"


@dataclass(frozen=True)
class Finding:
    """One thing that a run's records show, and what to do about it.

    Args:
        rule: The rule that found it, as docs/findings.md lists it.
        outputs: The losses that it is about, the one to act on first; empty where it is about penalties.
        text: What was found, with its numbers.
        evidence: The numbers, in shares of 1 and in the units of the records.
        confidence: How sure the records make it.
        advice: What to do.
        command: The override of a configuration, the command or the line of Python that does it, if one does.

    Examples:
        >>> Finding("dominance", ("a",), "a makes 95 % of the gradient", {"share": 0.95}, "high", "Weigh it").rule
        'dominance'
    """

    rule: str
    outputs: tuple[str, ...]
    text: str
    evidence: Evidence
    confidence: Confidence
    advice: str
    command: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the finding as plain objects."""
        return dict(vars(self)) | {"outputs": list(self.outputs)}

    def __str__(self) -> str:
        """Return text, advice and command in one paragraph."""
        return f"{self.text}. {self.advice}" + (f": {self.command}" if self.command else "")


SEEN_FROM_THE_START = 100
"""Steps of a first epoch whose mean still shows where a loss began."""

Rule: TypeAlias = Callable[[RunRecords], list[Finding]]


def settings(records: RunRecords) -> dict[str, Any]:
    """Return the configuration as plain objects; empty where there is none or it cannot be read."""
    if records.config is None:
        return {}
    import yaml

    try:
        found = yaml.safe_load(records.config)
    except yaml.YAMLError:
        return {}
    return found if isinstance(found, dict) else {}


def change(records: RunRecords, overrides: Sequence[str], python: str) -> str:
    """Return how to make a change: overrides of `config.yaml` where the run has one, else a line of Python."""
    if records.config is None:
        return python
    return " ".join(["multiloss fit config.yaml", *map(shlex.quote, overrides)])


def suggest_weights(records: RunRecords) -> str:
    """Return how to get weights suggested."""
    return (
        "multiloss weights config.yaml" if records.config is not None else "ml.suggest_weights(model, objective, data)"
    )


def column(records: RunRecords, key: str) -> list[tuple[int, float]]:
    """Return one key of the history as `(epoch, value)`, without epochs that lack a finite value."""
    found = []
    for number, row in enumerate(records.history, 1):
        value = row.get(key)
        if isinstance(value, int | float) and math.isfinite(value):
            found.append((int(row.get("epoch") or number), float(value)))
    return found


def scores(records: RunRecords) -> dict[str, tuple[str, Mapping[str, Mapping[str, Any]]]]:
    """Return, by output, the part it was scored on and each measure beside that of the trivial prediction."""
    for part in ("test", "validation", "train"):
        found = records.facts.get(part)
        if isinstance(found, Mapping):
            return {name: (part, measures) for name, measures in found.items()}
    return {}


def trivial_loss(records: RunRecords, loss: str) -> float | None:
    """Return the loss of the trivial prediction, where it was measured."""
    _, measures = scores(records).get(loss, ("", {}))
    value = measures.get("loss", {}).get("baseline")
    return None if value is None else float(value)


def penalised(records: RunRecords) -> bool:
    """Return whether a penalty adds to the total."""
    return any(term.kind == "penalty" and term.contribution for record in records.ledgers[-1:] for term in record)


def percent(share: float) -> str:
    """Return a share as people read it, with a decimal where whole numbers would hide it.

    Examples:
        >>> percent(0.971), percent(0.004), percent(0.9987), percent(1.8)
        ('97 %', '0.4 %', '99.9 %', '180 %')
    """
    shown = 100 * share
    if 99 < shown < 100:
        return f"{shown:.1f} %" if shown < 99.95 else "over 99.9 %"
    return f"{shown:.0f} %" if shown == 0 or abs(shown) >= 1 else f"{shown:.2g} %"


def listed(names: Sequence[str]) -> str:
    """Return names as a sentence has them.

    Examples:
        >>> listed(["a", "b", "c"])
        'a, b and c'
    """
    return f"{', '.join(names[:-1])} and {names[-1]}" if len(names) > 1 else "".join(names)


def smooth(values: Sequence[float]) -> list[float]:
    """Return the running median of three, so that one epoch decides nothing.

    Examples:
        >>> smooth([1.0, 9.0, 2.0, 3.0])
        [1.0, 2.0, 3.0, 3.0]
    """
    last = len(values) - 1
    return [value if i in (0, last) else sorted(values[i - 1 : i + 2])[1] for i, value in enumerate(values)]
