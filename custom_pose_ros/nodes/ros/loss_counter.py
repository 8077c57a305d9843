"""LossCounter: how many messages of a topic were sent and did not come, by sequence numbers, DDS or stamps."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Hashable

import numpy as np

WINDOW_S = 10.0  # the share lost is about this long
_PERIODS = 60  # steps between stamps that the period is estimated from
_FEWEST_PERIODS = 10
_SHORT_PERCENT = 5  # of the steps count as single periods, at least
_PUBLISHERS = 16  # whose last sequence number is remembered
_LONGEST_GAP_S = 10.0  # a longer pause between two stamps is a camera that stood still, not a loss


class LossCounter:
    """
    Counts the messages that were sent and did not come.

    Exact where the middleware numbers messages and reports losses: a larger gap in the numbers than the losses reported
    means that messages came and were overwritten in the queue before the node read them. Otherwise the period of the
    publisher is estimated from the stamps, and the steps that are missing count as lost; that needs a camera of
    constant rate, and at most 8 of 10 messages lost.

    Attributes:
        reports: whether the middleware reports losses.
    """

    reports = False

    def __init__(self, clock: Callable[[], float] = time.monotonic):
        self._clock = clock
        self._received = self._gaps = self._by_stamps = 0
        self._reported = 0
        self._numbered = False
        self._last_numbers: dict[Hashable, int] = {}
        self._last_stamp_ns: int | None = None
        self._steps_ns: deque[int] = deque(maxlen=_PERIODS)
        self._history: deque[tuple[float, int, int, int]] = deque([(clock(), 0, 0, 0)])

    def arrived(self, stamp_ns: int, publisher: Hashable = None, number: int | None = None) -> None:
        """
        Count one message.

        Args:
            stamp_ns: the stamp of its header.
            publisher: who has sent it.
            number: its place in the sequence of this publisher; None where the middleware does not number messages.
        """
        self._received += 1
        if number is not None:
            self._numbered = True
            self._gaps += max(0, number - self._last_numbers.pop(publisher, number - 1) - 1)
            self._last_numbers[publisher] = number
            if len(self._last_numbers) > _PUBLISHERS:
                del self._last_numbers[next(iter(self._last_numbers))]
        last, self._last_stamp_ns = self._last_stamp_ns, stamp_ns
        if last is not None and 0 < stamp_ns - last < 1e9 * _LONGEST_GAP_S:
            self._step(stamp_ns - last)

    def _step(self, step_ns: int) -> None:
        self._steps_ns.append(step_ns)
        period_s = None if self._numbered or self.reports else self.period_s  # else the losses are known exactly
        if period_s is not None:
            self._by_stamps += max(0, round(1e-9 * step_ns / period_s) - 1)

    def reported_lost(self, total: int) -> None:
        """Note how many messages the middleware reports as lost since the start."""
        self._reported = max(self._reported, total)

    @property
    def period_s(self) -> float | None:
        """The time between two messages of the publisher, from the stamps; None while too few messages have come."""
        if len(self._steps_ns) < _FEWEST_PERIODS:
            return None
        steps = np.array(self._steps_ns)
        shortest = np.percentile(steps, _SHORT_PERCENT)  # losses make multiples, jitter makes shorter ones:
        single = np.median(steps[steps <= 1.5 * shortest])
        return 1e-9 * float(np.mean(steps / np.maximum(np.round(steps / single), 1)))

    @property
    def lost(self) -> int:
        """How many messages were lost on the way, since the start."""
        if self.reports:
            return self._reported
        return self._gaps if self._numbered else self._by_stamps

    @property
    def overwritten(self) -> int:
        """How many messages came and were not read before newer ones took their place, since the start."""
        return max(0, self._gaps - self._reported) if self.reports else 0

    @property
    def received(self) -> int:
        return self._received

    def shares(self) -> tuple[float, float]:
        """Return the shares lost and overwritten in the last WINDOW_S, in [0, 1]; to be called regularly."""
        now = self._clock()
        while len(self._history) > 1 and self._history[0][0] < now - WINDOW_S:
            self._history.popleft()
        _, *before = self._history[0]
        totals = self._received, self.lost, self.overwritten
        self._history.append((now, *totals))
        received, lost, overwritten = (total - earlier for total, earlier in zip(totals, before))
        sent = max(received + lost + overwritten, 1)
        return lost / sent, overwritten / sent
