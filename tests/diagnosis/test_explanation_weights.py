"""Weights of either sign, that move, or beside subtotals; and what is said of logs that no weights explain."""

from __future__ import annotations

from dataclasses import replace

import log_simulations as simulated
import numpy as np
import pytest
from log_reading import read
from log_simulations import log_of, parts_of

from multiloss.diagnosis.explanation import explain_log

NEGATIVE, MOVED = "negative term that is not printed", "weights that moved"


def random(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


@pytest.mark.parametrize("weight", [-0.5, -0.1, -0.01])
def test_a_part_that_is_subtracted_has_its_negative_weight(weight: float) -> None:
    parts = parts_of(random(), 20, 2)
    found = explain_log(log_of(parts @ [1.0, weight], parts, digits=5))
    assert found.weights == {"a": 1.0, "b": weight} and found.weights_from == "inferred"
    assert f"loss = 1 x a - {-weight:g} x b: fixed weights, one of them negative" in found.answer
    assert [cause.cause for cause in found.causes] in (["rounding"], [])


def test_a_constant_that_is_subtracted_is_no_moving_weight() -> None:
    parts = 0.5 + parts_of(random(1), 20, 2)
    found = explain_log(log_of(parts @ [1.0, 1.0] - 0.3, parts, digits=5))
    assert found.weights == {"a": 1.0, "b": 1.0} and "beside a constant" in found.weights_why
    (cause,) = found.causes
    assert (cause.cause, cause.confidence) == (NEGATIVE, "low")
    assert "an entropy bonus, a likelihood, or log-variances" in cause.text
    assert "no fixed weights" not in cause.text


@pytest.mark.parametrize("seed", range(4))
def test_a_total_below_zero_is_never_surely_of_moving_weights(seed: int) -> None:
    parts, epoch = 0.1 + 0.2 * parts_of(random(seed), 20, 2), np.arange(1, 21)
    for below in (0.2 * epoch, 1.5 + np.log(epoch)):
        found = explain_log(log_of(parts.sum(axis=1) - below, parts, digits=5))
        assert [(cause.cause, cause.confidence) for cause in found.causes] == [(NEGATIVE, "low")]


def test_learned_weights_with_their_log_variances_are_moving_or_a_negative_term() -> None:
    for seed in range(6):
        found = explain_log(simulated.uncertainty(random(seed), 20, 3, False))
        assert found.causes[0].cause in (NEGATIVE, MOVED)
        below = any(row.total < 0 for row in found.epochs)
        assert not below or (found.causes[0].cause, found.causes[0].confidence) == (NEGATIVE, "low")


def test_the_table_holds_the_weights_of_each_epoch_where_they_move() -> None:
    parts = parts_of(random(4), 20, 2)
    ramp, late = np.minimum(1, np.arange(20) / 10), np.where(np.arange(20) < 10, 1.0, 0.1)
    for weight, last, metrics in (
        (ramp, 1.0, None),
        (late, 0.1, None),
        (ramp**2, 1.0, {"kl_weight": ramp**2}),
    ):
        found = explain_log(log_of(parts[:, 0] + weight * parts[:, 1], parts, metrics=metrics))
        assert found.weights == pytest.approx({"a": 1.0, "b": last}, abs=1e-3) and found.moved == ("b",)
        assert all(row.rounding for row in found.epochs)
        for row, own, part in zip(found.epochs, weight, parts[:, 1], strict=True):
            assert row.contributions["b"] == pytest.approx(own * part, abs=4e-4)
        assert "weight x b" in str(found)


def test_a_logged_weight_is_found_in_a_log_of_many_steps() -> None:
    n = 1000
    parts, weight = random(5).uniform(0.5, 1.5, (n, 2)), np.linspace(0, 1, n) ** 2
    found = explain_log(log_of(parts[:, 0] + weight * parts[:, 1], parts, metrics={"beta": weight}, unit="step"))
    assert found.causes[0].evidence["column"] == "beta" and all(row.rounding for row in found.epochs)


def test_a_subtotal_is_left_out_and_said() -> None:
    a, b, c = 0.5 + parts_of(random(6), 12, 3).T
    found = explain_log(log_of(a + b + c, np.stack([a + b, a, b, c], axis=1)))
    assert found.weights == {"b": 1.0, "c": 1.0, "d": 1.0} and found.weights_from == "inferred"
    assert "a is b + c in every epoch, a subtotal: it is left out of the parts" in found.notes
    given = explain_log(log_of(a + b + c, np.stack([a + b, a, b, c], axis=1)), {"b": 0.0, "c": 0.0})
    assert list(given.weights.values()) == [1.0, 0.0, 0.0, 1.0] and all(row.rounding for row in given.epochs)


def test_no_shares_are_told_where_other_weights_would_make_others() -> None:
    first = np.linspace(2.0, 1.0, 10)
    found = explain_log(log_of(3 * first, np.stack([first, 2 * first], axis=1)))
    assert len(found.candidates) > 1 and {"a": 1.0, "b": 1.0} in found.candidates
    assert not any("Of that" in line or "their shares" in line for line in found.meaning)


def test_a_total_that_has_nothing_to_do_with_its_parts_has_no_cause_to_trust() -> None:
    rng = random(7)
    parts = parts_of(rng, 30, 2)
    total = parts.sum(axis=1) * rng.uniform(0.6, 1.6, 30)
    assert not [cause for cause in explain_log(log_of(total, parts)).causes if cause.confidence != "low"]


def test_half_as_much_in_validation_is_replicas_or_another_loss_and_jumps_only_where_it_does() -> None:
    parts = 0.1 * parts_of(random(8), 20, 2)
    own = 0.9 * 0.9 ** np.arange(20)
    found = explain_log(log_of(parts.sum(axis=1) + own, parts, (parts.sum(axis=1) + own / 2, parts), digits=5))
    assert {cause.confidence for cause in found.causes} <= {"medium", "low"}
    assert found.causes[0].cause == "replicas" and found.causes[0].evidence["ratio"] == pytest.approx(2, abs=1e-3)
    assert not any("jumps" in cause.text for cause in found.causes)


def test_a_log_without_a_total_has_nothing_unexplained() -> None:
    found = explain_log(read("epoch,g_loss,d_loss\n1,1.1828,0.5421\n2,1.3784,0.5119\n"))
    (row, _) = found.epochs
    assert row.total == pytest.approx(1.7249)  # 1.1828 + 0.5421
    plain = found.to_dict()["epochs"][0]
    assert plain["unexplained"] is None and plain["share"] is None
    table = str(found)
    assert "unexplained" not in table and "rounding" not in table


def test_the_monitor_is_called_as_in_the_log() -> None:
    rows = []
    for i in range(10):
        a, b = 0.1 + 0.01 * (i % 3), 0.2 + 0.01 * (i % 4)
        rows.append(f"{i},{9 * 0.9**i + a + b:.5f},{a},{b},{9 * 0.9**i + a + b + 0.1:.5f},{a + 0.05},{b + 0.05}")
    for head, total, part in (
        ("train_loss,train_a_loss,train_b_loss,val_loss,val_a_loss,val_b_loss", "val_loss", "val_a_loss"),
        ("train/loss,train/a_loss,train/b_loss,valid/loss,valid/a_loss,valid/b_loss", "valid/loss", "valid/a_loss"),
        ("loss,a_loss,b_loss,eval_loss,eval_a_loss,eval_b_loss", "eval_loss", "eval_a_loss"),
    ):
        log = read("\n".join([f"epoch,{head}", *rows]))
        meant = " ".join(explain_log(log).meaning)
        assert f"that monitor {total} watch" in meant and f"such as {part} or the sum" in meant, meant
    no_validation = replace(log, validation=())
    assert "that monitor loss watch" in " ".join(explain_log(no_validation).meaning)


def test_without_validation_a_penalty_is_sure_only_if_it_is_geometric_and_long() -> None:
    epoch = np.arange(9)
    parts = np.stack([0.3 - 0.01 * epoch, 0.2 + 0.02 * (epoch % 3)], axis=1)
    for n, sure in ((9, "high"), (7, "medium")):
        log = log_of((parts.sum(axis=1) + 6 * 0.9**epoch)[:n], parts[:n], digits=6)
        assert explain_log(log, {"a": 1.0, "b": 1.0}).causes[0].confidence == sure
