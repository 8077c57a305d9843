"""Topics and messages as they are stored in a bag, not decoded."""

from __future__ import annotations

import contextlib
from typing import NamedTuple

from rosbags.interfaces import Qos
from rosbags.rosbag2.metadata import parse_qos


class StoredTopic(NamedTuple):
    """
    One topic of one file.

    Attributes:
        definition: Text of the message definition in ROS .msg format, '' when the file has none in that format.
        ros1: Messages are serialised as in ROS 1 instead of CDR.
        count: Number of messages the index promises; what a scan has counted in files without an index.
        qos: As offered by its publishers; () when the file does not tell.
    """

    name: str
    msgtype: str
    definition: str
    ros1: bool
    count: int = 0
    qos: tuple[Qos, ...] = ()


class StoredMessage(NamedTuple):
    """One serialised message: its topic, when it was recorded [ns] and its bytes."""

    topic: StoredTopic
    time_ns: int
    data: bytes


def qos_profiles(text: str) -> tuple[Qos, ...]:
    """Read the YAML of QoS profiles; nothing of damaged text."""
    with contextlib.suppress(Exception):
        return tuple(parse_qos(text))
    return ()


def full_type(name: str) -> str:
    """Return 'sensor_msgs/msg/Image' of 'sensor_msgs/Image', as ROS 1 says."""
    package, _, message = name.rpartition('/')
    return name if '/' in package or not package else f'{package}/msg/{message}'
