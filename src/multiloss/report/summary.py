"""What a run came to, in a sentence, and the numbers that matter."""

from __future__ import annotations

from typing import Any

from multiloss.core.flow import GradientFlow
from multiloss.core.records import LedgerRecord, digits
from multiloss.core.run_records import RunRecords
from multiloss.diagnosis.rules.finite import first_not_finite, where
from multiloss.report.figure_flow import when
from multiloss.report.labels import listed, number, percent, short, shown
from multiloss.report.parts import Section, Table, Tile, Tiles

PARTS = ("test", "validation", "train")
"""Rows on which a run may have been measured, in the order in which they are worth believing."""


def scores(run: RunRecords) -> tuple[str, dict[str, dict[str, dict[str, Any]]]]:
    """Return on which rows the kept model was measured, and what came out; empty where it was not."""
    return next(((part, run.facts[part]) for part in PARTS if isinstance(run.facts.get(part), dict)), ("", {}))


def headline(run: RunRecords) -> str:
    """Return the run's result in a sentence."""
    if not run.ledgers:
        return "No epoch is done yet."
    part, found = scores(run)
    verdicts = {name: next(iter(own.values()), {}).get("better") for name, own in found.items()}
    judged = [name for name, better in verdicts.items() if better is not None]
    good = [name for name in judged if verdicts[name]]
    if not judged:
        return _fall(run)
    count = run.facts.get("part_rows", {}).get(part)
    rows = f"on {count:,} {part} rows" if count else f"on the {part} rows"
    if len(good) < len(judged):
        worse = [short(name) for name in judged if name not in good]
        verb = "does" if len(worse) == 1 else "do"
        beat = "beats" if len(good) == 1 else "beat"
        who = f"{len(good)} of {len(judged)} outputs {beat}" if good else "No output beats"
        return f"{who} the trivial prediction {rows}" + (f"; {listed(worse, 3)} {verb} not." if good else ".")
    both = {1: f"{short(good[0])} beats", 2: "Both outputs beat"}.get(len(good), f"All {len(good)} outputs beat")
    return f"{both} the trivial prediction {rows}."


def _fall(run: RunRecords) -> str:
    records = run.split("train") or run.ledgers
    first, last = number(records[0].total), number(records[-1].total)
    broken = first_not_finite(run)
    if broken is not None:
        return f"{where(broken)}."
    if len(records) < 2 or first is None or last is None:
        return f"The total of epoch {records[-1].epoch} is {shown(records[-1].total)}."
    verb = "fell" if last < first else "rose" if last > first else "stayed"
    return f"The total {verb} from {digits(first)} to {digits(last)} in {records[-1].epoch} epochs."


def lead(run: RunRecords) -> str:
    """Return what stands under the headline: where the total comes from, and which epoch was kept."""
    if not run.ledgers:
        return "The page fills as soon as the first epoch is written down."
    last = (run.split("train") or run.ledgers)[-1]
    parts = _shares(last)
    broken = first_not_finite(run)
    said = []
    if broken is not None:
        known = headline(run) == f"{where(broken)}."
        first = "Before that, all was finite" if known else f"{where(broken)}, for the first time"
        said.append(f"{first}; what comes after it says nothing.")
    if parts and number(last.total) is not None:
        said.append(f"Of the total at epoch {last.epoch}, {digits(last.total)}, {listed(parts, 5)}.")
    kept = run.facts.get("kept")
    if isinstance(kept, dict):
        said.append(f"Epoch {kept.get('epoch')} of {len(run.history)} was kept ({kept.get('why')}).")
    if run.facts.get("stopped"):
        said.append(f"Training stopped early: {run.facts['stopped']}.")
    return " ".join(said)


def _shares(record: LedgerRecord) -> list[str]:
    named = [(t.share, short(t.name)) for t in record if t.kind != "penalty" and number(t.share) is not None]
    terms = sorted(((share or 0.0, name) for share, name in named), reverse=True)
    shares = [
        f"{percent(share)} {'come from' if i == 0 else 'from'} {name}" for i, (share, name) in enumerate(terms[:3])
    ]
    if len(terms) > 3:
        shares.append(f"{percent(sum(share for share, _ in terms[3:]))} from {len(terms) - 3} others")
    if record.penalty and record.total:
        shares.append(f"{percent(record.penalty / record.total)} from penalties")
    return shares


def tiles(run: RunRecords, findings: int | None) -> Tiles:
    """Return the numbers that matter."""
    own: list[Tile] = []
    train, valid = run.split("train"), run.split("validation")
    if train:
        first = f"from {shown(train[0].total)} at epoch {train[0].epoch}" if len(train) > 1 else ""
        own.append(Tile(f"Total, epoch {train[-1].epoch}", shown(train[-1].total), first))
    task = [(value, r.epoch) for r in valid if (value := number(r.total - r.penalty)) is not None]
    if task:
        best, epoch = min(task, key=lambda pair: pair[0])
        own.append(Tile("Best on validation", digits(best), f"outputs only, at epoch {epoch}"))
    flow = next((flow for flow in reversed(run.flows) if flow.norm_shares), None)
    if flow is not None and len(flow.norms) > 1:
        shares = flow.norm_shares
        name = max(shares, key=lambda row: shares[row])
        own.append(
            Tile("Gradient of the shared part", percent(shares[name]), f"of the norms: {short(name)}, at {when(flow)}")
        )
    rates = [flow.conflict_rate for flow in run.flows if flow.conflict_rate is not None]
    if rates:
        steps = f"of the pairs of losses, mean of {len(rates):,} steps" if len(rates) > 1 else "of the pairs of losses"
        cosines = [mean for flow in run.flows if (mean := mean_cosine(flow)) is not None]
        beside = f"; mean cosine {sum(cosines) / len(cosines):+.2f}" if cosines else ""
        own.append(Tile("In conflict", f"{100 * sum(rates) / len(rates):.0f} %", steps + beside))
    if findings is not None:
        own.append(Tile("Findings", str(findings), "" if findings else "no rule fired"))
    return Tiles(own)


def mean_cosine(flow: GradientFlow) -> float | None:
    """Return the mean cosine of the pairs of losses of one step; `None` where there is no pair."""
    known = [value for i, row in enumerate(flow.cosines) for value in row[:i] if number(value) is not None]
    return sum(known) / len(known) if known else None


def results(run: RunRecords) -> Section | None:
    """Return the scores of the kept model beside the trivial prediction; `None` where there are none."""
    part, found = scores(run)
    if not found:
        return None
    rows = [
        [name, measure, digits(number(own.get("value"))), digits(number(own.get("baseline"))), _verdict(own)]
        for name, measured in found.items()
        for measure, own in measured.items()
    ]
    count = run.facts.get("part_rows", {}).get(part)
    caption = f"Scores on the {part} rows" + (f" ({count:,})" if count else "")
    said = "The kept model beside the trivial prediction, which is the majority or the mean of the training rows."
    table = Table(caption, ["output", "measure", "model", "trivial", "verdict"], rows, right=2)
    return Section("results", "Results", said, [table])


def _verdict(own: dict[str, Any]) -> str:
    return {True: "better", False: "not better"}.get(own.get("better"), "-")  # type: ignore[arg-type]  # may be absent
