"""What a bag file is made of, not decoded: topics, messages, the fields of records that may be damaged."""

from __future__ import annotations

import bz2
import contextlib
import functools
import struct
import sys
from collections.abc import Callable
from typing import Any, NamedTuple

import lz4.frame
from rosbags.interfaces import Qos
from rosbags.rosbag2.metadata import parse_qos

from custom_pose_ros.core.limits import MAX_BAG_BLOCK_BYTES
from custom_pose_ros.core.yaml_files import parse_yaml

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

_PART_BYTES = 1 << 20


class Topic(NamedTuple):
    """
    One topic of one file, or of the whole bag.

    Attributes:
        definition: Text of the message definition in ROS .msg format, '' when the file has none in that format.
        ros1: Messages are serialised as in ROS 1 instead of CDR.
        count: Number of messages the index promises; what a scan has counted in files without an index.
        qos: As offered by its publishers; () when the file does not tell.
    """

    name: str
    msgtype: str
    definition: str = ''
    ros1: bool = False
    count: int = 0
    qos: tuple[Qos, ...] = ()


class StoredMessage(NamedTuple):
    """One serialised message: its topic, when it was recorded [ns] and its bytes."""

    topic: Topic
    time_ns: int
    data: bytes


@functools.lru_cache(maxsize=64)  # a bag may have any number of topics; they share a few
def qos_profiles(text: str) -> tuple[Qos, ...]:
    """Read the YAML of QoS profiles; nothing of damaged text. Bounded, unlike what rosbags reads YAML with."""
    with contextlib.suppress(Exception):
        (document,) = parse_yaml(text.encode())
        profiles = tuple(parse_qos(document))
        hash(profiles)  # fails for lists in place of values
        return profiles
    return ()


def full_type(name: str) -> str:
    """Return 'sensor_msgs/msg/Image' of 'sensor_msgs/Image', as ROS 1 says."""
    package, _, message = name.rpartition('/')
    return name if '/' in package or not package else f'{package}/msg/{message}'


class Cut(Exception):
    """A record does not fit into what is left of the file."""


class Fields:
    """Walks over the fields of one record."""

    def __init__(self, data: bytes):
        self.data, self.position = data, 0

    def bytes(self, size: int) -> bytes:
        if size > len(self.data) - self.position:
            raise Cut
        self.position += size
        return self.data[self.position - size : self.position]

    def number(self, layout: str) -> int:
        return struct.unpack('<' + layout, self.bytes(struct.calcsize('<' + layout)))[0]

    def text(self) -> str:
        return self.bytes(self.number('I')).decode('utf-8', 'replace')

    def rest(self) -> bytes:
        return self.data[self.position :]


def unpack(data: bytes, compression: str, limit: int = MAX_BAG_BLOCK_BYTES) -> tuple[bytes, bool]:
    """
    Unpack a compressed block as far as it goes.

    Args:
        data: The block, of one or more frames.
        compression: '', 'none', 'zstd', 'lz4' or 'bz2'; nothing comes of another.
        limit: Bytes at which unpacking ends; up to 1 MB more may be returned.

    Returns:
        What came of it, and whether that is all: False when the block is cut off or damaged, or larger than the limit.
    """
    decompressors: dict[str, Callable[[], Any]] = {
        'zstd': zstd.ZstdDecompressor,
        'lz4': lz4.frame.LZ4FrameDecompressor,
        'bz2': bz2.BZ2Decompressor,
    }
    if compression in ('', 'none'):
        return data, True
    if compression not in decompressors:
        return b'', False
    result, complete = bytearray(), False
    with contextlib.suppress(OSError, EOFError, ValueError, RuntimeError, MemoryError, zstd.ZstdError):
        while data and len(result) <= limit:
            complete, decompressor = False, decompressors[compression]()
            while not decompressor.eof and len(result) <= limit:
                part = decompressor.decompress(data, max_length=_PART_BYTES)
                if not part and not decompressor.eof:
                    return bytes(result), False
                result += part
                data = b''
            complete = decompressor.eof
            data = decompressor.unused_data if complete else b''
    return bytes(result), complete and not data and len(result) <= limit
