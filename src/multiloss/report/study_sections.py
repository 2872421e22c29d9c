"""The sections of a study's page."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from multiloss.core.records import digits, spelled
from multiloss.report.labels import listed
from multiloss.report.parts import TEXT, Block, Cell, Link, Section, Table, Text, Tile, Tiles, Verdict, Verdicts
from multiloss.report.study_costs import KINDS, amount, costs_figure
from multiloss.report.study_curves import curves_figure
from multiloss.report.study_facts import BASE, Facts, ends_of, score, signed
from multiloss.report.study_gains import gains, scores_figure

SHARED = "shared"


def study_sections(study: Mapping[str, Any], base: str = "") -> list[Section]:
    """Return the sections of a study's page; those without data are left out."""
    facts = Facts(study, base)
    judged = bool(facts.verdict["outputs"])
    found = [
        _summary(facts),
        _trouble(facts),
        _gains(facts) if judged else None,
        _scores(facts),
        _costs(facts) if study["costs"] else None,
        _curves(facts),
        _method(facts),
        _configuration(facts),
    ]
    return [section for section in found if section is not None]


def _summary(facts: Facts) -> Section:
    own = facts.verdict
    lead = f"Recommended: {own['recommended'] or 'nothing'}, because {_sentence(own['why'])}"
    found = [_verdict(facts, one, one["output"]) for one in own["outputs"] if one["variant"] == SHARED]
    blocks: list[Block] = [Verdicts(found)] if found else []
    overall = own["overall"]
    return Section("summary", overall[:1].upper() + overall[1:], lead, [*blocks, Tiles(_tiles(facts))])


def _verdict(facts: Facts, own: Mapping[str, Any], name: str) -> Verdict:
    gain, output, variant = own["gain"], own["output"], own["variant"]
    level = f"{100 * facts.settings['level']:g} %"
    links = [(name, facts.links(name, output)) for name in (variant, BASE)]
    interval = f"{ends_of(gain)}, {level} interval of the gain in {own['metric']}"
    return Verdict(name, own["claim"], signed(gain["mean"], own["unit"]), interval, _spoken(own), links)


def _tiles(facts: Facts) -> list[Tile]:
    found = []
    costs = facts.study["costs"]
    if SHARED in costs and BASE in costs:
        models = costs[BASE]["models"]
        several = spelled(models)
        train, _, row, _, parameters, *_ = (amount(costs, SHARED, kind) for kind in KINDS)
        for name, own, of in (
            ("To train", train, "in all"),
            ("To run", row, "for one row"),
            ("Parameters", parameters, f"{parameters.text} in all"),
        ):
            if (ratio := own.ratio["mean"]) is not None:
                found.append(Tile(name, f"{ratio:.2f}×", f"of {several} separate models, {of}"))
    gain = facts.study["delta_m"].get(SHARED)
    if gain is not None and gain["mean"] is not None:
        ends = {"low": _percent(gain["low"]), "high": _percent(gain["high"])}
        mean = f"mean gain of the outputs ({ends_of(ends)})"
        found.append(Tile("Δm", signed(100 * gain["mean"], "%"), mean))
    runs = facts.study["runs"]
    lost = sum(run["problem"] is not None for run in runs)
    each = f"{facts.settings['seeds']} seeds of {len(facts.variants)} variants"
    found.append(Tile("Runs", str(len(runs)), f"{each}, {lost} diverged" if lost else each))
    return found


def _percent(value: float | None) -> float | None:
    return None if value is None else 100 * value


def _trouble(facts: Facts) -> Section | None:
    lost = [run for run in facts.study["runs"] if run["problem"] is not None]
    if not lost:
        return None
    rows = [[[Link(run["name"], facts.base + run["link"], f"run {run['name']}")], run["problem"]] for run in lost]
    said = "These runs hold no result. The figures of their variants are of the other seeds, which flatters them."
    table = Table("Runs that diverged, and why", ["run", "problem"], rows, TEXT)
    missing = [Text(_sentence(text)) for text in facts.verdict["uncompared"]]
    return Section("diverged", "Runs that diverged", said, [*missing, table])


def _gains(facts: Facts) -> Section:
    said = "Every variant against the separate models, on the same test rows and seeds."
    others = [own for own in facts.verdict["outputs"] if own["variant"] != SHARED]
    blocks: list[Block] = [gains(facts)]
    if others:
        found = [_verdict(facts, own, f"{own['variant']} · {own['output']}") for own in others]
        blocks.append(Verdicts(found, small=True))
    return Section("gains", "Gains", said, blocks)


