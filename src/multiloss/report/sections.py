"""The sections of one run's page; those without data are left out."""

from __future__ import annotations

from typing import Any

from multiloss.core.flow import GradientFlow
from multiloss.core.run_records import RunRecords
from multiloss.diagnosis.findings import Finding, findings
from multiloss.report.curves import Digest
from multiloss.report.figure_conflicts import conflicts
from multiloss.report.figure_contributions import contributions
from multiloss.report.figure_equation import equation
from multiloss.report.figure_flow import flow_figure, shares_figure
from multiloss.report.figure_outputs import outputs
from multiloss.report.figure_weights import label_counts, labels, moves, weight_curves, weights, weights_table
from multiloss.report.labels import listed
from multiloss.report.parts import TEXT, Block, Cards, Section, Table, Text
from multiloss.report.summary import headline, lead, results, tiles

NO_FLOW = (
    'This run holds no gradient flow. A fit with watch_gradients="every 100 steps" records whose '
    "gradient moves the shared layers, and who conflicts with whom."
)
LONG = 1500
"""A text longer than this is folded away."""
FACTS = ("created", "seed", "device", "precision", "rows", "parameters", "batch_size", "epochs", "balancing")


def single(run: RunRecords) -> list[Section]:
    """Return the sections of a run."""
    found = findings(run) if run.ledgers else []
    own = [
        Section("summary", headline(run), lead(run), [tiles(run, len(found))] if run.ledgers else []),
        findings_section(found) if run.ledgers else None,
        results(run),
    ]
    if run.ledgers:
        told = Digest(run)
        own += [equation_section(told), contributions_section(told), outputs_section(told), flow_section(told)]
        own += [conflicts_section(told), weights_section(told), labels_section(told)]
    return [section for section in [*own, configuration(run)] if section is not None]


def findings_section(found: list[Finding], run: str = "") -> Section:
    """Return what the rules found, the most important first."""
    said = "Rules that fired on this run's records, the most important first; each with the numbers behind it."
    if not found:
        said = "No rule fired on this run's records: no dominance, conflict, starved output or other known trouble."
    return Section("findings", "Findings", said, [Cards([card(one, run) for one in found])] if found else [])


def card(finding: Finding, run: str = "") -> dict[str, Any]:
    """Return a finding as the page shows it."""
    evidence = [[name.replace("_", " "), _plain(value)] for name, value in finding.evidence.items()]
    said = {"text": f"{finding.text}.", "advice": f"{finding.advice}."}
    return {**finding.to_dict(), **said, "evidence": evidence, "run": run}


def _plain(value: object) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(map(_plain, value))
    return f"{value:.4g}" if isinstance(value, float) else "-" if value is None else str(value)


def equation_section(run: Digest) -> Section:
    """Return the equation of the last epoch."""
    last = run.records[-1]
    text = "\n".join(str(records[-1]) for records in run.splits.values())
    blocks: list[Block] = [Text(text, True, "The equation as text" if len(text) > LONG else ""), equation(run)]
    notes = [f"{term.name}: {term.note}" for term in last if term.note is not None]
    if notes:
        blocks.append(Text("\n".join(notes), True, "Where weight times value is not the contribution"))
    if last.outside:
        blocks.append(Text("\n".join(last.outside), True, "What moves parameters without being in the sum"))
    total = "the total, which in training was differentiated" if "train" in run.splits else "the total"
    said = f"Every addend begins where the one before it ended; the last bar is {total}."
    return Section("equation", "The equation", said, blocks)


def contributions_section(run: Digest) -> Section:
    """Return the total as a stack over the epochs."""
    said = "What each loss added to the total, epoch by epoch."
    if any(term.kind == "penalty" for record in run.records for term in record):
        said += " Penalties are hatched: they are in no output."
    return Section("contributions", "Where the total came from", said, [contributions(run)])


def outputs_section(run: Digest) -> Section | None:
    """Return losses and metrics of the outputs."""
    figure = outputs(run)
    said = "Loss and metrics of each output. Losses are unweighted: the mean over the labelled samples."
    return Section("outputs", "Outputs", said, [figure]) if figure.panels else None


def flow_section(run: Digest) -> Section:
    """Return whose gradient moves the shared part, or how to record it."""
    title = "Which loss moves the shared layers"
    if not run.run.flows:
        return Section("flow", title, NO_FLOW, [])
    if not run.flows:
        words = Text(str(run.run.flows[-1]), True)
        return Section("flow", title, "No gradient reached a parameter that two losses share.", [words])
    last = run.flows[-1]
    words = Text(str(last), True, "The flow in words")
    said = (
        "From each loss through its head, back to the first layer, which is the last in the drawing. Where a band "
        "enters a layer, its width is the loss's share of the gradient norms there."
    )
    blocks: list[Block] = [flow_figure(run), words, reach_table(last)]
    if len(run.flows) > 1:
        blocks.insert(1, shares_figure(run))
    return Section("flow", title, said, blocks)


def reach_table(flow: GradientFlow) -> Table:
    """Return which losses reach how many parameters."""
    rows = [
        [listed(part.losses, 8), "shared" if len(part.losses) > 1 else "its own", f"{part.parameters:,}"]
        for part in flow.reach
    ]
    if flow.frozen:
        rows.append(["-", "frozen", f"{flow.frozen:,}"])
    return Table("Who reaches how many parameters", ["losses", "parameters are", "count"], rows, right=2)


def conflicts_section(run: Digest) -> Section | None:
    """Return the cosines of the pairs over the steps."""
    figure = conflicts(run)
    said = (
        "Cosine between the gradients of two losses on the shared parameters. Below zero they conflict: a step that "
        "helps one alone would hurt the other."
    )
    return Section("conflicts", "Conflicts", said, [figure]) if figure is not None else None


def weights_section(run: Digest) -> Section | None:
    """Return the weights: drawn where they move, a table where they do not."""
    found = weight_curves(run)
    if not found:
        return None
    said = "What each loss is multiplied with: your weight times that of the balancing method."
    if moves(found):
        return Section("weights", "Weights", said, [weights(run, found)])
    return Section("weights", "Weights", f"{said} They did not move.", [weights_table(run)])


def labels_section(run: Digest) -> Section | None:
    """Return the label counts."""
    said = "Labels behind each loss in one epoch. An output with few of them learns from few rows."
    return Section("labels", "Label counts", said, [labels(run)]) if label_counts(run) else None


def configuration(run: RunRecords) -> Section:
    """Return how the run was made."""
    own = facts(run)
    blocks: list[Block] = (
        [Table(f"Facts of {run.name}", ["fact", "value"], list(map(list, own.items())), TEXT)] if own else []
    )
    if run.config:
        blocks.append(Text(run.config, True, "config.yaml"))
    return Section("configuration", "Configuration", "What multiloss fit needs to give the same numbers.", blocks)


def facts(run: RunRecords) -> dict[str, str]:
    """Return what `run.json` says of how a run was made."""
    own: dict[str, Any] = {name: run.facts[name] for name in FACTS if run.facts.get(name) is not None}
    for name in ("optimizer", "versions"):
        if isinstance(run.facts.get(name), dict):
            own[name] = ", ".join(f"{key} {value}" for key, value in run.facts[name].items())
    return {name.replace("_", " "): f"{v:,}" if isinstance(v, int) else str(v) for name, v in own.items()}
