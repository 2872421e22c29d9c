"""Small real training runs that the tests of findings share: healthy ones, and what a fault is planted in."""

from __future__ import annotations

import shlex
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import multiloss as ml
from multiloss.config.load import read_config
from multiloss.core.run_records import RunRecords
from multiloss.diagnosis.findings import Finding, findings

Data = tuple[Tensor, dict[str, Tensor]]
WIDTH = 16


def make_data(rows: int = 160, seed: int = 0, missing: float = 0.0) -> Data:
    """Return inputs `[n, 6]`, two standardised numbers and a class of three, learnable, some labels missing."""
    g = torch.Generator().manual_seed(seed)
    x = torch.randn(rows, 6, generator=g)
    price = x[:, 0] + 0.8 * x[:, 1] - 0.5 * x[:, 2] + 0.3 * torch.randn(rows, generator=g)
    size = 0.6 * x[:, 0] + x[:, 3] + 0.5 * x[:, 1] + 0.3 * torch.randn(rows, generator=g)
    kind = (x[:, 0] + x[:, 4] > 0).long() + (x[:, 1] + x[:, 3] > 0.5).long()
    targets = {"price": (price - price.mean()) / price.std(), "size": (size - size.mean()) / size.std(), "kind": kind}
    if missing:
        targets["price"] = targets["price"].masked_fill(torch.rand(rows, generator=g) < missing, torch.nan)
        targets["kind"] = kind.masked_fill(torch.rand(rows, generator=g) < missing, -100)
    return x, targets


def only(data: Data, *names: str) -> Data:
    """Return the data with these outputs alone."""
    return data[0], {name: data[1][name] for name in names}


def make_model(*names: str, seed: int = 0, width: int = WIDTH) -> ml.HardSharing:
    """Return a model with these outputs of `make_data`."""
    torch.manual_seed(seed)
    heads: dict[str, nn.Module] = {
        name: ml.MulticlassHead(width, 3) if name == "kind" else ml.RegressionHead(width) for name in names
    }
    return ml.HardSharing(ml.MLP(6, [width]), heads)


def losses_of(data: Data) -> dict[str, str]:
    """Return the usual loss of each output."""
    return {name: "cross_entropy" if name == "kind" else "mse" for name in data[1]}


def train(
    folder: Path,
    data: Data,
    model: nn.Module | None = None,
    objective: ml.Objective | None = None,
    *,
    epochs: int = 8,
    batch_size: int = 16,
    validation: Any = 0.25,
    seed: int = 0,
    **options: Any,
) -> RunRecords:
    """Train, and return what the run folder says."""
    model = make_model(*data[1], seed=seed) if model is None else model
    objective = ml.Objective(losses_of(data)) if objective is None else objective
    usual: dict[str, Any] = {"lr": 1e-2, "watch_gradients": "every 5 steps", "progress": False, "device": "cpu"}
    trainer = ml.Trainer(model, objective, out=folder / "run", threads=1, **usual | options)
    trainer.fit(data, validation=validation, epochs=epochs, batch_size=batch_size, seed=seed)
    return RunRecords.read(folder / "run")


def of_rule(records: RunRecords, rule: str) -> list[Finding]:
    """Return the findings of one rule."""
    return [finding for finding in findings(records) if finding.rule == rule]


def overrides(records: RunRecords, rule: str, config: str = "{}") -> list[str]:
    """Return the overrides that a rule offers for a run of the command line, after the configuration has read them."""
    (finding,) = of_rule(replace(records, config=config), rule)
    assert finding.command is not None and finding.command.startswith("multiloss fit config.yaml ")
    changes = shlex.split(finding.command)[3:]
    named: dict[str, Any] = {name: {} for name in records.outputs}
    read_config({"table": "table.csv", "outputs": named}, rule, changes)
    return changes
