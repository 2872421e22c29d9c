"""One step of every variant on a few rows, so that what cannot be trained is found before anything is."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator, Mapping

import torch
from torch import Tensor

from multiloss.config.parts import build_callbacks, build_model, build_trainer
from multiloss.config.schema import Config
from multiloss.core.errors import MultilossError, NonFiniteError, RunError
from multiloss.core.labels import labelled
from multiloss.core.types import Kind
from multiloss.data.schema import EncodedTable, TableSchema
from multiloss.studies.rows import NUMBERS
from multiloss.training.dry_run import output_kinds
from multiloss.training.signals import on_signal

ROWS = 32
"""Labelled rows of each output in a trial."""


def trial_problems(
    variants: Mapping[str, Mapping[tuple[str, ...], Config]], schema: TableSchema, train: EncodedTable
) -> list[str]:
    """Return a sentence for each variant that cannot be trained, or whose loss is for outputs of another kind.

    Args:
        variants: Configurations by variant and the outputs that they train; the first is what others are compared to.
        schema: Of all outputs.
        train: The training rows.

    Raises:
        RunError: If a signal came.
    """
    problems, expected, signals = list[str](), dict[str, Kind](), list[int]()
    for variant, configs in variants.items():
        for outputs, config in configs.items():
            where = f"{variant} ({outputs[0]})" if len(outputs) == 1 else variant
            with on_signal(signals.append):  # a fit would note it for itself alone
                problems += [f"{where}: {problem}" for problem in _problems(config, schema, train, expected)]
            if signals:
                raise RunError("interrupted before anything was trained. Do the same again")
    return problems


def _problems(config: Config, schema: TableSchema, train: EncodedTable, expected: dict[str, Kind]) -> list[str]:
    """Return what is wrong with one configuration; the first fills what is expected of those after it."""
    try:
        kinds = _step(config, schema, train)
    except MultilossError as error:
        return [" ".join(str(error).split())]
    if not expected:
        expected.update(kinds)
    return [
        f"expected a loss for a {expected[name]} output, found one for {kind}"
        for name, kind in kinds.items()
        if name in expected and kind != expected[name] and not {kind, expected[name]} <= set(NUMBERS)
    ]


def _step(config: Config, schema: TableSchema, train: EncodedTable) -> dict[str, Kind]:
    """Train one step, write nothing, and return what each output predicts."""
    columns = {column.name: column for column in schema.outputs}
    model = build_model(config, TableSchema(schema.inputs, tuple(columns[name] for name in config.outputs)))
    callbacks, _ = build_callbacks(config, validation=True)
    trainer = build_trainer(config, model, callbacks)
    rows = _labelled_rows([train.targets[name] for name in config.outputs])
    inputs, targets, weights = (
        {name: tensor[rows] for name, tensor in tensors.items() if tensors is train.inputs or name in config.outputs}
        for tensors in (train.inputs, train.targets, train.sample_weight)
    )
    data = (inputs, targets, *([weights] if weights else []))
    with _silent(), contextlib.suppress(NonFiniteError):  # a run that diverges is a result, not a mistake
        trainer.fit(data, validation=data, batch_size=len(rows))
    return output_kinds(model, trainer.objective, trainer.predict(inputs, raw=True), targets)[0]


def _labelled_rows(targets: list[Tensor]) -> Tensor:
    found = [labelled(target).reshape(len(target), -1).any(1).nonzero()[:ROWS, 0] for target in targets]
    chosen = torch.zeros(len(targets[0]), dtype=torch.bool)
    chosen[torch.cat(found)] = True
    return chosen.nonzero()[:, 0]


@contextlib.contextmanager
def _silent() -> Iterator[None]:
    """Keep what a trial would warn of for the runs themselves."""
    logger = logging.getLogger("multiloss")
    before, logger.disabled = logger.disabled, True
    try:
        yield
    finally:
        logger.disabled = before
