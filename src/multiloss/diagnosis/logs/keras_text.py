"""Keras' progress output, all versions: bars drawn over themselves, a line an epoch, lines broken by a page."""

from __future__ import annotations

import re
from collections.abc import Iterable
from itertools import pairwise

from multiloss.diagnosis.logs.numbers import NUMBER
from multiloss.diagnosis.logs.pairs import pairs_of
from multiloss.diagnosis.logs.rows import Found, Row, Thinned

_HEADER = re.compile(r"(?<!\w)Epoch (\d+)/\d+\b")
_BAR = re.compile(
    r"(?<![\w/])(?P<done>\d++)/(?P<all>\d++|Unknown|\?)[ \t]*+(?:\[[=>.\]]|[━─]|(?=-[ \t]|\d++s\b)|"
    r"(?=\S{1,200}+[ \t]++\d++(?:s|:\d++)[ \t]))"  # the last: a bar whose characters were lost
)
_QUIET = re.compile(r"^\W*+\d++s(?: \d++\w+/\w+)?[ \t]++-[ \t]")  # verbose=2 of old: - 5s - loss: 9.2902
_KEY = r"[\w./]+"
_GOES_ON = re.compile(  # the rest of a line of pairs, which may break off anywhere
    rf"(?: ?- ?{_KEY}: ?{NUMBER})*+ ?(?:-? ?(?:{_KEY}(?:: ?[-+\d.e]*)?)?)? ?",
    re.IGNORECASE,
)
_PAIR_END = re.compile(rf"{_KEY}:[ \t]*(?P<number>{NUMBER})[ \t]*$")
_FIRST_PAIR = re.compile(rf"(?:^|[ \t]){_KEY}:[ \t]*{NUMBER}(?![\w:])")
LIKE_KERAS = re.compile(
    rf"(?<![\w/])\d++/(?:\d++|Unknown)[ \t]*+(?:\[[=>.\]]|[━─])|^\W*+\d++s.* - loss: |"
    rf"(?:^|[ \t]-[ \t]){_KEY}:[ \t]*{NUMBER}[ \t]+-[ \t]+{_KEY}:[ \t]"
)

LONGEST_BAR, LONGEST_PAIR, LONGEST_UPDATE = 2_000, 400, 1 << 16
"""Characters of an update before its first number, of one of its pairs, and in all, that a broken line may have."""


class _Progress:
    """The state of reading: the epoch under way and its last update."""

    def __init__(self) -> None:
        self.kept = Thinned()
        self.epoch: float | None = None
        self.update = ""
        self.size: str | None = None
        self.done = 0
        self.complete = self.closed = self.redrawn = self.quiet = False
        self.others = self.before = 0
        self.candidate = False
        self.unfinished = False

    def take(self, piece: str, ended: bool) -> None:
        """Take what stands between two breaks: a header, an update, or a piece of one."""
        if header := _HEADER.match(piece):
            self.flush()
            self.epoch, self.closed, self.before = float(header[1]), False, self.others
            piece = piece[header.end() :]
        if not piece or piece.isspace():
            return
        bar = _BAR.search(piece) if "/" in piece else None
        if bar or _QUIET.match(piece):
            self.start(piece, bar, ended)
        else:
            self.go_on(piece)

    def start(self, piece: str, bar: re.Match[str] | None, ended: bool, *, candidate: bool = False) -> None:
        """Take an update: a bar, a line of an epoch without one, or a printed line that may be one: a candidate."""
        if self.epoch is not None and self.candidate != candidate and self.update:
            if candidate:  # printed beside a bar
                return
            self.update, self.done, self.complete, self.closed, self.others = "", 0, False, False, self.before
        done, size = (int(bar["done"][:18]), bar["all"]) if bar else (1, None)
        again = self.update and ((self.complete and self._other(piece, bar, size)) or done < self.done)
        if again and self.epoch is not None:
            self.closed = True
        elif again:
            self.flush()
        if self.closed and (size != self.size or not pairs_of(piece).keys() > pairs_of(self.update).keys()):
            self.others += 1
            return
        self.update, self.size, self.done, self.candidate = piece, size, done, candidate
        self.complete, self.redrawn, self.quiet = bar is None or bar["done"] == size, not ended, bar is None

    def _other(self, piece: str, bar: re.Match[str] | None, size: str | None) -> bool:
        """Say whether an update after a complete one is of another bar: evaluate, or the next epoch."""
        if size != self.size or bar is None or self.quiet:
            return True
        if self.redrawn:
            return False
        before, now = pairs_of(self.update), pairs_of(piece)
        return not (now.items() == before.items() or now.keys() > before.keys())

    def go_on(self, piece: str) -> None:
        """Take a piece that starts no update: the rest of a broken line, or something else."""
        if self.closed or not self.update:
            if _FIRST_PAIR.search(piece) and "loss" in piece:
                self.start(piece, None, ended=True, candidate=True)
            return
        if not _FIRST_PAIR.search(self.update):  # a bar without numbers so far
            if (":" in piece or "=" in piece) and len(self.update) < LONGEST_BAR:
                self.update += piece
            return
        joined = _joined(self.update, piece)
        if joined is not None:
            self.update = joined
            self.redrawn = False
        elif "loss" in piece and _FIRST_PAIR.search(piece):
            if pairs_of(piece).keys() & pairs_of(self.update).keys():
                self.start(piece, None, ended=True, candidate=True)
            else:
                self.update += " - " + piece

    def flush(self) -> None:
        """Hand over the epoch under way."""
        cells = pairs_of(self.update) if "loss" in self.update else {}
        cells.pop("Epoch", None)
        if cells and self.kept.wants(None):
            self.unfinished = self.size is not None and self.size.isdigit() and not self.complete
            self.kept.add(None, Row(self.epoch, None, cells))
        self.update, self.size, self.done, self.complete, self.quiet = "", None, 0, False, False


