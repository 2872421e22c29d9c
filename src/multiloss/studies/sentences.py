"""The sentences of a verdict."""

from __future__ import annotations

from collections.abc import Mapping

from multiloss.core.records import tenths
from multiloss.studies.comparison import Comparison, CostRatios, FlowFacts, Judged, Judgements, named
from multiloss.studies.statistics import Interval
from multiloss.studies.variants import NARROW, SHARED

SMALLEST = 0.01
"""The smallest difference of interest: 1 % of an error, one point of an accuracy."""
MANY_SEEDS = 100
"""Seeds beyond which more rows are offered too."""
SIZE_SHARE = 0.5
"""Part of what sharing changes from which on, if narrower separate networks change as much, the size is named."""
CONFLICT_RATE = 0.7
"""Share of watched steps from which on a conflict is named; gradients that ignore each other conflict in half."""
SMALL_SHARE = 0.1
"""Share of the trunk's gradients up to which an output counts as drowned."""
MOST_NAMED = 4
"""Outputs that the overall sentence tells one by one."""
COUNTS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")


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


def output_sentence(variant: str, output: str, judged: Judgements, flow: FlowFacts | None) -> str:
    """Return what is said of one output of one variant."""
    own = judged[variant][output]
    comparison, gain = own.comparison, own.comparison.gain
    if own.claim == "better":
        size = with_unit(tenths(gain.mean), comparison)
        text = f"{_subject(variant)} helps {output} by {size} in {comparison.metric} ({spoken_interval(gain)})"
        return text + (size_clause(output, judged) if variant == SHARED else "")
    if own.claim == "worse":
        loss = turned(gain)
        size = with_unit(tenths(loss.mean), comparison)
        text = f"{output} is worse {_how(variant)}: by {size} in {comparison.metric} ({spoken_interval(loss)})"
        return text + (_transfer(output, judged, flow) if variant == SHARED else "")
    ends = with_unit(spoken_interval(gain), comparison)
    text = (
        f"{_subject(variant)} makes no difference that {comparison.shown.seeds} seeds can show on {output} "
        f"({ends} in {comparison.metric})"
    )
    return text + _corrected(own) + _more(comparison)


def _subject(variant: str) -> str:
    return {SHARED: "sharing", NARROW: "narrowing the separate networks"}.get(variant, variant)


def _how(variant: str) -> str:
    return {SHARED: "shared", NARROW: "in narrower separate networks"}.get(variant, f"with {variant}")


def _corrected(own: Judged) -> str:
    """Return why an interval without 0 makes no claim."""
    p = own.comparison.shown.p
    if p >= 1 - own.comparison.shown.level:
        return ""
    return (
        f"; alone it would be one (p = {p:.2g}), corrected for {own.among} comparisons it is not ({own.adjusted_p:.2g})"
    )


def _more(comparison: Comparison) -> str:
    """Return what would tell more, where the interval leaves a difference of interest open."""
    shown = comparison.shown
    if comparison.unit:
        smallest = with_unit(f"{100 * SMALLEST:g}", comparison).removesuffix("s")  # one point
        aim, size = SMALLEST, f"a difference of {smallest}"
        if max(abs(shown.low), abs(shown.high)) < aim:
            return f"; any difference is below {smallest}"
        if shown.half_width < aim:
            return ""
        seeds, rows = shown.seeds_for(aim), shown.rows_for(aim)
    else:
        size, seeds, rows = "a difference of this size", shown.needed, shown.needed_rows
    more_rows = "" if rows is None else f"about {rows:,} held-out rows in place of {shown.rows:,}"
    if seeds is None:
        if not more_rows:
            return f"; {size} would need both more seeds and more held-out rows"
        return f"; no number of seeds would tell {size}, the rows are too few: {more_rows} would"
    also = f", or {more_rows}" if seeds > MANY_SEEDS and more_rows else ""
    return f"; {seeds:,} seeds{also} would tell {size}"


