"""Outputs and targets to named losses, their weighted sum, and the account of it.

`Objective` turns outputs and targets into named losses; `Ledger` says where every digit of their sum came from, with an
objective or without.
"""

from multiloss.objective.defaults import default_losses, default_metrics
from multiloss.objective.ledger import Ledger
from multiloss.objective.losses import LOSSES, Loss, loss, loss_table
from multiloss.objective.metrics import METRICS, OutputMetrics
from multiloss.objective.objective import Objective
from multiloss.objective.penalty import L1, L2, Activity, CustomPenalty, Elastic, Penalty
from multiloss.objective.schedule import Progress, constant, cosine, piecewise, ramp

__all__ = [
    "L1",
    "L2",
    "LOSSES",
    "METRICS",
    "Activity",
    "CustomPenalty",
    "Elastic",
    "Ledger",
    "Loss",
    "Objective",
    "OutputMetrics",
    "Penalty",
    "Progress",
    "constant",
    "cosine",
    "default_losses",
    "default_metrics",
    "loss",
    "loss_table",
    "piecewise",
    "ramp",
]
