"""A progress bar on stderr that stays out of the way of printed lines."""

from __future__ import annotations

import sys
import time
from typing import TextIO

_BAR_WIDTH = 30
_BAR_PERIOD_S = 0.1
_LINE_PERIOD_S = 10.0  # when stderr is a file: a line now and then instead of a bar


class Progress:
    """
    Count of things done: a bar on a terminal, a line every ten seconds elsewhere. Use as a context manager.

    Args:
        title: What is counted.
        total: Number of steps, or None when it is not known.
        stream: Where to draw; default: stderr.
    """

    def __init__(self, title: str, total: int | None, stream: TextIO | None = None):
        self.title, self.total, self.done = title, total, 0
        self._stream = stream or sys.stderr
        self._bar = self._stream.isatty()
        self._begin = time.monotonic()
        self._next = self._begin + (0 if self._bar else _LINE_PERIOD_S)
        self._drawn = False

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *_: object) -> None:
        if self._drawn:
            self._write('\r\x1b[K' + self._text() + '\n')

    def advance(self, steps: int = 1) -> None:
        """Count `steps` more and redraw if it is time to."""
        self.done += steps
        now = time.monotonic()
        if now < self._next:
            return
        self._next = now + (_BAR_PERIOD_S if self._bar else _LINE_PERIOD_S)
        self._write('\r\x1b[K' + self._text() if self._bar else self._text() + '\n')
        self._drawn = self._bar

    def clear(self) -> None:
        """Wipe the bar so that something else can be printed; the next `advance` draws it again."""
        if self._drawn:
            self._write('\r\x1b[K')
            self._drawn, self._next = False, 0.0

    def _text(self) -> str:
        elapsed = time.monotonic() - self._begin
        rate = f'{self.done / elapsed:.1f}/s' if elapsed > 0 else ''
        if not self.total:
            return f'{self.title}: {self.done}  {rate}'
        share = min(self.done / self.total, 1.0)
        filled = round(share * _BAR_WIDTH)
        bar = '#' * filled + '-' * (_BAR_WIDTH - filled)
        return f'{self.title} [{bar}] {self.done}/{self.total}  {rate}'

    def _write(self, text: str) -> None:
        self._stream.write(text)
        self._stream.flush()
