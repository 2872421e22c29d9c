"""From the rows of a log to its epochs: columns chosen, rows of one epoch put together, fits told apart."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise

from multiloss.core.errors import DataError
from multiloss.diagnosis.logs.choice import Chosen, choose
from multiloss.diagnosis.logs.numbers import printed, printed_columns
from multiloss.diagnosis.logs.records import LogEpoch, Printed, TrainingLog
from multiloss.diagnosis.logs.rows import Found, Row

UNKNOWN = Printed(math.nan, 0.0)


def assemble(found: Found, source: str, total: str | None, parts: Sequence[str] | None) -> TrainingLog:
    """Return the log that the rows make.

    Args:
        found: What a reader found.
        source: What to call the log.
        total: The total's column, where the user named it.
        parts: The parts' columns, where the user named them.

    Raises:
        DataError: If there is no row of numbers, or total and parts cannot be told.
    """
    names = list(dict.fromkeys(name for row in found.rows for name in row.cells))
    if not names:
        raise DataError(
            f"{source}: expected a training log with losses by name, found none in it ({found.format}). "
            "Give what training printed, with the names of the losses, or a CSV or JSON file that it wrote"
        )
    main, train, held, guesses = choose(names, source, total, parts)
    notes = [*found.notes, *guesses]
    rows, unit = _merged(found.rows, main, notes)
    rows = _one_fit(rows, unit, main, notes)
    columns = [column for chosen in (train, held) if chosen for column in chosen.columns]
    numbers = _numbers({column: [row.cells.get(column) for row in rows] for column in columns}, found.fixed)
    splits = []
    for chosen, other in ((train, held), (held, train)):
        own = [i for i, row in enumerate(rows) if not (found.gaps and _empty(row, chosen, other))]
        splits.append(_epochs([(i, rows[i]) for i in own], unit, chosen, numbers))
    for place, (name, epochs) in enumerate(zip(("training", "validation"), splits, strict=True)):
        key = (train, held)[place]
        if key and not epochs and any(key.key in row.cells for row in rows):
            notes.append(f"The losses of {name} are NaN in every {unit}; they were left out")
        if epochs and all(math.isnan(part.value) for epoch in epochs for part in (epoch.total, *epoch.parts.values())):
            notes.append(f"The losses of {name} are NaN in every {unit}")
            splits[place] = () if place and splits[0] and found.gaps else epochs
    if not any(splits):
        raise DataError(
            f"{source}: expected rows with a total and its parts, found such columns and no row that holds the total. "
            "Give a log of at least one finished epoch"
        )
    column = next((chosen.total for chosen in (train, held) if chosen and chosen.total), "")
    bare = found.format in ("numbers under a line of names", "a table in text")  # which says nothing of who wrote it
    form = found.format + (", in Keras's names" if bare and _as_keras_names(main) else "")
    return TrainingLog(
        form,
        source,
        column,
        splits[0],
        splits[1],
        tuple(notes),
        unit,
        train.parts if train else {},
        (held.total if held else None) or "",
        held.parts if held else {},
    )


def _as_keras_names(chosen: Chosen) -> bool:
    """Return whether the total is `loss` and every part an output's name before `_loss`."""
    same = all(column.removeprefix("val_") == f"{part}_loss" for part, column in chosen.parts.items())
    return chosen.total in ("loss", "val_loss") and bool(chosen.parts) and same


def _merged(rows: list[Row], main: Chosen, notes: list[str]) -> tuple[list[Row], str]:
    """Return a row for each epoch or step, and which of them it is."""
    unit = _unit([row for row in rows if main.key in row.cells], main)
    if unit == "step":
        rows = _continued(_after_training(rows, main), notes)
    merged: list[Row] = []
    for row in rows:
        key = _number(row, unit)
        last = merged[-1] if merged else None
        if last and key is not None and key == _number(last, unit) and not _both(last, row, main.key):
            _lay_over(last.cells, row.cells)
        elif last and key is None and not row.cells.keys() & last.cells.keys():
            last.cells.update(row.cells)
        else:
            merged.append(row._replace(cells=dict(row.cells)))
    return merged, unit


def _after_training(rows: list[Row], main: Chosen) -> list[Row]:
    """Give rows of validation, which may count its own batches, the step of the training before them."""
    result, last = [], None
    for row in rows:
        if main.key in row.cells:
            last = row.step
        elif last is not None and (row.step is None or row.step < last):
            row = row._replace(step=last)
        result.append(row)
    return result


def _both(one: Row, other: Row, column: str) -> bool:
    """Say whether two rows have a number in the column: they are two epochs, whatever their numbers say."""
    return not any(math.isnan(float(row.cells.get(column, "nan"))) for row in (one, other))


