"""Intervals and tests, against scipy, closed forms and simulation."""

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
    holm,
    mean_interval,
    paired_difference,
    relative_difference,
)
from multiloss.studies.student import two_sided_chance, two_sided_quantile

FREEDOMS = (0.5, 1, 1.47, 2, 4, 7.3, 29, 99, 199, 201, 350, 4e3, 9.9e4, 1.1e5, 1e6, 1e7)


@pytest.mark.parametrize("freedom", FREEDOMS)
def test_students_t_is_scipys(freedom: float) -> None:
    for t in (0.0, 1e-8, 1e-3, 0.1, 0.5, 1.0, 1.96, -2.776, 5.0, 20.0, 100.0):
        assert two_sided_chance(t, freedom) == pytest.approx(2 * scipy.stats.t.sf(abs(t), freedom), rel=1e-8, abs=1e-12)
    for level in (0.5, 0.8, 0.95, 0.99, 0.999):
        assert two_sided_quantile(level, freedom) == pytest.approx(
            scipy.stats.t.ppf(0.5 + level / 2, freedom), rel=1e-9
        )


def test_an_infinite_statistic_has_no_chance() -> None:
    assert two_sided_chance(math.inf, 4) == 0.0


def test_the_interval_of_a_mean_is_students() -> None:
    values = [3.1, 2.7, 3.9, 3.3, 2.2]
    low, high = scipy.stats.t.interval(0.9, 4, np.mean(values), scipy.stats.sem(values))
    found = mean_interval(values, 0.9)
    assert (found.mean, found.low, found.high) == pytest.approx((3.04, low, high), rel=1e-12)
    same = mean_interval([0.1, 0.1, 0.1])
    assert same.low == same.mean == same.high


@pytest.mark.parametrize("values", [[1.0], [], [1.0, math.nan], [1.0, math.inf]])
def test_the_interval_of_a_mean_needs_two_finite_values(values: list[float]) -> None:
    with pytest.raises(DataError):
        mean_interval(values)


def test_where_only_seeds_vary_it_is_the_paired_t_test_over_seeds() -> None:
    rng = np.random.default_rng(0)
    a, b = np.repeat(rng.normal(0.5, 1, (5, 1)), 40, 1), np.repeat(rng.normal(0, 1, (5, 1)), 40, 1)
    found = paired_difference(a, b)
    expected = scipy.stats.ttest_rel(a[:, 0], b[:, 0])
    low, high = expected.confidence_interval(0.95)
    assert (found.p, found.low, found.high) == pytest.approx((expected.pvalue, low, high), rel=1e-9)
    assert found.freedom == pytest.approx(4) and found.deviation_rows == found.deviation_rest == 0
    assert found.deviation_seeds == pytest.approx((a - b)[:, 0].std(ddof=1))


def test_where_only_rows_vary_it_is_the_paired_t_test_over_rows() -> None:
    rng = np.random.default_rng(1)
    a, b = np.repeat(rng.normal(0.2, 1, (1, 40)), 5, 0), np.repeat(rng.normal(0, 1, (1, 40)), 5, 0)
    found = paired_difference(a, b)
    expected = scipy.stats.ttest_rel(a[0], b[0])
    low, high = expected.confidence_interval(0.95)
    assert (found.p, found.low, found.high) == pytest.approx((expected.pvalue, low, high), rel=1e-9)
    assert found.freedom == pytest.approx(39) and found.deviation_seeds == found.deviation_rest == 0


def test_two_seeds_and_two_rows_by_hand() -> None:
    # means of seeds 1.5 and 3.5, of rows 2 and 3, no rest: MS_seed 4, MS_row 1, Var = 5 / 4, df = 25 / (16 + 1)
    found = paired_difference(np.array([[1.0, 2.0], [3.0, 4.0]]), np.zeros((2, 2)))
    assert found.mean == 2.5 and found.freedom == pytest.approx(25 / 17)
    t = scipy.stats.t(25 / 17)
    assert found.p == pytest.approx(2 * t.sf(2.5 / math.sqrt(1.25)))
    assert found.high - 2.5 == pytest.approx(t.ppf(0.975) * math.sqrt(1.25))


