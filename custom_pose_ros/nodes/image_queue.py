"""NewestFrames: hands the newest image of each camera from the subscription to the worker; older ones are dropped."""

from __future__ import annotations

import threading
from typing import Any


class NewestFrames:
    """One place per camera: a new frame replaces one that still waits, so that a slow model never adds latency."""

    def __init__(self) -> None:
        self._frames: dict[str, Any] = {}
        self._changed = threading.Condition()
        self._closed = False

    def put(self, camera: str, frame: Any) -> bool:
        """Store the newest frame of a camera; return True when that dropped an older one."""
        with self._changed:
            dropped = camera in self._frames
            self._frames[camera] = frame
            self._changed.notify()
        return dropped

    def take(self) -> dict[str, Any] | None:
        """Wait for frames and return the newest of every camera that has one; None once closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._frames or self._closed)
            if self._closed:
                return None
            frames, self._frames = self._frames, {}
        return frames

    def close(self) -> None:
        """Wake the worker for good."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
