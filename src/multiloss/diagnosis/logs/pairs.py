"""Lines that name their numbers, as most training loops print them: `Epoch [1][50/7330] loss_cls: 0.58, loss: 1.5`."""

from __future__ import annotations

import re
from collections.abc import Iterable

from multiloss.diagnosis.logs.names import take_apart
from multiloss.diagnosis.logs.numbers import NUMBER
from multiloss.diagnosis.logs.rows import Found, Row, Thinned

_KEY = r"[\w./@()\-]*"
PAIR = re.compile(
    rf"(?<![\w./@\-])(?P<key>\w{_KEY})['\"]?[ \t]*[:=][ \t]*['\"]?(?P<number>{NUMBER})(?![\w:]|\.\d|/\s*+\d)"
    rf"(?:[ \t]*\((?P<mean>{NUMBER})\))?"
)
_SPACED = re.compile(rf"(?:^|[\s,;|])(?P<key>[^\W\d][\w./@()\-]*)[ \t]+(?P<number>{NUMBER})(?=$|[\s,;|])")
_EPOCH = re.compile(  # possessive, since a log may hold any number of spaces
    r"epochs?(?:\(\w+\))?['\"]?\s*+[:=#]?\s*+['\"\[]?\s*+(?P<epoch>\d++(?:\.\d++)?)(?:\s*+(?:/|of)\s*+\d++)?\s*+\]?"
    r"(?:\s*+\[\s*+(?P<step>\d++)\s*+/\s*+\d++(?:\s*+\([^)]*\))?\s*+\])?"
)
_STEP = re.compile(r"(?:iter(?:ation)?s?|steps?)(?:\(\w+\))?['\"]?\s*+[:=#]?\s*+\[?\s*+(?P<step>\d++)(?![\d.]*+[a-z])")
VALUE = re.compile(r"\d|nan|inf|NaN")
_HELD = re.compile(
    r"^\W*(?:val(?:id(?:ation)?)?|eval(?:uation)?|test(?:ing)?)\b(?![\w./]*+\s*+[:=]\s*+[-+\d.n])", re.IGNORECASE
)
EPOCHS = ("epoch", "epochs", "current_epoch")
STEPS = ("iter", "iteration", "step", "global_step", "_step", "iterations", "steps", "trainer/global_step")
WITHIN = frozenset("abcdefghijklmnopqrstuvwxyz/")
WORDS = frozenset("train training val valid validation test eval total avg average mean running".split())  # noqa: SIM905
NOISE = {"epoch", "step", "iter", "info", "debug", "warning", "and", "the", "with", "loss"}
MOST_PENDING = 400
"""Lines under one number are kept up to twice this many; the last ones count."""

FORMATS = (
    (re.compile(r"d2\.utils\.events|\biter: \d+\s+total_loss: "), "detectron2 text", False),
    (re.compile(r"(?:Epoch|Iter)\((?:train|val)\)"), "mmengine text", True),
    (re.compile(r"(?:Epoch \[\d+\]|Iter )\[\s*\d+/\d+\]\s+lr: "), "mmdetection text", True),
    (re.compile(r"json_stats: \{"), "Detectron text", True),
    (re.compile(r"\{'(?:eval_)?loss': "), "Hugging Face Trainer output", False),
    (re.compile(r"^epoch \d+/\d+  loss "), "multiloss fit output", True),
    (re.compile(r"Epoch \d+:\s+\d+%\|"), "Lightning progress bar", False),
    (re.compile(r": [\d.]+ \([\d.]+\)"), "text with a running mean in brackets", True),
)
OTHER = (re.compile(""), "text with named numbers", True)
LOOKED_AT = 20
"""The first lines with losses say what wrote them."""
MEDIANS = (
    "detectron2 writes the median of the last 20 iterations of each number: the medians of parts do not add up to that "
    "of the total"
)
MEANS = "Beside each number a mean stands in brackets: the means were read, since means of parts add up"


