"""The sentences of a verdict."""

from __future__ import annotations

from collections.abc import Mapping

from multiloss.core.records import spelled, tenths
from multiloss.studies.comparison import (
    CLAIM,
    FEWEST_ROWS,
    Comparison,
    CostRatios,
    Ended,
    FlowFacts,
    Judged,
    Judgements,
    listed,
    named,
)
from multiloss.studies.statistics import Interval
from multiloss.studies.variants import NARROW, SEPARATE, SHARED

SMALLEST = 0.01
"""The smallest difference of interest: 1 % of an error, one point of an accuracy."""
MANY_SEEDS = 100
"""Seeds beyond which none are named."""
MANY_ROWS = 100
"""How many times the rows that there are, beyond which none are named."""
CONFLICT_RATE = 0.7
"""Share of watched steps from which on a conflict is named; gradients that ignore each other conflict in half."""
SMALL_SHARE = 0.2
"""Part of an equal share of the trunk's gradients up to which an output counts as drowned."""
MOST_NAMED = 4
"""Outputs that the overall sentence tells one by one."""


def spoken_interval(found: Interval) -> str:
    """Return the ends of an interval.

    Examples:
        >>> spoken_interval(Interval(4.1, 2.9, 5.4))
        '2.9 to 5.4'
    """
    return f"{tenths(found.low)} to {tenths(found.high)}"


def turned(found: Interval) -> Interval:
    """Return the interval of the loss that a gain is."""
    return Interval(-found.mean, -found.high, -found.low)


def with_unit(text: str, comparison: Comparison) -> str:
    """Return a number with its unit."""
    return f"{text} {comparison.unit}".rstrip()


def output_sentence(
    variant: str, output: str, judged: Judgements, flow: FlowFacts | None, size: Comparison | None
) -> str:
    """Return what is said of one output of one variant.

    Args:
        variant: Which.
        output: Its output.
        judged: All of them.
        flow: What the gradients of the shared runs say of the output.
        size: The shared model against narrower separate ones, on that output.
    """
    own = judged[variant][output]
    comparison, gain = own.comparison, own.comparison.gain
    if own.claim == "better":
        found = with_unit(tenths(gain.mean), comparison)
        text = f"{_subject(variant)} helps {output} by {found} in {comparison.metric} ({spoken_interval(gain)})"
        return text + (size_clause(output, judged, size) if variant == SHARED else "")
    if own.claim == "worse":
        loss = turned(gain)
        found = with_unit(tenths(loss.mean), comparison)
        text = f"{output} is worse {_how(variant)}: by {found} in {comparison.metric} ({spoken_interval(loss)})"
        return text + (_transfer(output, judged, flow, size) if variant == SHARED else "")
    ends = with_unit(spoken_interval(gain), comparison)
    text = (
        f"{_subject(variant)} makes no difference that {comparison.shown.seeds} seeds can show on {output} "
        f"({ends} in {comparison.metric})"
    )
    if comparison.shown.rows < FEWEST_ROWS:
        few = f"{comparison.shown.rows} held-out {comparison.shown.units}"
        return f"{text}; {few} are too few to claim any, {FEWEST_ROWS} or more are needed"
    return text + _corrected(own) + _more(own)


def _subject(variant: str) -> str:
    return {SHARED: "sharing", NARROW: "narrowing the separate networks"}.get(variant, variant)


def _how(variant: str) -> str:
    return {SHARED: "shared", NARROW: "in narrower separate networks"}.get(variant, f"with {variant}")


def _corrected(own: Judged) -> str:
    """Return why an interval without 0 makes no claim."""
    shown = own.comparison.shown
    if shown.p >= 1 - shown.level:
        return ""
    p, adjusted = f"{shown.p:.2g}", f"{own.adjusted_p:.2g}"
    return f"; alone it would be one (p = {p}), corrected for {own.among} comparisons it is not ({adjusted})"


