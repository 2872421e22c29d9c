"""The files of a run folder that a trainer does not write itself."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

from torch import nn

from multiloss.config.schema import Config
from multiloss.core.errors import RunError
from multiloss.core.run_files import CONFIG, FACTS, GRADIENTS, HISTORY, LEDGER, finite, read_run_json, write_whole
from multiloss.data.schema import TableSchema
from multiloss.training import checkpoint
from multiloss.training.callbacks import Callback
from multiloss.training.fit import Fit, checkpoint_path

SCHEMA, MODEL = "schema.json", "model.safetensors"
HEADING = "# The complete configuration of this run: `multiloss fit config.yaml` gives the same numbers.\n"


class RunFiles(Callback):
    """Writes the configuration and the schema when everything was found fit for training, and not before.

    Args:
        folder: The run folder.
        config: The configuration, complete.
        schema: What the columns mean.

    Attributes:
        fit: The fit under way or done.
    """

    def __init__(self, folder: Path, config: Config, schema: TableSchema) -> None:
        self.folder, self.config, self.schema = folder, config, schema
        self.fit: Fit | None = None
        self._made: list[Path] = []

    def on_fit_start(self, fit: Fit) -> None:
        """Write both files."""
        self.fit = fit
        self._made = [folder for folder in (self.folder, *self.folder.parents) if not folder.exists()]
        write_whole(self.folder / CONFIG, (HEADING + self.config.to_yaml()).encode())
        schema = json.dumps(self.schema.to_dict(), indent=1, allow_nan=False)
        write_whole(self.folder / SCHEMA, f"{schema}\n".encode())

    def forget(self) -> None:
        """Take away what a fit that never did an epoch has left."""
        if self.fit is None or holds_training(self.folder):
            return
        for name in (CONFIG, SCHEMA, FACTS, HISTORY, LEDGER, GRADIENTS):
            (self.folder / name).unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # a folder that holds something else stays
            for folder in self._made:
                folder.rmdir()


def holds_run(folder: Path) -> bool:
    """Return whether a folder holds a run, or the beginning of one."""
    return any((folder / name).exists() for name in (CONFIG, FACTS, HISTORY, MODEL, "checkpoint"))


def holds_training(folder: Path) -> bool:
    """Return whether a folder holds an epoch or a checkpoint."""
    history = folder / HISTORY
    return checkpoint_path(folder).exists() or (history.exists() and history.stat().st_size > 0)


def save_model(model: nn.Module, folder: Path) -> None:
    """Write the parameters and buffers of a model.

    Raises:
        RunError: If they cannot be written.
    """
    from safetensors.torch import save

    state = {name: value.detach().cpu().contiguous() for name, value in model.state_dict().items()}
    write_whole(folder / MODEL, save(state))


def restore_model(model: nn.Module, folder: Path) -> None:
    """Read what `save_model` wrote.

    Raises:
        RunError: If it is absent, damaged or another model's.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load

    path = folder / MODEL
    if not path.is_file():
        raise RunError(
            f"{folder} holds no trained model (no {MODEL}): its training did not end. "
            f"Go on with: multiloss fit {folder} --resume"
        )
    try:
        state = load(path.read_bytes())
    except (SafetensorError, OSError) as error:
        raise RunError(f"{path} is damaged ({error}). Train anew") from error
    checkpoint.load_model(model, state, path)


def read_schema(folder: Path) -> TableSchema:
    """Read the schema of a run.

    Raises:
        RunError: If it is absent or damaged.
    """
    path = folder / SCHEMA
    try:
        return TableSchema.from_dict(json.loads(path.read_text()))
    except OSError as error:
        raise RunError(f"{folder} is no complete run: could not read {path} ({error.strerror})") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise RunError(f"{path} is damaged or of another version ({error}). Train anew") from error


def add_facts(folder: Path, facts: dict[str, Any]) -> None:
    """Add to `run.json`."""
    record = {**read_run_json(folder), **facts}
    text = json.dumps(finite(record), indent=2, allow_nan=False)
    write_whole(folder / FACTS, f"{text}\n".encode())
