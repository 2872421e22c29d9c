"""A balanced step over several independent batches, for methods that estimate without bias (SDMGrad, MoDo)."""

from __future__ import annotations

import functools
import operator
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from multiloss.balance import Balanced, Found, fill
from multiloss.balancing.kinds import GramianWeighting
from multiloss.core.errors import BalancingError
from multiloss.core.losses import Losses
from multiloss.core.records import StepRecord, StepTerm
from multiloss.gradients.select import resolve_engine
from multiloss.step_losses import StepLosses


def run_batches(parts: Sequence[Balanced]) -> StepRecord:
    r"""Fill `.grad` from several batches, with factors from $J_1 J_2^\top$, applied to the last batch's gradients.

    Own parameters get the mean of their gradients over the batches; so do losses that some batch lacks, which the
    method does not see in this step.

    Args:
        parts: One for each batch, with the same method.

    Raises:
        BalancingError: If the method takes one batch, or another number of them.
    """
    method = parts[0].method
    expected = method.batches if isinstance(method, GramianWeighting) else 1
    if len(parts) != expected or not isinstance(method, GramianWeighting):
        batches = f"{expected} batches" if expected > 1 else "one batch, no list"
        raise BalancingError(f"{method.name}: expected the losses of {batches} in a step, found a list of {len(parts)}")
    if len(parts) == 1:
        return parts[0].run()
    names = [name for name in parts[0].step.active if all(name in part.step.active for part in parts)]
    problems = [part.step.problem(names) for part in parts] if names else []
    seen = problems[0].names if problems else ()
    step = StepLosses(mean_losses([part.step.losses for part in parts]))
    step.active = {term.name: term.value * term.weight for term in step.losses.terms if term.name in seen}
    step.scaler, step.scale, step.device = parts[0].step.scaler, parts[0].step.scale, parts[0].step.device
    whole = Balanced(step, method)
    found = Found((), None, done="no two losses share a parameter: nothing to balance")
    if seen:
        gradients = [resolve_engine("sequential")(p, retain_graph=True) for p in problems]
        first, second = gradients[0].jacobian().double(), gradients[1].jacobian().double()
        gramian, values = whole.read((first @ second.T)[None], seen)
        weights = whole.weigh(method, seen, gramian, values)
        last, problem = gradients[-1], problems[-1]
        last.own = tuple(
            tuple(_mean_gradient([found.own[k][i] for found in gradients]) for i in range(len(problem.own[k])))
            for k in range(len(seen))
        )
        pairs = whole.pairs(problem, last, last.combine(weights.to(first.device)), weights)
        fill(pairs)
        done = f"{len(parts)} batches{f'; {method.note}' if method.note else ''}"
        heads = whole.head_factors(weights)
        found = Found(seen, weights, (first @ first.T).cpu().numpy(), "sequential", done, heads=heads)
    for part in parts:
        part.step.penalty = part.step.penalty if part is parts[-1] else None
        rest = [value / len(parts) for name, value in part.step.active.items() if name not in seen]
        part.differentiate(rest, part.retain_graph)
    return whole.record(found)


def _mean_gradient(gradients: Sequence[Tensor | None]) -> Tensor | None:
    found = [gradient for gradient in gradients if gradient is not None]
    return torch.stack(found).sum(0) / len(gradients) if found else None


def mean_losses(parts: Sequence[Losses]) -> Losses:
    """Return the losses of all batches together: means over their labels, detached.

    Examples:
        >>> both = [Losses((StepTerm("a", "loss", torch.tensor(v), 1.0, 1.0, n, n),)) for v, n in ((1.0, 1), (4.0, 2))]
        >>> mean_losses(both)["a"].item()
        3.0
    """
    by_name: dict[str, list[StepTerm]] = {}
    for part in parts:
        for term in part.terms:
            by_name.setdefault(term.name, []).append(term)
    absent = dict(zip(parts[-1].absent, parts[-1].absent_weights or [0.0] * len(parts[-1].absent), strict=False))
    gone = {name: weight for name, weight in absent.items() if name not in by_name}
    return Losses(tuple(_mean(terms) for terms in by_name.values()), tuple(gone), tuple(gone.values()))


def _mean(terms: Sequence[StepTerm]) -> StepTerm:
    first = terms[0]
    divisors = [1.0 if term.denominator is None else term.denominator for term in terms]
    total = _sum(divisors)
    value = _sum([term.value.detach() * divisor for term, divisor in zip(terms, divisors, strict=True)]) / total
    labels = None if first.labels is None else _sum([term.labels for term in terms if term.labels is not None])
    return first._replace(value=value, labels=labels, denominator=None if first.denominator is None else total)


def _sum(numbers: Sequence[Any]) -> Any:
    return functools.reduce(operator.add, numbers)
