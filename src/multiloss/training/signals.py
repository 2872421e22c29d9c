"""Ctrl-C and SIGTERM as a note that the loop reads between two steps."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

_listening: list[Callable[[int], None]] = []
"""Who is told of a signal; inner blocks stand last."""


@contextmanager
def on_signal(note: Callable[[int], None]) -> Iterator[None]:
    """Note Ctrl-C and SIGTERM instead of dying of them; a second one gets through.

    Within such a block another one may stand: both are told, so that what trains several models stops although the
    signal came in the last step of one.

    Examples:
        >>> import os
        >>> whole, part = [], []
        >>> with on_signal(whole.append), on_signal(part.append):
        ...     os.kill(os.getpid(), signal.SIGTERM)
        >>> whole == part == [signal.SIGTERM]
        True
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    outermost = not _listening
    _listening.append(note)

    def handle(number: int, frame: FrameType | None) -> None:
        for each in _listening:
            each(number)
        for each_number, handler in before.items():
            signal.signal(each_number, handler)

    try:
        if outermost:
            for number in before:
                signal.signal(number, handle)
        yield
    finally:
        _listening.pop()
        if outermost:
            for number, handler in before.items():
                signal.signal(number, handler)
