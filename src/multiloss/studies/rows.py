"""Scores of single held-out rows: what a comparison of two models on the same rows is made from."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import torch
from torch import Tensor

from multiloss.config.build import Experiment
from multiloss.core.decode import decode
from multiloss.core.errors import RunError
from multiloss.core.labels import labelled
from multiloss.core.run_files import write_whole
from multiloss.core.types import Kind
from multiloss.training.dry_run import output_kinds

ROWS = "rows.safetensors"
"""The file of a run of a study that holds the scores of single rows."""

PARTS = ("validation", "test")
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
    return {
        name: values.where(present, torch.nan).reshape(len(values), -1).nanmean(1) for name, values in cells.items()
    }


def held_out_scores(experiment: Experiment, outputs: Collection[str]) -> dict[str, Tensor]:
    """Return the scores of the validation and the test rows of a trained experiment.

    Args:
        experiment: A run that is done, its kept model in place.
        outputs: Outputs to score.

    Returns:
        `<part>/<output>/<measure>` to float64 `[n]`, rows in the order of the table.
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
            scores = row_scores(kind, decode(kind, point.double(), own), truth)
            found |= {f"{part}/{name}/{measure}": values for measure, values in scores.items()}
    return found


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
        raise RunError(f"could not read {path}: {error.strerror}. Run the study again; it goes on") from error
    except SafetensorError as error:
        raise RunError(f"{path} is damaged ({error}). Delete it and run the study again") from error
    return {name: found[name] for name in sorted(found)}
