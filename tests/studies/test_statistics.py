"""Intervals and tests, against scipy, closed forms and simulation."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import scipy.stats

from multiloss.core.errors import DataError
from multiloss.linalg.gramian import Array
from multiloss.studies.statistics import Difference, holm, mean_interval, paired_difference
from multiloss.studies.student import Part, chance, half_width, two_sided_chance, two_sided_quantile

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


@pytest.mark.parametrize("first", [Part(1.0, 1), Part(1e-6, 2), Part(1e6, 4), Part(0.3, 99_999)])
@pytest.mark.parametrize("second", [Part(1.0, 1), Part(1.0, 29), Part(2e-3, 299), Part(5.0, 4)])
@pytest.mark.parametrize("p", [0.6, 0.05, 0.05 / 12, 1e-7])
def test_the_chance_of_two_parts_is_the_level_whose_interval_ends_at_the_mean(
    first: Part, second: Part, p: float
) -> None:
    parts = [first, second]
    half = math.hypot(*(scipy.stats.t.isf(p / 2, part.freedom) * math.sqrt(part.variance) for part in parts))
    assert half_width(1 - p, parts) == pytest.approx(half, rel=1e-6)
    assert chance(half, parts) == chance(-half, parts) == pytest.approx(p, rel=1e-6)


def test_a_mean_far_out_has_no_chance_and_none_at_all_is_certain() -> None:
    assert chance(1e200, [Part(1.0, 9), Part(1.0, 99)]) == 0.0
    assert chance(0.0, [Part(1.0, 9), Part(1.0, 99)]) == 1.0
    assert half_width(0.95, []) == 0.0


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
    # means of seeds 1.5 and 3.5, of rows 2 and 3, no rest: MS_seed 4 and MS_row 1, both of 1 degree, Var = 5 / 4
    found = paired_difference(np.array([[1.0, 2.0], [3.0, 4.0]]), np.zeros((2, 2)))
    assert found.mean == 2.5 and found.freedom == pytest.approx(25 / 17)
    t = scipy.stats.t(1)
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
    assert found.freedom == pytest.approx(whole**2 / (ms_seed**2 / 3 + ms_row**2 / 6))
    by_seed, by_row = (scipy.stats.t.ppf(0.975, freedom) for freedom in (3, 6))
    half = math.sqrt((by_seed**2 * ms_seed + by_row**2 * (ms_row - ms_rest)) / 28)
    assert found.half_width == pytest.approx(half)


def test_a_seed_that_moves_less_than_the_rest_keeps_its_few_degrees() -> None:
    # by hand: MS_seed 0, MS_row 0 and MS_rest 4 of 1 degree, so all of the variance 4 / 4 is of 1 degree
    found = paired_difference(np.array([[1.0, 3.0], [3.0, 1.0]]), np.zeros((2, 2)))
    assert found.deviation_seeds == found.deviation_rows == 0 and found.deviation_rest == pytest.approx(2)
    assert found.half_width == pytest.approx(scipy.stats.t.ppf(0.975, 1))


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


# With 2000 repeats the standard error of a coverage of 95 % is 0.5 %. Exact it is where seeds or rows are all; where
# both or the rest matter it covers more.
DRAWS: dict[str, tuple[Draw, float, float]] = {
    "seeds": (_gaussian(1, 0, 0), 0.935, 0.965),
    "rows": (_gaussian(0, 1, 0), 0.935, 0.965),
    "both alike": (_gaussian(1, 1, 0), 0.945, 0.98),
    "mostly seeds": (_gaussian(1, 0.3, 0.3), 0.935, 0.975),
    "mostly rows": (_gaussian(0.3, 1, 0.3), 0.94, 0.98),
    "all alike": (_gaussian(1, 1, 1), 0.945, 0.99),
    "rest alone": (_gaussian(0, 0, 1), 0.97, 1.0),
    "squared errors": (_squared_errors, 0.94, 0.99),
    "hits and misses": (_hits, 0.94, 0.995),
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


TAILS: dict[str, Draw] = {
    "mostly seeds": _gaussian(1, 0.3, 0.3),
    "seeds and some rows": _gaussian(1, 0.55, 0),
    "both alike": _gaussian(1, 1, 0),
    "squared errors": _squared_errors,
    "hits and misses": _hits,
}


@pytest.mark.slow
@pytest.mark.parametrize(("seeds", "rows"), [(2, 30), (3, 30), (5, 30), (5, 300), (10, 30)])
@pytest.mark.parametrize("name", TAILS)
def test_p_is_as_true_where_holm_asks_it(name: str, seeds: int, rows: int) -> None:
    # Satterthwaite's degrees of freedom claim, of mostly seeds, 13 times too often at 0.05 / 12 with 2 seeds, 5 times
    # with 3 and twice with 5
    rng, repeats = np.random.default_rng(17), 4000
    p = np.array([paired_difference(*TAILS[name](rng, seeds, rows)).p for _ in range(repeats)])
    for alpha in (0.05, 0.05 / 6, 0.05 / 12):
        assert (p < alpha).sum() <= scipy.stats.binom.ppf(0.999, repeats, alpha)


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


def test_equal_scores_do_not_differ_and_constant_differences_are_certain() -> None:
    scores = np.random.default_rng(12).normal(size=(3, 20))
    same = paired_difference(scores, scores)
    assert (same.mean, same.low, same.high, same.p) == (0.0, 0.0, 0.0, 1.0)
    constant = paired_difference(np.full((3, 700), 0.3), np.zeros((3, 700)))
    assert constant.low == constant.mean == constant.high and constant.p == 0.0
    assert constant.freedom is None and constant.seeds_for(0.3) == 4


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


OWN = np.array([-1.0, 0.0, 1.0, 0.5, 2.0])


def _enough(size: float, alpha: float, power: float) -> int:
    """The least n > 5 for Student's test of a mean of values like OWN."""
    t, spread = scipy.stats.t, OWN.std(ddof=1)
    return next(
        n
        for n in range(6, 10_000)
        if (t.ppf(1 - alpha / 2, n - 1) + t.ppf(power, n - 1)) * spread / math.sqrt(n) < size
    )


