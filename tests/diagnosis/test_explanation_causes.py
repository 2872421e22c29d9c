"""Causes of a remainder, told from logs whose truth is known, and not told where there is none."""

from __future__ import annotations

from collections import Counter

import log_simulations as simulated
import numpy as np
import pytest
from log_simulations import Maker, log_of, parts_of

from multiloss.diagnosis.explanation import Explanation, explain_log
from multiloss.diagnosis.training_log import TrainingLog

PENALTY, UNNAMED = "hidden penalty", "another loss that is not printed"
SMOOTHED, WINDOWS, MOVED = "smoothed total beside raw parts", "different averaging windows", "weights that moved"

TRUTHS: dict[Maker, str] = {
    simulated.penalty: PENALTY,
    simulated.constant: PENALTY,
    simulated.unnamed: UNNAMED,
    simulated.exponential: SMOOTHED,
    simulated.moving_mean: SMOOTHED,
    simulated.windows: WINDOWS,
    simulated.end_of_epoch: WINDOWS,
    simulated.annealed: MOVED,
    simulated.stepped: MOVED,
    simulated.replicated: "replicas",
    simulated.replicated_penalty: "replicas",
}


def explained(make: Maker, n: int, validation: bool, seeds: int) -> list[Explanation]:
    found = []
    for seed in range(seeds):
        rng = np.random.default_rng([seed, n, validation])
        found.append(explain_log(make(rng, n, int(rng.integers(2, 5)), validation)))
    return found


def first(found: Explanation) -> str:
    """The first cause, if it is told with more than low confidence."""
    sure = [cause for cause in found.causes[:1] if cause.confidence != "low"]
    return sure[0].cause if sure else "-"


def share_right(make: Maker, sizes: tuple[int, ...], seeds: int) -> float:
    told = Counter(
        first(found) == TRUTHS[make]
        for n in sizes
        for validation in (False, True)
        for found in explained(make, n, validation, seeds)
    )
    return told[True] / told.total()


@pytest.mark.parametrize("make", TRUTHS, ids=lambda make: make.__name__)
def test_the_cause_that_made_the_log_comes_first(make: Maker) -> None:
    assert share_right(make, (20,), 3) >= 5 / 6


@pytest.mark.slow
@pytest.mark.parametrize("make", TRUTHS, ids=lambda make: make.__name__)
def test_the_cause_that_made_the_log_comes_first_in_nearly_all(make: Maker) -> None:
    assert share_right(make, (20, 40), 10) >= 0.92


@pytest.mark.slow
@pytest.mark.parametrize("n", [8, 12, 20, 40])
def test_a_loss_on_data_is_never_surely_a_penalty(n: int) -> None:
    for validation in (False, True):
        for found in explained(simulated.unnamed, n, validation, 20):
            assert not [cause for cause in found.causes if (cause.cause, cause.confidence) == (PENALTY, "high")]


@pytest.mark.parametrize("n", [3, 6, 20])
@pytest.mark.parametrize("validation", [False, True])
def test_without_a_remainder_there_is_no_cause_but_rounding(n: int, validation: bool) -> None:
    for found in explained(simulated.nothing_left, n, validation, 8):
        equal = set(found.weights.values()) in ({2.0}, {5.0})
        assert [cause.cause for cause in found.causes] in ([["replicas"]] if equal else [["rounding"], []])


@pytest.mark.parametrize("n", [1, 2, 3])
def test_few_epochs_are_not_enough(n: int) -> None:
    for make in (simulated.penalty, simulated.unnamed, simulated.windows):
        for found in explained(make, n, False, 5):
            assert [cause.cause for cause in found.causes] in (["not enough epochs"], ["rounding"], [])
            if found.causes and found.causes[0].cause == "not enough epochs":
                assert found.causes[0].evidence["epochs"] == n and found.causes[0].confidence == "low"
                assert "cannot tell why" in found.answer


