"""RateLimit: which messages of a topic are processed, so that a rate is not exceeded."""

from __future__ import annotations

import math

_EARLY = 0.25  # of a period: a frame that is so much too early is still admitted


class RateLimit:
    """Admits messages at a rate at most, and at nearly that rate where more arrive, also with some jitter."""

    def __init__(self) -> None:
        self._rate_hz, self._due_s = 0.0, -math.inf

    def admits(self, now_s: float, rate_hz: float) -> bool:
        """
        Return whether the message that arrives now is to be processed.

        Args:
            now_s: time of a monotonic clock.
            rate_hz: the highest rate, which may change between calls; 0: no limit.
        """
        if rate_hz != self._rate_hz:
            self._rate_hz, self._due_s = rate_hz, -math.inf
        if not rate_hz:
            return True
        period_s = 1.0 / rate_hz
        if now_s < self._due_s - _EARLY * period_s:
            return False
        self._due_s = max(self._due_s + period_s, now_s + (1.0 - _EARLY) * period_s)
        return True
