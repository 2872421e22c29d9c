"""Relative differences and Δm, against closed forms and simulation."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import scipy.stats

from multiloss.core.errors import DataError
from multiloss.linalg.gramian import Array
from multiloss.studies.statistics import (
    delta_m,
    mean_interval,
    mean_relative_difference,
    paired_difference,
    relative_difference,
)


def _alike(rng: np.random.Generator, s: int, r: int) -> tuple[Array, Array]:
    """Draw squared errors of two models that are wrong on the same rows."""
    noise = rng.normal(size=(1, r))
    common = [noise + 0.3 * rng.normal(size=(1, r)) + 0.05 * rng.normal(size=(s, 1)) for _ in range(2)]
    a, b = (np.square(own + 0.3 * rng.normal(size=(s, r))) for own in common)
    return a, b


def _by_seeds(rng: np.random.Generator, s: int, r: int) -> tuple[Array, Array]:
    """Draw errors whose size is mostly the seed's."""
    a, b = (np.exp(0.25 * rng.normal(size=(s, 1))) * rng.chisquare(1, size=(s, r)) for _ in range(2))
    return a, b


@pytest.mark.slow
@pytest.mark.parametrize("draw", [_alike, _by_seeds])
def test_a_relative_difference_covers_the_true_one_on_both_sides(draw: Callable[..., tuple[Array, Array]]) -> None:
    # by linearisation, of by_seeds the interval is too low three times as often as too high, in more than 4 %
    rng, repeats, above, below = np.random.default_rng(11), 1500, 0, 0
    for _ in range(repeats):
        a, b = draw(rng, 5, 60)
        found = relative_difference(0.7 * a, b)
        assert found is not None and found.mean == pytest.approx(0.7 * a.mean() / b.mean() - 1)
        above += found.low > -0.3
        below += found.high < -0.3
    assert above / repeats < 0.035 and below / repeats < 0.035
    assert 0.01 < (above + below) / repeats < 0.06


@pytest.mark.parametrize("level", [0.8, 0.95])
def test_the_interval_leaves_out_0_exactly_where_the_test_is_below(level: float) -> None:
    rng, claimed = np.random.default_rng(21), 0
    for _ in range(250):
        a, b = _by_seeds(rng, 3, 20) if rng.random() < 0.5 else _alike(rng, 4, 20)
        factor, test = rng.choice([0.4, 0.9, 1.0, 2.0]), None
        found = relative_difference(factor * a, b, level)
        if found is not None:
            test = paired_difference(factor * a, b, level)
            assert found.p == pytest.approx(test.p, rel=1e-9)
            assert (found.p < 1 - level) == (not found.low <= 0 <= found.high)
            assert found.low <= found.mean <= found.high
            claimed += found.p < 1 - level
    assert 30 < claimed < 220


def test_where_only_seeds_vary_it_is_fiellers_closed_form() -> None:
    rng = np.random.default_rng(22)
    own, base = rng.normal(8, 1, 6), rng.normal(10, 1, 6)
    found = relative_difference(np.repeat(own[:, None], 7, 1), np.repeat(base[:, None], 7, 1))
    cov = np.cov(own, base) / 6
    t = scipy.stats.t.ppf(0.975, 5)
    # roots of (mean(a) - rho mean(b))^2 = t^2 (v_aa - 2 rho v_ab + rho^2 v_bb)
    low, high = sorted(
        np.roots(
            [
                base.mean() ** 2 - t**2 * cov[1, 1],
                -2 * (own.mean() * base.mean() - t**2 * cov[0, 1]),
                own.mean() ** 2 - t**2 * cov[0, 0],
            ]
        )
    )
    assert found is not None
    assert (found.low, found.high) == pytest.approx((low - 1, high - 1), rel=1e-12)
    ratio = own.mean() / base.mean()
    assert found.deviation_seeds == pytest.approx((own - ratio * base).std(ddof=1) / base.mean())
    assert found.freedom == pytest.approx(5)


