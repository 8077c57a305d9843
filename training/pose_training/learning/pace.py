"""How many CPU threads a run computes with, as its own first steps say, and how long the run will take."""

from __future__ import annotations

import statistics
import time

import torch

_TRIALS = 3  # steps with each number of threads; the first of them also pays for the change and does not count
_HOPELESS = 1.5  # times the step of a single thread: no more trials then, as each may take very long
_TOLD_AFTER = 20  # steps


class Pace:
    """
    Tries a single thread and all of them in the first steps, keeps what is faster, and tells the time of a step.

    On a busy computer the threads of a step wait for each other at every layer: two can take five times as long as one.
    """

    def __init__(self, choose: bool):
        """
        Begin.

        Args:
            choose: False where the number of threads is given, or something else than the CPU computes.
        """
        most = torch.get_num_threads()
        self._seconds: dict[int, list[float]] = {number: [] for number in ([1, most] if choose and most > 1 else [])}
        self._plan = [number for number in self._seconds for _ in range(_TRIALS)]
        self._steps, self._settled = 0, time.monotonic()

    def before_step(self) -> None:
        """Set the number of threads."""
        if self._steps < len(self._plan):
            torch.set_num_threads(self._plan[self._steps])

    def after_step(self, seconds: float) -> float | None:
        """
        Learn how long a step took; after the last trial, keep the faster number.

        Args:
            seconds: Of the step, without the time that making its samples took.

        Returns:
            Seconds from one step to the next, once: after twenty steps. None at all others.
        """
        if self._steps < len(self._plan):
            number = self._plan[self._steps]
            self._seconds[number].append(seconds)
            counted = self._seconds[number][1:]
            if number > 1 and counted and counted[-1] > _HOPELESS * statistics.median(self._seconds[1][1:]):
                self._plan = self._plan[: self._steps + 1]
        self._steps += 1
        if self._steps == len(self._plan):
            typical = {number: statistics.median(spent[1:]) for number, spent in self._seconds.items()}
            torch.set_num_threads(min(typical, key=typical.__getitem__))
        if self._steps == max(1, len(self._plan)):
            self._settled = time.monotonic()
        if self._steps == _TOLD_AFTER:
            return (time.monotonic() - self._settled) / (_TOLD_AFTER - max(1, len(self._plan)))
        return None
