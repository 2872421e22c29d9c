"""The records of a run folder: a line of JSON per epoch, readable while training goes on."""

from __future__ import annotations

import hashlib
import json
import platform
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from multiloss.balancing.base import Balancing
from multiloss.core.errors import RunError
from multiloss.core.flow import GradientFlow
from multiloss.core.records import LedgerRecord
from multiloss.core.run_files import (
    FACTS,
    GRADIENTS,
    HISTORY,
    LEDGER,
    RUN_VERSION,
    finite,
    json_line,
    read_lines,
    write_whole,
)
from multiloss.data.batch import Source, TensorSource
from multiloss.objective.objective import Objective
from multiloss.training.checkpoint import LAST
from multiloss.training.history import History, Logs


class RunLog:
    """Writes `history.jsonl`, `ledger.jsonl` and `gradients.jsonl` of a run folder.

    Args:
        folder: The run folder.
        resume: Whether a run in it goes on; otherwise there must be none.

    Raises:
        RunError: If the folder holds a run and `resume` is not set, or holds none and it is.
    """

    def __init__(self, folder: Path, resume: bool) -> None:
        self.folder = folder
        if not resume and any((folder / name).exists() for name in (HISTORY, LAST)):
            raise RunError(f"{folder} already holds a run. Choose another folder, or go on with resume")
        if resume and not (folder / FACTS).exists():
            raise RunError(f"{folder} holds no run to go on with. Fit without resume")

    def rewind(self, epoch: int, step: int) -> History:
        """Keep the lines before `epoch` and before `step`, which are about to be done, and return them."""
        history = History()
        history.rows = [row for row in read_lines(self.folder / HISTORY) if row["epoch"] < epoch]
        ledgers = [line for line in read_lines(self.folder / LEDGER) if line["epoch"] < epoch]
        flows = [line for line in read_lines(self.folder / GRADIENTS) if line["step"] < step]
        history.ledgers = [LedgerRecord.from_dict(line) for line in ledgers]
        history.flows = [GradientFlow.from_dict(line) for line in flows]
        for name, lines in ((HISTORY, history.rows), (LEDGER, ledgers), (GRADIENTS, flows)):
            if lines or (self.folder / name).exists():
                write_whole(self.folder / name, "".join(json_line(line) for line in lines).encode())
        return history

    def append(self, logs: Logs, ledgers: list[LedgerRecord]) -> None:
        """Add one epoch."""
        self._add(HISTORY, [logs])
        self._add(LEDGER, [ledger.to_dict() for ledger in ledgers])

    def append_flows(self, flows: list[GradientFlow]) -> None:
        """Add watched steps."""
        if flows:
            self._add(GRADIENTS, [flow.to_dict() for flow in flows])

    def _add(self, name: str, lines: Sequence[Mapping[str, Any]]) -> None:
        try:
            with (self.folder / name).open("a") as file:
                file.writelines(json_line(line) for line in lines)
        except OSError as error:
            raise RunError(f"could not write {self.folder / name}: {error.strerror}") from error


def write_run_json(folder: Path, facts: dict[str, Any]) -> None:
    """Write what a reader needs to know of how a run was made."""
    import multiloss

    versions = {"multiloss": multiloss.__version__, "python": platform.python_version(), "torch": torch.__version__}
    record = {"version": RUN_VERSION, "created": time.strftime("%Y-%m-%dT%H:%M:%S%z"), "versions": versions, **facts}
    write_whole(folder / FACTS, (json.dumps(finite(record), indent=2, allow_nan=False) + "\n").encode())


def write_facts(
    folder: Path, train: Source, seed: int, device: torch.device, model: nn.Module, facts: dict[str, Any]
) -> None:
    """Write the facts of a fit: what decides its numbers, and `facts` that are known already."""
    tensors = train.tensors() if isinstance(train, TensorSource) else {}
    own = {
        "seed": seed,
        "device": str(device),
        **facts,
        "parameters": sum(p.numel() for p in model.parameters()),
        "rows": train.rows,
        "data_fingerprint": fingerprint(tensors) if tensors else None,
    }
    write_run_json(folder, own)


def what_is_trained(objective: Objective, optimizer: Optimizer, balancing: Balancing | None) -> dict[str, Any]:
    """Return losses, weights, optimiser and balancing method in plain words."""
    group, weights = optimizer.param_groups[0], objective.loss_weights
    outputs: dict[str, Any] = {name: {"loss": term.loss.name} for name, term in objective.terms.items()}
    for name, own in outputs.items():
        own["weight"] = weight if isinstance(weight := weights.get(name), int | float) else None  # None: a schedule
    decay = group.get("weight_decay", 0)
    return {
        "outputs": outputs,
        "optimizer": {"name": type(optimizer).__name__, "lr": float(group["lr"]), "weight_decay": decay},
        "balancing": None if balancing is None else balancing.name,
    }


def fingerprint(tensors: dict[str, Tensor]) -> str:
    """Return a digest of the data: names, shapes, types and values.

    Examples:
        >>> fingerprint({"x": torch.zeros(2)}) == fingerprint({"x": torch.ones(2)})
        False
    """
    digest = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:16]
