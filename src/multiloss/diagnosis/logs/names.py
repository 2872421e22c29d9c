"""What the name of a column says: the split, the window it is a mean over, the total, or the output of a loss."""

from __future__ import annotations

import re
from dataclasses import dataclass

TOTALS = (
    *("total_loss", "loss_total", "loss/total", "losses/total", "total/loss", "loss_sum", "sum_loss", "overall_loss"),
    *("combined_loss", "joint_loss", "loss_all", "all_loss", "loss", "loss/loss", "losses/loss", "losses", "total"),
    *("avg_loss", "average_loss", "mean_loss", "loss_avg", "loss_mean", "running_loss"),
)
"""Names of a total, without the split; the first that a log has is it."""

PENALTIES = {"penalty", "regularization", "regularisation", "regularizer", "reg", "weight_decay"}
SUMMARY = {"best", "min", "lowest", "ema", "smooth", "smoothed", "avg", "average", "mean", "running"}
"""Beside `loss` alone, these make a summary of the total and no part."""
NO_LOSS = {
    "scale",
    "scaler",
    "weight",
    "weights",
    "ratio",
    "coef",
    "coefficient",
    "share",
    "unscaled",
    "lr",
    "grad",
    "norm",
}

_SPLIT = re.compile(
    r"(?:(?P<train>train(?:ing)?)|(?P<val>val(?:id(?:ation)?)?|dev)|(?P<eval>eval(?:uation)?)|(?P<test>test(?:ing)?))"
    r"(?:[_/.\- ]+|$)",
    re.IGNORECASE,
)
_SPLIT_AFTER = re.compile(r"(?P<body>.*loss.*)[_/.](?P<split>train|val|valid|validation|eval|test)$", re.IGNORECASE)
_WINDOW = re.compile(r"(?P<body>.+)_(?P<window>step|epoch)$")
_LOADER = re.compile(r"/dataloader_idx_0$")
_LOSS = re.compile(r"(?:^|(?<=[_/.]))loss(?:es)?(?=$|[_/.])", re.IGNORECASE)


@dataclass(frozen=True)
class Column:
    """A column's name, taken apart: `val_a_loss_epoch` is `a_loss` of split `val`, a mean over the epoch.

    Args:
        name: As in the log.
        split: `train`, `val`, `eval`, `test`, or empty.
        body: The name without split and window.
        window: `step`, `epoch`, or empty.
    """

    name: str
    split: str
    body: str
    window: str = ""


def take_apart(name: str) -> Column:
    """Return split, body and window of a column's name.

    Examples:
        >>> take_apart("train/a_loss_step")
        Column(name='train/a_loss_step', split='train', body='a_loss', window='step')
        >>> take_apart("decode.loss_ce_val").split, take_apart("valence_loss").split
        ('val', '')
    """
    rest, split, window = _LOADER.sub("", re.sub(r"\s+", "_", name.strip())), "", ""
    if (match := _SPLIT.match(rest)) and match.end() < len(rest):
        split, rest = str(match.lastgroup), rest[match.end() :]
    if (match := _WINDOW.match(rest)) and not match["body"].lower().startswith("epoch"):
        rest, window = match["body"], match["window"]
    if rest.lower().startswith("epoch_") and "loss" in rest.lower():  # Keras in TensorBoard
        rest = rest[len("epoch_") :]
    if not split and (match := _SPLIT_AFTER.match(rest)):
        found = _SPLIT.match(match["split"])
        split, rest = str(found.lastgroup) if found else "", match["body"]
    return Column(name, split, rest, window)


def part_of(body: str) -> str | None:
    """Return the output whose loss a column holds, or None if it holds no loss.

    Examples:
        >>> [part_of(name) for name in ("dense_1_loss", "loss_rpn_cls", "Loss/box_loss", "s0.loss_cls", "boxloss")]
        ['dense_1', 'rpn_cls', 'box', 's0_cls', 'box']
        >>> [part_of(name) for name in ("loss", "loss_scale", "best_loss", "accuracy", "weight_loss")]
        [None, None, None, None, 'weight']
    """
    words = set(re.split(r"[_/.\-]+", body.lower()))
    if body.lower() in PENALTIES or body.lower().startswith("penalty/"):
        return body
    if words & NO_LOSS and not body.lower().endswith("loss"):  # weight_loss is the loss of an output called weight
        return None
    left = re.sub(r"[_/.\-]*\x00[_/.\-]*", "\x00", _LOSS.sub("\x00", body)).strip("\x00").replace("\x00", "_")
    if left == body:
        left = body[:-4] if body.lower().endswith("loss") and body[:-4].isalnum() else ""
    return left if left and left.lower() not in SUMMARY else None


def rank(body: str) -> int | None:
    """Return how well a column without its split would do as the total, 0 for best; None if it is none."""
    name = re.sub(r"[\s.\-]+", "_", body.lower())
    return TOTALS.index(name) if name in TOTALS else None