def test_a_relative_difference_counts_that_the_baseline_varies() -> None:
    # a never varies, so the ends are 5 over those of the interval of b
    b = np.repeat(np.array([[9.0], [10.0], [11.0]]), 4, 1)
    found = relative_difference(np.full((3, 4), 5.0), b)
    half = scipy.stats.t.ppf(0.975, 2) / math.sqrt(3)
    assert found is not None and found.mean == pytest.approx(-0.5)
    assert (found.low, found.high) == pytest.approx((5 / (10 + half) - 1, 5 / (10 - half) - 1))


@pytest.mark.parametrize(
    "b",
    [
        np.zeros((2, 3)),
        np.full((2, 3), -1.0),
        np.repeat(np.array([[1.0], [3.0]]), 3, 1),  # 2 seeds give 2 plus or minus 12.7
    ],
)
def test_a_relative_difference_from_what_may_be_nothing_has_no_size(b: Array) -> None:
    assert relative_difference(np.ones((2, 3)), b) is None


def test_scores_above_0_do_not_fall_by_more_than_all() -> None:
    a = np.repeat(np.array([[0.0], [0.1], [5.0]]), 4, 1)
    b = np.repeat(np.array([[9.9], [10.0], [10.1]]), 4, 1)
    found, below = relative_difference(a, b), relative_difference(a - 1e-6, b)
    assert found is not None and found.low == -1.0 and found.high < 0
    assert below is not None and below.low < -1.5  # of numbers below 0 it is told


def test_equal_and_proportional_scores_have_no_width() -> None:
    b = np.random.default_rng(23).uniform(1, 2, size=(4, 30))
    same, less = relative_difference(b, b), relative_difference(0.8 * b, b)
    assert same is not None and less is not None
    assert (same.mean, same.low, same.high, same.p) == (0.0, 0.0, 0.0, 1.0)
    assert (less.low, less.high) == pytest.approx((-0.2, -0.2)) and less.p < 1e-3


def test_groups_widen_a_relative_difference() -> None:
    rng = np.random.default_rng(24)
    groups = np.repeat(np.arange(20), 15)
    b = rng.uniform(1, 2, size=(5, 300))
    a = b * np.exp(0.2 * rng.normal(size=20)[groups]) * rng.uniform(0.9, 1.1, size=(5, 300))
    found, plain = relative_difference(a, b, groups=groups), relative_difference(a, b)
    assert found is not None and plain is not None and found.mean == plain.mean
    assert found.rows == 20 and found.units == "groups" and found.half_width > 2 * plain.half_width
    assert found.p == pytest.approx(paired_difference(a, b, groups=groups).p, rel=1e-9)


def _outputs(rng: np.random.Generator) -> list[tuple[Array, Array]]:
    """Draw three outputs of one model each, whose true means are equal: what differs is the rows', and the seeds'."""
    pairs, shared = [], rng.normal(size=(1, 60))
    for _ in range(3):
        own = [np.exp(0.4 * (shared + rng.normal(size=(1, 60))) + 0.05 * rng.normal(size=(5, 1))) for _ in range(2)]
        a, b = (each * rng.uniform(0.8, 1.2, size=(5, 60)) for each in own)
        missing = rng.random(60) < 0.25
        a[:, missing] = b[:, missing] = np.nan
        pairs.append((a, b))
    return pairs


@pytest.mark.slow
def test_delta_m_covers_both_chances_where_seeds_alone_do_not() -> None:
    rng, repeats, inside, by_seeds = np.random.default_rng(25), 1000, 0, 0
    for _ in range(repeats):
        pairs = _outputs(rng)
        found = mean_relative_difference(pairs, [False, True, False])
        assert found is not None
        inside += found.low <= 0 <= found.high
        seeds = [
            delta_m([np.nanmean(a[s]) for a, _ in pairs], [np.nanmean(b[s]) for _, b in pairs], [False, True, False])
            for s in range(5)
        ]
        alone = mean_interval(seeds)
        by_seeds += alone.low <= 0 <= alone.high
    assert by_seeds / repeats < 0.7
    assert 0.93 <= inside / repeats <= 0.98


