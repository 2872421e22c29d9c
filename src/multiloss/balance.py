"""From named losses and a balancing method to `.grad`: the part of the door that needs more than one sum."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from weakref import WeakKeyDictionary

import numpy as np
import torch
from torch import Tensor, nn

from multiloss.balancing.base import Array, Balancing
from multiloss.balancing.kinds import GramianWeighting, JacobianAggregator, LossWeighting
from multiloss.balancing.registry import BalancingSpec, resolve_balancing
from multiloss.core.errors import BalancingError, NonFiniteError
from multiloss.core.records import BalancingRecord, StepRecord, StepTerm
from multiloss.gradients.base import Gradients, Problem
from multiloss.gradients.problem import merged_node
from multiloss.gradients.select import resolve_engine
from multiloss.step_losses import StepLosses

_CPU = torch.device("cpu")
_made: WeakKeyDictionary[nn.Module, dict[str, Balancing]] = WeakKeyDictionary()


def method_of(spec: BalancingSpec, model: nn.Module | None) -> Balancing:
    """Return the method to use; one asked for by name is made once for a model and kept with it.

    Raises:
        BalancingError: If the method remembers earlier steps, and there is no model that it could be kept with.
    """
    if isinstance(spec, Balancing):
        return spec
    if model is None:
        method = resolve_balancing(spec)
        if method.remembers:
            raise BalancingError(
                f"{method.name} remembers earlier steps: make it once before the loop, "
                f"balancing = ml.{type(method).__name__}(...), or give model="
            )
        return method
    kept, key = _made.setdefault(model, {}), repr(spec)
    if key not in kept:
        kept[key] = resolve_balancing(spec)
    return kept[key]


class Balanced:
    """One step under a balancing method.

    Args:
        step: The losses of the step; penalties among them stay outside of the method.
        method: The method.
        engine: What computes the gradient of each loss.
        retain_graph: Whether the losses may be differentiated once more.
    """

    def __init__(
        self, step: StepLosses, method: Balancing, *, engine: str = "auto", retain_graph: bool = False
    ) -> None:
        self.step, self.method, self.engine, self.retain_graph = step, method, engine, retain_graph

    def run(self) -> StepRecord:
        """Fill `.grad` and return the step; nothing is filled where it raises."""
        method = self.method
        if isinstance(method, LossWeighting) and self.step.active:
            return self._losses_only(method)
        problem = self.step.problem() if self.step.active else None
        if problem is None or not problem.names:
            self.differentiate(tuple(self.step.active.values()), self.retain_graph)
            return self.record(Found((), None, done="no two losses share a parameter: nothing to balance"))
        parts = components(problem)
        found = [self._found(problem if len(parts) == 1 else self.step.problem(names)) for names in parts]
        fill([pair for part in found for pair in part.gradients])
        self.differentiate([self.step.active[name] for name in problem.alone], self.retain_graph)
        return self.record(found[0] if len(found) == 1 else together(found))

    def _found(self, problem: Problem) -> Found:
        method = self.method
        if self.engine == "features" and merged_node(problem.graph) is not None:
            raise BalancingError(
                "engine 'features': expected a graph that shows where the heads begin, found a model "
                "that is compiled as a whole. Choose an exact engine, or compile the trunk alone"
            )
        # penalties, and losses that share nothing, are differentiated when nothing can fail any more
        retain = self.retain_graph or problem.entangled or self.step.penalty is not None
        if isinstance(method, JacobianAggregator):
            return self._aggregate(method, problem, retain)
        assert isinstance(method, GramianWeighting)
        if method.of == "last_layer" or not method.due(problem.names):
            return self._one_pass(method, problem, retain)
        return self._estimate(method, problem, retain)

    # ------------------------------------------------------------------ one backward pass

    def _losses_only(self, method: LossWeighting) -> StepRecord:
        values = torch.stack(tuple(self.step.active.values()))
        weights = method.weights(list(self.step.active), values.detach()).to(values.dtype)
        self.differentiate([torch.dot(weights, values)], self.retain_graph)
        return self.record(Found(tuple(self.step.active), weights, done=method.note, heads=weights))

    def _one_pass(self, method: GramianWeighting, problem: Problem, retain: bool) -> Found:
        """Use factors for which no gradient of the whole trunk is needed: earlier ones, or those of its last layer."""
        names, gramian = problem.names, None
        if method.due(names):
            last = replace(
                problem, shared=(_last_matrix(problem),), reach=(tuple(range(len(names))),), own=((),) * len(names)
            )
            gramian, values = self.read(resolve_engine("sequential")(last, retain_graph=True).gramians(), names)
            weights = self.weigh(method, names, gramian, values)
        else:
            weights = method.reused(names, _CPU)
        factors = weights.to(self.step.device)
        if method.heads == "weighted":
            weighted = torch.stack([value * w for value, w in zip(problem.values, factors, strict=True)]).sum()
            reached = list(dict.fromkeys((*problem.shared, *(p for own in problem.own for p in own))))
            gradients = torch.autograd.grad(weighted, reached, retain_graph=retain, allow_unused=True)
            pairs = [(p, gradient) for p, gradient in zip(reached, gradients, strict=True) if gradient is not None]
        else:
            engine = resolve_engine("features")(problem, retain_graph=retain)
            pairs = self.pairs(problem, engine, engine.combine(factors), weights)
        return Found(names, weights, gramian, "one pass", method.note, pairs, self.head_factors(weights))

    # ------------------------------------------------------------------ a gradient for each loss

    def _estimate(self, method: GramianWeighting, problem: Problem, retain: bool) -> Found:
        groups = self._groups(method, problem)
        gradients = resolve_engine(self.engine)(problem, retain_graph=retain)
        gramians, values = self.read(gradients.gramians(groups), problem.names)
        weights = self.weigh(method, problem.names, gramians, values)
        combined = gradients.combine(weights.to(self.step.device), groups if weights.dim() > 1 else None)
        mean = weights if weights.dim() == 1 else weights.mean(0)
        pairs = self.pairs(problem, gradients, combined, mean)
        return Found(problem.names, mean, gramians, gradients.engine, method.note, pairs, self.head_factors(mean))

    def _aggregate(self, method: JacobianAggregator, problem: Problem, retain: bool) -> Found:
        gradients = resolve_engine(self.engine)(problem, retain_graph=retain)
        rows = gradients.jacobian() if self.step.scale is None else gradients.jacobian() / self.step.scale
        gramians, _ = self.read((rows @ rows.T)[None].double(), problem.names, scaled=False)
        values = torch.stack([self.step.active[name].detach() for name in problem.names])
        if np.isfinite(gramians).all():
            update, weights = method.update(problem.names, rows, values, gradients.features)
        else:
            update, weights = rows.sum(0), None
        combined = gradients.apply(update if self.step.scale is None else update * self.step.scale)
        pairs = self.pairs(problem, gradients, combined, weights)
        return Found(problem.names, weights, gramians, gradients.engine, method.note, pairs, self.head_factors(weights))

    @staticmethod
    def weigh(method: GramianWeighting, names: Sequence[str], gramians: Array, values: Array) -> Tensor:
        """Return factors; NaN where a gradient scaler's scale was too large, so that it skips the step."""
        if np.isfinite(gramians).all():
            return method.weights(names, gramians, values)
        return torch.full((len(values),), math.nan, dtype=torch.float64)

    def read(self, gramians: Tensor, names: Sequence[str], scaled: bool = True) -> tuple[Array, Array]:
        """Bring Gramians and losses to the host: the one place where a step waits for the device.

        Raises:
            NonFiniteError: If a loss or its gradient is not finite, and no gradient scaler is there to handle it.
        """
        if self.step.scale is not None and scaled:
            gramians = gramians / self.step.scale.double() ** 2
        values = torch.stack([self.step.active[name].detach() for name in names]).to(gramians)
        flat = torch.cat([gramians.flatten(), values]).cpu().numpy()
        m = len(names)
        found, losses = flat[:-m].reshape(-1, m, m), flat[-m:]
        good = np.isfinite(losses) & np.isfinite(np.einsum("gkk->gk", found)).all(0)
        if not good.all() and self.step.scaler is None:
            bad = [name for name, fine in zip(names, good, strict=True) if not fine]
            raise NonFiniteError(
                f"expected finite losses and gradients, found NaN or infinity in {', '.join(bad)}. Leave it out of "
                "this step, mend its labels, or lower the learning rate",
                bad,
            )
        return found, losses

    def _groups(self, method: GramianWeighting, problem: Problem) -> list[list[int]] | None:
        if method.blocks == "model":
            return None
        if method.blocks == "tensor":
            return [[i] for i in range(len(problem.shared))]
        model = self.step.model
        if model is None:
            raise BalancingError(f"{method.name} by layer: expected the model, which has the layers. Give model=")
        layer_of = {id(p): layer for layer, module in enumerate(model.modules()) for p in module.parameters(False)}
        layers: dict[int, list[int]] = {}
        for i, parameter in enumerate(problem.shared):
            layers.setdefault(layer_of.get(id(parameter), -1), []).append(i)
        return list(layers.values())

    # ------------------------------------------------------------------ into `.grad`, and into the record

    def differentiate(self, values: Sequence[Tensor], retain: bool) -> None:
        """Differentiate the sum of values, unscaled, and the penalties."""
        parts = [*values, *([] if self.step.penalty is None else [self.step.penalty])]
        if parts:
            total = parts[0] if len(parts) == 1 else torch.stack([part.to(parts[0]) for part in parts]).sum()
            total = total if self.step.scaler is None else self.step.scaler.scale(total)
            total.backward(retain_graph=retain)  # type: ignore[no-untyped-call]

    def pairs(
        self, problem: Problem, gradients: Gradients, combined: Sequence[Tensor], weights: Tensor | None
    ) -> list[tuple[Tensor, Tensor]]:
        """Return what each parameter gets: shared ones the combination, own ones their loss's gradient."""
        found = list(zip(problem.shared, combined, strict=True))
        heads = self.head_factors(weights)
        for k, parameters in enumerate(problem.own):
            for parameter, own in zip(parameters, gradients.own[k], strict=True):
                if own is not None:
                    found.append((parameter, own if heads is None else own * heads[k].to(own)))
        return found

    def head_factors(self, weights: Tensor | None) -> Tensor | None:
        """Return what multiplies the gradients of parameters that one loss alone reaches; `None` for ones."""
        if self.method.heads == "weighted" and weights is not None:
            return weights
        known = weights is None or bool(weights.isfinite().all())  # where they are not, the step will be skipped
        return self.method.own_factors() if known else None

    def record(self, found: Found) -> StepRecord:
        """Return the step, with the factors as balancing weights."""
        losses, weights = self.step.losses, found.weights
        factors = {} if weights is None else by_name(found.names, weights)
        terms = tuple([StepTerm(n, k, v.detach(), w, factors.get(n, b), c, d) for n, k, v, w, b, c, d in losses.terms])
        parts = [term.value.double() * (term.weight * term.balancing_weight) for term in terms if term.weight]
        total = torch.stack(parts).sum() if parts else torch.zeros(()) if terms else None
        norms, cosines = (None, None) if found.gramian is None else _geometry(found.gramian)
        names = found.names or tuple(self.step.active)
        method = self.method
        balancing = BalancingRecord(
            method.name, names, weights, norms, cosines, found.engine, found.done, found.heads, method.sums
        )
        return StepRecord(terms, total, losses.absent, losses.absent_weights, balancing)


