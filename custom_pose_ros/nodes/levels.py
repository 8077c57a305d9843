"""SteadyLevel: a level of diagnostics that does not flicker while a condition comes and goes."""

from __future__ import annotations

import time
from collections.abc import Callable

from diagnostic_msgs.msg import DiagnosticStatus

HOLD_S = 5.0  # so long a condition must be gone before the status is OK again


class SteadyLevel:
    """Worse comes at once; ERROR and STALE become WARN as soon as they are over, and WARN becomes OK after HOLD_S."""

    def __init__(self, clock: Callable[[], float] = time.monotonic):
        self._clock = clock
        self._last_bad: tuple[float, str] | None = None

    def settle(self, level: bytes, message: str) -> tuple[bytes, str]:
        """Return the level and message to be shown for what is the case now; to be asked regularly."""
        now = self._clock()
        if level != DiagnosticStatus.OK:
            self._last_bad = now, message
            return level, message
        if self._last_bad is None:
            return level, message
        since, what = self._last_bad
        if now - since >= HOLD_S:
            self._last_bad = None
            return level, message
        return DiagnosticStatus.WARN, f'{message}; until {now - since:.0f} s ago: {what}'
