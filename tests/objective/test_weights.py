"""Weights of losses: a mapping that checks what it is given, at any moment."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from multiloss.core.errors import ObjectiveError
from multiloss.objective import Objective, Progress, ramp
from multiloss.objective.weights import LossWeights

NOW = Progress(0, 0, 1, 1)
ONES = {name: torch.ones(3) for name in "ab"}
ZEROS = {name: torch.zeros(3) for name in "ab"}


def known(**weights: Any) -> LossWeights:
    made = LossWeights(weights)
    made.known = ("a", "b")
    return made


def test_a_mapping_that_knows_its_losses() -> None:
    weights = known(a=2)
    assert dict(weights) == {"a": 2.0, "b": 1.0} and len(weights) == 2
    assert "b" in weights and "c" not in weights and "a/kl" in weights
    assert weights.get("c") is None
    with pytest.raises(KeyError, match="'prise' has no loss"):
        weights["prise"]
    del weights["a"]
    assert weights["a"] == 1.0
    weights["a/kl"] = 0.5
    assert dict(weights) == {"a": 1.0, "b": 1.0, "a/kl": 0.5} and len(weights) == 3


def test_parts_have_their_own_weight_or_that_of_the_whole() -> None:
    weights = known(**{"a": 2.0, "a/kl": 0.5})
    assert [weights.at(name, NOW) for name in ("a", "a/ce", "a/kl", "b", "b/x")] == [2.0, 2.0, 0.5, 1.0, 1.0]
    assert weights.has_parts("a") and not weights.has_parts("b")


def test_schedules_and_callables_follow_the_progress() -> None:
    weights = known(a=ramp(0, 1, epochs=10), b=lambda progress: 1 / (1 + progress.epoch))
    moment = Progress(epoch=3, step=35, steps_per_epoch=10, epochs=20)
    assert weights.at("a", moment) == pytest.approx(0.35) and weights.at("b", moment) == 0.25
    weights["b"] = {"schedule": "piecewise", "values": {0: 1.0, 2: 0.1}}
    assert weights.at("b", moment) == 0.1
    weights["b"] = lambda progress: -1.0
    with pytest.raises(ObjectiveError, match=r"weight of 'b' at epoch 3, step 35.*found -1.0"):
        weights.at("b", moment)


@pytest.mark.parametrize("bad", [-1, float("nan"), float("inf"), "1", None, True, {"schedule": "rampp"}])
def test_what_is_no_weight(bad: object) -> None:
    weights = known()
    with pytest.raises(ObjectiveError, match="loss_weights of 'a'"):
        weights["a"] = bad
    assert weights["a"] == 1.0
    with pytest.raises(ObjectiveError, match="loss_weights of 'a'"):
        LossWeights({"a": bad})


def test_an_unknown_name_offers_the_nearest_and_the_value_is_checked_too() -> None:
    weights = LossWeights({})
    weights.known = ("price", "kind")
    with pytest.raises(ObjectiveError, match=r"'prise', which has no loss. Did you mean 'price'.*-1") as caught:
        weights["prise"] = -1.0
    assert "finite number" in str(caught.value) and dict(weights) == {"price": 1.0, "kind": 1.0}


def test_weights_set_between_steps_are_in_the_record() -> None:
    from multiloss.objective import Ledger

    objective, ledger = Objective("mse"), Ledger()
    for weight in (1.0, 0.5, 0.0):
        if weight != 1.0:
            objective.loss_weights["a"] = weight
        losses = objective(ZEROS, ONES)
        assert losses.ledger()["a"].weight == weight and losses.total.item() == 1 + weight
        ledger.add(losses.record())
    line = ledger.epoch()["a"]
    assert line.weight == 0.5 and line.note is None  # the mean over steps, where the value stood still
    objective.loss_weights.update(a=ramp(0, 1, steps=4))
    records = [objective(ZEROS, ONES, progress=Progress(0, step, 4, 1)).ledger() for step in range(5)]
    assert [record["a"].weight for record in records] == [0.0, 0.25, 0.5, 0.75, 1.0]


def test_weights_set_before_the_first_call_stay() -> None:
    objective = Objective(["mse", "mse"], loss_weights=[3.0, 3.0])
    weights = objective.loss_weights
    weights["b"] = 0.5
    losses = objective(ZEROS, ONES)
    assert losses.weights == {"a": 3.0, "b": 0.5} and objective.loss_weights is weights
    late = Objective("mse")
    late.loss_weights["c"] = 2.0
    with pytest.raises(ObjectiveError, match=r"'c', which has no loss. Known: a, b"):
        late(ZEROS, ONES)


def test_a_part_that_does_not_exist_is_refused_when_the_parts_are_known() -> None:
    def parts(pred: torch.Tensor, target: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"ce": (pred - target).abs(), "kl": pred.square()}

    objective = Objective({"a": parts, "b": "mse"}, loss_weights={"a/k1": 0.5, "b/x": 2.0})
    with pytest.raises(ObjectiveError, match=r"'a/k1', which is no part of that loss. Did you mean 'a/kl'"):
        objective(ZEROS, ONES)
    objective = Objective({"a": parts, "b": "mse"}, loss_weights={"b/x": 2.0})
    with pytest.raises(ObjectiveError, match="'b/x', which is no part"):
        objective(ZEROS, ONES)
    objective = Objective({"a": parts, "b": "mse"})
    objective(ZEROS, ONES)
    with pytest.raises(ObjectiveError, match="'a/ke', which is no part"):
        objective.loss_weights["a/ke"] = 1.0
    objective.loss_weights["a/kl"] = 0.25
    assert objective(ZEROS, ONES).weights == {"a/ce": 1.0, "a/kl": 0.25, "b": 1.0}
