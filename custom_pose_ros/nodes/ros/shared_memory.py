"""
What killed processes leave in shared memory, removed when the next node starts.

Fast DDS removes its segments (0.5 MB, or 35 MB with config/fastdds.xml) when a process ends, but not after SIGKILL or a
crash: a node that is restarted again and again would fill the memory. Each segment has a lock file that its owner holds
with flock(2) while it lives, which is also what `fastdds shm clean` goes by.
"""

from __future__ import annotations

import contextlib
import fcntl
import re
import time
from pathlib import Path

FOLDER = Path('/dev/shm')
MIN_AGE_S = 1.0  # between making a lock file and locking it
_LOCK = re.compile(r'fast(dds|rtps)_[0-9a-f]{16}_el')


def remove_abandoned(folder: Path = FOLDER) -> int:
    """Remove the segments whose owner is gone, of this user; return how many bytes that were."""
    removed = 0
    for lock in sorted(folder.glob('fast*_el')):
        if _LOCK.fullmatch(lock.name):
            with contextlib.suppress(OSError):  # somebody else's, or somebody else was faster
                removed += _remove(lock)
    return removed


def _remove(lock: Path) -> int:
    segment = lock.with_name(lock.name[: -len('_el')])
    with lock.open('rb') as stream:
        if time.time() - lock.stat().st_mtime < MIN_AGE_S:
            return 0
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)  # BlockingIOError: its owner lives
        size = segment.stat().st_size if segment.exists() else 0
        segment.unlink(missing_ok=True)
        lock.unlink()
    return size