def test_the_mean_squares_are_those_of_the_two_way_layout() -> None:
    rng = np.random.default_rng(2)
    scores = rng.normal(size=(4, 7)) + 2 * rng.normal(size=(4, 1)) + 3 * rng.normal(size=(1, 7))
    found = paired_difference(scores, np.zeros_like(scores))
    grand = scores.mean()
    ms_seed = 7 * sum((scores[s].mean() - grand) ** 2 for s in range(4)) / 3
    ms_row = 4 * sum((scores[:, r].mean() - grand) ** 2 for r in range(7)) / 6
    total = sum((value - grand) ** 2 for value in scores.flat)
    ms_rest = (total - 3 * ms_seed - 6 * ms_row) / 18
    assert found.deviation_seeds**2 == pytest.approx((ms_seed - ms_rest) / 7)
    assert found.deviation_rows**2 == pytest.approx((ms_row - ms_rest) / 4)
    assert found.deviation_rest**2 == pytest.approx(ms_rest)
    whole = ms_seed + ms_row - ms_rest
    freedom = whole**2 / (ms_seed**2 / 3 + ms_row**2 / 6 + ms_rest**2 / 18)
    assert found.freedom == pytest.approx(freedom)
    assert found.half_width == pytest.approx(scipy.stats.t.ppf(0.975, freedom) * math.sqrt(whole / 28))


Draw = Callable[[np.random.Generator, int, int], tuple[Array, Array]]


def _gaussian(seed: float, row: float, rest: float) -> Draw:
    """Draw differences whose components add to the variance of the mean by these factors, whatever the size."""

    def draw(rng: np.random.Generator, s: int, r: int) -> tuple[Array, Array]:
        d = math.sqrt(s) * seed * rng.normal(size=(s, 1)) + math.sqrt(r) * row * rng.normal(size=(1, r))
        d = d + math.sqrt(s * r) * rest * rng.normal(size=(s, r))
        return d, np.zeros((s, r))

    return draw


def _predictions(rng: np.random.Generator, s: int, r: int) -> Array:
    """Draw errors of models that err on the same rows, each seed a bit differently and a bit off."""
    common = 0.3 * rng.normal(size=(1, r))
    return common + 0.3 * rng.normal(size=(s, r)) + 0.05 * rng.normal(size=(s, 1))


def _squared_errors(rng: np.random.Generator, s: int, r: int) -> tuple[Array, Array]:
    noise = rng.normal(size=(1, r))
    return np.square(noise + _predictions(rng, s, r)), np.square(noise + _predictions(rng, s, r))


def _hits(rng: np.random.Generator, s: int, r: int) -> tuple[Array, Array]:
    signal = 1 + 1.3 * rng.normal(size=(1, r))
    hits = [(signal + _predictions(rng, s, r) > 0).astype(np.float64) for _ in range(2)]
    return hits[0], hits[1]


# With 2000 repeats the standard error of a coverage of 95 % is 0.5 %. What is only the rest covers more: one of the
# mean squares of seeds and rows is larger than that of the rest by chance, and is then counted.
DRAWS: dict[str, tuple[Draw, float, float]] = {
    "seeds": (_gaussian(1, 0, 0), 0.93, 0.97),
    "rows": (_gaussian(0, 1, 0), 0.93, 0.97),
    "both alike": (_gaussian(1, 1, 0), 0.93, 0.97),
    "mostly seeds": (_gaussian(1, 0.3, 0.3), 0.93, 0.97),
    "mostly rows": (_gaussian(0.3, 1, 0.3), 0.93, 0.97),
    "all alike": (_gaussian(1, 1, 1), 0.93, 0.97),
    "rest alone": (_gaussian(0, 0, 1), 0.94, 0.99),
    "squared errors": (_squared_errors, 0.93, 0.98),
    "hits and misses": (_hits, 0.93, 0.98),
}


def _coverage(draw: Draw, seeds: int, rows: int, repeats: int = 2000) -> float:
    rng = np.random.default_rng(7)
    inside = 0
    for _ in range(repeats):
        found = paired_difference(*draw(rng, seeds, rows))
        inside += found.low <= 0 <= found.high
        assert (found.p < 0.05) == (not found.low <= 0 <= found.high)
    return inside / repeats


@pytest.mark.parametrize("name", DRAWS)
def test_the_interval_covers_what_it_says(name: str) -> None:
    draw, low, high = DRAWS[name]
    assert low <= _coverage(draw, 5, 30) <= high


@pytest.mark.slow
@pytest.mark.parametrize(("seeds", "rows"), [(5, 300), (5, 3000), (10, 30), (10, 300)])
@pytest.mark.parametrize("name", DRAWS)
def test_the_interval_covers_what_it_says_at_other_sizes(name: str, seeds: int, rows: int) -> None:
    draw, low, high = DRAWS[name]
    assert low <= _coverage(draw, seeds, rows) <= high