def size_clause(output: str, judged: Judgements) -> str:
    """Return whether narrower separate networks change as much, so that the size does it and not the sharing."""
    shared, narrow = judged[SHARED][output], judged.get(NARROW, {}).get(output)
    if narrow is None or shared.claim == "no difference" or narrow.claim != shared.claim:
        return ""
    size = with_unit(tenths(abs(narrow.comparison.gain.mean)), narrow.comparison)
    does = "gain" if shared.claim == "better" else "lose"
    text = f"; separate networks so narrow that together they are as small {does} {size} too: "
    return text + ("it is the size, not the sharing" if by_size(output, judged) else "part of it is the size")


def by_size(output: str, judged: Judgements) -> bool:
    """Return whether what sharing changes comes of the size: narrower separate networks change half of it or more."""
    shared, narrow = judged[SHARED][output], judged.get(NARROW, {}).get(output)
    if narrow is None or shared.claim == "no difference" or narrow.claim != shared.claim:
        return False
    return abs(narrow.comparison.gain.mean) >= SIZE_SHARE * abs(shared.comparison.gain.mean)


def _transfer(output: str, judged: Judgements, flow: FlowFacts | None) -> str:
    """Return what is known of a loss by sharing, and what to try."""
    size = size_clause(output, judged)
    if by_size(output, judged):
        return f"{size}. Try a wider trunk"
    facts, tries = [], []
    if flow is not None and flow.conflict_rate is not None and flow.conflict_rate >= CONFLICT_RATE:
        other = flow.opponent or "the others"
        facts.append(
            f"its gradient is against that of {other} in {100 * flow.conflict_rate:.0f} % of the watched steps"
        )
        tries.append("a wider trunk or balancing=pcgrad")
    if flow is not None and flow.share is not None and flow.share <= SMALL_SHARE:
        ruler = f", {flow.ruler} rules" if flow.ruler else ""
        facts.append(f"its gradient is {100 * flow.share:.0f} % of those that move the trunk{ruler}")
        tries.append("a larger loss weight (`multiloss weights` suggests them)")
    watched = flow is not None and (flow.conflict_rate is not None or flow.share is not None)
    if watched and not facts:
        facts.append("the gradient flow shows neither conflict nor dominance")
    why = "".join(f"; {fact}" for fact in facts)
    return f"{size}{why}. Try {', or '.join(tries) or 'a wider trunk'}, or train it alone"


def overall_sentence(judged: Judgements, costs: CostRatios | None, diverged: Mapping[str, tuple[int, int]]) -> str:
    """Return the verdict on sharing in one sentence, and what else must be known in a second."""
    parts = []
    if shared := judged.get(SHARED):
        parts.append("sharing " + (_each(shared) if len(shared) <= MOST_NAMED else _counted(shared)))
        if sized := [output for output in shared if by_size(output, judged)]:
            parts.append(f"on {', '.join(sized)} it is the size, not the sharing")
    else:
        parts.append("nothing can be said of sharing, because no shared model has figures")
    if cost := _cost(costs):
        parts.append(cost)
    return ". ".join([text for text in ("; ".join(parts), _diverged(diverged)) if text]) + "."


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
    several = COUNTS[costs.models] if costs.models < len(COUNTS) else str(costs.models)
    if costs.train is None:
        return f"one model costs {costs.run:.2f} of {several} to run"
    text = f"one model costs {costs.train:.2f} of {several} to train"
    return text if costs.run is None else f"{text} and {costs.run:.2f} to run"


def _diverged(diverged: Mapping[str, tuple[int, int]]) -> str:
    said = []
    for variant, (count, planned) in diverged.items():
        if not count:
            continue
        rest = "it has no figures" if count == planned else "its figures are of the other seeds, which flatters it"
        said.append(f"{count} of {planned} runs of {variant} diverged: {rest}")
    return "; ".join(said)