def test_delta_m_is_that_of_the_means_and_of_labelled_rows() -> None:
    pairs, higher = _outputs(np.random.default_rng(26)), [False, True, False]
    found = mean_relative_difference(pairs, higher)
    own, base = ([float(np.nanmean(pair[i])) for pair in pairs] for i in (0, 1))
    assert found is not None and found.mean == pytest.approx(delta_m(own, base, higher), rel=1e-12)
    labels = ~np.logical_and.reduce([np.isnan(a[0]) for a, _ in pairs])
    assert found.rows == labels.sum()
    grouped = mean_relative_difference(pairs, higher, groups=np.arange(60) // 6)
    assert grouped is not None and (grouped.mean, grouped.rows, grouped.units) == (found.mean, 10, "groups")


def test_delta_m_of_one_output_is_its_linearised_relative_difference() -> None:
    rng = np.random.default_rng(27)
    a, b = rng.uniform(1, 2, size=(4, 20)), rng.uniform(1, 2, size=(4, 20))
    a[:, 3] = b[:, 3] = np.nan
    found, plain = mean_relative_difference([(a, b)], [False]), relative_difference(a, b)
    assert found is not None and plain is not None
    own = (found.mean, found.deviation_seeds, found.deviation_rows, found.deviation_rest, found.freedom, found.rows)
    assert own == pytest.approx(
        (-plain.mean, plain.deviation_seeds, plain.deviation_rows, plain.deviation_rest, plain.freedom, 19)
    )


def test_two_outputs_with_no_row_in_common_add_their_variances() -> None:
    # only rows vary: a is b plus what has mean 0, so Δm is 0 with the variance of two independent means
    rng = np.random.default_rng(28)
    rows = [own - own.mean() for own in (rng.normal(size=30), 3 * rng.normal(size=10))]
    b = np.full((3, 40), 10.0)
    first, second = b.copy(), b.copy()
    first[:, :30] += rows[0]
    second[:, 30:] += rows[1]
    base = [b.copy(), b.copy()]
    first[:, 30:] = base[0][:, 30:] = np.nan
    second[:, :30] = base[1][:, :30] = np.nan
    found = mean_relative_difference([(first, base[0]), (second, base[1])], [True, True])
    variance = sum(float((own**2).sum()) / len(own) ** 2 for own in rows) / 20**2
    assert found is not None and found.mean == pytest.approx(0, abs=1e-12)
    # over 39 degrees, not 29 and 9: the same variance but for 40 / 39
    assert found.half_width == pytest.approx(scipy.stats.t.ppf(0.975, 39) * math.sqrt(variance * 40 / 39))


def test_delta_m_from_nothing_has_no_size() -> None:
    b = np.ones((2, 3))
    assert mean_relative_difference([(b, b), (b, 0 * b)], [True, True]) is None


@pytest.mark.parametrize(
    ("pairs", "higher"),
    [
        ([], []),
        ([(np.ones((2, 3)), np.ones((2, 3)))], [True, False]),
        ([(np.ones((2, 3)), np.ones((2, 3))), (np.ones((2, 4)), np.ones((2, 4)))], [True, False]),
    ],
)
def test_delta_m_refuses_outputs_that_are_not_side_by_side(
    pairs: list[tuple[Array, Array]], higher: list[bool]
) -> None:
    with pytest.raises(DataError, match="Score all outputs on the same seeds"):
        mean_relative_difference(pairs, higher)


def test_delta_m_is_better_above_zero_whatever_the_direction() -> None:
    # accuracy 0.8 to 0.88: 10 % better; error 4 to 5: 25 % worse
    assert delta_m([0.88, 5.0], [0.8, 4.0], [True, False]) == pytest.approx((0.1 - 0.25) / 2)
    assert delta_m([-1.0], [-2.0], [True]) == 0.5  # a baseline below 0 does not turn the sign


@pytest.mark.parametrize("given", [([], [], []), ([1.0], [1.0, 2.0], [True]), ([1.0], [0.0], [True])])
def test_delta_m_refuses_what_has_no_size(given: tuple[list[float], list[float], list[bool]]) -> None:
    with pytest.raises(DataError):
        delta_m(*given)