@dataclass(frozen=True)
class Found:
    """What came of the losses that share something.

    Args:
        names: The losses, m of them.
        weights: Their factors `[m]`, if there are some.
        gramian: `[m, m]`, or `[g, m, m]` by block.
        engine: What computed the gradients.
        done: What was done beside the method's rule.
        gradients: What each parameter gets.
        heads: Factors `[m]` of the parameters that one loss alone reaches; `None` for ones.
    """

    names: tuple[str, ...]
    weights: Tensor | None
    gramian: Array | None = None
    engine: str | None = None
    done: str = ""
    gradients: Sequence[tuple[Tensor, Tensor]] = ()
    heads: Tensor | None = None


def components(problem: Problem) -> list[tuple[str, ...]]:
    """Return the losses in groups that share nothing with each other: each group is a problem of its own."""
    groups: list[set[int]] = []
    for positions in problem.groups_by_reach():
        reach = problem.reach[positions[0]]
        met = [group for group in groups if group.intersection(reach)]
        groups = [group for group in groups if group not in met] + [set(reach).union(*met)]
    return [tuple(problem.names[k] for k in sorted(group)) for group in sorted(groups, key=min)]


def together(parts: Sequence[Found]) -> Found:
    """Return one record of groups of losses that share nothing: their gradients meet nowhere."""
    names = tuple(name for part in parts for name in part.names)
    weights = [part.weights for part in parts if part.weights is not None]
    gramians = [part.gramian for part in parts if part.gramian is not None]
    whole = None
    if len(gramians) == len(parts):
        whole, at = np.zeros((len(names), len(names))), 0
        for gramian in gramians:
            end = at + gramian.shape[-1]
            whole[at:end, at:end] = gramian if gramian.ndim == 2 else gramian.sum(0)
            at = end
    notes = [f"{', '.join(part.names)}: {part.done}" for part in parts if part.done]
    apart = " | ".join(", ".join(part.names) for part in parts)
    engines = " and ".join(dict.fromkeys(part.engine for part in parts if part.engine))
    factors = torch.cat(weights) if len(weights) == len(parts) else None
    heads = torch.cat([torch.ones(len(part.names)) if part.heads is None else part.heads.cpu() for part in parts])
    done = "; ".join([f"groups that share nothing: {apart}", *notes])
    return Found(names, factors, whole, engines, done, heads=heads)


