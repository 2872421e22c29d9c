"""The registry of losses: what each computes, its options, and what Keras calls it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from torch import Tensor

from multiloss.core.types import Kind
from multiloss.objective import loss_checks as checks
from multiloss.objective import loss_functions as functions
from multiloss.objective import loss_spec as read
from multiloss.objective.loss_functions import PerClass
from multiloss.objective.loss_spec import Loss, LossSpec, Option


def _plain(
    name: str, function: Callable[..., Tensor], kind: Kind, check: checks.Check, integer_target: bool = False
) -> Callable[..., Loss]:
    """Return a builder of a loss whose options are arguments of its formula and change nothing else."""

    def make(**options: Any) -> Loss:
        bound = partial(function, **options) if options else function
        return Loss(name, bound, kind, integer_target, problems=check)

    return make


def _quantile(quantiles: tuple[float, ...]) -> Loss:
    function = partial(functions.quantile, quantiles=quantiles)
    if len(quantiles) == 1:
        return Loss("quantile", function, "regression", problems=checks.real)
    middle = min(range(len(quantiles)), key=lambda i: abs(quantiles[i] - 0.5))
    check = partial(checks.columns, count=len(quantiles), what="one per quantile")
    return Loss("quantile", function, "regression", column=middle, problems=check)


def _gaussian_nll(full: bool) -> Loss:
    check = partial(checks.columns, count=2, what="mean and log variance")
    return Loss("gaussian_nll", partial(functions.gaussian_nll, full=full), "regression", column=0, problems=check)


def _poisson(log_input: bool, full: bool) -> Loss:
    function = partial(functions.poisson, log_input=log_input, full=full)
    return Loss("poisson", function, "count" if log_input else "regression", problems=checks.counts)


def _binary(pos_weight: PerClass | None, label_smoothing: float) -> Loss:
    function = partial(functions.binary_cross_entropy, pos_weight=pos_weight, label_smoothing=label_smoothing)
    check = partial(checks.zero_or_one, weight=pos_weight)
    return Loss("binary_cross_entropy", function, "binary", problems=check)


def _cross_entropy(class_weight: PerClass | None, label_smoothing: float) -> Loss:
    function = partial(functions.cross_entropy, class_weight=class_weight, label_smoothing=label_smoothing)
    check = partial(checks.classes, weight=class_weight)
    return Loss("cross_entropy", function, "multiclass", True, problems=check)


def _focal(gamma: float, alpha: PerClass | None) -> Loss:
    check = partial(checks.focal, weight=alpha)
    return Loss("focal", partial(functions.focal, gamma=gamma, alpha=alpha), "binary", problems=check)


_SMOOTHING = Option(0.0, "a number in [0, 1)", read.number(0, 1))
_FULL = Option(False, "true or false", read.flag)
_NUMBERS = "a number of 0 or more, or one per class"

LOSSES: Mapping[str, LossSpec] = {
    "mse": LossSpec(
        _plain("mse", functions.mse, "regression", checks.real),
        "(p - t)^2",
        "mean_squared_error",
        ("mean_squared_error", "l2", "squared_error"),
    ),
    "mae": LossSpec(
        _plain("mae", functions.mae, "regression", checks.real),
        "|p - t|",
        "mean_absolute_error",
        ("mean_absolute_error", "l1", "absolute_error"),
    ),
    "huber": LossSpec(
        _plain("huber", functions.huber, "regression", checks.real),
        "e^2 / 2 if |e| <= delta else delta (|e| - delta / 2), e = p - t",
        "huber",
        ("huber_loss",),
        {"delta": Option(1.0, "a number above 0", read.number(0, open_low=True))},
    ),
    "smooth_l1": LossSpec(
        _plain("smooth_l1", functions.smooth_l1, "regression", checks.real),
        "e^2 / (2 beta) if |e| < beta else |e| - beta / 2, e = p - t",
        "none (huber / delta)",
        ("smooth_l1_loss",),
        {"beta": Option(1.0, "a number of 0 or more", read.number(0))},
    ),
    "log_cosh": LossSpec(
        _plain("log_cosh", functions.log_cosh, "regression", checks.real), "log(cosh(p - t))", "log_cosh"
    ),
    "quantile": LossSpec(
        _quantile,
        "mean over q of max(q e, (q - 1) e), e = t - p_q",
        "none",
        ("pinball",),
        {"quantiles": Option((0.5,), "a number between 0 and 1, or several", read.quantiles)},
    ),
    "poisson": LossSpec(
        _poisson,
        "exp(p) - t p; p - t log p if log_input is false",
        "poisson (there p is the rate: log_input=False)",
        ("poisson_nll",),
        {"log_input": Option(True, "true or false", read.flag), "full": _FULL},
    ),
    "gaussian_nll": LossSpec(
        _gaussian_nll,
        "(s + (t - m)^2 exp(-s)) / 2, outputs m (mean) and s (log variance); torch takes the variance and clamps it",
        "none",
        ("normal_nll",),
        {"full": _FULL},
    ),
    "binary_cross_entropy": LossSpec(
        _binary,
        "log(1 + exp(p)) - t p, p a logit",
        "binary_crossentropy (from_logits=True)",
        ("bce", "bce_with_logits"),
        {"pos_weight": Option(None, _NUMBERS, read.per_class), "label_smoothing": _SMOOTHING},
    ),
    "cross_entropy": LossSpec(
        _cross_entropy,
        "class_weight_t (log sum_k exp(p_k) - p_t), p logits; the mean divides by the samples, not by their weights",
        "sparse_categorical_crossentropy, categorical_crossentropy (from_logits=True)",
        ("ce", "categorical_crossentropy", "sparse_categorical_crossentropy", "softmax_cross_entropy"),
        {
            "class_weight": Option(
                None, "one number per class, or {class: number}", partial(read.per_class, by_class=True)
            ),
            "label_smoothing": _SMOOTHING,
        },
    ),
    "focal": LossSpec(
        _focal,
        "alpha_t (1 - p_t)^gamma (-log p_t), p_t the probability given to the true class",
        "binary_focal_crossentropy, categorical_focal_crossentropy (from_logits=True)",
        ("focal_loss", "binary_focal_crossentropy", "categorical_focal_crossentropy"),
        {
            "gamma": Option(2.0, "a number of 0 or more", read.number(0)),
            "alpha": Option(None, _NUMBERS, read.per_class),
        },
    ),
    "hinge": LossSpec(
        _plain("hinge", functions.hinge, "binary", checks.signed), "max(0, 1 - y p), y = 1 if t > 0 else -1", "hinge"
    ),
    "ordinal": LossSpec(
        _plain("ordinal", functions.ordinal, "ordinal", checks.levels, True),
        "sum over k of the binary cross-entropy of t > k, from cumulative logits p_k",
        "none",
        ("cumulative_link", "coral"),
    ),
    "cosine": LossSpec(
        _plain("cosine", functions.cosine, "regression", checks.vectors),
        "1 - p.t / (|p| |t|)",
        "cosine_similarity (there -cos, smaller by 1)",
        ("cosine_similarity", "cosine_distance"),
    ),
}
"""Every loss by name."""
