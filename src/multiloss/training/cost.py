"""The price of a balancing method before it is paid: a few measured steps for each method and engine."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from multiloss.backward import backward
from multiloss.balancing.base import Balancing
from multiloss.balancing.kinds import GramianWeighting, LossWeighting
from multiloss.balancing.registry import BALANCING_METHODS, BalancingSpec, resolve_balancing
from multiloss.core.errors import BalancingError, MultilossError
from multiloss.data.arrays import Inputs
from multiloss.data.batch import Batch
from multiloss.gradients.select import ENGINES
from multiloss.nn.base import ModelCaller
from multiloss.nn.untouched import untouched
from multiloss.objective.objective import Objective
from multiloss.training import checkpoint
from multiloss.training.balanced import active_losses, split_batch
from multiloss.training.memory import peak_memory

STEPS = 2
SECONDS = 0.02  # small steps are repeated for as long
PLAIN = "plain sum"


@dataclass(frozen=True)
class Price:
    """What one method costs with one engine.

    Args:
        method: Its name; the plain sum first.
        engine: What computed the gradients of each loss; `None` where none are needed.
        milliseconds: A step without the optimiser's part: forward, losses, backward.
        memory: Most bytes held beyond those before the step.
        time_ratio, memory_ratio: Multiples of the plain step.
        problem: Why it could not be measured; then there are no numbers.
    """

    method: str
    engine: str | None
    milliseconds: float | None = None
    memory: int | None = None
    time_ratio: float | None = None
    memory_ratio: float | None = None
    problem: str | None = None


class Cost(list[Price]):
    """Prices, the plain step first."""

    def __str__(self) -> str:
        lines = [f"{'method':20} {'engine':12} {'time':>7} {'memory':>8}"]
        for price in self:
            if price.problem is not None:
                numbers = price.problem
            else:
                numbers = f"{price.time_ratio:6.2f}x {price.memory_ratio:7.2f}x"
            lines.append(f"{price.method:20} {price.engine or '-':12} {numbers}")
        return "\n".join(lines)


def cost(
    model: nn.Module,
    objective: Objective,
    batch: tuple[Inputs, dict[str, torch.Tensor]],
    *,
    balancing: BalancingSpec | Sequence[BalancingSpec] | None = None,
    engines: Sequence[str] | None = None,
    output_names: Sequence[str] | None = None,
) -> Cost:
    """Measure a step of the plain sum and of balancing methods, on one batch of your own.

    One step is run for its memory, and two or more for their time, in turns with the plain step; the fastest of each
    counts. Parameters, buffers, gradients and the random state are left as they were.

    Args:
        model: The model, on the device of the batch.
        objective: The objective.
        batch: `(inputs, targets)`.
        balancing: Methods to measure; all where none are named.
        engines: Engines to measure a method with that compares gradients; all where none are named.
        output_names: Names of the outputs, for a model that returns them by position.

    Raises:
        BalancingError: If a method or an engine is unknown.

    Examples:
        >>> import multiloss as ml
        >>> x = torch.randn(8, 3)
        >>> model = ml.HardSharing(ml.MLP(3, [16]), {"a": ml.RegressionHead(16), "b": ml.RegressionHead(16)})
        >>> prices = ml.cost(model, ml.Objective("mse"), (x, {"a": x[:, 0], "b": x[:, 1]}), balancing="equal")
        >>> [(price.method, price.time_ratio is not None) for price in prices]
        [('plain sum', True), ('equal', True)]
    """
    if balancing is None:
        specs: Sequence[BalancingSpec] = list(BALANCING_METHODS)
    else:
        specs = [balancing] if isinstance(balancing, str | dict | Balancing) else list(balancing)
    unknown = [name for name in engines or () if name not in ENGINES]
    if unknown:
        raise BalancingError(f"unknown engine {unknown[0]!r}; expected some of {', '.join(ENGINES)}")
    methods: list[Balancing | str] = []
    for spec in specs:
        try:
            own = spec.options() if isinstance(spec, Balancing) else spec  # the user's keeps its state
            methods.append(resolve_balancing(own))
        except BalancingError:
            if balancing is not None:
                raise
            methods.append(str(spec))  # one that cannot be made without options
    inputs, targets = batch
    meter = _Meter(model, objective, Batch(inputs, targets, None, {}, None), output_names)
    found = Cost([meter.price(PLAIN, None, None, None)])
    for method in methods:
        if isinstance(method, str):
            found.append(Price(method, None, problem="needs options of its own"))
        elif isinstance(method, LossWeighting):
            found.append(meter.price(method.name, method, None, found[0]))
        else:
            found += [meter.price(method.name, method, engine, found[0]) for engine in engines or ENGINES]
    return found


class _Meter:
    def __init__(
        self, model: nn.Module, objective: Objective, batch: Batch, output_names: Sequence[str] | None
    ) -> None:
        self.model, self.objective, self.batch = model, objective, batch
        self.caller = ModelCaller(model, output_names)
        self.device = next(iter(batch.targets.values())).device
        self.parameters = list(model.parameters())

    def price(self, name: str, method: Balancing | None, engine: str | None, plain: Price | None) -> Price:
        random, gradients = checkpoint.random_state(), [p.grad for p in self.parameters]
        self.objective.attach(self.model)
        try:
            with untouched(self.model):
                self._step(method, engine)
                self._clear()
                memory = peak_memory(lambda: self._round(method, engine), self.device)
                plain_seconds, seconds = self._race(method, engine)
        except MultilossError as error:
            return Price(name, engine, problem=str(error).splitlines()[0])
        finally:
            self.objective.detach()
            checkpoint.set_random_state(random)
            for parameter, gradient in zip(self.parameters, gradients, strict=True):
                parameter.grad = gradient
        room = 1.0 if plain is None or not plain.memory else memory / plain.memory
        return Price(name, engine, 1e3 * seconds, memory, 1.0 if method is None else seconds / plain_seconds, room)

    def _race(self, method: Balancing | None, engine: str | None) -> tuple[float, float]:
        """Return the best time of a plain step and of one under the method, run in turns."""
        plain: list[float] = []
        own: list[float] = []
        while len(own) < STEPS or sum(own) < SECONDS:
            plain.append(self._timed(lambda: self._step(None, None)))
            own.append(self._timed(lambda: self._round(method, engine)))
        return min(plain), min(own) / (1 if method is None else method.every)

    def _round(self, method: Balancing | None, engine: str | None) -> None:
        """Run as many steps as one estimate serves."""
        for _ in range(1 if method is None else method.every):
            self._step(method, engine)

    def _clear(self) -> None:
        """Free what earlier steps left, so that it is not freed within a measured one."""
        for parameter in self.parameters:
            parameter.grad = None
        gc.collect()

    def _step(self, method: Balancing | None, engine: str | None) -> None:
        for parameter in self.parameters:
            parameter.grad = None
        batches = method.batches if isinstance(method, GramianWeighting) else 1
        losses = [self._losses(part) for part in (split_batch(self.batch, batches) if batches > 1 else [self.batch])]
        if method is not None and "validation" in method.wants:
            self._show(method.see_validation)
        backward(losses[0] if len(losses) == 1 else losses, balancing=method, model=self.model, engine=engine or "auto")
        if method is not None and "losses_after" in method.wants:
            self._show(method.after_step)

    def _losses(self, batch: Batch) -> Any:
        return self.objective(self.caller(batch.inputs), batch.targets, model=self.model)

    def _show(self, see: Callable[[Sequence[str], torch.Tensor], None]) -> None:
        with torch.no_grad():
            see(*active_losses(self._losses(self.batch)))

    def _timed(self, step: Callable[[], None]) -> float:
        self._wait()
        began = time.perf_counter()
        step()
        self._wait()
        return time.perf_counter() - began

    def _wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