def read_keras(pieces: Iterable[tuple[str, bool]]) -> Found:
    """Return an epoch for each one that the output holds, with its last update.

    Args:
        pieces: What stands between line ends and carriage returns, and whether a line end follows.

    Examples:
        >>> text = "3/3 [======] - 1s 2ms/step - loss: 9.2902 - a_loss: 0.0801"
        >>> read_keras([("Epoch 2/10", True), (text, True)]).rows
        [Row(epoch=2.0, step=None, cells={'loss': '9.2902', 'a_loss': '0.0801'})]
    """
    state = _Progress()
    for piece, ended in pieces:
        if "Epoch " in piece or piece.count("/") > 3:  # a page may have put several updates into one line
            *before, last = _cut(piece)
            for part in before:
                state.take(part, ended=False)
            piece = last
        state.take(piece, ended)
    state.flush()
    notes = state.kept.notes
    if state.others:
        notes.append("Progress lines after the end of an epoch, such as those of evaluate, were left out")
    rows = state.kept.rows
    if state.unfinished and len(rows) > 1:
        notes.append("The last epoch is not finished; it was left out")
        rows.pop()
    return Found("Keras progress output", rows, notes, fixed=True)


def _cut(piece: str) -> list[str]:
    """Return the piece in parts that begin with a header or a bar."""
    headers = [match.span() for match in _HEADER.finditer(piece)]
    bars = [match.start() for match in _BAR.finditer(piece)]
    inside = [place for place in bars if any(start <= place < end for start, end in headers)]
    starts = sorted({0, *(start for start, _ in headers), *bars} - set(inside))
    return [piece[start:end] for start, end in pairwise([*starts, len(piece)])]


def _joined(before: str, piece: str) -> str | None:
    """Return a broken line made whole, or None if the piece does not go on with it."""
    if len(before) > LONGEST_UPDATE:
        return None
    if end := _PAIR_END.search(before, len(before) - LONGEST_PAIR):
        mantissa, _, exponent = end["number"].lower().partition("e")
        finished = len(mantissa.partition(".")[2]) >= 4  # Keras prints four decimals
        if finished and not exponent and piece[:1].isdigit():
            return None
        if re.match(r"[^\W\d]", piece) and not re.match(r"e[-+]?\d", piece):
            return None
    whole = before + (" " if before.endswith(" -") else "") + piece
    rest = re.sub(r"\s+", " ", whole[max(before.rfind(" - "), len(before) - LONGEST_PAIR, 0) :])
    return whole if _GOES_ON.fullmatch(rest) else None