def test_a_penalty_says_its_rate_and_what_it_implies() -> None:
    rate = (1 - 2 * 0.05 * 0.001) ** (2 * 300)  # lr 0.05, L2 0.001, 300 steps
    epoch = np.arange(12)
    parts = np.stack([0.3 - 0.01 * epoch, 0.2 + 0.02 * (epoch % 3)], axis=1)
    log = log_of(parts.sum(axis=1) + 6 * rate**epoch, parts, digits=6)
    cause = explain_log(log, {"a": 1.0, "b": 1.0}).causes[0]
    assert (cause.cause, cause.confidence, cause.evidence["shape"]) == (PENALTY, "high", "geometric")
    assert cause.evidence["rate_per_epoch"] == pytest.approx(rate, rel=1e-4)
    assert cause.evidence["lr_coefficient_steps"] == pytest.approx(0.05 * 0.001 * 300, rel=1e-3)
    assert cause.evidence["half_life"] == pytest.approx(np.log(0.5) / np.log(rate), rel=1e-3)
    assert "0.015" in cause.text and "x 150 steps" in cause.text and "model.losses" in cause.confirm


def test_training_and_validation_alike_make_a_penalty_that_is_not_geometric_sure() -> None:
    rng = np.random.default_rng(0)
    parts, epoch = parts_of(rng, 15, 2), np.arange(15)
    grows = 1 + 2 * (1 - np.exp(-epoch / 6))
    other = simulated.held_out(rng, parts)
    log = log_of(parts.sum(axis=1) + grows, parts, (other.sum(axis=1) + grows, other))
    cause = explain_log(log).causes[0]
    assert (cause.cause, cause.confidence, cause.evidence["shape"]) == (PENALTY, "high", "rising")
    assert "same in training and validation" in cause.text


def test_a_penalty_of_training_alone_is_said_to_be_one() -> None:
    rng = np.random.default_rng(1)
    parts = parts_of(rng, 12, 2)
    other = simulated.held_out(rng, parts)
    found = explain_log(log_of(parts.sum(axis=1) + 3 * 0.93 ** np.arange(12), parts, (other.sum(axis=1), other)))
    assert found.weights_from == "inferred" and found.causes[0].cause == PENALTY
    assert "in training only" in found.causes[0].text


def test_given_weights_that_were_applied_already() -> None:
    rng = np.random.default_rng(2)
    parts = parts_of(rng, 6, 2) * [1.0, 0.2]
    (cause,) = explain_log(log_of(parts.sum(axis=1), parts), {"a": 1.0, "b": 0.2}).causes
    assert (cause.cause, cause.confidence) == ("parts already weighted", "high")
    parts = parts_of(rng, 6, 2)
    (cause,) = explain_log(log_of(parts @ [1.0, 0.5], parts), {"a": 1.0, "b": 0.2}).causes
    assert (cause.cause, cause.evidence["weights"]) == ("other weights than given", {"a": 1.0, "b": 0.5})


def test_the_smoothing_factor_and_the_window_are_found() -> None:
    parts = parts_of(np.random.default_rng(3), 30, 2)
    sums, total = parts.sum(axis=1), [3.0]
    for value in sums[1:]:
        total.append(0.75 * total[-1] + 0.25 * value)
    (cause,) = explain_log(log_of(total, parts)).causes
    assert cause.evidence["factor"] == pytest.approx(0.25, abs=1e-3)
    mean = [sums[max(0, i - 3) : i + 1].mean() for i in range(30)]
    (cause,) = explain_log(log_of(mean, parts)).causes
    assert cause.evidence["window"] == 4
    (cause,) = explain_log(log_of(sums, np.array(mean)[:, None] * [0.5, 0.5])).causes
    assert cause.cause == "smoothed parts beside a raw total"


