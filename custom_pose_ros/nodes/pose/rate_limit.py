"""RateLimit: which messages of a topic are taken so that they are no more than wanted per second."""

from __future__ import annotations

import math

_EARLY = 0.25  # of a period; so much jitter of a camera does not cost a frame


class RateLimit:
    """Admits messages at a rate at most, and nearly that where more arrive: no frame is lost to a little jitter."""

    def __init__(self) -> None:
        self._rate_hz, self._due_s = 0.0, -math.inf

    def admits(self, now_s: float, rate_hz: float) -> bool:
        """
        Tell whether the message that arrives now is to be taken.

        now_s : of a monotonic clock. rate_hz : may differ from call to call; 0: no limit.
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
