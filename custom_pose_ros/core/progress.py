"""The progress bar of all commands, on stderr."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from tqdm import tqdm

_LINE_PERIOD_S = 10.0


def progress_bar(title: str, total: int | None, unit: str, iterable: Iterable | None = None) -> tqdm:
    """
    Return a bar on a terminal; in a log file it becomes a line every ten seconds, and none for shorter work.

    Use it as a context manager and count with `update()`, or iterate over it. Call `clear()` before printing
    something else.

    Args:
        title: Written in front of the bar.
        total: Number of steps, or None when it is not known.
        unit: What one step is, in the singular.
        iterable: What to yield and count, instead of `update()`.
    """
    from tqdm import tqdm  # not at the top: a command that shows no bar starts sooner

    file = sys.stderr if sys.stderr.isatty() else _LogLines(sys.stderr)
    # position=0: a bar inside another one takes its place, so that only one line has to be cleared
    return tqdm(iterable, title, total, unit=unit, file=file, miniters=1, dynamic_ncols=True, position=0)


class _LogLines:
    """What tqdm draws on a terminal, as lines of a file."""

    def __init__(self, stream: TextIO):
        self._stream = stream
        self._next = time.monotonic() + _LINE_PERIOD_S

    def write(self, text: str) -> None:
        line = text.strip()  # of carriage returns, and of the spaces that wipe what was drawn before
        if line and time.monotonic() >= self._next:
            self._next = time.monotonic() + _LINE_PERIOD_S
            self._stream.write(line + '\n')

    def flush(self) -> None:
        self._stream.flush()
