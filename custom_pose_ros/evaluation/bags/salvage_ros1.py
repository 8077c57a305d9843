"""Reading a ROS 1 file without a usable index, record by record (bag format 2.0, wiki.ros.org/Bags/Format/2.0)."""

from __future__ import annotations

import contextlib
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from custom_pose_ros.core.limits import MAX_BAG_BLOCK_BYTES
from custom_pose_ros.evaluation.bags.fields import Cut, Fields, decompressed_prefix
from custom_pose_ros.evaluation.bags.stored import StoredMessage, StoredTopic, full_type
from custom_pose_ros.evaluation.notes import Notes

_ROS1_CHUNK, _ROS1_CONNECTION, _ROS1_MESSAGE = b'\x05', b'\x07', b'\x02'


def scan_ros1(path: Path, notes: Notes) -> Iterator[StoredMessage]:
    connections: dict[int, StoredTopic] = {}
    size = path.stat().st_size
    with path.open('rb') as file:
        file.readline()
        while file.tell() < size:
            start = file.tell()
            try:
                header, data, complete = _ros1_record(file, size)
                if header.get('op') == _ROS1_CHUNK:
                    block = decompressed_prefix(data, header.get('compression', b'').decode('ascii', 'replace'))
                    yield from _ros1_chunk(block, connections)
                else:
                    yield from _ros1_message(header, data, connections)
            except Cut:
                complete = False
            if not complete:
                notes.damage(f'{path.name}: is cut off or damaged after {start} bytes')
                return


def _ros1_record(file: BinaryIO, size: int) -> tuple[dict[str, bytes], bytes, bool]:
    """Read header and data of one record and whether it is all there; a chunk is given as far as the file goes."""
    header = _ros1_fields(file.read(_ros1_length(file, size)))
    prefix = file.read(4)
    length = struct.unpack('<I', prefix)[0] if len(prefix) == 4 else size
    left = size - file.tell()
    partial = length > left and header.get('op') == _ROS1_CHUNK and left > 0
    if (length > left and not partial) or length > MAX_BAG_BLOCK_BYTES:
        raise Cut
    return header, file.read(min(length, left)), length <= left


def _ros1_length(file: BinaryIO, size: int) -> int:
    """Read a length that fits into the rest of the file."""
    prefix = file.read(4)
    if len(prefix) < 4 or struct.unpack('<I', prefix)[0] > size - file.tell():
        raise Cut
    return struct.unpack('<I', prefix)[0]


def _ros1_fields(header: bytes) -> dict[str, bytes]:
    buffer, fields = Fields(header), {}
    while buffer.position < len(header):
        name, _, value = buffer.bytes(buffer.number('I')).partition(b'=')
        fields[name.decode('ascii', 'replace')] = value
    return fields


def _ros1_chunk(data: bytes, connections: dict[int, StoredTopic]) -> Iterator[StoredMessage]:
    buffer = Fields(data)
    messages: list[StoredMessage] = []
    with contextlib.suppress(Cut):
        while buffer.position < len(data):
            header = _ros1_fields(buffer.bytes(buffer.number('I')))
            messages += _ros1_message(header, buffer.bytes(buffer.number('I')), connections)
    yield from sorted(messages, key=lambda message: message.time_ns)


def _ros1_message(
    header: dict[str, bytes], data: bytes, connections: dict[int, StoredTopic]
) -> Iterator[StoredMessage]:
    kind, number = header.get('op'), header.get('conn', b'')
    if len(number) != 4:
        return
    connection = struct.unpack('<I', number)[0]
    if kind == _ROS1_CONNECTION:
        fields = _ros1_fields(data)
        topic, text = (fields.get(key, b'') for key in ('type', 'message_definition'))
        connections[connection] = StoredTopic(
            header.get('topic', b'').decode('utf-8', 'replace'),
            full_type(topic.decode('utf-8', 'replace')),
            text.decode('utf-8', 'replace'),
            True,
        )
    elif kind == _ROS1_MESSAGE and connection in connections and len(header.get('time', b'')) == 8:
        seconds, nanoseconds = struct.unpack('<II', header['time'])
        yield StoredMessage(connections[connection], seconds * 10**9 + nanoseconds, data)
