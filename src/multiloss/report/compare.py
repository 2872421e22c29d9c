"""The sections of the page of several runs, side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import accumulate

from multiloss.core.run_records import RunRecords
from multiloss.diagnosis.findings import findings
from multiloss.report.curves import INK, SPLITS, Curve, Digest
from multiloss.report.differences import measured_table, scores_table, settings_table, verdicts
from multiloss.report.figure_contributions import HEIGHT as STACK
from multiloss.report.figure_contributions import coarse, stack, stack_keys
from multiloss.report.figure_equation import terms_table, waterfall
from multiloss.report.figure_flow import flow_keys, palette, sankey, when
from multiloss.report.figure_outputs import DASH, FEWEST, HEIGHT, MOST, MOST_PANELS, POINTS, change, trace
from multiloss.report.labels import label, listed, short
from multiloss.report.parts import (
    TEXT,
    Block,
    Cards,
    Figure,
    Key,
    Option,
    Panel,
    Section,
    Table,
    Text,
    Tile,
    Tiles,
    every,
)
from multiloss.report.sections import NO_FLOW, card, facts

RUN_COLOURS = 6


def compared(records: Sequence[RunRecords]) -> list[Section]:
    """Return the sections of several runs."""
    runs = [Digest(run) for run in records]
    begun = [run for run in runs if run.records]
    found: list[Section | None] = [_summary(runs), _settings(runs)]
    if begun:
        found += [_scores(begun), _curves(begun), _equations(begun), _stacks(begun), _flows(begun), _findings(begun)]
    found.append(_configuration(records))
    return [section for section in found if section is not None]


def _summary(runs: Sequence[Digest]) -> Section:
    best = verdicts(runs) if all(run.records for run in runs) else {}
    by_run: dict[str, list[str]] = {}
    for output, run in best.items():
        by_run.setdefault(run, []).append(short(output))
    said = [f"{listed(own, 3)} {'is' if len(own) == 1 else 'are'} best in {short(run)}" for run, own in by_run.items()]
    title = f"{'; '.join(said[:3])}." if said else f"{len(runs)} runs side by side."
    lead = "Judged by the best epoch, on validation rows where there are any; losses are unweighted."
    if said:
        lead += " It may be chance: two seeds of the same configuration differ too; multiloss compare tells."
    count = len({output for run in runs for output in run.run.outputs})
    wins = [f"{len(by_run.get(run.name, []))} of {count}" for run in runs]
    tiles = [Tile(short(run.name), own, "outputs are best here") for run, own in zip(runs, wins, strict=True)]
    return Section("summary", title, lead, [Tiles(tiles)] if said else [])


def _settings(runs: Sequence[Digest]) -> Section:
    table = settings_table(runs)
    said = "What was set otherwise." if table else "No setting differs."
    return Section("settings", "Settings", said, [table] if table else [])


def _scores(runs: Sequence[Digest]) -> Section:
    said = "Losses are unweighted, so that runs with other weights can be compared. The best of each line stands out."
    tables = [table for table in (scores_table(runs), measured_table(runs)) if table is not None]
    return Section("results", "What it did to each output", said, [*tables])


def run_colours(runs: Sequence[Digest]) -> dict[str, str]:
    """Return a colour for each run, unlike those of the outputs."""
    return {run.name: f"@run{i % RUN_COLOURS}" for i, run in enumerate(runs)}


def _curves(runs: Sequence[Digest]) -> Section:
    found, colour = [run.measures for run in runs], run_colours(runs)
    outputs = list(dict.fromkeys(output for one in found for output in one))
    count = sum(len(splits) for one in found for own in one.values() for splits in own.values())
    most = min(max(POINTS // max(count, 1), FEWEST), MOST)
    panels: list[Panel] = []
    options: list[Option] = []
    for output in outputs:
        names = dict.fromkeys(measure for one in found for measure in one.get(output, {}))
        options.append(Option(output, list(range(len(panels), len(panels) + len(names))), "One output"))
        for measure in names:
            own = {run.name: one.get(output, {}).get(measure, {}) for run, one in zip(runs, found, strict=True)}
            panels.append(_overlaid(output, measure, own, colour, most))
    if len(panels) <= MOST_PANELS:
        options.insert(0, Option("all outputs", list(range(len(panels)))))
    else:
        first = [option.panels[0] for option in options[:MOST_PANELS]]
        options.insert(0, Option(f"losses of {len(first)} outputs", first))
    keys = [Key(run.name, colour[run.name], "line") for run in runs]
    keys += [Key("training", INK, "line"), Key("validation", INK, "dash")]
    longest = max(len(run.run.history) for run in runs)
    notes = [coarse(longest)] if longest > most else []
    name = "Losses and metrics of all runs"
    figure = Figure("outputs-figure", name, panels, options, "Output", True, keys, notes)
    return Section("outputs", "Outputs", "One colour a run. Losses are unweighted.", [figure])


def _overlaid(
    output: str, measure: str, runs: Mapping[str, Mapping[str, Curve]], colour: Mapping[str, str], most: int
) -> Panel:
    data, said = [], []
    for run, splits in runs.items():
        for split, curve in splits.items():
            data.append(trace(curve, f"{label(run, 20)}, {SPLITS[split]}", colour[run], DASH[split], most))
            said.append(f"{run} {SPLITS[split]} {change(curve)}")
    layout = {"height": HEIGHT, "hovermode": "x unified", "xaxis": {"title": {"text": "epoch"}}}
    return Panel(data, layout, f"{measure} of {output}: {'; '.join(said)}.", f"{output} · {measure}")


def _equations(runs: Sequence[Digest]) -> Section:
    records = [(run, run.records[-1]) for run in runs]
    first = records[0][1]
    panels = [waterfall(record, run.colours, f"{run.name}, epoch {record.epoch}", first) for run, record in records]
    panels = _one_range(panels, "xaxis", [end for panel in panels for end in panel.layout["xaxis"]["range"]])
    text = "\n".join(f"{run.name}: {record}" for run, record in records)
    table = terms_table([record for _, record in records])
    figure = Figure("equation-figure", "The equations", panels, every(panels), table=table)
    said = (
        "The last epoch of each run, all on one scale and in the order of the first. Totals with different weights are "
        "not comparable; their shares are."
    )
    return Section("equation", "The equations", said, [Text(text, True, "As text"), figure])


def _stacks(runs: Sequence[Digest]) -> Section:
    panels: list[Panel] = []
    options: list[Option] = []
    for name, shares in (("amounts", False), ("shares", True)):
        own = [stack(run.records, run.colours, shares=shares, title=run.name) for run in runs]
        options.append(Option(name, list(range(len(panels), len(panels) + len(own)))))
        panels += _one_range(own, "yaxis", [end for panel in own for end in _heights(panel)])
    panels = [replace(panel, layout={**panel.layout, "height": STACK - 60}) for panel in panels]
    legend = {key.label: key for run in runs for key in stack_keys(run)}
    figure = Figure("contributions-figure", "Contributions by run", panels, options, keys=list(legend.values()))
    return Section(
        "contributions", "Where the totals came from", "Training, epoch by epoch, all on one scale.", [figure]
    )


def _one_range(panels: Sequence[Panel], axis: str, ends: Sequence[float]) -> list[Panel]:
    """Return the panels with one range of an axis, from the lowest to the highest of all, so that they compare."""
    own = {"range": [min(0.0, *ends), max(ends) or 1.0]}
    return [replace(panel, layout={**panel.layout, axis: {**panel.layout[axis], **own}}) for panel in panels]


def _heights(panel: Panel) -> list[float]:
    """Return how high, and how low, the areas of a stack reach."""
    areas = [trace["y"] for trace in panel.data if "stackgroup" in trace]
    edges = [height for column in zip(*areas, strict=True) for height in accumulate(v or 0.0 for v in column)]
    return [0.0, *edges]


def _flows(runs: Sequence[Digest]) -> Section | None:
    watched = [run for run in runs if run.flows]
    title = "Which loss moves the shared layers"
    if not watched:
        return None if any(run.run.flows for run in runs) else Section("flow", title, NO_FLOW, [])
    panels = []
    for run in watched:
        last = run.flows[-1]
        panels.append(sankey(last, palette(run), f"{run.name}, {when(last)}"))
    keys = {key.label: key for run in watched for key in flow_keys(run)}
    figure = Figure("flow-figure", "Gradient flows", panels, every(panels), keys=list(keys.values()))
    blocks: list[Block] = [figure]
    blocks += [Text(str(run.flows[-1]), True, f"{run.name} in words") for run in watched]
    said = "The last watched step of each run: each loss through its head, back to the first layer."
    return Section("flow", title, said, blocks)


def _configuration(runs: Sequence[RunRecords]) -> Section:
    own = [facts(run) for run in runs]
    rows = [[key, *(one.get(key, "-") for one in own)] for key in dict.fromkeys(key for one in own for key in one)]
    blocks: list[Block] = (
        [Table("Facts of the runs", ["fact", *(run.name for run in runs)], rows, right=TEXT)] if rows else []
    )
    blocks += [Text(run.config, True, f"config.yaml of {run.name}") for run in runs if run.config]
    return Section("configuration", "Configuration", "How each run was made.", blocks)


def _findings(runs: Sequence[Digest]) -> Section:
    cards = [card(finding, run.name) for run in runs for finding in findings(run.run)]
    said = "Rules that fired, run by run." if cards else "No rule fired on any of the runs."
    return Section("findings", "Findings", said, [Cards(cards)] if cards else [])
