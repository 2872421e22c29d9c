"""Findings: what the records of a run show is wrong or worth knowing, in sentences with their numbers."""

from __future__ import annotations

from pathlib import Path

from multiloss.core.run_records import RunRecords
from multiloss.diagnosis.rules.base import Confidence, Evidence, Finding, Rule
from multiloss.diagnosis.rules.curves import overfitting, stopped_learning
from multiloss.diagnosis.rules.finite import nonfinite
from multiloss.diagnosis.rules.gradients import conflict, dominance
from multiloss.diagnosis.rules.ledger import label_starvation, penalty_rules_monitor
from multiloss.diagnosis.rules.results import loss_against_metric, worse_than_trivial
from multiloss.diagnosis.rules.settings import idle_weight, shares_nothing
from multiloss.diagnosis.rules.weights import units_far_apart, vanished_weight

__all__ = ["RULES", "Confidence", "Evidence", "Finding", "Rule", "findings"]

RULES: tuple[Rule, ...] = (
    nonfinite,
    worse_than_trivial,
    stopped_learning,
    penalty_rules_monitor,
    vanished_weight,
    overfitting,
    units_far_apart,
    dominance,
    label_starvation,
    conflict,
    loss_against_metric,
    idle_weight,
    shares_nothing,
)
"""Every rule, the most important first: wrong results, then what rules the training, then what does nothing."""

_SURE = ("high", "medium", "low")


def findings(run: RunRecords | str | Path) -> list[Finding]:
    """Return what the records of a run show, the most important first; nothing where nothing is found.

    What each rule means, and its thresholds, stand in docs/findings.md. The run may still be under way.

    Args:
        run: A run folder, or its records.

    Examples:
        >>> findings(RunRecords("empty"))
        []
    """
    records = run if isinstance(run, RunRecords) else RunRecords.read(run)
    return [finding for rule in RULES for finding in sorted(rule(records), key=lambda f: _SURE.index(f.confidence))]
