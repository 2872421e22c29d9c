"""Which columns of a log are the total and its parts, in training and in validation."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from multiloss.core.errors import DataError, nearest
from multiloss.diagnosis.logs.names import Column, part_of, rank, take_apart

METRIC = re.compile(
    r"(?:^|[\W_])(?:acc(?:uracy)?|auc|auroc|f1|recall|precision|m?ap\d*|iou|dice|mae|rmse|mse|mape|r2|psnr|ssim|bleu|rouge|perplexity|"
    r"ppl|lr|learning_rate|grad|norm|time|eta|epoch|step|iter|seconds|speed|memory|mem|samples|best)(?:$|[\W_\d])",
    re.IGNORECASE,
)
"""Names of what is measured or counted beside a loss and does not join it."""

TASK_LOSS = "task_loss"
"""All outputs without penalties, in logs of multiloss."""


@dataclass
class Chosen:
    """The columns of one split.

    Args:
        total: The total's column, if there is one.
        parts: The columns of the parts, by output.
        metrics: Every other column of this split, by name.
        window: What the total is a mean over: `step`, `epoch`, or empty where the name does not say.
        raw: Parts that the log has by step only, beside a total by epoch.
    """

    total: str | None
    parts: dict[str, str] = field(default_factory=dict)
    metrics: dict[str, str] = field(default_factory=dict)
    window: str = ""
    raw: list[str] = field(default_factory=list)

    @property
    def columns(self) -> list[str]:
        """The columns of the total, if there is one, and of the parts."""
        return [*([self.total] if self.total else []), *self.parts.values()]

    @property
    def key(self) -> str:
        """The column that a row of this split has."""
        return self.columns[0]


def choose(
    names: Iterable[str], source: str, total: str | None, parts: Sequence[str] | None
) -> tuple[Chosen, Chosen | None, Chosen | None, list[str]]:
    """Return the columns of training, or else validation, then of either, and what was guessed or left out.

    Args:
        names: The columns that hold numbers, in the log's order.
        source: What to call the log in an error.
        total: The total's column, as the user named it.
        parts: The parts' columns or outputs, as the user named them.

    Raises:
        DataError: If the columns do not show which is the total and which are parts, or a named one is not there.
    """
    columns = _splits([take_apart(name) for name in names])
    total_body = _named(total, columns, source, "--total").body if total else None
    part_bodies = [_named(part, columns, source, "--parts").body for part in parts] if parts else None
    notes: list[str] = []
    train = _best([_one(columns, split, total_body, part_bodies) for split in ("train", "")])
    held = _best([_one(columns, split, total_body, part_bodies) for split in ("val", "eval", "test")])
    train, held = (chosen if chosen and chosen.parts else None for chosen in (train, held))
    main = train or held
    if main is None:
        raise DataError(_cannot(source, columns, total_body))
    if train and held and part_bodies is None:
        extra = [part for part in held.parts if part not in train.parts]
        if extra:
            held.metrics |= {held.parts[part]: held.parts.pop(part) for part in extra}
            notes.append(f"{', '.join(extra)}: a loss of validation that training does not have; not taken as a part")
    if train:
        used = {*train.columns, *train.metrics.values()}
        train.metrics |= {
            c.body: c.name for c in columns if c.split == "" and c.name not in used and not _used(c.name, train)
        }
    for chosen in (train, held):
        if chosen and chosen.total is None:
            which = "validation" if chosen is held else "training"
            notes.append(
                f"The log has parts and no total for {which} ({', '.join(chosen.parts.values())}): "
                "what they were added up to is not known. --total names a column"
            )
        if chosen and chosen.raw:
            notes.append(
                f"{chosen.total} is a mean over the epoch, but {', '.join(chosen.raw)} stands in the log by step only: "
                "the last step of each epoch was read, so the two are averaged over different windows"
            )
        elif chosen and chosen.window == "epoch":
            notes.append(f"The log has values by step and by epoch: those by epoch were read ({chosen.total})")
    losses = [
        c.name for c in columns if "loss" in c.name.lower() and c.body != TASK_LOSS and not _used(c.name, train, held)
    ]
    if losses and part_bodies is None:
        notes.append(f"Not taken as a part: {', '.join(losses[:8])}{' ...' if len(losses) > 8 else ''}")
    return main, train, held, notes


def _used(name: str, *chosen: Chosen | None) -> bool:
    mine = [one for one in chosen if one]
    twin = take_apart(name)
    taken = [column for one in mine for column in one.columns]
    return name in taken or any((twin.split, twin.body) == (c.split, c.body) for c in map(take_apart, taken))


def _splits(columns: list[Column]) -> list[Column]:
    """Undo a split that is part of an output's name: `test_a_loss` beside `loss`, where no `test_loss` is."""
    bare = any(not column.split and rank(column.body) is not None for column in columns)
    real = {column.split for column in columns if rank(column.body) is not None}
    return [
        column
        if not bare or column.split in ("", "val") or column.split in real
        else Column(column.name, "", re.sub(r"\s+", "_", column.name.strip()))
        for column in columns
    ]


