"""Scores of single held-out rows: what a comparison of two models on the same rows is made from."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

import torch
from torch import Tensor

from multiloss.config.build import Experiment
from multiloss.core.decode import decode
from multiloss.core.errors import NonFiniteError, RunError
from multiloss.core.labels import labelled
from multiloss.core.run_files import write_whole
from multiloss.core.types import Kind
from multiloss.objective.term import LossTerm
from multiloss.training.dry_run import output_kinds

ROWS = "rows.safetensors"
"""The file of a run of a study that holds the scores of single rows."""

PARTS = ("validation", "test")
GROUP = "group"
"""`<part>/group` are the groups of the rows, where the table was split by group."""

NUMBERS = ("regression", "count")
LEAST = torch.finfo(torch.float64).eps
"""A probability below this counts as this, so that one row costs at most 36 in logarithmic loss."""


def row_scores(kind: Kind, prediction: Tensor, target: Tensor) -> dict[str, Tensor]:
    """Return the scores of each row, as float64 `[n]`, NaN where it has no label.

    Args:
        kind: What the output predicts.
        prediction: As `Trainer.predict` gives it: values in the user's units `[n]`, the probability of the positive
            class `[n]`, probabilities of classes `[n, K]` or of labels `[n, d]`.
        target: Values in the user's units `[n]`, 0 and 1 `[n]` or `[n, d]`, or classes int64 `[n]`; NaN or -100 where
            missing.

    Returns:
        regression, count: `mae`, the absolute error, and `mse`, the squared error;
        binary, multiclass, ordinal: `accuracy`, 1 where the likelier class is right, and `log_loss`, minus the
        logarithm of the probability of the right class;
        multilabel: the mean of both over the row's labels.

    Examples:
        >>> scores = row_scores("regression", torch.tensor([1.0, 5.0]), torch.tensor([3.0, float("nan")]))
        >>> {name: values.tolist() for name, values in scores.items()}
        {'mae': [2.0, nan], 'mse': [4.0, nan]}
    """
    present = labelled(target)
    prediction = prediction.double()
    if kind in ("multiclass", "ordinal"):
        codes = target.where(present, torch.zeros_like(target)).long()
        chance = prediction.gather(1, codes[:, None])[:, 0]
        cells = {"accuracy": (prediction.argmax(1) == codes).double(), "log_loss": -chance.clamp_min(LEAST).log()}
    else:
        truth = target.double().reshape(prediction.shape)
        present = present.reshape(prediction.shape)
        if kind in NUMBERS:
            error = prediction - truth
            cells = {"mae": error.abs(), "mse": error.square()}
        else:
            chance = torch.where(truth > 0.5, prediction, 1 - prediction)
            right = (prediction > 0.5) == (truth > 0.5)
            cells = {"accuracy": right.double(), "log_loss": -chance.clamp_min(LEAST).log()}
    present = present.reshape(len(present), -1)
    means = {name: values.reshape(present.shape).where(present, 0).sum(1) for name, values in cells.items()}
    return {name: total / present.sum(1) for name, total in means.items()}


def measures_of(kind: Kind) -> tuple[str, str]:
    """Return the names of the scores that `row_scores` gives an output.

    Examples:
        >>> measures_of("count"), measures_of("binary")
        (('mae', 'mse'), ('accuracy', 'log_loss'))
    """
    return ("mae", "mse") if kind in NUMBERS else ("accuracy", "log_loss")


def held_out_scores(experiment: Experiment, outputs: Collection[str]) -> dict[str, Tensor]:
    """Return the scores of the validation and the test rows of a trained experiment.

    Args:
        experiment: A run that is done, its kept model in place.
        outputs: Outputs to score.

    Returns:
        `<part>/<output>/<measure>` to float64 `[n]`, rows in the order of the table; `<part>/group` to the number of
        each row's group, the same in both parts, where the table was split by group.

    Raises:
        NonFiniteError: If a prediction, a score or a loss of a labelled row is not finite.
    """
    found: dict[str, Tensor] = {}
    trainer, units = experiment.trainer, experiment.model.units()
    for part in PARTS:
        table = experiment.parts.get(part)
        if table is None:
            continue
        raw = trainer.predict(table.inputs, raw=True)  # decoded here in float64, as the metrics of a run are
        kinds, _ = output_kinds(experiment.model, trainer.objective, raw, table.targets)
        for name in outputs:
            kind, own, target = kinds[name], units.get(name), table.targets[name]
            point = trainer.objective.terms[name].loss.point(raw[name])
            truth = decode("regression", target.double(), own) if kind in NUMBERS else target
            prediction = decode(kind, point.double(), own)
            scores = row_scores(kind, prediction, truth)
            bad = _not_finite(trainer.objective.terms[name], raw[name], target, [prediction, *scores.values()])
            if bad.any():
                raise NonFiniteError(_told(name, part, bad, experiment.rows[part]), [name])
            found |= {f"{part}/{name}/{measure}": values for measure, values in scores.items()}
    groups = experiment.groups
    return found | {f"{part}/{GROUP}": groups[part].double() for part in PARTS if part in groups}


def _not_finite(term: LossTerm, raw: Tensor, target: Tensor, scores: Sequence[Tensor]) -> Tensor:
    """Return which labelled rows have a prediction, a score or a loss that is not finite, as bool `[n]`."""
    known = labelled(target).reshape(len(target), -1).any(1)
    bad = torch.stack([~values.reshape(len(values), -1).isfinite().all(1) for values in scores]).any(0)

    def finite(rows: slice) -> bool:
        return all(bool(own.value.isfinite()) for own in term.reduce(raw[rows], target[rows], None, None))

    if not finite(slice(None)):  # in float32, as training computes it, it may overflow where the scores do not
        bad |= torch.tensor([not finite(slice(row, row + 1)) for row in range(len(target))])
    return known & bad


def _told(output: str, part: str, bad: Tensor, rows: Tensor) -> str:
    count, first = int(bad.sum()), int(rows[bad][0]) + 1
    which = f"row {first} of the table" + (" first" if count > 1 else "")
    return (
        f"the held-out scores of {output} are not finite in {count} of {len(bad)} {part} rows, {which}. Look for an "
        "extreme input there, or lower the learning rate"
    )


def write_rows(folder: Path, rows: dict[str, Tensor]) -> None:
    """Write the scores of rows into a run folder.

    Raises:
        RunError: If they cannot be written.
    """
    from safetensors.torch import save

    write_whole(folder / ROWS, save({name: values.contiguous() for name, values in rows.items()}))


def read_rows(folder: Path) -> dict[str, Tensor]:
    """Return what `write_rows` wrote.

    Raises:
        RunError: If it is absent or damaged.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load

    path = folder / ROWS
    try:
        found = load(path.read_bytes())
    except OSError as error:
        raise damaged(folder, f"could not read {path}: {error.strerror}") from error
    except SafetensorError as error:
        raise damaged(folder, f"{path} is damaged ({error})") from error
    return {name: found[name] for name in sorted(found)}


def read_score(folder: Path, part: str, output: str, measure: str) -> Tensor:
    """Return one score of each row of a part, of what `write_rows` wrote.

    Raises:
        RunError: If it is absent or damaged.
    """
    rows, name = read_rows(folder), f"{part}/{output}/{measure}"
    if name not in rows:
        raise damaged(folder, f"{folder / ROWS} is damaged: it has no {name}")
    return rows[name]


def damaged(folder: Path, found: str) -> RunError:
    """Return the error of a run's folder that can neither be read nor gone on with."""
    return RunError(f"{found}. Delete the folder {folder}, and the study trains this run again")
