"""A measurement of costs that is interrupted leaves no figure behind."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from typing import Any

import pytest
from study_tables import make_config, signal_in_step, write_table

from multiloss.config.build import prepare
from multiloss.core.errors import RunError
from multiloss.studies.costs import Model, measure_costs
from multiloss.studies.variants import compare_plan
from multiloss.training.memory import peak_memory


@pytest.fixture(scope="module")
def variants(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Model]]:
    plan = compare_plan(make_config(write_table(tmp_path_factory.mktemp("table"))), seeds=2)
    models: dict[str, list[Model]] = {}
    for run in (run for run in plan.runs if run.seed == 0):
        models.setdefault(run.variant, []).append(Model(run.config, 3.0))
    return models


@pytest.mark.parametrize(("number", "step"), [(signal.SIGINT, 1), (signal.SIGTERM, 7), (signal.SIGINT, 30)])
def test_a_signal_in_a_fit_ends_the_measurement(
    variants: dict[str, list[Model]], monkeypatch: pytest.MonkeyPatch, number: signal.Signals, step: int
) -> None:
    steps = signal_in_step(monkeypatch, step, number)
    before = signal.getsignal(number)
    with pytest.raises(RunError, match=r"^interrupted while costs were measured. Do the same again, and it goes on$"):
        measure_costs(variants, rounds=1)
    assert len(steps) == step  # no other step, and no other fit
    assert signal.getsignal(number) is before


@pytest.mark.parametrize("call", [1, 6])
def test_a_signal_between_fits_ends_the_measurement_too(
    variants: dict[str, list[Model]], monkeypatch: pytest.MonkeyPatch, call: int
) -> None:
    """In the first seconds, while the table is read, and in the last, when everything was measured."""
    functions: tuple[tuple[str, Callable[..., object]], ...] = (("prepare", prepare), ("peak_memory", peak_memory))
    name, done = functions[call != 1]
    calls = 0

    def stopping(*given: Any, **named: Any) -> object:
        nonlocal calls
        calls += 1
        if calls == call:
            os.kill(os.getpid(), signal.SIGINT)
        return done(*given, **named)

    monkeypatch.setattr(f"multiloss.studies.contender.{name}", stopping)
    with pytest.raises(RunError, match="interrupted while costs were measured"):
        measure_costs({name: variants[name] for name in ("shared", "separate")}, rounds=1)
    assert calls == call