def _one(columns: list[Column], split: str, total: str | None, parts: list[str] | None) -> Chosen | None:
    mine = [
        column
        for column in columns
        if column.split == split or (parts and split == "train" and not column.split and column.body in parts)
    ]
    ranked = [(place, column.body) for column in mine if (place := rank(column.body)) is not None]
    body = total if total is not None else min(ranked)[1] if ranked else None
    whole = _window([column for column in mine if column.body == body])
    if not mine or (total is not None and whole is None):
        return None
    chosen = Chosen(whole.name if whole else None, window=whole.window if whole else "")
    by_body: dict[str, list[Column]] = {}
    for column in mine:
        if column.body != body:
            by_body.setdefault(column.body, []).append(column)
    for name, twins in by_body.items():
        best = _window(twins)
        if best is None:
            continue
        part = part_of(name) if parts is None else (part_of(name) or name) if name in parts else None
        if part is None or (parts is None and name == TASK_LOSS):
            chosen.metrics[name] = best.name
            continue
        chosen.parts[name if part in chosen.parts else part] = best.name
        if chosen.window == "epoch" and best.window == "step":
            chosen.raw.append(best.name)
    return chosen


def _window(twins: list[Column]) -> Column | None:
    order = ("epoch", "", "step")
    return min(twins, key=lambda column: order.index(column.window), default=None)


def _best(found: list[Chosen | None]) -> Chosen | None:
    real = [chosen for chosen in found if chosen]
    return max(real, key=lambda chosen: (chosen.total is not None, bool(chosen.parts)), default=None)


def _named(name: str, columns: list[Column], source: str, option: str) -> Column:
    wanted = re.sub(r"\s+", "_", name.strip())
    for same in (
        lambda column: column.name == name,
        lambda column: column.name.strip().lower() == name.strip().lower(),
        lambda column: column.body == wanted,
        lambda column: part_of(column.body) == wanted,
    ):
        for column in columns:
            if same(column):
                return column
    raise DataError(
        f"{source}: {option}: expected a column of the log, found {name!r}. {nearest(name, [c.name for c in columns])}"
    )


def _cannot(source: str, columns: list[Column], total: str | None) -> str:
    found = next((column.name for column in columns if column.body == total or rank(column.body) is not None), None)
    names = [column.name for column in columns]
    shown = ", ".join(names[:30]) + (f" and {len(names) - 30} more" if len(names) > 30 else "")
    if not found:
        return (
            f"{source}: expected a total loss and its parts, found no column that is one among the columns {shown}. "
            "Name them: --total COLUMN --parts COLUMN,COLUMN"
        )
    own = take_apart(found)
    others = [c.name for c in columns if c.split in ("", own.split) and c.name != found and rank(c.body) is None]
    parts = [name for name in others if not METRIC.search(name)]
    if not parts:
        return (
            f"{source}: expected a total loss and its parts, found the total {found} among the columns {shown}: it "
            f"logs no parts. Log each addend of {found} under a name of its own, such as first_loss=float(first_loss)"
        )
    return (
        f"{source}: expected a total loss and its parts, found the total {found} and no part of it among the columns "
        f"{shown}. Name its parts: --total {found} --parts {','.join(parts[:8])}"
    )