def fill(pairs: Iterable[tuple[Tensor, Tensor]]) -> None:
    """Add gradients to `.grad` as `Tensor.backward` does: each gets memory of its own."""
    seen: set[int] = set()
    for parameter, gradient in pairs:
        if parameter.grad is not None:
            parameter.grad = parameter.grad + gradient
        elif gradient.is_sparse:
            parameter.grad = gradient
        else:
            memory = gradient.untyped_storage().data_ptr()
            alone = memory not in seen and gradient.is_contiguous()
            parameter.grad = gradient if alone else gradient.clone(memory_format=torch.contiguous_format)
            seen.add(memory)


def by_name(names: Iterable[str], weights: Tensor) -> dict[str, float | Tensor]:
    """Return factors by name: numbers where the host has them, else tensors that stay on their device."""
    return dict(zip(names, weights.tolist() if weights.device == _CPU else weights.unbind(), strict=True))


def _last_matrix(problem: Problem) -> Tensor:
    """Return the last weight, no bias or scale, that every loss reaches."""
    everyone = len(problem.names)
    full = [p for p, reach in zip(problem.shared, problem.reach, strict=True) if len(reach) == everyone]
    if not full:
        raise BalancingError(f"expected a layer that all of {', '.join(problem.names)} reach, found none")
    return next((p for p in reversed(full) if p.dim() >= 2), full[-1])


def _geometry(gramian: Array) -> tuple[Tensor, Tensor]:
    """Return norms `[m]` and cosines `[m, m]`; 0 where a gradient is zero."""
    whole = gramian if gramian.ndim == 2 else gramian.sum(0)
    norms = np.sqrt(np.maximum(whole.diagonal(), 0.0))
    scale = np.divide(1.0, norms, out=np.zeros_like(norms), where=norms > 0)
    return torch.from_numpy(norms), torch.from_numpy(whole * scale[:, None] * scale)