def test_a_mean_over_the_epoch_beside_values_at_its_end_lags_by_half_an_epoch() -> None:
    epoch = np.arange(15.0)
    slow, fast = 0.1, 0.4
    ends = np.exp(-slow * (epoch + 1)) + 2 * np.exp(-fast * (epoch + 1))
    means = np.exp(-slow * epoch) * (1 - np.exp(-slow)) / slow + 2 * np.exp(-fast * epoch) * (1 - np.exp(-fast)) / fast
    (cause, *_) = explain_log(log_of(means, ends[:, None]), {"a": 1.0}).causes
    assert (cause.cause, cause.confidence) == (WINDOWS, "high")
    # the mean of exp(-k t) lies (e^k - 1 - k) / (k (e^k - 1)) of the change above the end: 0.49 for 0.1, 0.47 for 0.4
    assert -0.492 < cause.evidence["factor_of_the_change"] < -0.466


def test_weights_that_moved_are_read_off() -> None:
    rng = np.random.default_rng(4)
    parts = parts_of(rng, 20, 2)
    ramp = np.minimum(1, np.arange(20) / 10)
    (cause,) = explain_log(log_of(parts[:, 0] + ramp * parts[:, 1], parts)).causes
    assert (cause.cause, cause.evidence["part"]) == (MOVED, "b")
    assert cause.evidence["from"] == pytest.approx(0, abs=1e-3) and cause.evidence["to"] == pytest.approx(1, abs=1e-3)
    log = log_of(parts[:, 0] + ramp**2 * parts[:, 1], parts, metrics={"kl_weight": ramp**2, "lr": 0.1 * ramp})
    (cause,) = explain_log(log).causes
    assert (cause.cause, cause.evidence["column"]) == (MOVED, "kl_weight")
    late = np.where(np.arange(20) < 10, 1.0, 0.1)
    (cause,) = explain_log(log_of(parts[:, 0] + late * parts[:, 1], parts)).causes
    assert cause.evidence["pieces"] == ["1 to 10: 1 x a + 1 x b", "11 to 20: 1 x a + 0.1 x b"]


def test_a_column_that_is_an_addend_is_named() -> None:
    rng = np.random.default_rng(5)
    parts, kl = parts_of(rng, 12, 2), simulated.curve(rng, 12, 0.05)
    log = log_of(parts.sum(axis=1) + 0.5 * kl, parts, metrics={"accuracy": 1 - kl, "kl": kl})
    (cause,) = explain_log(log).causes
    assert (cause.cause, cause.evidence) == (
        "another column of the log",
        {"epochs": 12, "column": "kl", "weight": 0.5},
    )


def test_replicas_that_became_fewer() -> None:
    rng = np.random.default_rng(6)
    parts = 0.01 * parts_of(rng, 12, 2)
    own = 5 * 0.98 ** np.arange(12) * np.where(np.arange(12) < 6, 4, 1)
    (cause, *_) = explain_log(log_of(parts.sum(axis=1) + own, parts)).causes
    assert (cause.cause, cause.evidence["times"], cause.evidence["at"]) == ("replicas", 4, 7.0)


def test_nan_epochs_are_shown_and_left_out_of_the_fit() -> None:
    rng = np.random.default_rng(7)
    parts = parts_of(rng, 8, 2)
    total = parts @ [1.0, 0.5]
    total[3], parts[5, 0] = np.nan, np.inf
    found = explain_log(log_of(total, parts))
    assert found.weights == {"a": 1.0, "b": 0.5} and found.weights_from == "inferred"
    rows = found.to_dict()["epochs"]
    assert rows[3]["total"] is None and rows[3]["share"] is None and rows[5]["explained"] is None
    assert any("2 of 8 epochs" in note for note in found.notes)


@pytest.mark.parametrize("form", ["Keras CSVLogger", "Lightning CSV", "detectron2 metrics.json", "CSV"])
def test_the_line_to_confirm_is_of_the_framework(form: str) -> None:
    parts = np.stack([np.full(8, 0.1), np.linspace(0.2, 0.1, 8)], axis=1)
    log: TrainingLog = log_of(parts.sum(axis=1) + 5 * 0.9 ** np.arange(8), parts, form=form)
    confirm = explain_log(log).causes[0].confirm
    assert ("model.losses" in confirm) == form.startswith("Keras")
    compile(confirm, "confirm", "exec")
