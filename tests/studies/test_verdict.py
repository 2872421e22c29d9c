"""The rules of the verdict, each on differences made by hand."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import pytest
import scipy.stats

from multiloss.studies.statistics import Difference
from multiloss.studies.verdict import Comparison, CostRatios, FlowFacts, judge


def made(mean: float, low: float, high: float, p: float, deviations: tuple[float, float, float]) -> Difference:
    seeds, rows, rest = deviations
    return Difference(mean, low, high, p, 5, 400, seeds, rows, rest, 4.0)


def mae(
    gain: float, low: float, high: float, p: float, deviations: tuple[float, float, float] = (0.01, 0.01, 0.0)
) -> Comparison:
    """An error whose gain in % over separate is given, so that the difference itself has the other sign."""
    shown = made(-gain / 100, -high / 100, -low / 100, p, deviations)
    return Comparison("mae", False, made(-gain, -high, -low, p, deviations), shown)


def accuracy(gain: float, low: float, high: float, p: float) -> Comparison:
    """Accuracy, in points."""
    shown = made(gain / 100, low / 100, high / 100, p, (0.01, 0.01, 0.0))
    return Comparison("accuracy", True, shown, made(9.0, 9.0, 9.0, p, (0.0, 0.0, 0.0)))


HELPS = mae(4.1, 2.9, 5.4, 0.001)
NOTHING = mae(0.25, -1.1, 1.6, 0.6)
HURTS = mae(-3.0, -4.2, -1.8, 0.002)


def test_the_overall_sentence_tells_each_output_and_the_costs() -> None:
    verdict = judge({"shared": {"y1": HELPS, "y2": NOTHING}}, costs=CostRatios(2, 0.56, 0.51))
    assert verdict.overall == (
        "sharing helps y1 by 4.1 % (2.9 to 5.4), makes no difference that 5 seeds can show on y2 (-1.1 to 1.6 %); "
        "one model costs 0.56 of two to train and 0.51 to run."
    )
    assert [own.claim for own in verdict.outputs] == ["better", "no difference"]
    assert verdict.outputs[0].sentence == "sharing helps y1 by 4.1 % in mae (2.9 to 5.4)"


@pytest.mark.parametrize(
    ("costs", "says"),
    [
        (CostRatios(3, 0.4, None), "; one model costs 0.40 of three to train."),
        (CostRatios(12, None, 0.1), "; one model costs 0.10 of 12 to run."),
        (CostRatios(2), "(2.9 to 5.4)."),
        (None, "(2.9 to 5.4)."),
    ],
)
def test_costs_that_were_not_measured_are_not_told(costs: CostRatios | None, says: str) -> None:
    assert judge({"shared": {"y1": HELPS}}, costs=costs).overall.endswith(says)


def test_higher_is_better_turns_the_sign_and_points_are_points() -> None:
    verdict = judge({"shared": {"kind": accuracy(2.0, 1.1, 2.9, 0.001), "other": accuracy(-2.0, -2.9, -1.1, 0.001)}})
    better, worse = verdict.outputs
    assert better.claim == "better" and worse.claim == "worse"
    assert better.sentence == "sharing helps kind by 2.0 points in accuracy (1.1 to 2.9)"
    assert worse.sentence.startswith("other is worse shared: by 2.0 points in accuracy (1.1 to 2.9)")
    assert (better.unit, better.gain.mean, better.difference.mean) == ("points", 2.0, 0.02)


def test_an_error_of_none_is_compared_in_its_own_unit() -> None:
    own = Comparison("mse", False, made(-0.5, -0.7, -0.3, 0.001, (0.1, 0.1, 0.0)), None)
    assert judge({"shared": {"y": own}}).outputs[0].sentence == "sharing helps y by 0.5 in mse (0.3 to 0.7)"


def test_a_claim_needs_a_p_corrected_over_outputs_and_variants() -> None:
    # 0.02 alone is below 0.05; as the smallest of three it counts thrice: 0.06
    own = mae(2.0, 0.3, 3.7, 0.02)
    alone, among = judge({"shared": {"y": own}}), judge({"shared": {"y": own, "z": NOTHING}, "pcgrad": {"y": NOTHING}})
    assert alone.outputs[0].claim == "better" and alone.outputs[0].adjusted_p == 0.02
    assert among.outputs[0].claim == "no difference" and among.outputs[0].adjusted_p == pytest.approx(0.06)
    assert "alone it would be one (p = 0.02), corrected for 3 comparisons it is not (0.06)" in among.outputs[0].sentence
    assert judge({"shared": {"y": mae(2.0, 0.0, 4.0, 0.05)}}).outputs[0].claim == "no difference"


def test_too_wide_an_interval_says_how_many_seeds_would_do() -> None:
    # only seeds vary, by 1.04 %: (2.228 + 0.879) * 1.04 / sqrt(11) = 0.974 % < 1 % with 11 seeds,
    # (2.262 + 0.883) * 1.04 / sqrt(10) = 1.034 % with 10
    own = mae(0.2, -1.09, 1.49, 0.7, (0.0104, 0.0, 0.0))
    sentence = judge({"shared": {"y": own}}).outputs[0].sentence
    assert sentence == (
        "sharing makes no difference that 5 seeds can show on y (-1.1 to 1.5 % in mae); "
        "about 11 seeds would tell a difference of 1.0 %, four times in five"
    )


def test_the_difference_that_was_seen_is_asked_for_where_it_is_larger_at_the_corrected_level() -> None:
    # 3 % with a deviation of 2.4 % over seeds, among 4 comparisons
    own = mae(3.0, -0.1, 6.1, 0.06, (0.024, 0.0, 0.0))
    expected = next(
        n
        for n in range(6, 100)
        if (scipy.stats.t.ppf(1 - 0.025 / 4, n - 1) + scipy.stats.t.ppf(0.8, n - 1)) * 2.4 / math.sqrt(n) < 3.0
    )
    verdict = judge({"shared": {"y": own, "z": own}, "pcgrad": {"y": own, "z": own}})
    assert f"about {expected} seeds would tell a difference of 3.0 %" in verdict.outputs[0].sentence


def test_too_few_rows_are_named_where_no_number_of_seeds_would_do() -> None:
    # only rows vary, by 20 %
    own = mae(0.2, -1.77, 2.17, 0.8, (0.0, 0.2, 0.0))
    expected = next(
        n
        for n in range(401, 10_000)
        if (scipy.stats.t.ppf(0.975, n - 1) + scipy.stats.t.ppf(0.8, n - 1)) * 20 / math.sqrt(n) < 1
    )
    sentence = judge({"shared": {"y": own}}).outputs[0].sentence
    assert "100 seeds would not tell a difference of 1.0 %" in sentence
    assert f"about {expected:,} held-out rows in place of 400 would, four times in five" in sentence


def test_both_may_be_too_few() -> None:
    own = mae(0.2, -4.0, 4.4, 0.9, (0.03, 0.2, 0.0))
    sentence = judge({"shared": {"y": own}}).outputs[0].sentence
    assert sentence.endswith("a difference of 1.0 % would need both more seeds and more held-out rows")


def test_where_more_seeds_would_do_but_nobody_has_them_that_is_said() -> None:
    # only seeds vary, by 12 %: (1.962 + 0.842) * 12 / sqrt(n) < 1 % from about n = 1,130 on, and rows tell nothing
    own = mae(0.2, -14.7, 15.1, 0.9, (0.12, 0.0, 0.0))
    sentence = judge({"shared": {"y": own}}).outputs[0].sentence
    assert sentence.endswith("would need more than 100 seeds, or 100 times these held-out rows")


def test_a_narrow_interval_around_nothing_says_how_small_the_difference_is() -> None:
    sentence = judge({"shared": {"y": mae(0.1, -0.6, 0.8, 0.7)}}).outputs[0].sentence
    assert sentence.endswith("(-0.6 to 0.8 % in mae); the 95 % interval lies within 1 %")


def test_a_few_rows_claim_nothing() -> None:
    shown = replace(HELPS.shown, rows=19)
    verdict = judge({"shared": {"y": replace(HELPS, relative=shown)}})
    assert verdict.outputs[0].claim == "no difference"
    assert verdict.outputs[0].sentence.endswith("; 19 held-out rows are too few to claim any, 20 or more are needed")


def test_an_interval_ends_where_nothing_can_be() -> None:
    wide = judge({"shared": {"k": accuracy(25.0, -928.0, 978.0, 0.9), "y": mae(60.0, -40.0, 160.0, 0.3)}})
    assert [(own.gain.low, own.gain.high) for own in wide.outputs] == [(-100, 100), (-40, 100)]


def test_negative_transfer_is_named_with_what_the_flow_says_and_what_to_try() -> None:
    flow = {"y2": FlowFacts(0.84, "y1", 0.04, "y1")}
    sentence = judge({"shared": {"y1": HELPS, "y2": HURTS}}, flow=flow).outputs[1].sentence
    assert sentence == (
        "y2 is worse shared: by 3.0 % in mae (1.8 to 4.2); its gradient is against that of y1 in 84 % of the watched "
        "steps; its gradient is 4 % of those that move the trunk, y1 rules. Try a wider trunk or balancing=pcgrad, "
        "or a larger loss weight (`multiloss weights` suggests them), or train it alone"
    )


@pytest.mark.parametrize(
    ("facts", "says"),
    [
        (
            FlowFacts(0.5, "y1", 0.5, "y1"),
            "; the gradient flow shows neither conflict nor dominance. Try a wider trunk",
        ),
        (FlowFacts(None, None, 0.4), "(1.8 to 4.2). Try a wider trunk, or train it alone"),
        (FlowFacts(), "(1.8 to 4.2). Try a wider trunk, or train it alone"),
        (None, "(1.8 to 4.2). Try a wider trunk, or train it alone"),
    ],
)
def test_half_of_conflicts_is_chance_and_what_was_not_watched_is_not_told(facts: FlowFacts | None, says: str) -> None:
    flow = None if facts is None else {"y2": facts}
    assert says in judge({"shared": {"y2": HURTS}}, flow=flow).outputs[0].sentence


def test_a_share_is_small_beside_an_equal_one() -> None:
    # 8 % of 12 outputs is an equal share; a fifth of it is 1.67 %
    def said(share: float) -> str:
        return judge({"shared": {"y": HURTS}}, flow={"y": FlowFacts(0.5, "x", share, "x", 12)}).outputs[0].sentence

    assert "loss weight" not in said(0.08) and "its gradient is 1 % of those that move the trunk, x rules" in said(
        0.012
    )


def test_the_size_is_told_from_the_sharing() -> None:
    narrow = {"y1": mae(3.9, 2.5, 5.3, 0.001), "y2": NOTHING}
    both = {"shared": {"y1": HELPS, "y2": NOTHING}, "separate-narrow": narrow}
    verdict = judge(both, sizes={"y1": mae(0.2, -0.8, 1.2, 0.7), "y2": NOTHING})
    assert verdict.outputs[0].sentence.endswith(
        "separate networks so narrow that together they are as small gain 3.9 % too, and no difference from those "
        "shows (-0.8 to 1.2 %): it may be the size, not the sharing"
    )
    assert verdict.overall.endswith("; on y1 it may be the size, not the sharing.")
    some = judge(both, sizes={"y1": mae(2.7, 2.1, 3.3, 0.001)})
    assert some.outputs[0].sentence.endswith(
        "gain 3.9 % too: part of it is the size; beside them, sharing helps by 2.7 %"
    )
    worse_than_narrow = judge(both, sizes={"y1": mae(-2.7, -3.3, -2.1, 0.001)})
    assert "it may be the size" in worse_than_narrow.outputs[0].sentence
    assert "size" not in some.overall and "size" not in judge(both).outputs[0].sentence
    unclear = judge({**both, "separate-narrow": {"y1": mae(3.9, -0.2, 8.0, 0.06)}}, sizes={"y1": NOTHING})
    assert "size" not in unclear.outputs[0].sentence + unclear.overall


def test_a_loss_by_size_is_no_conflict() -> None:
    flow = {"y": FlowFacts(0.9, "x", None, None)}
    both = {"shared": {"y": HURTS}, "separate-narrow": {"y": mae(-2.5, -3.5, -1.5, 0.001)}}
    sentence = judge(both, flow=flow, sizes={"y": mae(-0.5, -1.5, 0.5, 0.4)}).outputs[0].sentence
    assert sentence.endswith("(-1.5 to 0.5 %): it may be the size, not the sharing. Try a wider trunk")
    sentence = judge(both, flow=flow, sizes={"y": mae(-1.5, -2.0, -1.0, 0.001)}).outputs[0].sentence
    assert "part of it is the size; beside them, sharing harms by 1.5 %; its gradient is against that of x" in sentence


def test_the_shared_model_is_told_first_and_variants_by_their_names() -> None:
    verdict = judge({"pcgrad": {"y": HURTS}, "separate-narrow": {"y": HURTS}, "shared": {"y": HELPS}})
    assert [own.variant for own in verdict.outputs] == ["shared", "pcgrad", "separate-narrow"]
    assert verdict.outputs[1].sentence == "y is worse with pcgrad: by 3.0 % in mae (1.8 to 4.2)"
    assert verdict.outputs[2].sentence.startswith("y is worse in narrower separate networks: by 3.0 %")


def test_many_outputs_are_counted() -> None:
    own = dict.fromkeys("abc", HELPS) | {"d": HURTS} | dict.fromkeys("efghijkl", NOTHING)
    assert judge({"shared": own}).overall == (
        "sharing helps 3 of 12 outputs (a, b, c), makes 1 of 12 outputs worse (d), "
        "makes no difference that 5 seeds can show on 8 of 12 outputs."
    )


def all_of(failed: int, planned: int, outputs: str = "y") -> dict[str, tuple[int, int]]:
    return dict.fromkeys(outputs, (failed, planned))


def test_runs_that_diverged_are_told() -> None:
    ended = {"shared": all_of(1, 5), "pcgrad": all_of(5, 5), "separate": all_of(0, 5)}
    verdict = judge({"shared": {"y": HELPS}}, ended=ended)
    assert verdict.overall.endswith(
        "(2.9 to 5.4). 1 of 5 runs of shared diverged: figures are of the other seeds, which flatters it; "
        "5 of 5 runs of pcgrad diverged: no figures."
    )
    assert verdict.uncompared == (
        "y is not compared (pcgrad): fewer than two seeds in which neither it nor separate diverged",
    )


def test_outputs_that_cannot_be_compared_are_named() -> None:
    ended = {"shared": all_of(0, 2, "kyz"), "separate": {"k": (0, 2), "y": (2, 2), "z": (2, 2)}}
    verdict = judge({"shared": {"k": NOTHING}}, ended=ended)
    assert (
        "; nothing can be said of y and z, because runs diverged. 2 of 2 runs of separate (y and z)" in verdict.overall
    )
    assert [text.split(" (")[0] for text in verdict.uncompared] == ["y is not compared", "z is not compared"]
    assert verdict.recommended == "shared" and verdict.why == "separate models diverged in every run of an output"


def test_without_a_shared_model_separate_is_recommended() -> None:
    verdict = judge({"separate-narrow": {"y": HELPS}}, ended={"shared": all_of(5, 5), "separate": all_of(0, 5)})
    assert verdict.recommended == "separate" and verdict.why == "every shared model diverged"
    assert verdict.overall.startswith("nothing can be said of y, because runs diverged. 5 of 5 runs of shared diverged")


def test_without_separate_models_the_shared_one_is_recommended() -> None:
    verdict = judge({}, ended={"shared": all_of(0, 5), "separate": all_of(5, 5)})
    assert verdict.recommended == "shared" and "separate models diverged" in verdict.why
    assert verdict.overall.startswith("nothing can be said of y, because runs diverged. 5 of 5 runs of separate (y)")


def test_where_everything_diverged_nothing_is_recommended() -> None:
    verdict = judge({}, ended={"shared": all_of(5, 5), "separate": all_of(5, 5)})
    assert verdict.recommended is None
    assert verdict.advice.startswith("recommended: nothing, because runs of shared and separate diverged")


@pytest.mark.parametrize(
    ("shared", "pcgrad", "recommended"),
    [
        ((NOTHING, NOTHING), None, "shared"),  # no difference: one model
        ((HELPS, NOTHING), None, "shared"),
        ((HURTS, NOTHING), None, "separate"),  # worse and nothing gains
        ((HURTS, HELPS), None, "shared"),  # worse, but one gains
        ((HURTS, HELPS), (NOTHING, NOTHING), "pcgrad"),  # worse on fewer
        ((NOTHING, NOTHING), (HELPS, NOTHING), "pcgrad"),  # better on more
        ((HELPS, NOTHING), (HELPS, NOTHING), "shared"),  # as good: as it is configured
        ((HURTS, NOTHING), (HURTS, NOTHING), "separate"),
    ],
)
def test_the_recommended_variant(
    shared: tuple[Comparison, Comparison], pcgrad: tuple[Comparison, Comparison] | None, recommended: str
) -> None:
    comparisons = {"shared": dict(zip("ab", shared, strict=True)), "separate-narrow": {"a": HELPS, "b": HELPS}}
    if pcgrad is not None:
        comparisons = {"pcgrad": dict(zip("ab", pcgrad, strict=True))} | comparisons
    assert judge(comparisons).recommended == recommended


def test_the_validation_rows_choose() -> None:
    test, validation = {"shared": {"a": HELPS}}, {"shared": {"a": HURTS}}
    verdict = judge(test, validation=validation)
    assert verdict.recommended == "separate" and verdict.outputs[0].claim == "better"
    assert verdict.why == "on the validation rows shared is worse than separate on a and better on no output"
    assert "held-out rows" in judge(test).why


def test_what_diverges_is_recommended_only_where_nothing_else_is_safer() -> None:
    both = {"shared": {"a": HELPS}, "pcgrad": {"a": NOTHING}}
    assert judge(both, ended={"shared": all_of(1, 5, "a")}).recommended == "pcgrad"
    alone = judge({"shared": {"a": HELPS}}, ended={"shared": all_of(1, 5, "a")})
    assert alone.recommended == "separate" and "shared diverged in 1 of 5 runs, separate in none" in alone.why
    ended = {"shared": all_of(1, 5, "a"), "separate": all_of(1, 5, "a")}
    assert judge({"shared": {"a": HELPS}}, ended=ended).recommended == "shared"


def test_held_out_rows_that_contradict_the_choice_are_told() -> None:
    verdict = judge({"shared": {"a": HURTS, "b": HURTS}}, validation={"shared": {"a": NOTHING, "b": NOTHING}})
    assert verdict.recommended == "shared"
    assert verdict.why.endswith(
        "but on the held-out rows it is worse on a and b and better on no output: look before you take it"
    )


def test_the_verdict_is_plain_values() -> None:
    verdict = judge({"shared": {"y": HELPS}})
    plain = json.loads(json.dumps(verdict.to_dict(), allow_nan=False))
    assert plain["outputs"][0]["difference"]["mean"] == pytest.approx(-0.041)
    assert plain["outputs"][0]["gain"] == {"mean": pytest.approx(4.1), "low": 2.9, "high": 5.4}
    assert plain["recommended"] == "shared"
