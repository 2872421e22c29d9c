"""What is wrong with what a comparison was asked for, found before the table is read."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from multiloss.balancing.registry import resolve_balancing
from multiloss.config import checks
from multiloss.config.schema import Config
from multiloss.config.training_rows import trained_outputs
from multiloss.core.errors import ConfigError, MultilossError, nearest
from multiloss.objective.losses import resolve_loss


def methods_asked(given: object) -> list[str]:
    """Return the names of the balancing methods to try.

    Raises:
        ConfigError: If they are no names.

    Examples:
        >>> methods_asked("pcgrad"), methods_asked(["pcgrad", "log_sum"])
        (['pcgrad'], ['pcgrad', 'log_sum'])
    """
    problems: list[str] = []
    found = _names(given, "balancing", "the name of a method or a list of names", problems)
    if problems:
        raise ConfigError(problems, "compare")
    return found


def losses_asked(given: object) -> dict[str, list[str]]:
    """Return the names of the losses to try by output.

    Raises:
        ConfigError: If they are no names by output; names all mistakes.

    Examples:
        >>> losses_asked({"price": "huber", "kind": ["focal"]}), losses_asked(None)
        ({'price': ['huber'], 'kind': ['focal']}, {})
    """
    if given is not None and not isinstance(given, Mapping):
        raise ConfigError([f"losses: expected names of losses by output, found {given!r}. Name the outputs"], "compare")
    problems: list[str] = []
    found = {
        str(name): _names(own, f"losses of {name!r}", "the name of a loss or a list of names", problems)
        for name, own in (given or {}).items()
    }
    if problems:
        raise ConfigError(problems, "compare")
    return found


def _names(given: object, where: str, expected: str, problems: list[str]) -> list[str]:
    names = list(given) if isinstance(given, Sequence) and not isinstance(given, str | bytes) else [given]
    for name in names:
        if isinstance(name, Mapping):
            problems.append(
                f"{where}: expected {expected}, found options {dict(name)!r}. Options belong into the configuration: "
                "put them there and compare that"
            )
        elif not isinstance(name, str):
            problems.append(f"{where}: expected {expected}, found {name!r}. Give names as text")
    return [str(name) for name in names]


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
