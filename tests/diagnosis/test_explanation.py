"""The explanation of a log: the two cases everybody asks about, weights, the promises of its form."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest
from log_simulations import as_printed, log_of, parts_of, weights_of

from multiloss.core.errors import ConfigError, DataError
from multiloss.diagnosis.explanation import explain_log
from multiloss.diagnosis.training_log import LogEpoch, TrainingLog

PUZZLE = """2 9.2902 0.0801 0.0717
3 8.2261 0.0251 0.0199
4 7.3107 0.0595 0.0048
5 6.4586 0.0560 0.0025
6 5.9463 0.1964 0.0653
7 5.3730 0.1722 0.0447
8 4.8407 0.1396 0.0169
9 4.4465 0.1614 0.0124
10 3.9898 0.0588 0.0119
11 3.6347 0.0302 0.0085"""


def epoch(number: str, total: str, **parts: str) -> LogEpoch:
    return LogEpoch(float(number), as_printed(total), {name: as_printed(part) for name, part in parts.items()}, {})


def keras(*epochs: LogEpoch) -> TrainingLog:
    return TrainingLog("Keras progress output", "train.log", "loss", epochs, (), ())


def puzzle() -> TrainingLog:
    rows = [line.split() for line in PUZZLE.splitlines()]
    return keras(*(epoch(number, total, dense_1=a, dense_2=b) for number, total, a, b in rows))


TICKETS = keras(epoch("1", "1.2723", priority="0.7062", department="2.8304"))


def test_the_puzzle() -> None:
    found = explain_log(puzzle())
    assert found.weights == {"dense_1": 1.0, "dense_2": 1.0} and found.weights_from == "undetermined"
    start = found.epochs[0]
    assert start.unexplained == pytest.approx(9.1384) and start.share == pytest.approx(0.9837, abs=5e-5)
    cause = found.causes[0]
    assert (cause.cause, cause.confidence) == ("hidden penalty", "high")
    assert cause.evidence["rate_per_epoch"] == pytest.approx(0.8997, abs=5e-5)
    assert cause.evidence["r2"] == pytest.approx(0.9979, abs=5e-5)
    assert cause.evidence["r2_straight_line"] == pytest.approx(0.969, abs=5e-4)
    assert cause.evidence["half_life"] == pytest.approx(6.6, abs=0.05)
    assert cause.evidence["lr_coefficient_steps"] == pytest.approx(0.0264, abs=5e-5)
    assert "model.losses" in cause.confirm


def test_the_puzzle_in_words() -> None:
    text = " ".join(str(explain_log(puzzle())).split())
    for said in (
        "98.4 % of loss at epoch 2",
        "a penalty on the weights that is added and not printed",
        "by 10.0 % every epoch",
        "0.01 x 0.01 x 264 steps",
        "loss is a sum, not an average",
        "The weights need not sum to 1",
        "The average of the parts at epoch 2 would be 0.0759",
        "weights of 2 would leave 96.7 % unexplained",
        "61.2 at epoch 2 and 93.9 at epoch 11",
        "fell by 5.6555. Of that: the penalty 98 %",
        "Monitor the parts instead",
        "weight_decay of an optimiser is not it",
    ):
        assert said in text, said


def test_no_line_is_wider_than_a_hundred_but_those_to_paste() -> None:
    lines = str(explain_log(puzzle())).splitlines()
    assert all(len(line) <= 100 for line in lines if "confirm:" not in line)


def test_tickets_with_their_weights() -> None:
    found = explain_log(TICKETS, {"priority": 1.0, "department": 0.2})
    (row,) = found.epochs
    assert row.contributions == pytest.approx({"priority": 0.7062, "department": 0.56608})
    assert row.explained == pytest.approx(1.27228) and row.rounding
    assert [cause.cause for cause in found.causes] == ["rounding"]
    assert found.answer.startswith("loss = 1 x priority + 0.2 x department")
    assert found.weights_from == "given" and found.weights_why == "given"


def test_one_epoch_of_two_parts_does_not_tell_the_weights() -> None:
    found = explain_log(TICKETS)
    assert found.weights_from == "undetermined"
    assert found.candidates[0] == {"priority": 1.0, "department": 0.2} == found.weights
    for candidate in found.candidates:
        total = 0.7062 * candidate["priority"] + 2.8304 * candidate["department"]
        assert abs(total - 1.2723) < 5e-5 * (1 + sum(candidate.values())) + 1e-4


def test_two_epochs_tell_two_plain_weights() -> None:
    more = epoch("2", "1.1000", priority="0.6000", department="2.5000")
    found = explain_log(keras(*TICKETS.train, more))
    assert found.weights == {"priority": 1.0, "department": 0.2} and found.weights_from == "inferred"


def test_parts_that_move_together_are_not_told_apart() -> None:
    first = np.linspace(2.0, 1.0, 10)
    found = explain_log(log_of(3 * first, np.stack([first, 2 * first], axis=1)))
    assert found.weights_from == "undetermined" and found.weights == {"a": 1.0, "b": 1.0}
    assert "move together" in found.weights_why


@pytest.mark.parametrize("seed", range(6))
def test_weights_that_explain_every_epoch_are_inferred(seed: int) -> None:
    rng = np.random.default_rng(seed)
    parts, weights = parts_of(rng, 12, 3), weights_of(rng, 3)
    found = explain_log(log_of(parts @ weights, parts))
    assert found.weights_from == "inferred"
    assert list(found.weights.values()) == pytest.approx(list(weights))


def test_a_mean_is_called_one() -> None:
    parts = parts_of(np.random.default_rng(0), 10, 3)
    found = explain_log(log_of(parts.mean(axis=1), parts))
    assert list(found.weights.values()) == pytest.approx([1 / 3] * 3)
    assert "the average of the parts" in found.answer and "every weight is 1/3" in found.meaning[0]


@pytest.mark.parametrize("weight", [0.05, 0.001, 7.5])
def test_weights_that_are_rarer(weight: float) -> None:
    parts = parts_of(np.random.default_rng(1), 20, 2)
    found = explain_log(log_of(parts @ [1.0, weight], parts, digits=6))
    assert found.weights["b"] == pytest.approx(weight) and found.weights_from == "inferred"


def test_a_part_that_is_always_zero_does_not_hide_the_others() -> None:
    parts = parts_of(np.random.default_rng(2), 10, 3)
    parts[:, 1] = 0.0
    found = explain_log(log_of(parts @ [1.0, 1.0, 0.3], parts))
    assert found.weights == {"a": 1.0, "b": 1.0, "c": 0.3} and found.weights_from == "inferred"


def test_a_log_of_few_digits_is_rounding_not_more() -> None:
    log = keras(epoch("1", "1.8", a="1.2", b="0.3", c="0.4"), epoch("2", "1.6", a="1.1", b="0.3", c="0.3"))
    found = explain_log(log)
    assert [cause.cause for cause in found.causes] == ["rounding"]
    assert found.causes[0].evidence["allowed"] == pytest.approx(0.2, abs=1e-3)


def test_the_form_of_the_dictionary() -> None:
    plain = json.loads(json.dumps(explain_log(puzzle()).to_dict(), allow_nan=False))
    assert {"weights", "weights_from", "epochs", "validation", "causes"} <= set(plain)
    assert set(plain["epochs"][0]) == {"epoch", "total", "explained", "unexplained", "share"}
    assert {"cause", "confidence", "evidence", "confirm"} <= set(plain["causes"][0])
    assert plain["epochs"][0]["epoch"] == 2 and plain["validation"] == []


def test_a_log_without_a_total_shows_the_sum_of_its_parts() -> None:
    rows = tuple(LogEpoch(row.epoch, as_printed("nan"), row.parts, {}) for row in puzzle().train)
    found = explain_log(TrainingLog("Ultralytics results.csv", "results.csv", "", rows, (), ()))
    assert found.epochs[0].total == pytest.approx(0.1518) and found.causes == ()
    assert "no total" in found.answer


def test_what_cannot_be_explained_is_refused() -> None:
    with pytest.raises(DataError, match=r"expected losses printed beside the total 'loss', found none"):
        explain_log(keras(epoch("1", "1.0")))
    with pytest.raises(DataError, match="all finite numbers"):
        explain_log(keras(epoch("1", "1.0", a="nan")))
    with pytest.raises(ConfigError, match="Did you mean 'priority'"):
        explain_log(TICKETS, {"prority": 1.0})
    with pytest.raises(ConfigError, match="finite number as the weight of priority"):
        explain_log(TICKETS, {"priority": float("nan")})


def test_a_weight_may_be_given_under_the_name_of_the_loss() -> None:
    found = explain_log(TICKETS, {"department_loss": 0.2})
    assert found.weights == {"priority": 1.0, "department": 0.2}
    assert "1 for priority" in found.weights_why


def test_twenty_thousand_steps_are_explained() -> None:
    rng = np.random.default_rng(0)
    parts = rng.uniform(0.5, 1.5, (20_000, 3))
    found = explain_log(log_of(parts.sum(axis=1) + 2 * 0.9999 ** np.arange(20_000), parts, unit="step"))
    assert found.weights_from == "inferred" and found.causes[0].cause == "hidden penalty"
    assert len(str(found).splitlines()) < 60


def test_explaining_loads_no_torch() -> None:
    script = (
        "import io, sys\n"
        "from multiloss.diagnosis.explanation import explain_log\n"
        "from multiloss.diagnosis.training_log import read_log\n"
        "log = read_log(io.BytesIO(b'epoch,loss,a_loss,b_loss\\n1,1.5,0.5,1.0\\n2,1.2,0.4,0.8\\n'))\n"
        "str(explain_log(log))\n"
        "assert 'torch' not in sys.modules and 'polars' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True)