def test_one_sided_rows_are_covered_as_badly_as_by_students_own_interval_and_no_worse() -> None:
    rng = np.random.default_rng(8)
    ours = students = 0
    for _ in range(2000):
        row = rng.lognormal(size=(1, 30))
        found = paired_difference(row + 0.05 * rng.normal(size=(5, 30)), np.zeros((5, 30)))
        ours += found.low <= math.exp(0.5) <= found.high
        plain = mean_interval(row[0])
        students += plain.low <= math.exp(0.5) <= plain.high
    assert 0.84 < students / 2000 < 0.92  # known of Student's interval with 30 log-normal values
    assert abs(ours - students) / 2000 < 0.02


def _pigeonhole(scores: Array, rng: np.random.Generator, times: int) -> Array:
    """Return bootstrapped means: seeds and rows drawn anew, independently (Owen 2007)."""
    s, r = scores.shape
    seeds = rng.multinomial(s, np.full(s, 1 / s), times) / s
    rows = rng.multinomial(r, np.full(r, 1 / r), times) / r
    means: Array = np.einsum("ts,ts->t", seeds, rows @ scores.T)
    return means


def test_with_many_seeds_the_bootstrap_over_seeds_and_rows_gives_the_same_interval() -> None:
    rng = np.random.default_rng(9)
    a, b = _gaussian(1, 1, 0.2)(rng, 60, 400)
    found = paired_difference(a, b)
    low, high = np.quantile(_pigeonhole(a - b, rng, 4000), [0.025, 0.975])
    # to first order it counts the rest thrice: variance 1 + 1 + 3 * 0.04 in place of 1 + 1 + 0.04
    assert (high - low) / 2 == pytest.approx(found.half_width * math.sqrt(2.12 / 2.04), rel=0.06)
    assert (high + low) / 2 == pytest.approx(found.mean, abs=0.1 * found.half_width)


def test_with_five_seeds_the_bootstrap_by_percentiles_covers_too_little() -> None:
    rng, inside = np.random.default_rng(10), 0
    for _ in range(1000):
        a, b = _gaussian(1, 0.2, 0)(rng, 5, 30)
        low, high = np.quantile(_pigeonhole(a - b, rng, 300), [0.025, 0.975])
        inside += low <= 0 <= high
    assert inside / 1000 < 0.91


def test_a_relative_difference_is_that_of_the_means_and_covers_the_true_one() -> None:
    rng, inside = np.random.default_rng(11), 0
    for _ in range(2000):
        a, b = _squared_errors(rng, 5, 60)
        found = relative_difference(0.8 * a, b)
        assert found is not None
        inside += found.low <= -0.2 <= found.high
    assert 0.93 <= inside / 2000 <= 0.98
    assert found is not None and found.mean == pytest.approx(0.8 * a.mean() / b.mean() - 1)


def test_a_relative_difference_counts_that_the_baseline_varies() -> None:
    # a never varies, so all of the interval comes of b: by linearisation ratio * se(b) / mean(b)
    b = np.repeat(np.array([[9.0], [10.0], [11.0]]), 4, 1)
    found = relative_difference(np.full((3, 4), 5.0), b)
    assert found is not None and found.mean == pytest.approx(-0.5)
    assert found.half_width == pytest.approx(scipy.stats.t.ppf(0.975, 2) * 0.5 * (1 / math.sqrt(3)) / 10)


def test_a_relative_difference_from_nothing_has_no_size() -> None:
    assert relative_difference(np.ones((2, 3)), np.zeros((2, 3))) is None


def test_equal_scores_do_not_differ_and_constant_differences_are_certain() -> None:
    scores = np.random.default_rng(12).normal(size=(3, 20))
    same = paired_difference(scores, scores)
    assert (same.mean, same.low, same.high, same.p, same.needed) == (0.0, 0.0, 0.0, 1.0, None)
    constant = paired_difference(np.full((3, 700), 0.3), np.zeros((3, 700)))
    assert constant.low == constant.mean == constant.high and constant.p == 0.0
    assert constant.freedom is None and constant.needed == 2


def test_rows_without_a_label_are_left_out_of_both() -> None:
    rng = np.random.default_rng(13)
    a, b = rng.normal(size=(4, 12)), rng.normal(size=(4, 12))
    a[:, [2, 5]] = b[:, [2, 5]] = np.nan
    keep = [r for r in range(12) if r not in (2, 5)]
    assert paired_difference(a, b) == paired_difference(a[:, keep], b[:, keep])
    assert paired_difference(a, b).rows == 10