def _scores(facts: Facts) -> Section | None:
    figure = scores_figure(facts)
    if figure is None:
        return None
    tables = [_scores_table(facts, output) for output in facts.outputs]
    level = f"{100 * facts.settings['level']:g} %"
    said = f"Mean over the seeds on the test rows, and in brackets its {level} interval over seeds."
    return Section("scores", "Scores", said, [figure, *tables])


def _scores_table(facts: Facts, output: str) -> Table:
    own = [one for one in facts.study["scores"] if one["output"] == output]
    measures = list(dict.fromkeys(one["measure"] for one in own))
    # what the output is judged by first, the loss, which variants may have others of, last
    measures.sort(key=lambda measure: (measure != facts.study["measures"][output], measure == "loss"))
    rows: list[list[Cell]] = []
    for variant in facts.variants:
        found = [facts.scored(output, measure, variant) for measure in measures]
        rows.append([variant, *map(score, found)])
    trivial = facts.study["trivial"].get(output, {})
    rows.append(["trivial prediction", *(digits(trivial.get(measure)) for measure in measures)])
    columns = ["variant", *measures]
    return Table(f"{output}: every metric on the test rows", columns, rows)


def _costs(facts: Facts) -> Section:
    said = "What one model for all outputs costs beside one for each, measured in turns in one run."
    return Section("costs", "Cost side by side", said, [costs_figure(facts)])


def _curves(facts: Facts) -> Section | None:
    figure = curves_figure(facts)
    said = "The median over the seeds, and a band that holds the middle half of them."
    return None if figure is None else Section("curves", "Learning curves", said, [figure])


def _method(facts: Facts) -> Section:
    rows = [list(pair) for pair in facts.study["method"]]
    blocks: list[Block] = [
        Table("The rules behind every sentence of this page", ["what", "rule"], rows, TEXT, whole=True)
    ]
    blocks += [Text(f"Note: {note}.") for note in facts.settings["notes"]]
    return Section("method", "How it was tested", "The rules are fixed: none was chosen after the numbers.", blocks)


def _configuration(facts: Facts) -> Section:
    own = facts.settings
    rows: list[list[Cell]] = []
    for variant in facts.variants:
        models = facts.models(variant)
        runs: list[str | Link] = []
        for names in models:
            runs += [*([listed(names)] if len(models) > 1 else []), *facts.links(variant, names[0])]
        count, trunk = own["parameters"].get(variant), own["trunk"].get(variant)
        widths = "-" if trunk is None else " · ".join(map(str, trunk)) or "none"
        parameters = "-" if count is None else f"{count:,}"
        rows.append([variant, _meaning(variant, own["asked"]), runs, str(len(models)), widths, parameters])
    columns = ["variant", "what it is", "runs", "models", "trunk", "parameters"]
    commands = facts.study["commands"]
    said = (
        "Each run is an ordinary run folder, which multiloss fit can train again alone and multiloss report can draw."
    )
    blocks: list[Block] = [
        Table("The variants", columns, rows, 3, whole=True),
        Table("The table", ["fact", "value"], _table_facts(facts), TEXT),
        Text("In the study's folder, the whole study again, or one run of it:"),
        Text(f"{commands['study']}\n{commands['run']}", True),
        Text(facts.study["config"], True, "The configuration of the shared model"),
    ]
    return Section("configuration", "Configuration", said, blocks)


def _table_facts(facts: Facts) -> list[list[str]]:
    own = facts.settings
    labels = [
        [f"labels of {output}", ", ".join(f"{part} {count:,}" for part, count in held.items())]
        for output, held in own["labels"].items()
    ]
    return [["table", own["table"]], ["its SHA-256 begins with", own["table_digest"]], *labels]


def _meaning(variant: str, asked: Mapping[str, Any]) -> str:
    """Return what a variant is, by what the study was asked for: names of outputs may be those of methods."""
    losses = {f"{output}={loss}": (output, loss) for output, given in asked["losses"].items() for loss in given}
    if variant in losses:
        output, loss = losses[variant]
        return f"the shared model with the loss {loss} for {output}"
    if variant in asked["balancing"]:
        return f"the shared model with balancing={variant}"
    return {
        SHARED: "one model for all outputs, as configured",
        BASE: "each output alone, with the same trunk",
        "separate-narrow": "each output alone, together as many parameters as shared",
    }[variant]


def _spoken(own: Mapping[str, Any]) -> str:
    """Return the sentence of a verdict; names keep their case."""
    text = str(own["sentence"])
    named = text.startswith((own["output"], own["variant"]))
    return _sentence(text if named else text[:1].upper() + text[1:])


def _sentence(text: str) -> str:
    return text if text.endswith((".", ":")) else f"{text}."
