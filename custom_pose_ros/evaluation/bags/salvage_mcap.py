"""
Reading an mcap file without a usable index, record by record (MCAP specification, mcap.dev/spec).

The reader of the mcap package ends at the first damaged record, gives nothing of a chunk that is cut off, and believes
any length inside a record. This one goes on at the next chunk and reads no more than the file and MAX_BAG_BLOCK_BYTES.
"""

from __future__ import annotations

import contextlib
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from rosbags.interfaces import Qos

from custom_pose_ros.core.limits import MAX_BAG_BLOCK_BYTES, MAX_BAG_BLOCK_RECORDS
from custom_pose_ros.evaluation.bags.stored import Cut, Fields, StoredMessage, Topic, full_type, qos_profiles, unpack
from custom_pose_ros.evaluation.notes import Notes

MCAP_MAGIC = b'\x89MCAP0\r\n'
_HEADER, _FOOTER, _SCHEMA, _CHANNEL, _MESSAGE, _CHUNK, _CHUNK_INDEX = 0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x08
_MCAP_END = (_FOOTER, 0x0F)  # and the end of the data section
_MCAP_LAST_RECORD = 0x0F
_MCAP_HEAD_BYTES, _MCAP_FOOTER_BYTES, _MCAP_PROFILE_BYTES = 9, 37, 300


class _McapScanner:
    """Schemas, channels and messages of an mcap file in the order of the file."""

    def __init__(self, path: Path, notes: Notes):
        self.path, self.notes = path, notes
        self.schemas: dict[int, tuple[str, str]] = {}
        self.channels: dict[int, Topic] = {}
        self.chunk_starts: list[int] = []

    def messages(self, file: BinaryIO) -> Iterator[StoredMessage]:
        """Walk over the records; behind an unreadable one go on at the next chunk that the summary names."""
        size = self.path.stat().st_size
        self.read_summary(file, size)
        position: int | None = len(MCAP_MAGIC)
        while position is not None:
            file.seek(position)
            head = file.read(_MCAP_HEAD_BYTES)
            if not head or head[0] in _MCAP_END:
                return
            length = struct.unpack('<Q', head[1:])[0] if len(head) == _MCAP_HEAD_BYTES else size
            if length > size - position - _MCAP_HEAD_BYTES or not 0 < head[0] <= _MCAP_LAST_RECORD:
                self.notes.damage(f'{self.path.name}: is cut off or damaged after {position} bytes')
                if head[0] == _CHUNK and not self.chunk_starts:
                    yield from self.chunk(file.read(min(length, size - position, MAX_BAG_BLOCK_BYTES)), position, True)
                position = next((start for start in self.chunk_starts if start > position), None)
                continue
            if head[0] == _CHUNK and length <= MAX_BAG_BLOCK_BYTES:
                yield from self.chunk(file.read(length), position)
            elif head[0] in (_SCHEMA, _CHANNEL, _MESSAGE) and length <= MAX_BAG_BLOCK_BYTES:
                yield from self.record(head[0], file.read(length), position)
            position += _MCAP_HEAD_BYTES + length

    def read_summary(self, file: BinaryIO, size: int) -> None:
        """Take schemas, channels and the places of chunks from the end of the file, where it is intact."""
        file.seek(max(size - _MCAP_FOOTER_BYTES, 0))
        footer = file.read(_MCAP_FOOTER_BYTES)
        if len(footer) < _MCAP_FOOTER_BYTES or footer[0] != _FOOTER or not footer.endswith(MCAP_MAGIC):
            return
        start = struct.unpack('<Q', footer[9:17])[0]
        if not 0 < start < size or size - start > MAX_BAG_BLOCK_BYTES:
            return
        file.seek(start)
        summary = file.read(size - start)
        with contextlib.suppress(Cut):
            for kind, begin, end in chunk_records(summary):
                content = summary[begin:end]
                if kind == _CHUNK_INDEX and len(content) >= 24:
                    self.chunk_starts.append(struct.unpack('<Q', content[16:24])[0])
                elif kind in (_SCHEMA, _CHANNEL):
                    list(self.record(kind, content, start))
        self.chunk_starts.sort()

    def record(self, kind: int, content: bytes, start: int) -> Iterator[StoredMessage]:
        buffer = Fields(content)
        try:
            if kind == _SCHEMA:
                number, name, encoding, text = buffer.number('H'), buffer.text(), buffer.text(), buffer.text()
                self.schemas[number] = (name, text if encoding in ('ros1msg', 'ros2msg') else '')
            elif kind == _CHANNEL:
                number, schema, topic, encoding = buffer.number('H'), buffer.number('H'), buffer.text(), buffer.text()
                name, text = self.schemas.get(schema, ('', ''))
                metadata = Fields(buffer.bytes(buffer.number('I')))
                self.channels[number] = _mcap_topic(topic, name, text, encoding, metadata)
            elif kind == _MESSAGE:
                channel, _, time_ns, _ = (buffer.number(layout) for layout in 'HIQQ')
                if channel in self.channels:
                    yield StoredMessage(self.channels[channel], time_ns, buffer.rest())
                else:
                    self.notes.damage(f'{self.path.name}: messages of a channel that is not described are left out')
        except Cut:
            self.notes.damage(f'{self.path.name}: a damaged record at byte {start} is left out')

    def chunk(self, content: bytes, start: int, is_cut: bool = False) -> Iterator[StoredMessage]:
        """Yield the messages of a chunk; one that does not unpack as it says is used only as the cut end of a file."""
        buffer = Fields(content)
        try:
            _, _, size, checksum = (buffer.number(layout) for layout in 'QQQI')
            compression, stored = buffer.text(), buffer.number('Q')
        except Cut:
            return
        fits = size <= MAX_BAG_BLOCK_BYTES
        data = unpack(buffer.rest()[:stored], compression, size)[0] if fits else b''
        sound = len(data) == size and (not checksum or zlib.crc32(data) == checksum)
        if not data or not (sound or (is_cut and len(data) < size)):
            self.notes.damage(f'{self.path.name}: a damaged chunk of {len(content)} bytes at byte {start} is left out')
            return
        messages: list[StoredMessage] = []
        try:
            for kind, begin, end in chunk_records(data):
                messages += self.record(kind, data[begin:end], start)
        except Cut:
            self.notes.damage(f'{self.path.name}: the chunk at byte {start} is damaged; its first records are used')
        yield from sorted(messages, key=lambda message: message.time_ns)


