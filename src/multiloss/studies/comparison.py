"""What a verdict is made from: differences from the separate models, what models cost, what the gradient flow says."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from multiloss.studies.statistics import Difference, Interval, holm

Claim: TypeAlias = Literal["better", "worse", "no difference"]

CLAIM = 0.05
"""A difference is claimed where its p, corrected by Holm over all outputs and variants, is below this."""
FEWEST_ROWS = 20
"""Labelled held-out rows (groups, where rows come in groups) without which nothing is claimed."""


@dataclass(frozen=True)
class Comparison:
    """One output of one variant against `separate`, on the same seeds and rows.

    Args:
        metric: What was compared, in words of the metrics: `mae`, `mse`, `accuracy`, `log_loss`.
        higher_is_better: Its direction; where it is True, the metric lies between 0 and 1.
        absolute: Variant minus separate, in the unit of the metric.
        relative: The same as a share of separate; None where that is 0.
    """

    metric: str
    higher_is_better: bool
    absolute: Difference
    relative: Difference | None

    @property
    def unit(self) -> str:
        """Errors are compared in % of those of separate, metrics like accuracy in points of 100, else as they are."""
        return "points" if self.higher_is_better else "%" if self.relative is not None else ""

    @property
    def shown(self) -> Difference:
        """The difference that is shown and tested."""
        return self.absolute if self.higher_is_better or self.relative is None else self.relative

    @property
    def gain(self) -> Interval:
        """What is shown, turned so that above 0 is better, in `unit`; no more than can be."""
        shown, scale = self.shown, 100.0 if self.unit else 1.0
        sign = scale if self.higher_is_better else -scale
        ends = sorted((sign * shown.low, sign * shown.high))
        most = 100.0 if self.unit else math.inf
        least = -100.0 if self.unit == "points" else -math.inf
        mean, low, high = (min(max(value, least), most) + 0.0 for value in (sign * shown.mean, *ends))  # no minus 0
        return Interval(mean, low, high)


Comparisons: TypeAlias = Mapping[str, Mapping[str, Comparison]]
"""Variant -> output -> its comparison with separate; a variant whose runs all diverged is absent."""


@dataclass(frozen=True)
class FlowFacts:
    """What the gradients of the shared runs say about one output; None where it was not watched.

    Args:
        conflict_rate: Share of watched steps in which its gradient has a negative cosine with that of `opponent`.
        opponent: The output that it conflicts with most often.
        share: Median share of its norm among all gradients of the trunk.
        ruler: Another output, with the largest share, where that is well above an equal one.
        among: How many outputs move the trunk.
    """

    conflict_rate: float | None = None
    opponent: str | None = None
    share: float | None = None
    ruler: str | None = None
    among: int = 2


@dataclass(frozen=True)
class CostRatios:
    """What the one shared model costs beside all separate ones, as ratios; None where it was not measured.

    Args:
        models: How many separate models.
        train: Time of training.
        run: Time of prediction.
    """

    models: int
    train: float | None = None
    run: float | None = None


@dataclass(frozen=True)
class Judged:
    """A comparison and what it lets one claim."""

    comparison: Comparison
    claim: Claim
    adjusted_p: float
    among: int
    """How many comparisons the p was corrected for."""


Ended: TypeAlias = Mapping[str, Mapping[str, tuple[int, int]]]
"""Variant -> output -> how many of its runs diverged, and how many were planned."""

Judgements: TypeAlias = Mapping[str, Mapping[str, Judged]]
"""Variant -> output -> what its comparison lets one claim."""


def claims(comparisons: Comparisons) -> Judgements:
    """Return what each comparison lets one claim, corrected over all of them.

    Args:
        comparisons: All that the study makes; each is a test.
    """
    keys = [(variant, output) for variant, own in comparisons.items() for output in own]
    adjusted = holm([comparisons[variant][output].shown.p for variant, output in keys])
    judged: dict[str, dict[str, Judged]] = {variant: {} for variant in comparisons}
    for (variant, output), p in zip(keys, adjusted, strict=True):
        found = comparisons[variant][output]
        few = found.shown.rows < FEWEST_ROWS
        claim: Claim = "no difference" if p >= CLAIM or few else "better" if found.gain.mean > 0 else "worse"
        judged[variant][output] = Judged(found, claim, p, len(keys))
    return judged


def named(judged: Mapping[str, Judged], claim: Claim) -> list[str]:
    """Return the outputs of which `claim` is made."""
    return [output for output, own in judged.items() if own.claim == claim]


def listed(names: Sequence[str]) -> str:
    """Return names as a sentence has them.

    Examples:
        >>> listed(["a", "b", "c"])
        'a, b and c'
    """
    return f"{', '.join(names[:-1])} and {names[-1]}" if len(names) > 1 else "".join(names)
