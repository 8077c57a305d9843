"""Reading what is left of damaged recordings of any kind, record by record."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from custom_pose_ros.evaluation.bags.salvage_mcap import MCAP_MAGIC, scan_mcap
from custom_pose_ros.evaluation.bags.salvage_ros1 import scan_ros1
from custom_pose_ros.evaluation.bags.salvage_sqlite import scan_sqlite
from custom_pose_ros.evaluation.bags.stored import StoredMessage
from custom_pose_ros.evaluation.notes import Notes


def scan(path: Path, notes: Notes) -> Iterator[StoredMessage]:
    """Yield every message that can still be read, in the order of the file; damage is noted, never raised."""
    with path.open('rb') as file:
        head = file.read(16)
    if head.startswith(b'#ROSBAG V2.0'):
        yield from scan_ros1(path, notes)
    elif head.startswith(b'SQLite format 3'):
        yield from scan_sqlite(path, notes)
    elif head.startswith(MCAP_MAGIC):
        yield from scan_mcap(path, notes)
    else:
        notes.damage(f'{path.name}: is neither an mcap, nor a sqlite3, nor a ROS 1 bag file; nothing in it can be read')
