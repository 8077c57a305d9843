"""Statistics: what a node does with one input - rate, latency, dropped frames, errors - and its diagnostic status."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, astuple, dataclass

import numpy as np
from diagnostic_msgs.msg import DiagnosticStatus, KeyValue

PERIOD_S = 1.0  # between two statuses
WINDOW_S = 10.0  # latency percentiles are about this long
SILENT_AFTER_S = 3.0  # no input for so long is a warning
STALE_AFTER_S = 10.0  # and for so long makes the status stale: nothing in it is about now
STUCK_AFTER_S = 5.0  # a message that has no answer after so long is an error
DROPPED_WARNING, DROPPED_CLEAR = 0.1, 0.05  # share of frames dropped in the window: from where, until where it is told
PLAUSIBLE_LATENCY_S = 60.0  # beyond it the stamps are not of this clock (a bag without /clock) and say nothing
HOLD_S = 5.0  # so long a condition must be gone before the status is OK again

Finding = tuple[bytes, str]  # level of DiagnosticStatus, text


@dataclass(frozen=True)
class Counts:
    """Messages since the start: received, answered, dropped because a newer one came, skipped on demand, refused."""

    received: int = 0
    processed: int = 0
    dropped: int = 0
    skipped: int = 0
    errors: int = 0

    def minus(self, other: Counts) -> Counts:
        """Return what happened since `other`."""
        return Counts(*(now - before for now, before in zip(astuple(self), astuple(other))))


class Statistics:
    """
    Counts what a node does with one input; thread-safe.

    Attributes:
        last_error: why the last message was refused that could not be used.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic):
        self._clock = clock
        self._lock = threading.Lock()
        self._counts = dict.fromkeys(Counts.__dataclass_fields__, 0)
        self._last_result: float | None = None
        self._dropping = False
        self.last_error = ''
        self.restart()

    def restart(self) -> None:
        """Begin a new window, after which only what follows counts as recent; the totals stay."""
        with self._lock:
            self._durations: deque[tuple[float, float, float]] = deque()  # when, latency, processing time
            self._history = deque([(self._clock(), Counts(**self._counts))])
            self._begin = self._clock()
            self._level = LevelHysteresis(self._clock)
            self._last_input: float | None = None
            self._unanswered_since: float | None = None

    def received(self, dropped: bool = False, skipped: bool = False) -> None:
        """
        Count one message.

        Args:
            dropped: whether it replaced an older one, which will not be processed.
            skipped: whether it is not processed because of the rate limit.
        """
        with self._lock:
            self._counts['received'] += 1
            self._counts['dropped'] += dropped
            self._counts['skipped'] += skipped
            self._last_input = self._clock()
            if self._unanswered_since is None and not skipped:
                self._unanswered_since = self._last_input

    def processed(self, latency_s: float, processing_s: float) -> None:
        """
        Count one answer.

        Args:
            latency_s: from the stamp of the message to the publication of the answer.
            processing_s: of the work alone.
        """
        with self._lock:
            self._counts['processed'] += 1
            self._durations.append((self._clock(), latency_s, processing_s))
            self._last_result, self._unanswered_since = self._clock(), None

    def failed(self, reason: str) -> None:
        """Count one message that could not be used, and remember why."""
        with self._lock:
            self._counts['errors'] += 1
            self._unanswered_since = None
            self.last_error = reason

    @property
    def counts(self) -> Counts:
        with self._lock:
            return Counts(**self._counts)

    def status(
        self,
        name: str,
        hardware_id: str,
        values: dict[str, str],
        problems: Sequence[str] = (),
        silence: Callable[[], str] = str,
    ) -> DiagnosticStatus:
        """
        Return the status of the last WINDOW_S; to be called every PERIOD_S.

        Args:
            name: of the status.
            hardware_id: what the results are about.
            values: rows besides those of the statistics.
            problems: what else is wrong, each worth a warning.
            silence: returns why there is no input.
        """
        with self._lock:
            now, total = self._clock(), Counts(**self._counts)
            while len(self._history) > 1 and self._history[0][0] < now - WINDOW_S:
                self._history.popleft()
            while self._durations and self._durations[0][0] < now - WINDOW_S:
                self._durations.popleft()
            start, before = self._history[0]
            self._history.append((now, total))
            durations = np.array(self._durations).reshape(-1, 3)
            silent_s, result_s, unanswered_s = (
                None if since is None else now - since
                for since in (self._last_input, self._last_result, self._unanswered_since)
            )
        recent = total.minus(before)
        findings = [
            *self._input_findings(silent_s, now - self._begin, silence),
            *self._work_findings(recent, unanswered_s or 0.0),
            *((DiagnosticStatus.WARN, problem) for problem in problems),
        ]
        worst = max((level for level, _ in findings), default=DiagnosticStatus.OK)
        level, message = self._level.settle(worst, '; '.join(text for _, text in findings) or 'running')
        rows = {
            'rate [Hz]': f'{recent.processed / max(now - start, PERIOD_S):.1f}',
            **_percentiles('latency', durations[:, 1]),
            **_percentiles('processing', durations[:, 2]),
            **{name: str(count) for name, count in asdict(total).items()},
            'last error': self.last_error,
            'since last input [s]': 'never' if silent_s is None else f'{silent_s:.1f}',
            'since last result [s]': 'never' if result_s is None else f'{result_s:.1f}',
            **values,
        }
        pairs = [KeyValue(key=key, value=value) for key, value in rows.items()]
        return DiagnosticStatus(level=level, name=name, message=message, hardware_id=hardware_id, values=pairs)

    @staticmethod
    def _input_findings(silent_s: float | None, since_start_s: float, silence: Callable[[], str]) -> Iterator[Finding]:
        quiet_s = since_start_s if silent_s is None else silent_s
        why = silence() if quiet_s > SILENT_AFTER_S else ''
        reason = f': {why}' if why else ''
        if silent_s is None:
            yield DiagnosticStatus.WARN, f'no input yet{reason}'
        elif silent_s > SILENT_AFTER_S:
            level = DiagnosticStatus.STALE if silent_s > STALE_AFTER_S else DiagnosticStatus.WARN
            yield level, f'no input for {silent_s:.0f} s{reason}'

    def _work_findings(self, recent: Counts, unanswered_s: float) -> Iterator[Finding]:
        if unanswered_s > STUCK_AFTER_S:
            yield DiagnosticStatus.ERROR, f'no answer for {unanswered_s:.0f} s to what has come'
        if recent.errors:
            level = DiagnosticStatus.WARN if recent.processed else DiagnosticStatus.ERROR
            yield level, f'{recent.errors} messages refused: {self.last_error}'
        share = recent.dropped / max(recent.received, 1)
        self._dropping = share > (DROPPED_CLEAR if self._dropping else DROPPED_WARNING)
        if self._dropping:
            text = f'{100 * share:.0f} % of the frames dropped: the model is slower than the camera'
            yield DiagnosticStatus.WARN, text


def _percentiles(name: str, seconds: np.ndarray) -> dict[str, str]:
    """Return p50 and p95 in ms of the plausible durations."""
    known = seconds[np.isfinite(seconds) & (np.abs(seconds) < PLAUSIBLE_LATENCY_S)]
    if not len(known):
        return {f'{name} p50 [ms]': 'unknown', f'{name} p95 [ms]': 'unknown'}
    p50, p95 = 1e3 * np.percentile(known, [50, 95])
    return {f'{name} p50 [ms]': f'{p50:.1f}', f'{name} p95 [ms]': f'{p95:.1f}'}


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