@pytest.mark.parametrize(("size", "among", "power"), [(0.5, 1, 0.8), (0.5, 12, 0.8), (0.2, 3, 0.95)])
def test_seeds_that_would_do_where_only_seeds_vary(size: float, among: int, power: float) -> None:
    found = paired_difference(np.repeat(OWN[:, None], 6, 1), np.zeros((5, 6)))
    assert found.seeds_for(size, among, power) == _enough(size, 0.05 / among, power)
    assert found.rows_for(size, among, power) is None  # rows tell nothing of seeds


def test_rows_that_would_do_where_only_rows_vary() -> None:
    found = paired_difference(np.repeat(OWN[None], 6, 0), np.zeros((6, 5)))
    assert found.seeds_for(0.5) is None and found.rows_for(0.5, 4) == _enough(0.5, 0.05 / 4, 0.8)


def test_what_would_do_is_more_than_there_is_and_nothing_finds_no_difference() -> None:
    found = paired_difference(np.repeat(OWN[:, None], 6, 1), np.zeros((5, 6)))
    assert found.seeds_for(1e9) == 6 and found.rows_for(1e9) == 7
    assert found.seeds_for(0.0) is None
    with pytest.raises(DataError, match=r"power from 0\.5"):
        found.seeds_for(1.0, power=1.0)


# with 1500 repeats the standard error of a power of 80 % is 1 %
@pytest.mark.slow
@pytest.mark.parametrize(
    ("deviations", "among"), [((1.0, 0.0, 0.0), 1), ((1.0, 3.0, 1.0), 1), ((1.0, 3.0, 1.0), 6), ((0.5, 6.0, 2.0), 6)]
)
def test_the_seeds_said_find_the_difference_with_the_power_said(
    deviations: tuple[float, float, float], among: int
) -> None:
    seed, row, rest = deviations
    size = 1.3 * math.sqrt(seed**2 / 5 + row**2 / 40) * two_sided_quantile(1 - 0.05 / among, 30)
    known = Difference(0.0, -1.0, 1.0, 1.0, 3, 40, seed, row, rest, 4.0)
    for seeds, rows in ((known.seeds_for(size, among), 40), (5, replace(known, seeds=5).rows_for(size, among))):
        if seeds is None or rows is None:
            continue
        rng, claimed = np.random.default_rng(15), 0
        for _ in range(1500):
            d = size + seed * rng.normal(size=(seeds, 1)) + row * rng.normal(size=(1, rows))
            claimed += paired_difference(d + rest * rng.normal(size=(seeds, rows)), 0 * d).p < 0.05 / among
        assert 0.75 <= claimed / 1500 <= 0.87


