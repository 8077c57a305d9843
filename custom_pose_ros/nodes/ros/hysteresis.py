"""Hysteresis: a status that does not flicker between levels, and a log that does not repeat a line every second."""

from __future__ import annotations

import re
import time
from collections.abc import Callable

from diagnostic_msgs.msg import DiagnosticStatus

REPEAT_S = 30.0  # how often a problem that stays is logged
HOLD_S = 5.0  # so long a condition must be gone before the status is OK again


class LevelHysteresis:
    """A worse level counts at once; ERROR and STALE become WARN when they are over, and WARN is OK after HOLD_S."""

    def __init__(self, clock: Callable[[], float] = time.monotonic):
        self._clock = clock
        self._last_bad: tuple[float, str] | None = None
        self._was_good = False  # before that nothing has got better yet

    def settle(self, level: bytes, message: str) -> tuple[bytes, str]:
        """Return the level and message to show for the current ones; to be called regularly."""
        now = self._clock()
        if level != DiagnosticStatus.OK:
            self._last_bad = (now, message) if self._was_good else None
            return level, message
        self._was_good = True
        if self._last_bad is None:
            return level, message
        since, what = self._last_bad
        if now - since >= HOLD_S:
            self._last_bad = None
            return level, message
        return DiagnosticStatus.WARN, f'{message}; until {now - since:.0f} s ago: {what}'


class ThrottledLog:
    """Logs a line at once and, while it is given again and again, every REPEAT_S; numbers in it may change."""

    def __init__(self, log: Callable[[str], object], clock: Callable[[], float] = time.monotonic):
        self._log, self._clock = log, clock
        self._logged: dict[str, float] = {}

    def say(self, line: str) -> None:
        """Log the line unless it was logged a short while ago."""
        now, key = self._clock(), re.sub(r'[\d.]+', '#', line)
        self._logged = {other: when for other, when in self._logged.items() if now - when < REPEAT_S}
        if key not in self._logged:
            self._logged[key] = now
            self._log(line)