def _more(own: Judged) -> str:
    """Return what would tell more, where the interval leaves a difference of interest open."""
    comparison, shown = own.comparison, own.comparison.shown
    size, text = abs(shown.mean), "a difference of this size"
    if comparison.unit:
        smallest = with_unit(f"{100 * SMALLEST:g}", comparison).removesuffix("s")  # one point
        if max(abs(shown.low), abs(shown.high)) < SMALLEST:
            return f"; the {100 * shown.level:g} % interval lies within {smallest}"
        if shown.half_width < SMALLEST:
            return ""
        size = max(size, SMALLEST)
        text = f"a difference of {with_unit(tenths(100 * size), comparison)}"
    if size == 0 or shown.half_width == 0:
        return ""
    seeds, rows = shown.seeds_for(size, own.among), shown.rows_for(size, own.among)
    if seeds is not None and seeds <= MANY_SEEDS:
        return f"; about {seeds} seeds would tell {text}, four times in five"
    if rows is not None and rows <= MANY_ROWS * shown.rows:
        held = f"about {rows:,} held-out {shown.units} in place of {shown.rows:,}"
        return f"; {MANY_SEEDS} seeds would not tell {text}: {held} would, four times in five"
    if seeds is None and rows is None:
        return f"; {text} would need both more seeds and more held-out {shown.units}"
    return f"; {text} would need more than {MANY_SEEDS} seeds, or {MANY_ROWS} times these held-out {shown.units}"


def _not_told_apart(output: str, judged: Judgements, size: Comparison | None) -> bool:
    """Return whether narrower separate networks change as sharing does, and no difference from them shows."""
    shared, narrow = judged[SHARED][output], judged.get(NARROW, {}).get(output)
    if size is None or narrow is None or shared.claim == "no difference" or narrow.claim != shared.claim:
        return False
    more = size.gain.mean > 0 if shared.claim == "better" else size.gain.mean < 0
    return size.shown.p >= CLAIM or not more


def size_clause(output: str, judged: Judgements, size: Comparison | None) -> str:
    """Return whether narrower separate networks change as sharing does, so that it may be the size."""
    shared, narrow = judged[SHARED][output], judged.get(NARROW, {}).get(output)
    if size is None or narrow is None or shared.claim == "no difference" or narrow.claim != shared.claim:
        return ""
    does, helps = ("gain", "helps") if shared.claim == "better" else ("lose", "harms")
    found = with_unit(tenths(abs(narrow.comparison.gain.mean)), narrow.comparison)
    text = f"; separate networks so narrow that together they are as small {does} {found} too"
    if _not_told_apart(output, judged, size):
        ends = with_unit(spoken_interval(size.gain), size)
        return f"{text}, and no difference from those shows ({ends}): it may be the size, not the sharing"
    own = size.gain if shared.claim == "better" else turned(size.gain)
    return f"{text}: part of it is the size; beside them, sharing {helps} by {with_unit(tenths(own.mean), size)}"


def _transfer(output: str, judged: Judgements, flow: FlowFacts | None, size: Comparison | None) -> str:
    """Return what is known of a loss by sharing, and what to try."""
    narrower = size_clause(output, judged, size)
    if _not_told_apart(output, judged, size):
        return f"{narrower}. Try a wider trunk"
    facts, tries = [], []
    if flow is not None and flow.conflict_rate is not None and flow.conflict_rate >= CONFLICT_RATE:
        other = flow.opponent or "the others"
        facts.append(
            f"its gradient is against that of {other} in {100 * flow.conflict_rate:.0f} % of the watched steps"
        )
        tries.append("a wider trunk or balancing=pcgrad")
    if flow is not None and flow.share is not None and flow.share <= SMALL_SHARE / flow.among:
        ruler = f", {flow.ruler} rules" if flow.ruler else ""
        facts.append(f"its gradient is {100 * flow.share:.0f} % of those that move the trunk{ruler}")
        tries.append("a larger loss weight (`multiloss weights` suggests them)")
    watched = flow is not None and None not in (flow.conflict_rate, flow.share)
    if watched and not facts:
        facts.append("the gradient flow shows neither conflict nor dominance")
    why = "".join(f"; {fact}" for fact in facts)
    return f"{narrower}{why}. Try {', or '.join(tries) or 'a wider trunk'}, or train it alone"


