"""Small data, models and objectives that the tests of training share."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

import multiloss as ml

Data = tuple[Tensor, dict[str, Tensor]]


def make_data(rows: int = 53, missing: float = 0.0, seed: int = 0) -> Data:
    """Return inputs `[n, 5]` and a number, a class of three and a yes/no; some labels are missing if asked."""
    g = torch.Generator().manual_seed(seed)
    x = torch.randn(rows, 5, generator=g)
    price = x[:, 0] - 0.5 * x[:, 1] + 0.1 * torch.randn(rows, generator=g)
    kind = (x[:, 2] > 0).long() + (x[:, 3] > 0.3).long()
    sold = (x[:, 4] + x[:, 0] > 0).float()
    if missing:
        price = price.masked_fill(torch.rand(rows, generator=g) < missing, torch.nan)
        kind = kind.masked_fill(torch.rand(rows, generator=g) < missing, -100)
        sold = sold.masked_fill(torch.rand(rows, generator=g) < missing, torch.nan)
    return x, {"price": price, "kind": kind, "sold": sold}


def make_model(seed: int = 0, dropout: float = 0.0, norm: Any = None) -> ml.HardSharing:
    """Return a model for `make_data`, the same for the same seed."""
    torch.manual_seed(seed)
    heads = {"price": ml.RegressionHead(8), "kind": ml.MulticlassHead(8, 3), "sold": ml.BinaryHead(8, hidden=[4])}
    return ml.HardSharing(ml.MLP(5, [8], dropout=dropout, norm=norm), heads)


LOSSES = {"price": "mse", "kind": "cross_entropy", "sold": "binary_cross_entropy"}
METRICS = {"price": ["mae"], "kind": ["accuracy"], "sold": ["auroc"]}


def make_objective(
    loss_weights: Mapping[str, Any] | None = None,
    penalty: float = 0.0,
    metrics: bool = True,
    losses: Mapping[str, Any] | None = None,
) -> ml.Objective:
    """Return an objective for `make_model`; `losses` replace some of its own."""
    penalties = [ml.L2(penalty, on="trunk")] if penalty else []
    return ml.Objective(
        {**LOSSES, **(losses or {})},
        loss_weights=loss_weights,
        metrics=METRICS if metrics else None,
        penalties=penalties,
    )


def make_trainer(model: torch.nn.Module, objective: ml.Objective | None = None, **options: Any) -> ml.Trainer:
    """Return a silent trainer on the CPU."""
    return ml.Trainer(model, objective or make_objective(), **{"progress": False, "device": "cpu", **options})


def state(model: torch.nn.Module) -> dict[str, Tensor]:
    """Return a copy of parameters and buffers."""
    return {name: value.detach().clone() for name, value in model.state_dict().items()}


def same(a: Mapping[str, Tensor], b: Mapping[str, Tensor]) -> bool:
    """Return whether two states are equal in every bit."""
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def without_time(rows: Any) -> list[dict[str, Any]]:
    """Return rows of logs without what no two runs share."""
    return [{key: value for key, value in row.items() if key != "seconds"} for row in rows]


def generators() -> list[Any]:
    """Return the state of every generator that a fit may draw from."""
    return [
        torch.get_rng_state().tolist(),
        np.random.get_state(legacy=False)["state"]["key"].tolist(),
        random.getstate(),
    ]
