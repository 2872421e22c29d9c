"""Schedules: end points, what they are between, what they write and what they refuse."""

from __future__ import annotations

import json
import math
import pickle
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from multiloss.core.errors import ObjectiveError
from multiloss.objective.schedule import (
    Progress,
    Schedule,
    constant,
    cosine,
    evaluate_weight,
    piecewise,
    ramp,
    resolve_weight,
)

ALL = [
    constant(0.5),
    ramp(0, 1, epochs=10),
    ramp(0.1, 0.3, steps=7),
    ramp(2, 1),
    cosine(1, 0, epochs=2),
    piecewise({5: 0.3, 0: 1.0}),
]


def at(step: int, steps_per_epoch: int = 10, epochs: int = 4) -> Progress:
    return Progress(step // steps_per_epoch, step, steps_per_epoch, epochs)


def test_progress() -> None:
    assert (at(25).epoch, at(25).exact_epoch, at(25).fraction) == (2, 2.5, 0.625)
    assert at(99).fraction == 1.0
    assert Progress(epoch=3, steps_per_epoch=0).exact_epoch == 3.0
    assert Progress(epochs=0).fraction == 1.0


@pytest.mark.parametrize("make", [ramp, cosine], ids=["ramp", "cosine"])
@pytest.mark.parametrize(("length", "last"), [({"epochs": 2.0}, 20), ({"steps": 7.0}, 7), ({}, 40)])
def test_end_points_and_after(make: Callable[..., Schedule], length: dict[str, float], last: int) -> None:
    schedule = make(0.1, 0.3, **length)
    assert schedule(at(0)) == 0.1
    assert schedule(at(last)) == 0.3
    assert schedule(at(last + 50)) == 0.3
    inside = [schedule(at(step)) for step in range(last + 1)]
    assert inside == sorted(inside)
    assert 0.1 < inside[last - 1] < 0.3


def test_shapes() -> None:
    assert [ramp(1, 0, steps=4)(at(step)) for step in range(5)] == [1.0, 0.75, 0.5, 0.25, 0.0]
    found = [cosine(1, 0, steps=4)(at(step)) for step in range(5)]
    assert found == pytest.approx([(1 + math.cos(math.pi * step / 4)) / 2 for step in range(5)])


def test_piecewise_holds_from_the_epoch_on() -> None:
    schedule = piecewise({5: 0.3, 0: 1.0, 8: 0})
    assert [schedule(Progress(epoch)) for epoch in (0, 4, 5, 7, 8, 99)] == [1.0, 1.0, 0.3, 0.3, 0.0, 0.0]


@pytest.mark.parametrize("schedule", ALL, ids=str)
def test_written_and_read_back(schedule: Schedule) -> None:
    for twin in (resolve_weight(json.loads(json.dumps(schedule.to_dict()))), pickle.loads(pickle.dumps(schedule))):
        assert isinstance(twin, Schedule)
        assert twin == schedule
        assert [twin(at(step)) for step in range(50)] == [schedule(at(step)) for step in range(50)]


@given(st.integers(0, 200), st.sampled_from(ALL))
def test_evaluated_is_a_weight(step: int, schedule: Schedule) -> None:
    assert 0 <= evaluate_weight(schedule, at(step), "a") < math.inf


def test_what_is_a_weight() -> None:
    assert resolve_weight(2) == 2.0
    assert resolve_weight(np.float32(0.5)) == 0.5
    schedule = resolve_weight(lambda progress: progress.epoch)
    assert evaluate_weight(schedule, Progress(3), "a") == 3.0
    assert evaluate_weight(0.25, Progress(), "a") == 0.25


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        (-1, ["weight: expected a finite number of 0 or more, found -1"]),
        (float("nan"), ["found nan"]),
        (math.inf, ["found inf"]),
        (True, ["found True"]),
        ("1", ["found '1'"]),
        (None, ["found None"]),
        ({"schedule": "rmap"}, ["Did you mean 'ramp'?"]),
        ({"start": 1}, ["expected {'schedule': name, ...}", "Known: constant, cosine, piecewise, ramp"]),
        ({"schedule": "ramp", "start": 1, "stop": 2}, ["2 problems", "'stop'; known: start, end", "expected 'end'"]),
        (
            {"schedule": "ramp", "start": -1, "end": 1, "epochs": 0},
            ["start: expected", "epochs: expected a number above 0"],
        ),
        ({"schedule": "cosine", "start": 1, "end": 1, "epochs": 1, "steps": 1}, ["found both (1 and 1)"]),
        ({"schedule": "piecewise", "values": {5: 1, 2.5: -1}}, ["3 problems", "found 2.5", "epoch 0 on", "epoch 2.5:"]),
        ({"schedule": "piecewise", "values": [1]}, ["expected {epoch: weight}, found [1]"]),
        ({"schedule": ["ramp"]}, ["Did you mean 'ramp'?"]),
        ({"schedule": "constant", "value": "a"}, ["value: expected", "'a'"]),
    ],
)
def test_what_is_no_weight(spec: object, words: list[str]) -> None:
    with pytest.raises(ObjectiveError) as error:
        resolve_weight(spec)
    assert [word for word in words if word not in str(error.value)] == []


@pytest.mark.parametrize("value", [-0.1, float("nan"), math.inf, "a", None])
def test_a_bad_value_names_the_term_and_the_step(value: float) -> None:
    with pytest.raises(ObjectiveError, match=r"weight of 'kl' at epoch 1, step 12: .*found"):
        evaluate_weight(lambda progress: value, at(12), "kl")
