"""Which logged names are the parts of a total: the rules by which people name losses."""

from __future__ import annotations

import re
from collections.abc import Iterable

_TRAINING = ("train", "training")
_VALIDATION = ("val", "valid", "validation")
_STAGES = frozenset({*_TRAINING, *_VALIDATION, "test"})


def _words(name: str) -> list[str]:
    return re.split(r"[_/.\- ]", name)


def parts_of(total: str, names: Iterable[str]) -> list[str]:
    """Return the names that are parts of the total: of the same stage, with the word `loss`.

    Where no name of the total's stage is, names without a stage are taken. `_step` and `_epoch`, which Lightning makes
    of one name, are none of their own.

    Examples:
        >>> names = ["train_loss", "train_loss_a", "train_b_loss", "train_acc", "val_loss_a", "train_loss_step"]
        >>> parts_of("train_loss", names)
        ['train_loss_a', 'train_b_loss']
        >>> parts_of("train/loss", ["train/loss", "loss_a", "loss_b", "val_loss_a"])
        ['loss_a', 'loss_b']
    """
    known = set(names)
    forked = {f"{name}_{kind}" for name in known for kind in ("step", "epoch")}
    losses = [n for n in names if n != total and n not in forked and "loss" in _words(n)]
    own = [name for name in losses if _stage(name) == _stage(total)]
    return own or [name for name in losses if _stage(name) is None]


def _stage(name: str) -> str | None:
    first = _words(name)[0]
    return first if first in _STAGES else None


def short(name: str) -> str:
    """Return what is left of a name without its stage and the word `loss`.

    Examples:
        >>> short("train_loss_a"), short("val/price_loss"), short("loss_a"), short("train_loss")
        ('a', 'price', 'a', 'train_loss')
    """
    left = [word for i, word in enumerate(_words(name)) if word != "loss" and not (i == 0 and word in _STAGES)]
    return "_".join(left) or name


def validation_name(name: str, names: Iterable[str]) -> str | None:
    """Return the name of the validation's value of the same thing; `None` where none is among `names`.

    Examples:
        >>> validation_name("train_loss", ["valid_loss"]), validation_name("loss", ["val/loss"])
        ('valid_loss', 'val/loss')
        >>> validation_name("loss", ["loss"]) is None
        True
    """
    stage = _stage(name)
    rest = name if stage not in _TRAINING else name[len(stage or "") + 1 :]
    options = [f"{stage}{mark}{rest}" for stage in _VALIDATION for mark in ("_", "/", ".", "-")]
    known = set(names)
    return next((option for option in options if option in known), None)
