"""Records made by hand for the tests of the report."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from multiloss.core.flow import GradientFlow, LayerFlow, Reach
from multiloss.core.records import LedgerRecord, TermRecord
from multiloss.core.run_files import finite
from multiloss.core.run_records import RunRecords

HOSTILE = [
    "<script>window.stolen=1</script>",
    "<img src=x onerror=window.stolen=1>",
    "</script><script>window.stolen=1</script>",
    '"><svg onload=window.stolen=1>',
    "<a href='javascript:window.stolen=1'>here</a>",
    "%{x} @0 {{ 7 * 7 }} <b>bold</b> &lt;i&gt;",
]


def account(
    values: Mapping[str, float],
    *,
    weights: Mapping[str, float] | None = None,
    balancing: Mapping[str, float] | None = None,
    penalty: float = 0.0,
    epoch: int = 1,
    split: str = "train",
    counts: Mapping[str, int] | None = None,
) -> LedgerRecord:
    """One epoch's account; the total is the sum of the contributions."""
    own, factor = weights or {}, balancing or {}
    amounts = {name: own.get(name, 1.0) * factor.get(name, 1.0) * value for name, value in values.items()}
    total = math.fsum([*amounts.values(), penalty])
    terms = [
        TermRecord(
            name, "loss", values[name], own.get(name, 1.0), factor.get(name, 1.0), amount, amount / total,
            (counts or {}).get(name, 100),
        )
        for name, amount in amounts.items()
    ]  # fmt: skip
    if penalty:
        terms.append(TermRecord("l2/trunk.0.weight", "penalty", 10 * penalty, 0.1, 1.0, penalty, penalty / total, None))
    return LedgerRecord(total, tuple(terms), 8, epoch=epoch, split=split)


def broken(records: RunRecords, name: str, epoch: int, split: str = "train") -> RunRecords:
    """The records, read from their files, with NaN for what one term adds from an epoch on."""
    ledgers = []
    for record in records.ledgers:
        own = record.to_dict()
        if record.split == split and (record.epoch or 0) >= epoch:
            own["total"] = math.nan
            for term in own["terms"]:
                term["share"] = None
                term |= {"value": math.nan, "contribution": math.nan} if term["name"] == name else {}
        ledgers.append(LedgerRecord.from_dict(json.loads(json.dumps(finite(own)))))
    return replace(records, ledgers=ledgers)


def falling(start: float, epoch: int, rate: float = 0.1) -> float:
    """A loss that falls, with a small wave."""
    return start * (0.1 + math.exp(-rate * epoch)) * (1 + 0.02 * math.sin(epoch))


def run(
    names: Sequence[str],
    epochs: int = 20,
    *,
    name: str = "made",
    weights: Mapping[str, float] | None = None,
    penalty: float = 0.3,
    steps: int = 6,
    moving: bool = False,
    facts: Mapping[str, Any] | None = None,
) -> RunRecords:
    """A run with losses, a metric for each output, validation and gradient flows."""
    ledgers, history, rate = [], [], 30 / max(epochs, 300)
    for epoch in range(1, epochs + 1):
        row: dict[str, Any] = {"epoch": epoch, "lr": 0.01, "seconds": 0.1}
        for split, more, prefix in (("train", 1.0, ""), ("validation", 1.3, "val_")):
            values = {output: falling(more * (i + 1), epoch, rate) for i, output in enumerate(names)}
            balancing = {o: 1 + epoch / (10 + i) for i, o in enumerate(names)} if moving and split == "train" else None
            record = account(
                values, weights=weights, balancing=balancing, penalty=penalty / epoch, epoch=epoch, split=split
            )
            ledgers.append(record)
            row[f"{prefix}loss"] = record.total
            row |= {f"{prefix}{output}_mae": 2 * value for output, value in values.items()}
        history.append(row)
    flows = [flow(names, step=100 * i, epoch=i + 1, penalty=penalty > 0) for i in range(steps)]
    own = {"version": 1, "seed": 0, "epochs": epochs, "parameters": 1234, **(facts or {})}
    return RunRecords(name, own, history, ledgers, flows, "training:\n  lr: 0.01\n")


def flow(
    names: Sequence[str],
    *,
    step: int = 0,
    epoch: int = 1,
    penalty: bool = False,
    layers: Sequence[str] = ("trunk.layers.0", "trunk.layers.2"),
) -> GradientFlow:
    """A step whose norms are known: layer i, output j has (i + 1) * (j + 1) + step / 1000."""
    made = []
    for i, layer in enumerate(layers):
        norms = {output: (i + 1) * (j + 1) + step / 1000 for j, output in enumerate(names)}
        made.append(LayerFlow(layer, 100 * (i + 1), tuple(names), norms | ({"penalty": 0.5} if penalty else {})))
    return flow_of(made, step=step, epoch=epoch)


def flow_of(layers: Sequence[LayerFlow], *, step: int = 0, epoch: int = 1) -> GradientFlow:
    """A step with these layers; every loss has a head, cosines alternate between -0.5 and 0.5."""
    rows = list(dict.fromkeys(name for layer in layers for name in layer.norms if name != "penalty"))
    rows += ["penalty"] if any("penalty" in layer.norms for layer in layers) else []
    norms = {name: math.sqrt(sum(layer.norms.get(name, 0.0) ** 2 for layer in layers)) for name in rows}
    losses = [name for name in rows if name != "penalty"]
    cosines = [
        [1.0 if i == j else (0.5 if (i + j) % 2 else -0.5) for j in range(len(losses))] for i in range(len(losses))
    ]
    total = sum(norms.values())
    paths = tuple(layer.name for layer in layers)
    return GradientFlow(
        tuple(losses),
        dict.fromkeys(losses, 1.0),
        dict.fromkeys(losses, 1.0),
        norms,
        {name: norm / total for name, norm in norms.items()},
        tuple(map(tuple, cosines)),
        0.5,
        2.0,
        tuple(layers),
        dict.fromkeys(losses, 0.25),
        (Reach(tuple(losses), sum(layer.parameters for layer in layers), paths),),
        epoch=epoch,
        step=step,
    )