def overall_sentence(
    judged: Judgements, costs: CostRatios | None, ended: Ended, sizes: Mapping[str, Comparison]
) -> str:
    """Return the verdict on sharing in one sentence, and what else must be known in a second."""
    parts = []
    shared = judged.get(SHARED, {})
    if shared:
        parts.append("sharing " + (_each(shared) if len(shared) <= MOST_NAMED else _counted(shared)))
        if sized := [output for output in shared if _not_told_apart(output, judged, sizes.get(output))]:
            parts.append(f"on {', '.join(sized)} it may be the size, not the sharing")
    if missing := [output for output in ended.get(SHARED, {}) if output not in shared]:
        parts.append(f"nothing can be said of {listed(missing)}, because runs diverged")
    elif not shared:
        parts.append("nothing can be said of sharing")
    if cost := _cost(costs):
        parts.append(cost)
    return ". ".join([text for text in ("; ".join(parts), _diverged(ended)) if text]) + "."


def uncompared_sentences(judged: Judgements, ended: Ended) -> tuple[str, ...]:
    """Return a sentence for every output that a variant was trained on and cannot be judged by."""
    return tuple(
        f"{output} is not compared ({variant}): fewer than two seeds in which neither it nor {SEPARATE} diverged"
        for variant, outputs in ended.items()
        for output in outputs
        if variant != SEPARATE and output not in judged.get(variant, {})
    )


def _each(shared: Mapping[str, Judged]) -> str:
    said = []
    for output, own in shared.items():
        comparison, gain = own.comparison, own.comparison.gain
        if own.claim == "better":
            said.append(f"helps {output} by {with_unit(tenths(gain.mean), comparison)} ({spoken_interval(gain)})")
        elif own.claim == "worse":
            loss = turned(gain)
            said.append(f"makes {output} worse by {with_unit(tenths(loss.mean), comparison)} ({spoken_interval(loss)})")
        else:
            ends = with_unit(spoken_interval(gain), comparison)
            said.append(f"makes no difference that {comparison.shown.seeds} seeds can show on {output} ({ends})")
    return ", ".join(said)


def _counted(shared: Mapping[str, Judged]) -> str:
    better, worse, none = (named(shared, claim) for claim in ("better", "worse", "no difference"))
    said = []
    if better:
        said.append(f"helps {len(better)} of {len(shared)} outputs ({', '.join(better)})")
    if worse:
        said.append(f"makes {len(worse)} of {len(shared)} outputs worse ({', '.join(worse)})")
    if none:
        seeds = min(shared[output].comparison.shown.seeds for output in none)
        said.append(f"makes no difference that {seeds} seeds can show on {len(none)} of {len(shared)} outputs")
    return ", ".join(said)


def _cost(costs: CostRatios | None) -> str:
    if costs is None or (costs.train is None and costs.run is None):
        return ""
    several = spelled(costs.models)
    if costs.train is None:
        return f"one model costs {costs.run:.2f} of {several} to run"
    text = f"one model costs {costs.train:.2f} of {several} to train"
    return text if costs.run is None else f"{text} and {costs.run:.2f} to run"


def _diverged(ended: Ended) -> str:
    """Return which runs diverged; the outputs of one model are named where there are several models."""
    said = []
    for variant, outputs in ended.items():
        for count in dict.fromkeys(own for own in outputs.values() if own[0]):
            whose = [output for output, own in outputs.items() if own == count]
            of = f" ({listed(whose)})" if variant in (SEPARATE, NARROW) else ""
            rest = "no figures" if count[0] == count[1] else "figures are of the other seeds, which flatters it"
            said.append(f"{count[0]} of {count[1]} runs of {variant}{of} diverged: {rest}")
    return "; ".join(said)
