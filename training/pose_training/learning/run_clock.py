"""Time and progress of a training run, which is limited by minutes or by steps."""

from __future__ import annotations

import time

_LAST_SHARE = 0.02  # of a run limited by time: kept for the last validation


class RunClock:
    """How long a run has taken, interruptions left out, and which share of it is over."""

    def __init__(self, steps: int | None, minutes: float | None, started: float, elapsed_before_s: float = 0.0):
        """
        Start at a time that may lie in the past.

        Args:
            steps: Length of the run in steps; None when `minutes` is given.
            minutes: Length of the run; None when `steps` is given.
            started: When this process began, by `time.monotonic`.
            elapsed_before_s: Time of training before an interruption.
        """
        self._steps, self._minutes = steps, minutes
        self._started = started - elapsed_before_s

    @property
    def elapsed_s(self) -> float:
        """Seconds of training so far, those before an interruption included."""
        return time.monotonic() - self._started

    def progress(self, step_count: int) -> float:
        """Return the share of the run that is over after so many steps; 1 or more at its end."""
        if self._steps is not None:
            return step_count / self._steps
        assert self._minutes is not None
        return self.elapsed_s / (self._minutes * 60 * (1 - _LAST_SHARE))