class _Lines:
    """The state of reading: a number of epoch and step, and the lines that stand under it."""

    def __init__(self) -> None:
        self.kept = Thinned()
        self.epoch: float | None = None
        self.step: float | None = None
        self.pending: list[str] = []
        self.redrawn = False
        self.forms: list[tuple[str, bool]] = []
        self.means = False

    def add(self, line: str, ended: bool) -> None:
        """Take a line: a number of epoch or step, losses, both, or neither."""
        low = line.lower()
        if ("loss" not in low and "epoch" not in low) or not VALUE.search(line):
            return
        epoch, step = _place(low)
        if (epoch is not None and epoch != self.epoch) or (step is not None and step != self.step) or "{" in line:
            self.flush()
            self.epoch, self.step = self.epoch if epoch is None else epoch, step
        if "loss" not in low:
            return
        if len(self.forms) < LOOKED_AT:
            self.forms += [(name, fixed) for form, name, fixed in (*FORMATS, OTHER) if form.search(line)][:1]
        if self.pending and self.redrawn:
            self.pending.pop()
        self.pending.append(line)
        self.redrawn = not ended
        if len(self.pending) > 2 * MOST_PENDING:
            if self.epoch is None:
                self.flush()
            else:
                del self.pending[:MOST_PENDING]

    def flush(self) -> None:
        """Hand over what stands under one number."""
        lines, self.pending, self.redrawn = self.pending, [], False
        if not lines or not self.kept.wants(kind := (self.step is None, _held(lines[0]))):
            return
        cells: dict[str, str] = {}
        for line in lines:
            own, means = _cells(line)
            self.means |= means
            if "train_runtime" in own:  # the summary of a whole training
                continue
            for name in (*EPOCHS, *STEPS):
                own.pop(name, None)
            if self.epoch is None and self.step is None and own.keys() & cells.keys():
                self.kept.add(kind, Row(None, None, cells))  # no numbers anywhere: a name that comes again starts a row
                cells = {}
            cells |= own
        if cells:
            self.kept.add(kind, Row(self.epoch, self.step, cells))


def _held(line: str) -> bool:
    return "val" in line or "test" in line


def read_pairs(pieces: Iterable[tuple[str, bool]]) -> Found:
    """Return the rows of lines in which names stand before numbers.

    Args:
        pieces: What stands between line ends and carriage returns, and whether a line end follows.

    Examples:
        >>> read_pairs([("Epoch 3: total_loss=1.5, a_loss=0.5", True)]).rows
        [Row(epoch=3.0, step=None, cells={'total_loss': '1.5', 'a_loss': '0.5'})]
    """
    state = _Lines()
    for piece, ended in pieces:
        state.add(piece, ended)
    state.flush()
    name, fixed = next((form for form in state.forms if form[0] != OTHER[1]), OTHER[1:])
    notes = state.kept.notes
    notes += [MEDIANS] if name == "detectron2 text" else []
    notes += [MEANS] if state.means else []
    return Found(name, state.kept.rows, notes, fixed)


def _place(low: str) -> tuple[float | None, float | None]:
    epoch, step = _found(_EPOCH, low, "epoch"), _found(_STEP, low, "iter") or _found(_STEP, low, "step")
    number = (epoch and epoch["step"]) or (step and step["step"])
    return float(epoch["epoch"]) if epoch else None, float(number) if number else None


def _found(form: re.Pattern[str], low: str, start: str) -> re.Match[str] | None:
    """Return the first match that begins with `start`, at the beginning of a word."""
    place = low.find(start)
    while place >= 0:
        if (match := form.match(low, place)) and (place == 0 or low[place - 1] not in WITHIN):
            return match
        place = low.find(start, place + 1)
    return None


def pairs_of(line: str) -> dict[str, str]:
    """Return the names and numbers of a line, the last of each name.

    Examples:
        >>> pairs_of("ETA: 3:35 - loss: 1.2e-05 - a_loss: nan 5s 17ms/step")
        {'loss': '1.2e-05', 'a_loss': 'nan'}
    """
    return _cells(line)[0]


def _cells(line: str) -> tuple[dict[str, str], bool]:
    found = [(m["key"], m["mean"] or m["number"], m) for m in PAIR.finditer(line)]
    means = any(m["mean"] for _, _, m in found)
    found = [(key, number, m) for key, number, m in found if any(map(str.isalpha, key)) and key.lower() != "eta"]
    if not found:
        found = [(m["key"], m["number"], m) for m in _SPACED.finditer(line)]
    losses = sum(key.lower().endswith("loss") for key, _, _ in found)
    found = [(_worded(key, line, m.start("key"), losses > 1), number, m) for key, number, m in found]
    low = line.lower()
    held = any(mark in low for mark in ("epoch(val", "iter(val", "epoch(test", "iter(test")) or _HELD.match(line)
    cells: dict[str, str] = {}
    beside = False
    for key, number, _ in found:
        split = take_apart(key).split
        beside |= "|" in line and split in ("val", "eval", "test")  # Train loss = 1 (cls = 1) | Val loss = 2 (cls = 2)
        cells[f"val/{key}" if not split and (held or (beside and key in cells)) else key] = number
    return cells, means


def _worded(key: str, line: str, start: int, several: bool) -> str:
    """Return a name with the words before it that belong to it: train loss; box loss beside class loss."""
    if start < 2 or line[start - 1] not in " \t" or not line[start - 2].isalpha():
        return key
    words = re.search(r"(?:[^\W\d]\w*[ \t]+){1,2}$", line[max(start - 60, 0) : start])
    known = [word for word in words[0].split() if word.lower() not in NOISE] if words else []
    if not (several and key.lower() == "loss"):
        known = [word for word in known if word.lower() in WORDS]
    return "_".join([*known, key])