def test_groups_of_one_row_are_rows() -> None:
    rng = np.random.default_rng(18)
    a, b = rng.normal(size=(4, 12)), rng.normal(size=(4, 12))
    a[:, 3] = b[:, 3] = np.nan
    plain, grouped = paired_difference(a, b), paired_difference(a, b, groups=np.arange(12.0))
    assert grouped == replace(plain, units="groups")
    other = paired_difference(a, b, groups=np.array([7, 3, 9, 0, 2, 11, 100, 5, 4, -1, 6, 8]))
    assert (other.low, other.high, other.p, other.rows) == pytest.approx((plain.low, plain.high, plain.p, 11))


def test_equal_groups_are_their_means() -> None:
    rng = np.random.default_rng(19)
    scores = rng.normal(size=(4, 6, 5)) + rng.normal(size=(4, 1, 1)) + rng.normal(size=(1, 6, 1))
    order = rng.permutation(30)
    groups = np.repeat(np.arange(6), 5)[order]
    found = paired_difference(scores.reshape(4, 30)[:, order], np.zeros((4, 30)), groups=groups)
    means = paired_difference(scores.mean(2), np.zeros((4, 6)))
    assert (found.mean, found.low, found.high, found.p) == pytest.approx((means.mean, means.low, means.high, means.p))
    assert (found.rows, found.units) == (6, "groups")


def test_unequal_groups_weigh_as_many_rows_as_they_have() -> None:
    # two groups of 1 and 3 rows, two seeds 0.2 apart: means 2.5 + 0.1 and - 0.1; the group of one is at 1, so it
    # stands for 2.5 + (2 / 4) (1 - 2.5) = 1.75 and the other for 3.25
    scores = np.array([[1.0, 3.0, 2.0, 4.0]]) + np.array([[0.1], [-0.1]])
    found = paired_difference(scores, np.zeros((2, 4)), groups=np.array([5, 1, 1, 1]))
    assert found.mean == pytest.approx(2.5) and found.deviation_seeds == pytest.approx(0.2 / math.sqrt(2))
    assert found.deviation_rows == pytest.approx(1.5 / math.sqrt(2)) and found.deviation_rest < 1e-12


@pytest.mark.parametrize("sizes", [np.full(30, 20), np.arange(5, 35)])
def test_groups_are_counted_where_rows_of_one_are_alike(sizes: Array) -> None:
    rng, repeats = np.random.default_rng(20), 1000
    groups = np.repeat(np.arange(30), sizes.astype(int))
    inside = ignored = 0
    for _ in range(repeats):
        row = math.sqrt(0.3) * rng.normal(size=30)[groups] + math.sqrt(0.7) * rng.normal(size=len(groups))
        d = row + 0.02 * rng.normal(size=(5, 1)) + 0.2 * rng.normal(size=(5, len(groups)))
        found, plain = (paired_difference(d, np.zeros_like(d), groups=own) for own in (groups, None))
        inside += found.low <= 0 <= found.high
        ignored += plain.low <= 0 <= plain.high
    assert ignored / repeats < 0.65
    assert 0.92 <= inside / repeats <= 0.98


@pytest.mark.parametrize(
    ("groups", "says"),
    [
        ([0, 1, 0], r"each of 4 rows, found shape \[3\]\. Give"),
        ([0, 1, math.nan, 2], "with NaN"),
        ([0, 0, 0, 1], "at least 2 labelled groups, found 1"),  # the last row has no label
    ],
)
def test_groups_that_say_nothing_are_refused(groups: list[float], says: str) -> None:
    scores = np.array([[1.0, 2.0, 3.0, math.nan], [2.0, 5.0, 1.0, math.nan]])
    with pytest.raises(DataError, match=says):
        paired_difference(scores, scores, groups=np.array(groups))


def test_holm_by_hand() -> None:
    assert holm([]) == []
    # sorted 0.01, 0.02, 0.03, 0.2 times 4, 3, 2, 1, never falling
    assert holm([0.02, 0.2, 0.01, 0.03]) == pytest.approx([0.06, 0.2, 0.04, 0.06])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
