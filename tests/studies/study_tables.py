"""What the tests of studies share: a table of a number and a class, and what a run's files say."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from multiloss.config.load import read_config
from multiloss.config.schema import Config
from multiloss.training.fit import Fit


def frame(rows: int = 96) -> pl.DataFrame:
    """Three inputs; a price without a label in every fourth row, and a kind without one in every fifth."""
    draw = np.random.default_rng(0)
    size, age = draw.uniform(20, 200, rows).round(1), draw.uniform(0, 50, rows).round(1)
    price = 1000 * size - 500 * age + draw.normal(0, 3000, rows).round()
    kind = np.where(size + draw.normal(0, 20, rows) > 110, "house", "flat")
    town = draw.choice(["Ulm", "Bern"], rows)
    number = np.arange(rows)
    return pl.DataFrame({"size": size, "age": age, "town": town, "price": price, "kind": kind}).with_columns(
        price=pl.when(pl.Series(number % 4 != 0)).then("price"), kind=pl.when(pl.Series(number % 5 != 0)).then("kind")
    )


def write_table(folder: Path, table: pl.DataFrame | None = None) -> Path:
    """Write a table as CSV."""
    path = folder / "homes.csv"
    (frame() if table is None else table).write_csv(path)
    return path


def make_config(table: Path, *overrides: str, **own: Any) -> Config:
    """Return a small configuration of both outputs."""
    raw: dict[str, Any] = {
        "table": str(table),
        "outputs": {"price": {"metrics": ["mae", "rmse"]}, "kind": {}},
        "model": {"trunk": [12]},
        "training": {"epochs": 3, "lr": 0.01, "batch_size": 16},
    }
    return read_config({**raw, **own}, "test", overrides)


def history(folder: Path) -> list[dict[str, Any]]:
    """Return the logs of every epoch without the time they took."""
    lines = [json.loads(line) for line in (folder / "history.jsonl").read_text().splitlines()]
    return [{key: value for key, value in line.items() if key != "seconds"} for line in lines]


def result(folder: Path) -> dict[str, Any]:
    """Return everything of a finished run that training decided: bytes of its files, logs and scores."""
    facts = json.loads((folder / "run.json").read_text())
    names = ("model.safetensors", "rows.safetensors", "config.yaml", "schema.json", "ledger.jsonl")
    files = {name: (folder / name).read_bytes() for name in names if (folder / name).exists()}
    return {**files, "history": history(folder), **{key: facts[key] for key in ("kept", "test", "trivial", "stopped")}}


def signal_in_step(monkeypatch: pytest.MonkeyPatch, step: int, number: signal.Signals) -> list[int]:
    """Let a signal come in a step of training, counted over all fits; return the steps that were begun."""
    train_step, steps = Fit._train_step, list[int]()

    def stopping(fit: Fit, batch: Any) -> None:
        steps.append(len(steps) + 1)
        if len(steps) == step:
            os.kill(os.getpid(), number)
        train_step(fit, batch)

    monkeypatch.setattr(Fit, "_train_step", stopping)
    return steps
