"""The results of a study as tables: one row for each number."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from multiloss.core.run_files import HISTORY, read_lines, read_run_json, write_whole
from multiloss.studies.rows import read_rows
from multiloss.studies.runner import DoneRun

if TYPE_CHECKING:
    import polars as pl

DIVERGED = "diverged"
"""The measure of an output whose run holds no result; its value is 1."""


def tidy(runs: Sequence[DoneRun]) -> pl.DataFrame:
    """Return every measure of every run: variant, run, seed, output, part, measure, value.

    Parts are `validation` and `test`. Loss and metrics are those of the run's own records, at its kept epoch; the
    means of the row scores follow where they say more. An output of a run that diverged has one row: part `train`,
    measure `diverged`.

    Raises:
        RunError: If a run's folder is damaged.
    """
    import polars as pl

    text = dict.fromkeys(("variant", "run"), pl.String) | {"seed": pl.Int64}
    schema = {**text, **dict.fromkeys(("output", "part", "measure"), pl.String), "value": pl.Float64}
    lines = [(*_whose(run), *line) for run in runs for line in _measures(run)]
    return pl.DataFrame(lines, schema, orient="row")


def curves(runs: Sequence[DoneRun]) -> pl.DataFrame:
    """Return every key of every epoch: variant, run, seed, epoch, key, value; a run that diverged ends early.

    Raises:
        RunError: If a run's folder is damaged.
    """
    import polars as pl

    schema = {"variant": pl.String, "run": pl.String, "seed": pl.Int64, "epoch": pl.Int64}
    lines = [
        (*_whose(run), int(row["epoch"]), key, value)
        for run in runs
        for row in read_lines(run.folder / HISTORY)
        for key, value in row.items()
        if key != "epoch"
    ]
    return pl.DataFrame(lines, {**schema, "key": pl.String, "value": pl.Float64}, orient="row")


def write_csv(frame: pl.DataFrame, path: Path) -> None:
    """Write a table as CSV, every digit of its numbers.

    Raises:
        RunError: If it cannot be written.
    """
    text = io.BytesIO()
    frame.write_csv(text)
    write_whole(path, text.getvalue())


def _whose(run: DoneRun) -> tuple[str, str, int]:
    return run.planned.variant, run.planned.name, run.planned.seed


def _measures(run: DoneRun) -> Iterator[tuple[str, str, str, float | None]]:
    if run.problem is not None:
        yield from ((output, "train", DIVERGED, 1.0) for output in run.planned.outputs)
        return
    facts, rows = read_run_json(run.folder), read_rows(run.folder)
    means = {key: values.nanmean().item() for key, values in rows.items()}
    for output in run.planned.outputs:
        test = {measure: score["value"] for measure, score in facts["test"][output].items()}
        validation = {measure: facts["final"].get(f"val_{output}_{measure}") for measure in test}
        for part, known in (("validation", validation), ("test", test)):
            own = f"{part}/{output}/"
            known = {key.removeprefix(own): mean for key, mean in means.items() if key.startswith(own)} | known
            yield from ((output, part, measure, value) for measure, value in known.items())
