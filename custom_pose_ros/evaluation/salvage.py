"""
Reading what is left of damaged recordings: mcap, sqlite3 and ROS 1 files without a usable index, record by record.

Sources: MCAP specification (mcap.dev/spec), ROS bag format 2.0 (wiki.ros.org/Bags/Format/2.0), rosbag2 sqlite3 schema.
"""

from __future__ import annotations

import bz2
import contextlib
import sqlite3
import struct
import sys
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

import lz4.frame
from rosbags.interfaces import Qos
from rosbags.rosbag2.metadata import parse_qos

from custom_pose_ros.evaluation.notes import Notes

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

MCAP_MAGIC = b'\x89MCAP0\r\n'
_MAX_CHUNK_BYTES = 1 << 28  # writers make chunks of about 1 MB; a larger one is a damaged length field
_HEADER, _FOOTER, _SCHEMA, _CHANNEL, _MESSAGE, _CHUNK, _CHUNK_INDEX = 0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x08
_MCAP_END = (_FOOTER, 0x0F)  # and the end of the data section
_MCAP_LAST_RECORD = 0x0F
_MCAP_HEAD_BYTES, _MCAP_FOOTER_BYTES, _MCAP_PROFILE_BYTES = 9, 37, 300
_ROS1_CHUNK, _ROS1_CONNECTION, _ROS1_MESSAGE = b'\x05', b'\x07', b'\x02'
_MAX_ROW_ID = 1 << 31
_SINGLE_STEPS = 64  # unreadable sqlite rows that are skipped one by one; then the steps grow


