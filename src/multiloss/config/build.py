"""From a configuration to a run: with `parts` and `run` beside it, the only place that knows every wing."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from multiloss.config import run_files
from multiloss.config.parts import build_callbacks, build_model, build_trainer, complete, orders
from multiloss.config.run import Run, load_run, measure, mention_unknown
from multiloss.config.schema import Config
from multiloss.config.scores import Score, to_plain, trivial_values
from multiloss.config.training_rows import left_out, rows_to_train
from multiloss.core.errors import MultilossError, RunError
from multiloss.core.records import LedgerRecord
from multiloss.core.run_files import GRADIENTS, HISTORY, LEDGER, read_run_json
from multiloss.data.census import Census, label_census
from multiloss.data.infer import infer_columns
from multiloss.data.plan import ColumnPlan
from multiloss.data.schema import EncodedTable, TableSchema
from multiloss.data.split import split_rows
from multiloss.data.table import read_table
from multiloss.nn.hard_sharing import HardSharing
from multiloss.training.callbacks import BestCheckpoint
from multiloss.training.checkpoint import load_model
from multiloss.training.fit import checkpoint_path
from multiloss.training.history import History
from multiloss.training.run_log import fingerprint
from multiloss.training.trainer import Trainer

__all__ = ["Experiment", "Result", "Run", "load_run", "prepare"]

logger = logging.getLogger("multiloss")


@dataclass(frozen=True)
class Result:
    """What a fit came to.

    Args:
        history: Logs and ledgers of every epoch.
        kept: The epoch whose model was kept.
        why: Why that one, in words.
        part: The rows that `scores` are of: "test", or the next best.
        scores: The kept model beside the trivial prediction; empty where training was interrupted.
        interrupted: Whether a signal ended it before its last epoch.
    """

    history: History
    kept: int
    why: str
    part: str
    scores: list[Score]
    interrupted: bool

    def ledgers(self) -> list[LedgerRecord]:
        """Return the accounts of the kept epoch."""
        return [record for record in self.history.ledgers if record.epoch == self.kept]


@dataclass
class Experiment:
    """A run that is ready to begin.

    Args:
        config: The configuration, with everything inferred written out.
        plans: What each column is used for, and why.
        schema: What was learnt from the training rows.
        parts: The encoded rows of "train", "validation" and "test"; a part without rows is absent. Training rows in
            which no trained output has a label are left out.
        rows: Where the rows of each part stand in the table, from 0.
        groups: By part the number of each row's group, where the table was split by group; else empty.
        census: Labels of each output in each part.
        trivial: The trivial prediction of each output, of all training rows.
        model: The model.
        trainer: The trainer.
        best: What remembers the best epoch, if something does.
        files: The run folder.
    """

    config: Config
    plans: list[ColumnPlan]
    schema: TableSchema
    parts: dict[str, EncodedTable]
    rows: dict[str, Tensor]
    groups: dict[str, Tensor]
    census: Census
    trivial: dict[str, Any]
    model: HardSharing
    trainer: Trainer
    best: BestCheckpoint | None
    files: run_files.RunFiles

    def fit(self, resume: bool = False) -> Result:
        """Train, keep the best epoch's model, measure it once on the test rows, and write the run folder.

        Args:
            resume: Go on from the run folder's checkpoint; without one, begin anew.

        Raises:
            MultilossError: As `Trainer.fit`; a folder in which no epoch was done is taken away again.
        """
        training, train, held = self.config.training, self.parts["train"], self.parts.get("validation")
        try:
            history = self.trainer.fit(
                (train.inputs, train.targets),
                validation=None if held is None else _data(held),
                epochs=training.epochs,
                batch_size=training.batch_size,
                sample_weight=train.sample_weight or None,
                seed=training.seed,
                resume=resume and self._can_resume(),
            )
        except (MultilossError, OSError):
            self.files.forget()
            raise
        finished = self.files.fit is not None and self.files.fit.finished
        return self._close(history) if finished else self._interrupted(history)

    def _can_resume(self) -> bool:
        folder = self.files.folder
        if checkpoint_path(folder).exists():
            train = self.parts["train"]
            tensors = {f"inputs/{name}": value for name, value in train.inputs.items()}
            tensors |= {f"targets/{name}": value for name, value in train.targets.items()}
            found, expected = fingerprint(tensors), read_run_json(folder).get("data_fingerprint")
            if found != expected:
                raise RunError(
                    f"{self.config.table}: expected the table that {folder} was trained on (data fingerprint "
                    f"{expected}), found another ({found}). Restore the table, or train anew"
                )
            return True
        logger.warning("%s holds no checkpoint yet; training begins anew", folder)
        for name in (HISTORY, LEDGER, GRADIENTS):
            (folder / name).unlink(missing_ok=True)
        return False

    def _close(self, history: History) -> Result:
        kept, why = len(history), "the last epoch"
        if self.best is not None and self.best.parameters:
            kept, why = self.best.epoch, f"best {self.best.monitor.key}"
            load_model(self.model, self.best.parameters, "the best epoch")
        elif self.config.training.keep == "best":
            why = f"the last epoch: there is no {self.config.training.monitor} to choose by"
        run_files.save_model(self.model, self.files.folder)
        part = next(name for name in ("test", "validation", "train") if name in self.parts)
        _, found = measure(self.trainer, self.schema, self.parts[part], self.trivial)
        facts = {
            "finished": True,
            "kept": {"epoch": kept, "why": why},
            "final": next((row for row in history if row["epoch"] == kept), {}),
            "trivial": self.trivial,
            part: to_plain(found),
        }
        self._add_facts(history, facts)
        return Result(history, kept, why, part, found, interrupted=False)

    def _interrupted(self, history: History) -> Result:
        self._add_facts(history, {"finished": False})
        return Result(history, len(history), "the last epoch", "train", [], interrupted=True)

    def _add_facts(self, history: History, facts: dict[str, Any]) -> None:
        rows = {name: part.rows for name, part in self.parts.items()}
        own = {"table": self.config.table, "part_rows": rows, "epochs": len(history), "stopped": history.stopped}
        run_files.add_facts(self.files.folder, {**own, **facts})


def prepare(config: Config, folder: str | Path, *, progress: bool = True) -> Experiment:
    """Read the table and build everything a run needs; nothing is written yet.

    Args:
        config: What to do.
        folder: The run folder to be.
        progress: Whether to show progress while training.

    Raises:
        DataError: If the table cannot be used so.
        ConfigError, ObjectiveError, ModelError: If the configuration does not fit the table.
    """
    frame = read_table(config.table)
    kinds = {name: output.kind for name, output in config.outputs.items() if output.kind is not None}
    plans = infer_columns(frame, list(config.outputs), kinds, config.inputs)
    own = config.split
    split = split_rows(
        frame,
        plans if own.outputs is None else own.outputs,
        validation=own.validation,
        test=own.test,
        seed=config.training.seed if own.seed is None else own.seed,
        method=own.method,
        column=own.column,
    )
    schema = TableSchema.fit(frame[split.train], plans, orders(config))
    indices = {"train": split.train, "validation": split.validation, "test": split.test}
    rows = {name: torch.from_numpy(index) for name, index in indices.items() if len(index)}
    parts = {name: schema.encode(frame[indices[name]]) for name in rows}
    for name, part in parts.items():
        mention_unknown(f"{name} rows", part)
    everything = parts["train"].targets  # what is learnt of the training rows is learnt of all of them
    config, trivial = complete(config, plans, schema, everything), trivial_values(schema, everything)
    kept = rows_to_train(config, everything)
    if not kept.all():
        rows["train"] = rows["train"][kept]
        parts["train"] = schema.encode(frame[rows["train"].numpy()])
    census = label_census({n: part.targets for n, part in parts.items()}, config.training.batch_size, schema.outputs)
    for warning in dict.fromkeys([*split.notes, *left_out(config, kept), *census.warnings]):
        logger.warning("%s", warning)
    codes = None if own.method != "group" else frame[str(own.column)].rank("dense").to_torch()
    groups = {} if codes is None else {name: codes[index] for name, index in rows.items()}
    model = build_model(config, schema)
    files = run_files.RunFiles(Path(folder), config, schema)
    callbacks, best = build_callbacks(config, "validation" in parts)
    trainer = build_trainer(config, model, [*callbacks, files], Path(folder), progress)
    return Experiment(config, plans, schema, parts, rows, groups, census, trivial, model, trainer, best, files)


def _data(table: EncodedTable) -> tuple[Any, ...]:
    return (table.inputs, table.targets, *([table.sample_weight] if table.sample_weight else []))
