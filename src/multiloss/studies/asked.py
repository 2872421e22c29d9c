"""What is wrong with what a comparison was asked for, found before the table is read."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from multiloss.balancing.registry import resolve_balancing
from multiloss.config import checks
from multiloss.config.schema import Config
from multiloss.core.errors import MultilossError, nearest
from multiloss.objective.losses import resolve_loss


def trained_outputs(config: Config) -> list[str]:
    """Return the outputs that a loss of a weight above 0 trains."""
    return [name for name, output in config.outputs.items() if output.loss != "none" and output.weight != 0]


def problems_asked(
    config: Config, seeds: int, balancing: Sequence[str], losses: Mapping[str, Sequence[str]]
) -> list[str]:
    """Return a sentence for everything that keeps a comparison from being planned.

    Examples:
        >>> problems_asked(Config(table="homes.csv", outputs=["price", "kind"]), 1, [], {"price": ["huber"]})
        ['seeds: expected a whole number of 2 or more, found 1. One seed gives no interval']
    """
    problems = []
    if len(trained := trained_outputs(config)) < 2:
        found = repr(trained[0]) if trained else "none"
        problems.append(f"outputs: expected two outputs or more to train, found {found}. Add a column to predict")
    if isinstance(seeds, bool) or not isinstance(seeds, int) or seeds < 2:
        problems.append(f"seeds: expected a whole number of 2 or more, found {seeds!r}. One seed gives no interval")
    for part, share in (("validation", config.split.validation), ("test", config.split.test)):
        if not share:
            problems.append(
                f"split.{part}: expected a share above 0, found 0. A comparison chooses on validation rows and judges "
                "on test rows"
            )
    return problems + _balancing_problems(config, balancing) + _loss_problems(config, losses)


def same_loss_problems(config: Config, losses: Mapping[str, Sequence[str]]) -> list[str]:
    """Return a sentence for each loss that a complete configuration has already."""
    return [
        f"losses: {name}={loss} is what the configuration has already; leave it out"
        for name, given in losses.items()
        for loss in given
        if _loss_options(loss) == _loss_options(config.outputs[name].loss)
    ]


def _loss_options(spec: Any) -> tuple[str, dict[str, Any]]:
    loss = resolve_loss(spec)
    return loss.name, dict(loss.options)


def _balancing_problems(config: Config, balancing: Sequence[str]) -> list[str]:
    problems = _repeated("balancing", balancing)
    for method in dict.fromkeys(balancing):
        try:
            if _method_options(checks.balancing(method)) == _method_options(config.balancing):
                problems.append(f"balancing: {method!r} is what the configuration has already; leave it out")
        except MultilossError as error:
            problems.append(" ".join(str(error).split()))
    return problems


def _method_options(spec: Any) -> dict[str, Any] | None:
    return None if spec is None else resolve_balancing(spec).options()


def _loss_problems(config: Config, losses: Mapping[str, Sequence[str]]) -> list[str]:
    problems = []
    for name, given in losses.items():
        if name not in config.outputs:
            problems.append(f"losses: unknown output {name!r}. {nearest(name, config.outputs)}")
        elif name not in trained_outputs(config):
            problems.append(f"losses: output {name!r} is not trained in the configuration; give it a loss there")
        problems += _repeated(f"losses of {name!r}", given)
        for loss in dict.fromkeys(given):
            try:
                resolve_loss(loss)
            except MultilossError as error:
                problems.append(f"losses of {name!r}: {' '.join(str(error).split())}")
    return problems


def _repeated(what: str, given: Sequence[str]) -> list[str]:
    twice: Iterable[str] = dict.fromkeys(name for name in given if list(given).count(name) > 1)
    return [f"{what}: expected {name!r} once, found {list(given).count(name)} times" for name in twice]