class StoredTopic(NamedTuple):
    """
    One topic of one file.

    definition : text of the message definition in ROS .msg format, '' when the file has none in that format.
    ros1 : messages are serialised as in ROS 1 instead of CDR.
    count : number of messages the index promises; what a scan has counted in files without an index.
    qos : as offered by its publishers; () when the file does not tell.
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


def scan(path: Path, notes: Notes) -> Iterator[StoredMessage]:
    """Yield every message that can still be read, in the order of the file; damage is noted, never raised."""
    with path.open('rb') as file:
        head = file.read(16)
    if head.startswith(b'#ROSBAG V2.0'):
        yield from _scan_ros1(path, notes)
    elif head.startswith(b'SQLite format 3'):
        yield from _scan_sqlite(path, notes)
    elif head.startswith(MCAP_MAGIC):
        yield from _scan_mcap(path, notes)
    else:
        notes.damage(f'{path.name}: is neither an mcap, nor a sqlite3, nor a ROS 1 bag file; nothing in it can be read')


class _Cut(Exception):
    """A record does not fit into what is left of the file."""


class _Buffer:
    """Walks over the fields of one record."""

    def __init__(self, data: bytes):
        self.data, self.position = data, 0

    def bytes(self, size: int) -> bytes:
        if size > len(self.data) - self.position:
            raise _Cut
        self.position += size
        return self.data[self.position - size : self.position]

    def number(self, layout: str) -> int:
        return struct.unpack('<' + layout, self.bytes(struct.calcsize('<' + layout)))[0]

    def text(self) -> str:
        return self.bytes(self.number('I')).decode('utf-8', 'replace')

    def rest(self) -> bytes:
        return self.data[self.position :]


class _McapScanner:
    """Schemas, channels and messages of an mcap file in the order of the file."""

    def __init__(self, path: Path, notes: Notes):
        self.path, self.notes = path, notes
        self.schemas: dict[int, tuple[str, str]] = {}
        self.channels: dict[int, StoredTopic] = {}
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
            if length > size - position - _MCAP_HEAD_BYTES or head[0] > _MCAP_LAST_RECORD:
                self.notes.damage(f'{self.path.name}: is cut off or damaged after {position} bytes')
                if head[0] == _CHUNK and not self.chunk_starts:
                    yield from self.chunk(file.read(min(length, size - position, _MAX_CHUNK_BYTES)), position)
                position = next((start for start in self.chunk_starts if start > position), None)
                continue
            if head[0] == _CHUNK and length <= _MAX_CHUNK_BYTES:
                yield from self.chunk(file.read(length), position)
            elif head[0] in (_SCHEMA, _CHANNEL, _MESSAGE) and length <= _MAX_CHUNK_BYTES:
                yield from self.record(head[0], file.read(length), position)
            position += _MCAP_HEAD_BYTES + length

    def read_summary(self, file: BinaryIO, size: int) -> None:
        """Take schemas, channels and the places of chunks from the end of the file, where it is intact."""
        file.seek(max(size - _MCAP_FOOTER_BYTES, 0))
        footer = file.read(_MCAP_FOOTER_BYTES)
        if len(footer) < _MCAP_FOOTER_BYTES or footer[0] != _FOOTER or not footer.endswith(MCAP_MAGIC):
            return
        start = struct.unpack('<Q', footer[9:17])[0]
        if not 0 < start < size or size - start > _MAX_CHUNK_BYTES:
            return
        file.seek(start)
        buffer = _Buffer(file.read(size - start))
        with contextlib.suppress(_Cut):
            while True:
                kind, content = buffer.number('B'), buffer.bytes(buffer.number('Q'))
                if kind == _CHUNK_INDEX and len(content) >= 24:
                    self.chunk_starts.append(struct.unpack('<Q', content[16:24])[0])
                elif kind in (_SCHEMA, _CHANNEL):
                    list(self.record(kind, content, start))
        self.chunk_starts.sort()

    def record(self, kind: int, content: bytes, start: int) -> Iterator[StoredMessage]:
        buffer = _Buffer(content)
        try:
            if kind == _SCHEMA:
                number, name, encoding, text = buffer.number('H'), buffer.text(), buffer.text(), buffer.text()
                self.schemas[number] = (name, text if encoding in ('ros1msg', 'ros2msg') else '')
            elif kind == _CHANNEL:
                number, schema, topic, encoding = buffer.number('H'), buffer.number('H'), buffer.text(), buffer.text()
                name, text = self.schemas.get(schema, ('', ''))
                metadata = _Buffer(buffer.bytes(buffer.number('I')))
                self.channels[number] = _mcap_topic(topic, name, text, encoding, metadata)
            elif kind == _MESSAGE:
                channel, _, time_ns, _ = (buffer.number(layout) for layout in 'HIQQ')
                if channel in self.channels:
                    yield StoredMessage(self.channels[channel], time_ns, buffer.rest())
                else:
                    self.notes.damage(f'{self.path.name}: messages of a channel that is not described are left out')
        except _Cut:
            self.notes.damage(f'{self.path.name}: a damaged record at byte {start} is left out')

    def chunk(self, content: bytes, start: int) -> Iterator[StoredMessage]:
        buffer = _Buffer(content)
        try:
            _, _, size, checksum = (buffer.number(layout) for layout in 'QQQI')
            compression, stored = buffer.text(), buffer.number('Q')
        except _Cut:
            return
        data = decompressed_prefix(buffer.rest()[:stored], compression)
        complete = len(data) == size
        if not data or (complete and checksum and zlib.crc32(data) != checksum):
            self.notes.damage(f'{self.path.name}: a damaged chunk of {len(content)} bytes at byte {start} is left out')
            return
        messages: list[StoredMessage] = []
        inner = _Buffer(data)
        with contextlib.suppress(_Cut):
            while inner.position < len(data):
                kind, record = inner.number('B'), inner.bytes(inner.number('Q'))
                messages += self.record(kind, record, start)
        yield from sorted(messages, key=lambda message: message.time_ns)


def _mcap_topic(name: str, msgtype: str, definition: str, encoding: str, metadata: _Buffer) -> StoredTopic:
    """Return what a channel describes; a ROS 1 recording in an mcap is encoded as `ros1`."""
    qos: tuple[Qos, ...] = ()
    with contextlib.suppress(_Cut):
        while metadata.position < len(metadata.data):
            key, value = metadata.text(), metadata.text()
            if key == 'offered_qos_profiles':
                qos = _qos(value)
    return StoredTopic(name, _full_type(msgtype), definition, encoding == 'ros1', qos=qos)


def _qos(text: str) -> tuple[Qos, ...]:
    """Read the YAML of QoS profiles; nothing of damaged text."""
    with contextlib.suppress(Exception):
        return tuple(parse_qos(text))
    return ()


def _full_type(name: str) -> str:
    """Return 'sensor_msgs/msg/Image' of 'sensor_msgs/Image', as ROS 1 says."""
    package, _, message = name.rpartition('/')
    return name if '/' in package or not package else f'{package}/msg/{message}'


def mcap_profile(path: Path) -> str | None:
    """Return the profile of an mcap file, 'ros2' for what rosbag2 writes; None when its beginning is damaged."""
    with path.open('rb') as file:
        head = _Buffer(file.read(_MCAP_PROFILE_BYTES))
    with contextlib.suppress(_Cut):
        if head.bytes(len(MCAP_MAGIC)) == MCAP_MAGIC and head.number('B') == _HEADER:
            head.number('Q')
            return head.text()
    return None


def _scan_mcap(path: Path, notes: Notes) -> Iterator[StoredMessage]:
    with path.open('rb') as file:
        yield from _McapScanner(path, notes).messages(file)


def decompressed_prefix(data: bytes, compression: str) -> bytes:
    """Return as much of a compressed block as can be had; nothing when its compression is unknown."""
    decompressors: dict[str, Callable[[], object]] = {
        'zstd': zstd.ZstdDecompressor,
        'lz4': lz4.frame.LZ4FrameDecompressor,
        'bz2': bz2.BZ2Decompressor,
    }
    if compression in ('', 'none'):
        return data
    if compression not in decompressors:
        return b''
    decompressor = decompressors[compression]()
    result = bytearray()
    with contextlib.suppress(OSError, EOFError, ValueError, RuntimeError, MemoryError, zstd.ZstdError):
        while not decompressor.eof and len(result) < _MAX_CHUNK_BYTES:  # type: ignore[attr-defined]
            part = decompressor.decompress(data, max_length=1 << 20)  # type: ignore[attr-defined]
            if not part:
                break
            result += part
            data = b''
    return bytes(result)


def _scan_ros1(path: Path, notes: Notes) -> Iterator[StoredMessage]:
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
            except _Cut:
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
    if (length > left and not partial) or length > _MAX_CHUNK_BYTES:
        raise _Cut
    return header, file.read(min(length, left)), length <= left


def _ros1_length(file: BinaryIO, size: int) -> int:
    """Read a length that fits into the rest of the file."""
    prefix = file.read(4)
    if len(prefix) < 4 or struct.unpack('<I', prefix)[0] > size - file.tell():
        raise _Cut
    return struct.unpack('<I', prefix)[0]


def _ros1_fields(header: bytes) -> dict[str, bytes]:
    buffer, fields = _Buffer(header), {}
    while buffer.position < len(header):
        name, _, value = buffer.bytes(buffer.number('I')).partition(b'=')
        fields[name.decode('ascii', 'replace')] = value
    return fields


def _ros1_chunk(data: bytes, connections: dict[int, StoredTopic]) -> Iterator[StoredMessage]:
    buffer = _Buffer(data)
    messages: list[StoredMessage] = []
    with contextlib.suppress(_Cut):
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
            _full_type(topic.decode('utf-8', 'replace')),
            text.decode('utf-8', 'replace'),
            True,
        )
    elif kind == _ROS1_MESSAGE and connection in connections and len(header.get('time', b'')) == 8:
        seconds, nanoseconds = struct.unpack('<II', header['time'])
        yield StoredMessage(connections[connection], seconds * 10**9 + nanoseconds, data)


def _scan_sqlite(path: Path, notes: Notes) -> Iterator[StoredMessage]:
    """Walk over the rows by id; `writable_schema` lets SQLite open a file that is shorter than its header says."""
    try:
        with contextlib.closing(sqlite3.connect(f'file:{path}?mode=ro', uri=True, check_same_thread=False)) as database:
            database.execute('PRAGMA writable_schema=ON')
            topics = _sqlite_topics(database)
            yield from _sqlite_rows(database, topics, path, notes)
    except sqlite3.Error as error:
        notes.damage(f'{path.name}: damaged ({error}); nothing in it can be read')


def _sqlite_topics(database: sqlite3.Connection) -> dict[int, StoredTopic]:
    definitions: dict[str, str] = {}
    with contextlib.suppress(sqlite3.Error):  # absent before Iron
        query = "SELECT topic_type, encoded_message_definition FROM message_definitions WHERE encoding = 'ros2msg'"
        definitions = dict(database.execute(query))
    profiles: dict[int, str] = {}
    with contextlib.suppress(sqlite3.Error):  # absent in the oldest bags
        profiles = dict(database.execute('SELECT id, offered_qos_profiles FROM topics'))
    return {
        number: StoredTopic(
            str(name), str(msgtype), str(definitions.get(msgtype, '')), False, qos=_qos(str(profiles.get(number, '')))
        )
        for number, name, msgtype in database.execute('SELECT id, name, type FROM topics')
    }


def _sqlite_rows(
    database: sqlite3.Connection, topics: dict[int, StoredTopic], path: Path, notes: Notes
) -> Iterator[StoredMessage]:
    last = good = 0
    query = 'SELECT id, topic_id, timestamp, data FROM messages WHERE id >= ? ORDER BY id'
    while last < _MAX_ROW_ID:
        try:
            for number, topic, time_ns, data in database.execute(query, (last + 1,)):
                if number <= last:  # a damaged tree may run in circles
                    raise sqlite3.DatabaseError('rows out of order')
                last = good = number
                if topic in topics and isinstance(time_ns, int) and isinstance(data, bytes):
                    yield StoredMessage(topics[topic], time_ns, data)
            return
        except (sqlite3.Error, OverflowError):
            notes.damage(f'{path.name}: is damaged; unreadable messages are left out')
            last += max(1, (last - good) // _SINGLE_STEPS)