ONE_SIDED = np.array([[1.0, np.nan, 3.0], [1.0, 2.0, 3.0]])


@pytest.mark.parametrize(
    ("a", "b", "says"),
    [
        (np.zeros((1, 5)), np.zeros((1, 5)), "at least 2 seeds, found 1"),
        (np.zeros((2, 5)), np.zeros((2, 4)), r"\[2, 5\] and \[2, 4\]"),
        (np.zeros(5), np.zeros(5), "seeds, rows"),
        (np.zeros((2, 1)), np.zeros((2, 1)), "at least 2 labelled rows, found 1"),
        (np.full((2, 3), np.nan), np.full((2, 3), np.nan), "at least 2 labelled rows, found 0"),
        (ONE_SIDED, np.zeros((2, 3)), "same rows without a label"),
        (np.zeros((2, 3)), ONE_SIDED, "same rows without a label"),
        (np.array([[1.0, np.inf], [0.0, 0.0]]), np.zeros((2, 2)), "infinite"),
    ],
)
def test_what_gives_no_interval_is_refused(a: Array, b: Array, says: str) -> None:
    with pytest.raises(DataError, match=says):
        paired_difference(a, b)


def test_needed_seeds_where_only_seeds_vary() -> None:
    own = np.array([-1.0, 0.0, 1.0, 0.5, 2.0])
    found = paired_difference(np.repeat(own[:, None], 6, 1), np.zeros((5, 6)))
    spread = own.std(ddof=1)
    expected = next(n for n in range(2, 1000) if scipy.stats.t.ppf(0.975, n - 1) * spread / math.sqrt(n) < own.mean())
    assert found.p > 0.05 and found.needed == expected > 5
    assert found.needed_rows is None  # rows tell nothing of seeds
    coarse = next(n for n in range(2, 1000) if scipy.stats.t.ppf(0.975, n - 1) * spread / math.sqrt(n) < 2)
    assert found.seeds_for(2.0) == coarse


def test_needed_rows_where_only_rows_vary() -> None:
    own = np.array([-1.0, 0.0, 1.0, 0.5, 2.0])
    found = paired_difference(np.repeat(own[None], 6, 0), np.zeros((6, 5)))
    spread = own.std(ddof=1)
    expected = next(n for n in range(2, 1000) if scipy.stats.t.ppf(0.975, n - 1) * spread / math.sqrt(n) < own.mean())
    assert found.needed is None and found.needed_rows == expected


def test_so_many_seeds_are_enough_and_one_less_is_not() -> None:
    rng = np.random.default_rng(14)
    a, b = _gaussian(1, 0.2, 0.5)(rng, 5, 50)
    found = paired_difference(a + 0.7, b)
    assert found.needed is not None and found.needed > 3

    def half(seeds: int) -> float:
        e = found.deviation_rest**2
        ms_seed, ms_row = 50 * found.deviation_seeds**2 + e, seeds * found.deviation_rows**2 + e
        whole = ms_seed + ms_row - e
        by = ms_seed**2 / (seeds - 1) + ms_row**2 / 49 + e**2 / ((seeds - 1) * 49)
        return float(scipy.stats.t.ppf(0.975, whole**2 / by) * math.sqrt(whole / (seeds * 50)))

    assert half(5) == pytest.approx(found.half_width)
    assert half(found.needed) < abs(found.mean) <= half(found.needed - 1)


def test_holm_by_hand() -> None:
    assert holm([]) == []
    # sorted 0.01, 0.02, 0.03, 0.2 times 4, 3, 2, 1, never falling
    assert holm([0.02, 0.2, 0.01, 0.03]) == pytest.approx([0.06, 0.2, 0.04, 0.06])
    assert holm([0.9, 0.8]) == [1.0, 1.0]


def test_delta_m_is_better_above_zero_whatever_the_direction() -> None:
    # accuracy 0.8 to 0.88: 10 % better; error 4 to 5: 25 % worse
    assert delta_m([0.88, 5.0], [0.8, 4.0], [True, False]) == pytest.approx((0.1 - 0.25) / 2)
    assert delta_m([-1.0], [-2.0], [True]) == 0.5  # a baseline below 0 does not turn the sign


@pytest.mark.parametrize("given", [([], [], []), ([1.0], [1.0, 2.0], [True]), ([1.0], [0.0], [True])])
def test_delta_m_refuses_what_has_no_size(given: tuple[list[float], list[float], list[bool]]) -> None:
    with pytest.raises(DataError):
        delta_m(*given)
