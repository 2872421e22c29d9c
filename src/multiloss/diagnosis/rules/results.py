"""Rules on what came of it: scores beside the trivial prediction, and metrics beside losses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

import numpy as np

from multiloss.core.records import digits
from multiloss.core.run_records import RunRecords
from multiloss.diagnosis.rules.base import Confidence, Evidence, Finding, change, column, scores, suggest_weights

FALLING = (
    "mae",
    "mse",
    "rmse",
    "mape",
    "mean_absolute_error",
    "mean_squared_error",
    "root_mean_squared_error",
    "mean_absolute_percentage_error",
)
"""Metrics of which less is better."""
RISING = (
    "r2",
    "pearson",
    "spearman",
    "accuracy",
    "balanced_accuracy",
    "precision",
    "recall",
    "f1",
    "auroc",
    "average_precision",
    "kappa",
    "mcc",
    "acc",
    "auc",
    "r2_score",
    "f1_score",
    "binary_accuracy",
    "categorical_accuracy",
    "sparse_categorical_accuracy",
)
"""Metrics of which more is better."""
CHANCE = {"r2": 0.0, "r2_score": 0.0, "kappa": 0.0, "mcc": 0.0, "auroc": 0.5, "auc": 0.5}
"""What a prediction that looks at no input has."""
TREND = 0.8
"""Rank correlation with the epoch that makes a trend."""
FEWEST_POINTS = 6
"""Epochs in the last half."""
LOSS_MOVED = 0.05
"""Change of the loss from the first to the last third of these epochs."""
METRIC_MOVED = 0.02
"""The same of the metric."""


def worse_than_trivial(records: RunRecords) -> list[Finding]:
    """An output predicts no better than a constant.

    Threshold: its loss is not below that of the trivial prediction (mean or majority of the training rows), or all its
    metrics are worse; or, in a run without such scores, the median of the last third of the epochs of a validation
    metric is below what no input gives (R2, kappa and MCC 0, AUROC 0.5). A metric that equals the trivial one is not
    held against an output with a better loss: with rare positives accuracy seldom beats the majority.
    """
    scored = scores(records)
    found = [_scored(records, name, part, own) for name, (part, own) in scored.items()]
    outputs = dict.fromkeys(name.split("/")[0] for name in records.outputs)
    found += [_below_chance(records, name) for name in outputs if name not in scored]
    return [finding for finding in found if finding is not None]


def _scored(records: RunRecords, name: str, part: str, own: Mapping[str, Mapping[str, Any]]) -> Finding | None:
    judged = {measure: score for measure, score in own.items() if score.get("better") is not None}
    bad = [measure for measure, score in judged.items() if not score["better"]]
    metrics = [measure for measure in judged if measure != "loss"]
    worse = [
        measure for measure in metrics if measure in bad and judged[measure]["value"] != judged[measure]["baseline"]
    ]
    all_worse = bool(metrics) and len(worse) == len(metrics)
    if "loss" not in bad and not all_worse:
        return None
    rows = (records.facts.get("part_rows") or {}).get(part)
    numbers = ", ".join(f"{m} {digits(judged[m]['value'])} (trivial {digits(judged[m]['baseline'])})" for m in judged)
    text = f"{name} is no better than a constant on the {part} rows{f' ({rows})' if rows else ''}: {numbers}"
    evidence: Evidence = {"part": part, "rows": rows, "worse": bad}
    for measure, score in judged.items():
        evidence |= {measure: score["value"], f"{measure}_trivial": score["baseline"]}
    sure: Confidence = "high" if "loss" in bad and (all_worse or not metrics) else "medium"
    return Finding("worse_than_trivial", (name,), text, evidence, sure, _advice(name), suggest_weights(records))


def _below_chance(records: RunRecords, name: str) -> Finding | None:
    for metric, chance in CHANCE.items():
        values = [value for _, value in column(records, f"val_{name}_{metric}")]
        last = values[-max(1, len(values) // 3) :]
        if len(values) >= FEWEST_POINTS and (value := median(last)) < chance:
            text = (
                f"{name} is no better than a constant on the validation rows: {metric} {digits(value)} (median of the "
                f"last {len(last)} epochs), {chance:g} without looking at the inputs"
            )
            evidence: Evidence = {"part": "validation", metric: value, f"{metric}_trivial": chance, "epochs": len(last)}
            return Finding(
                "worse_than_trivial", (name,), text, evidence, "medium", _advice(name), suggest_weights(records)
            )
    return None


def _advice(name: str) -> str:
    return (
        f"Do not use {name} as it is. See that its labels belong to their rows, train it alone to know whether the "
        "inputs can tell, and if so give it more weight"
    )


def loss_against_metric(records: RunRecords) -> list[Finding]:
    """The validation loss of an output rises while its metric improves, or the other way round.

    Threshold: over the last half of the epochs, at least 6, the rank correlations of loss and metric with the epoch are
    at least 0.8 in size and point to opposite judgements, and from the first to the last third of these epochs the loss
    changed by 5 % and the metric by 2 %. With classes it is the sign of over-confidence: right answers stay right while
    wrong ones grow more certain (Guo et al. 2017, https://arxiv.org/abs/1706.04599). The numbers are our choice.
    """
    found = []
    for loss in records.outputs:
        output = loss.split("/")[0]
        for metric in (*FALLING, *RISING):
            pairs = _paired(records, f"val_{loss}_loss", f"val_{output}_{metric}")
            if len(pairs) >= FEWEST_POINTS:
                finding = _judge(records, loss, output, metric, pairs)
                found += [finding] if finding is not None else []
    return found


def _paired(records: RunRecords, loss: str, metric: str) -> list[tuple[int, float, float]]:
    if not records.history or metric not in records.history[-1]:
        return []
    metrics = dict(column(records, metric))
    found = [(epoch, value, metrics[epoch]) for epoch, value in column(records, loss) if epoch in metrics]
    return found[len(found) // 2 :]


def _judge(
    records: RunRecords, loss: str, output: str, metric: str, pairs: list[tuple[int, float, float]]
) -> Finding | None:
    epochs, losses, values = zip(*pairs, strict=True)
    loss_trend, metric_trend = rank_correlation(epochs, losses), rank_correlation(epochs, values)
    gain = metric_trend if metric in RISING else -metric_trend
    third = max(1, len(pairs) // 3)
    before, after = median(losses[:third]), median(losses[-third:])
    was, now = median(values[:third]), median(values[-third:])
    clear = min(abs(loss_trend), abs(metric_trend)) >= TREND and loss_trend * gain > 0
    if not clear or abs(after - before) < LOSS_MOVED * abs(before) or abs(now - was) < METRIC_MOVED * abs(was):
        return None
    better = gain > 0
    text = (
        f"{loss}'s validation loss {'rises' if better else 'falls'} while its {metric} gets "
        f"{'better' if better else 'worse'}: from epoch {epochs[0]} to {epochs[-1]} loss {digits(before)} to "
        f"{digits(after)}, {metric} {digits(was)} to {digits(now)}"
    )
    evidence: Evidence = {
        "metric": metric,
        "loss_before": before,
        "loss_after": after,
        "metric_before": was,
        "metric_after": now,
        "loss_trend": loss_trend,
        "metric_trend": metric_trend,
        "epochs": len(pairs),
    }
    advice = f"Decide which of the two you want, and monitor that: stopping by the loss is not stopping by {metric}"
    if better and metric in RISING:
        advice += "; probabilities of this output are over-confident"
    key = f"val_{output}_{metric}"
    command = change(records, [f"training.monitor={key}"], f'ml.BestCheckpoint("{key}")')
    return Finding("loss_against_metric", (loss,), text, evidence, "medium", advice, command)


def rank_correlation(a: Sequence[float], b: Sequence[float]) -> float:
    """Return Spearman's rank correlation, ties at their mean rank; 0 where one does not change.

    Examples:
        >>> rank_correlation([1, 2, 3, 4], [1, 4, 9, 16]), rank_correlation([1, 2, 3], [5, 5, 5])
        (1.0, 0.0)
    """
    ranks = []
    for values in (a, b):
        _, place, count = np.unique(np.asarray(values, dtype=float), return_inverse=True, return_counts=True)
        ranks.append((np.cumsum(count) - (count + 1) / 2)[place])
    x, y = (rank - rank.mean() for rank in ranks)
    size = float(np.sqrt((x @ x) * (y @ y)))
    return round(float(x @ y) / size, 12) if size else 0.0
