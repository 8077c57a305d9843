"""RecentFrames: the frames of one camera by their stamps, until the keypoints found in them have come."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from custom_pose_ros.nodes.ros.frames import ReceivedImage

_MOST_FRAMES = 32
_MOST_BYTES = 256 * 2**20
_SILENT_S = 1.0  # without a frame for so long none is waited for


class RecentFrames:
    """Keeps the newest frames of one camera; thread-safe."""

    def __init__(self, clock: Callable[[], float] = time.monotonic):
        self._lock = threading.Lock()
        self._clock, self._came_s = clock, float('-inf')
        self._frames: dict[int, ReceivedImage] = {}
        self._newest_ns = -1

    def add(self, frame: ReceivedImage) -> bool:
        """Keep a frame, and drop the oldest of too many; return whether time was set back, which drops all others."""
        with self._lock:
            set_back = frame.stamp_ns < self._newest_ns
            if set_back:
                self._frames.clear()
            self._frames[frame.stamp_ns] = frame
            self._newest_ns, self._came_s = frame.stamp_ns, self._clock()
            size = sum(len(kept.message.data) for kept in self._frames.values())
            while len(self._frames) > 1 and (len(self._frames) > _MOST_FRAMES or size > _MOST_BYTES):
                size -= len(self._frames.pop(next(iter(self._frames))).message.data)
        return set_back

    def take(self, stamp_ns: int) -> ReceivedImage | None:
        """Return the frame of this stamp, if it has come; it and older ones are not kept."""
        with self._lock:
            found = self._frames.get(stamp_ns)
            self._frames = {stamp: frame for stamp, frame in self._frames.items() if stamp > stamp_ns}
        return found

    def newest(self) -> ReceivedImage | None:
        """Return the newest frame that is kept."""
        with self._lock:
            return self._frames.get(self._newest_ns)

    def may_come(self, stamp_ns: int) -> bool:
        """Whether the frame of this stamp may be on its way: frames do come, and none as new as it has."""
        with self._lock:
            return self._newest_ns < stamp_ns and self._clock() - self._came_s < _SILENT_S
