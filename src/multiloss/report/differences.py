"""What differs between runs: their settings, and how each output ended."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from multiloss.core.records import digits
from multiloss.core.run_records import RunRecords
from multiloss.report.curves import FALLING, RISING, Curve, Digest, Measures
from multiloss.report.labels import number
from multiloss.report.parts import TEXT, Table
from multiloss.report.summary import scores

SETTINGS = ("seed", "device", "precision", "rows", "parameters", "batch_size", "epochs", "balancing", "optimizer")
IDLE = ("table",)
"""Settings that say where data lies, not what was done with it."""


def settings(run: RunRecords) -> dict[str, str]:
    """Return every setting of a run by its dotted name: those of its configuration, else the facts of `run.json`."""
    if run.config:
        return _flat(yaml.safe_load(run.config))
    own = {name: run.facts[name] for name in (*SETTINGS, "outputs") if name in run.facts}
    return _flat(own)


def _flat(value: Any, name: str = "") -> dict[str, str]:
    if isinstance(value, Mapping) and value:
        parts = (_flat(item, f"{name}.{key}" if name else str(key)) for key, item in value.items())
        return {key: item for part in parts for key, item in part.items()}
    return {name: value if isinstance(value, str) else json.dumps(value, default=str)}


def settings_table(runs: Sequence[Digest]) -> Table | None:
    """Return the settings that differ; `None` where none does."""
    own = [settings(run.run) for run in runs]
    keys = [key for key in dict.fromkeys(key for one in own for key in one) if key not in IDLE]
    rows = [[key, *(one.get(key, "-") for one in own)] for key in keys if len({one.get(key) for one in own}) > 1]
    return Table("Settings that differ", ["setting", *(run.name for run in runs)], rows, right=TEXT) if rows else None


def scores_table(runs: Sequence[Digest]) -> Table:
    """Return last and best value of every measure by run; the first run is what the others are compared with."""
    found = [run.measures for run in runs]
    rows: list[list[str]] = []
    best: dict[int, list[int]] = {}
    for output, measure in _pairs(found):
        curves = [_judged(one.get(output, {}).get(measure, {})) for one in found]
        lasts, bests = [c.last if c else None for c in curves], [c.best(measure) if c else None for c in curves]
        cells = []
        for i in range(len(runs)):
            cells += [_beside(lasts[i], lasts[0] if i else None), _beside(bests[i], bests[0] if i else None)]
        best[len(rows)] = [3 + 2 * i for i in winners(bests, measure)]
        rows.append([output, measure, *cells])
    columns = ["output", "measure", *(f"{run.name}, {when}" for run in runs for when in ("last", "best"))]
    caption = "Last and best value, on validation rows where there are any; in brackets the change from the first run"
    return Table(caption, columns, rows, right=2, best=best)


def _pairs(found: Sequence[Measures]) -> list[tuple[str, str]]:
    return list(dict.fromkeys((output, measure) for one in found for output, own in one.items() for measure in own))


def _judged(splits: Mapping[str, Curve]) -> Curve | None:
    return splits.get("validation") or splits.get("train")


def _beside(value: float | None, first: float | None) -> str:
    if value is None or first is None:
        return digits(value)
    relative = f"{100 * (value - first) / abs(first):+.1f} %" if first else f"{value - first:+.3g}"
    return f"{digits(value)} ({relative})"


def winners(values: Sequence[float | None], measure: str) -> list[int]:
    """Return the numbers of the runs with the best value; none where all are alike or nobody knows what is better.

    Examples:
        >>> winners([0.2, 0.1, None], "loss"), winners([0.2, 0.2], "loss"), winners([1.0, 2.0], "my_metric")
        ([1], [], [])
    """
    known = [value for value in values if value is not None]
    if len(set(known)) < 2 or measure not in FALLING | RISING:
        return []
    best = min(known) if measure in FALLING else max(known)
    return [i for i, value in enumerate(values) if value == best]


def verdicts(runs: Sequence[Digest]) -> dict[str, str]:
    """Return, by output, the run that came out best on validation, where one did.

    Judged by the loss, where all runs have the same one for that output, else by the first metric that can be judged.
    """
    found, best = [run.measures for run in runs], {}
    for output in dict.fromkeys(output for one in found for output in one):
        own = [one.get(output, {}) for one in found]
        shared = [measure for measure in own[0] if all(measure in one for one in own) and measure in FALLING | RISING]
        measure = next((name for name in shared if name != "loss" or _same_loss(runs, output)), None)
        if measure is not None:
            curves = [_judged(one[measure]) for one in own]
            first = winners([curve.best(measure) if curve else None for curve in curves], measure)
            if len(first) == 1:
                best[output] = runs[first[0]].name
    return best


def _same_loss(runs: Sequence[Digest], output: str) -> bool:
    known = {str(run.run.facts.get("outputs", {}).get(output, {}).get("loss")) for run in runs}
    return len(known) == 1


def measured_table(runs: Sequence[Digest]) -> Table | None:
    """Return the scores of the kept models side by side; `None` where a run has none, or on other rows."""
    found = [scores(run.run) for run in runs]
    if len({part for part, _ in found}) > 1 or not found[0][0]:
        return None
    rows: list[list[str]] = []
    best: dict[int, list[int]] = {}
    for output, measure in dict.fromkeys((o, m) for _, one in found for o, own in one.items() for m in own):
        values = [number(one.get(output, {}).get(measure, {}).get("value")) for _, one in found]
        best[len(rows)] = [2 + i for i in winners(values, measure)]
        cells = [_beside(value, values[0] if i else None) for i, value in enumerate(values)]
        rows.append([output, measure, *cells])
    caption = f"The kept models on the {found[0][0]} rows"
    return Table(caption, ["output", "measure", *(run.name for run in runs)], rows, right=2, best=best)
