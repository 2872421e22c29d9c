"""The bytes of a log as pieces of text, read in chunks: any encoding, no terminal codes, never all in memory."""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator
from typing import BinaryIO

from multiloss.core.errors import DataError

SAMPLE = 1 << 16
CHUNK = 1 << 20
LONGEST = 1 << 20
"""A line longer than this many characters is cut."""

CLEAR = re.compile(r"\x1b\[[0-9;?]*[A-HJKSTf]")
"""What moves the cursor or clears: whatever follows is written over what was there."""
COLOUR = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)|\x1b[@-Z\\-_]")
COMMON = ("\x1b[0m", "\x1b[1m", "\x1b[32m", "\x1b[37m")
"""Those of Keras, for speed."""
COPIED = re.compile(r"\[\d{1,2}(?:;\d{1,3})*m")
"""Colours without their escape character, as copies from a page have them."""

KNOWN = {
    b"\x89PNG": "a PNG image",
    b"\xff\xd8\xff": "a JPEG image",
    b"PK\x03\x04": "a zip archive, such as a PyTorch checkpoint or a .keras file",
    b"\x89HDF": "an HDF5 file, such as saved Keras weights",
    b"\x1f\x8b": "a gzip file",
    b"%PDF": "a PDF file",
    b"PAR1": "a Parquet file",
    b"\x80\x02": "a Python pickle",
    b"\x80\x04": "a Python pickle",
    b"SQLite": "an SQLite database",
}


class Text:
    """The text of a log; `sample` is its beginning, and `lines` or `pieces` go through it once.

    Args:
        file: Opened for bytes.
        source: What to call it in an error.

    Raises:
        DataError: If it is empty or no text.
    """

    def __init__(self, file: BinaryIO, source: str) -> None:
        self._file = file
        head = file.read(SAMPLE)
        encoding = _encoding(head)
        if not head.strip():
            raise DataError(
                f"{source}: expected a training log, found an empty file. Give the text that training wrote"
            )
        if encoding is None:
            kind = next((name for start, name in KNOWN.items() if head.startswith(start)), "bytes that are no text")
            raise DataError(
                f"{source}: expected the text of a training log, found {kind}. "
                "Give what training printed, or a CSV or JSON file that it wrote"
            )
        self._decoder = codecs.getincrementaldecoder(encoding)(errors="replace")
        self.sample = self._decoder.decode(head).replace("\x00", "")

    def chunks(self) -> Iterator[str]:
        """Yield the text, a chunk at a time."""
        yield self.sample
        while data := self._file.read(CHUNK):
            yield self._decoder.decode(data).replace("\x00", "")
        yield self._decoder.decode(b"", final=True)

    def lines(self) -> Iterator[str]:
        """Yield the lines, without their ends and without empty ones."""
        left = ""
        for chunk in self.chunks():
            *rows, left = (left + chunk).replace("\r", "\n").split("\n")
            yield from filter(None, rows)
            left = left[:LONGEST]
        if left:
            yield left

    def pieces(self) -> Iterator[tuple[str, bool]]:
        """Yield what was written between line ends, carriage returns and cursor moves, without colours.

        The second of each pair says whether a line end follows, and not something that lets it be written over.
        """
        for piece, end in _split(_plain(self.chunks())):
            yield piece, end == "\n"

    def whole(self, most: int, source: str) -> str:
        """Return all of the text.

        Raises:
            DataError: If it has more than `most` characters.
        """
        parts, size = [], 0
        for chunk in self.chunks():
            parts.append(chunk)
            size += len(chunk)
            if size > most:
                raise DataError(
                    f"{source}: expected one JSON object of at most {most >> 20} million characters, found a "
                    "larger one. Give the log as CSV or as JSON lines"
                )
        return "".join(parts)


def _encoding(head: bytes) -> str | None:
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    if head.startswith(codecs.BOM_UTF8):
        return "utf-8-sig"
    zeros = head.count(0)
    if zeros > len(head) // 4:  # text of few letters beyond ASCII in UTF-16 without its mark
        for name, start in (("utf-16-le", 1), ("utf-16-be", 0)):
            if head[start::2].count(0) >= 0.95 * zeros and not _binary(head[1 - start :: 2]):
                return name
    return None if _binary(head) else "utf-8"


def _binary(head: bytes) -> bool:
    if head.startswith(tuple(KNOWN)):
        return True
    control = sum(head.count(code) for code in range(32) if code not in b"\t\n\r\f\x07\x08\x1b")
    strange = head.decode("utf-8", "replace").count("�")
    return control > len(head) // 200 or strange > len(head) // 10


def _plain(chunks: Iterator[str]) -> Iterator[str]:
    left = ""
    for chunk in chunks:
        text = left + chunk
        cut = text.rfind("\x1b", len(text) - 32 if len(text) > 32 else 0)  # a code may go on in the next chunk
        text, left = (text[:cut], text[cut:]) if cut >= 0 and chunk else (text, "")
        yield plain(text)
    yield left


def plain(text: str) -> str:
    r"""Return text without colours, with carriage returns where the cursor moved.

    Examples:
        >>> plain("\x1b[1m40/40\x1b[0m loss: 1\b\b\r[32m━━[0m")
        '40/40 loss: 1\r\r━━'
    """
    if "\b" in text:
        text = "\r".join(filter(None, text.split("\b")))
    if "\x1b" in text:
        for code in COMMON:
            text = text.replace(code, "")
        text = COLOUR.sub("", CLEAR.sub("\r", text)) if "\x1b" in text else text
    return COPIED.sub("", text) if "[0m" in text else text


def _split(chunks: Iterator[str]) -> Iterator[tuple[str, str]]:
    """Yield what stands between line feeds and carriage returns, and which of them ends it."""
    left = ""
    for chunk in chunks:
        text = (left + chunk).replace("\r\n", "\n")
        pending = "\r" if text.endswith("\r") else ""  # its line feed may come with the next chunk
        *rows, left = text[: len(text) - len(pending)].split("\n")
        for row in rows:
            yield from _over(row, "\n")
        if len(left) > LONGEST:  # no line feed for long: a bar redrawn on one line, or no text
            over, _, left = left.rpartition("\r")
            yield from _over(over, "\r")
            left = left[:LONGEST]
        left += pending
    if left.strip("\r"):
        yield from _over(left.rstrip("\r"), "\n")


def _over(row: str, end: str) -> Iterator[tuple[str, str]]:
    *over, last = row.split("\r")
    for piece in over:
        if piece:
            yield piece[:LONGEST], "\r"
    yield last[:LONGEST], end
