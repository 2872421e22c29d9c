"""A run folder: what was trained, ready to predict and to be measured."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from multiloss.config import run_files
from multiloss.config.load import load_config
from multiloss.config.parts import build_model, build_trainer
from multiloss.config.schema import Config
from multiloss.config.scores import Score, scores
from multiloss.core.run_files import CONFIG, read_run_json
from multiloss.data.schema import EncodedTable, TableSchema
from multiloss.nn.hard_sharing import HardSharing
from multiloss.training.tables import predict_table
from multiloss.training.trainer import Evaluation, Trainer

if TYPE_CHECKING:
    import polars as pl

logger = logging.getLogger("multiloss")


@dataclass
class Run:
    """A trained model out of its run folder.

    Args:
        folder: The run folder.
        config: Its configuration.
        schema: What its columns mean.
        trainer: A trainer that holds the model, to predict and evaluate.
        facts: What `run.json` says.
    """

    folder: Path
    config: Config
    schema: TableSchema
    trainer: Trainer
    facts: dict[str, Any]

    def predict(self, frame: Any) -> pl.DataFrame:
        """Return predictions for a raw table: `<output>`, and `<output>:<class>` for each probability."""
        return predict_table(self.trainer, frame)

    def evaluate(self, frame: Any) -> tuple[Evaluation, list[Score]]:
        """Return losses and metrics on a raw table, and each beside the trivial prediction of the training rows."""
        table = self.schema.encode(frame)
        mention_unknown("the table", table)
        return measure(self.trainer, self.schema, table, self.facts["trivial"])


def load_run(folder: str | Path) -> Run:
    """Rebuild the model of a run folder from its YAML, JSON and safetensors.

    Raises:
        RunError: If the folder is no run, of another version, unfinished or damaged.
        ConfigError: If its configuration was changed and no longer fits.
    """
    path = Path(folder)
    facts = read_run_json(path)
    config, schema = load_config(path / CONFIG), run_files.read_schema(path)
    model = build_model(config, schema)
    run_files.restore_model(model, path)
    return Run(path, config, schema, build_trainer(config, model), facts)


def measure(
    trainer: Trainer, schema: TableSchema, table: EncodedTable, trivial: dict[str, Any]
) -> tuple[Evaluation, list[Score]]:
    """Return losses and metrics of encoded rows, and each beside the trivial prediction."""
    found = trainer.evaluate((table.inputs, table.targets), sample_weight=table.sample_weight or None)
    model = trainer.model
    units = model.units() if isinstance(model, HardSharing) else {}
    rated = scores(found, table, trivial=trivial, schema=schema, objective=trainer.objective, model=model, units=units)
    return found, rated


def mention_unknown(where: str, table: EncodedTable) -> None:
    """Say how many cells hold a category that no training row had."""
    for column, count in table.unknown.items():
        logger.warning(
            "%s: column %r: %d cells hold a value never seen in training, read as unknown", where, column, count
        )