def chunk_records(data: bytes) -> Iterator[tuple[int, int, int]]:
    """Yield kind, begin and end of each record in an unpacked chunk; Cut where no writer would have written on."""
    position = count = 0
    while position < len(data):
        count += 1
        begin = position + _MCAP_HEAD_BYTES
        if begin > len(data) or count > MAX_BAG_BLOCK_RECORDS or data[position] == 0:  # 0 is no kind of record
            raise Cut
        kind, length = struct.unpack_from('<BQ', data, position)
        if length > len(data) - begin:
            raise Cut
        position = begin + length
        yield kind, begin, position


def _mcap_topic(name: str, msgtype: str, definition: str, encoding: str, metadata: Fields) -> Topic:
    """Return what a channel describes; a ROS 1 recording in an mcap is encoded as `ros1`."""
    qos: tuple[Qos, ...] = ()
    with contextlib.suppress(Cut):
        while metadata.position < len(metadata.data):
            key, value = metadata.text(), metadata.text()
            if key == 'offered_qos_profiles':
                qos = qos_profiles(value)
    return Topic(name, full_type(msgtype), definition, encoding == 'ros1', qos=qos)


def mcap_profile(path: Path) -> str | None:
    """Return the profile of an mcap file, 'ros2' for what rosbag2 writes; None when its beginning is damaged."""
    with path.open('rb') as file:
        head = Fields(file.read(_MCAP_PROFILE_BYTES))
    with contextlib.suppress(Cut):
        if head.bytes(len(MCAP_MAGIC)) == MCAP_MAGIC and head.number('B') == _HEADER:
            head.number('Q')
            return head.text()
    return None


def scan_mcap(path: Path, notes: Notes) -> Iterator[StoredMessage]:
    with path.open('rb') as file:
        yield from _McapScanner(path, notes).messages(file)
