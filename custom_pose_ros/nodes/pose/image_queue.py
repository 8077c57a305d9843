"""Which images are processed: the newest (NewestFrames), at a rate at most (RateLimit), on demand (ImageDemand)."""

from __future__ import annotations

import math
import threading
import time
from concurrent.futures import Future
from typing import Any

from custom_pose_ros.core.errors import MessageError

_LONGEST_WAIT_S = 0.01
_OLD = 0.2  # of the wait for the next frame: a frame that is older than this is worth replacing by the next one
_LATE = 1.25  # of a period: the next frame is waited for until then
_SHARE = 0.2  # weight of the last interval in the mean interval
_EARLY = 0.25  # of a period: a frame that is so much too early is still admitted


class NewestFrames:
    """
    One place per camera: a new frame replaces one that still waits, so that a slow model never adds latency.

    A camera that is faster than the worker always has a frame ready, on average half a period old. Where the next one
    is due within milliseconds, that one is waited for: fewer frames are answered, but fresh ones.
    """

    def __init__(self) -> None:
        self._frames: dict[str, Any] = {}
        self._cadences: dict[str, Cadence] = {}
        self._changed = threading.Condition()
        self._closed = False

    def put(self, camera: str, frame: Any) -> bool:
        """Store the newest frame of a camera; return True when that dropped an older one."""
        now_s = time.monotonic()
        with self._changed:
            dropped = camera in self._frames
            self._frames[camera] = frame
            self._cadences.setdefault(camera, Cadence()).add(now_s)
            self._changed.notify()
        return dropped

    def take(self) -> dict[str, Any] | None:
        """Wait for frames and return the newest of every camera that has one; None once closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._frames or self._closed)
            self._wait_for_a_fresher_one()
            if self._closed:
                return None
            frames, self._frames = self._frames, {}
        return frames

    def close(self) -> None:
        """Wake the worker for good."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def _wait_for_a_fresher_one(self) -> None:
        if self._closed or len(self._cadences) != 1:  # of several cameras one is always fresh
            return
        ((camera, cadence),) = self._cadences.items()
        wait_s, waiting = cadence.worth_waiting_s(time.monotonic()), self._frames[camera]
        if wait_s > 0.0:
            self._changed.wait_for(lambda: self._closed or self._frames[camera] is not waiting, wait_s)


class Cadence:
    """When the frames of one camera come to this queue by its own clock, and when the next one is due."""

    def __init__(self) -> None:
        self._last_s = self._period_s = 0.0

    def add(self, now_s: float) -> None:
        """Note the arrival of a frame, by a monotonic clock."""
        if self._last_s:
            interval_s = now_s - self._last_s
            self._period_s += (_SHARE if self._period_s else 1.0) * (interval_s - self._period_s)
        self._last_s = now_s

    def worth_waiting_s(self, now_s: float) -> float:
        """Return how long to wait at most for the frame after the last one; 0.0: process the last one now."""
        age_s = now_s - self._last_s
        wait_s = self._period_s - age_s
        if not 0.0 < wait_s <= _LONGEST_WAIT_S or age_s <= _OLD * wait_s:
            return 0.0
        return wait_s + (_LATE - 1.0) * self._period_s


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


class ImageDemand:
    """Who waits for the answer to the next image of a camera; thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._next: list[Future[int]] = []
        self._taken: list[tuple[Any, Future[int]]] = []  # images that were asked for, oldest first

    def ask(self) -> Future[int]:
        """
        Ask for the answer to the next image, until the future is cancelled.

        Its result is the number of instances found, or MessageError.
        """
        asked: Future[int] = Future()
        with self._lock:
            self._next.append(asked)
        return asked

    def takes(self, image: Any) -> bool:
        """Whether somebody waits for the next image, which is this one; it has to be answered or refused then."""
        with self._lock:
            waiting = [asked for asked in self._next if asked.set_running_or_notify_cancel()]
            self._next.clear()
            self._taken += [(image, asked) for asked in waiting]
        return bool(waiting)

    def answered(self, image: Any, count: int) -> None:
        """Tell those who asked for this image, or for an older one that it has replaced."""
        with self._lock:
            place = max((place for place, (taken, _) in enumerate(self._taken, 1) if taken is image), default=0)
            told, self._taken = self._taken[:place], self._taken[place:]
        for _, asked in told:
            asked.set_result(count)

    def refused(self, reason: str) -> None:
        """Tell all whose image has come that it cannot be used."""
        with self._lock:
            told, self._taken = self._taken, []
        for _, asked in told:
            asked.set_exception(MessageError(reason))