def _lay_over(cells: dict[str, str], newer: dict[str, str]) -> None:
    """Put newer cells over older ones; a NaN, which often stands for an empty cell, over nothing."""
    for name, cell in newer.items():
        if name not in cells or not math.isnan(float(cell)):
            cells[name] = cell


def _unit(rows: list[Row], main: Chosen) -> str:
    epochs = [row.epoch for row in rows if row.epoch is not None]
    stepped = sum(row.step is not None for row in rows) > len(rows) / 2
    if not epochs:
        return "step" if stepped else "epoch"
    if main.window == "epoch":
        return "epoch"
    broken = any(epoch % 1 for epoch in epochs if math.isfinite(epoch))
    same = 10 * sum(a == b for a, b in pairwise(epochs)) > len(epochs)
    steps = {row.step for row in rows}
    return "step" if stepped and (broken or (same and len(steps) > 1)) else "epoch"


def _continued(rows: list[Row], notes: list[str]) -> list[Row]:
    """Number steps on where they start again in every epoch."""
    restarts = [(a, b) for a, b in pairwise(rows) if None not in (a.epoch, b.epoch, a.step, b.step)]
    again = [b for a, b in restarts if (b.epoch or 0) > (a.epoch or 0) and (b.step or 0) < (a.step or 0)]
    if not again:
        return rows
    notes.append("Steps are counted from the start of each epoch in the log; here they are numbered on")
    result, before, highest, epoch = [], 0.0, 0.0, rows[0].epoch
    for row in rows:
        if row.epoch is not None and row.epoch != epoch:
            before, highest, epoch = (before + highest if row.epoch > (epoch or 0) else 0.0), 0.0, row.epoch
        highest = max(highest, row.step or 0.0)
        result.append(row if row.step is None else row._replace(step=before + row.step))
    return result


def _one_fit(rows: list[Row], unit: str, main: Chosen, notes: list[str]) -> list[Row]:
    """Return the rows of the longest fit, later ones over earlier ones where it was resumed."""
    fits: list[list[Row]] = [[]]
    overlaps = 0
    rounded = any(number % 1 for row in rows if (number := _number(row, unit)) is not None)
    last: float | None = None
    for row in rows:
        number, fit = _number(row, unit) if main.key in row.cells else None, fits[-1]
        if number is not None and last is not None and number <= last and not (rounded and number == last):
            if number <= (_number(fit[0], unit) or 0.0):  # from the start, so another fit
                fits.append([])
            else:
                overlaps += 1
                while fit and (_number(fit[-1], unit) or 0.0) >= number:
                    fit.pop()
        fits[-1].append(row)
        last = last if number is None else number
    fits = [fit for fit in fits if any(main.key in row.cells for row in fit)] or [[]]
    best = max(range(len(fits)), key=lambda i: (len(fits[i]), i))
    if len(fits) > 1:
        sizes = ", ".join(str(len(fit)) for fit in fits[:6]) + (" ..." if len(fits) > 6 else "")
        notes.append(
            f"{len(fits)} fits follow each other ({sizes} {unit}s): number {best + 1} is read. "
            "Give another one alone to see it"
        )
    if overlaps:
        notes.append(f"Training was resumed: of {unit}s that are there twice, the later ones were read")
    return fits[best]


def _number(row: Row, unit: str) -> float | None:
    number = row.step if unit == "step" else row.epoch
    return None if number is None or math.isnan(number) else number


def _epochs(
    rows: list[tuple[int, Row]], unit: str, chosen: Chosen | None, numbers: Mapping[str, list[Printed | None]]
) -> tuple[LogEpoch, ...]:
    result = []
    for place, row in rows:
        if chosen is None or chosen.key not in row.cells:
            continue
        number = _number(row, unit)
        parts = {part: numbers[name][place] for part, name in chosen.parts.items()}
        result.append(
            LogEpoch(
                place + 1.0 if number is None else number,
                (numbers[chosen.total][place] if chosen.total else None) or UNKNOWN,
                {part: value for part, value in parts.items() if value is not None},
                {name: float(row.cells[column]) for name, column in chosen.metrics.items() if column in row.cells},
            )
        )
    return tuple(result)


def _empty(row: Row, chosen: Chosen | None, other: Chosen | None) -> bool:
    """Say whether a row has NaN for everything of its split, and a number for the other: empty cells."""
    mine, theirs = (
        [float(row.cells[name]) for name in split.columns if name in row.cells] if split else []
        for split in (chosen, other)
    )
    return all(map(math.isnan, mine)) and not all(map(math.isnan, theirs))


def _numbers(columns: dict[str, list[str | None]], fixed: bool) -> dict[str, list[Printed | None]]:
    tokens = {name: [token for token in column if token is not None] for name, column in columns.items()}
    read = {name: iter(map(printed, own)) for name, own in tokens.items()} if fixed else printed_columns(tokens)
    return {name: [None if token is None else next(read[name]) for token in own] for name, own in columns.items()}
