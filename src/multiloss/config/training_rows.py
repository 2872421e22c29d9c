"""Training rows that move anything: those with a label of an output that is trained."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from multiloss.config.schema import Config
from multiloss.core.labels import labelled


def trained_outputs(config: Config) -> list[str]:
    """Return the outputs that a loss of a weight above 0 trains.

    Examples:
        >>> trained_outputs(Config(table="homes.csv", outputs={"price": {"weight": 2.0}, "kind": {"loss": "none"}}))
        ['price']
    """
    return [name for name, output in config.outputs.items() if output.loss != "none" and output.weight != 0]


def rows_to_train(config: Config, targets: Mapping[str, Tensor]) -> Tensor:
    """Return which training rows have a label of a trained output, as bool `[n]`; all, where none has.

    The others have no loss and no gradient; in batches, they would only thin out those that have.

    Args:
        config: Says which outputs are trained.
        targets: Of the training rows.
    """
    rows = len(next(iter(targets.values())))
    found = [labelled(targets[name]).reshape(rows, -1).any(1) for name in trained_outputs(config)]
    kept = torch.stack(found).any(0) if found else torch.zeros(rows, dtype=torch.bool)
    return kept if kept.any() else ~kept


def left_out(config: Config, kept: Tensor) -> list[str]:
    """Return the sentence that says how many training rows are left out; none, where none are.

    Examples:
        >>> left_out(Config(table="homes.csv", outputs=["price"]), torch.tensor([True, False, True]))
        ['1 of 3 training rows has no label of price: it is left out of training']
    """
    count = int((~kept).sum())
    has, it, is_ = ("has", "it", "is") if count == 1 else ("have", "they", "are")
    trained = trained_outputs(config)
    whose = trained[0] if len(trained) == 1 else "any trained output"
    told = f"{count} of {len(kept)} training rows {has} no label of {whose}: {it} {is_} left out of training"
    return [told] if count else []
