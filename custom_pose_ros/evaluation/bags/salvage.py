"""Reading what is left of damaged recordings of any kind, record by record (mcap: salvage_mcap)."""

from __future__ import annotations

import contextlib
import functools
import sqlite3
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from custom_pose_ros.core.limits import MAX_BAG_BLOCK_BYTES, MAX_BAG_BLOCK_RECORDS, MAX_SQLITE_STEPS, MAX_SQLITE_TOPICS
from custom_pose_ros.evaluation.bags.salvage_mcap import MCAP_MAGIC, scan_mcap
from custom_pose_ros.evaluation.bags.stored import Cut, Fields, StoredMessage, Topic, full_type, qos_profiles, unpack
from custom_pose_ros.evaluation.notes import Notes

_ROS1_CHUNK, _ROS1_CONNECTION, _ROS1_MESSAGE = b'\x05', b'\x07', b'\x02'
_MAX_ROW_ID = 1 << 31
_SQLITE_TABLES = ('message_definitions', 'messages', 'metadata', 'schema', 'topics')
_STEPS_AT_ONCE = 10_000
_SINGLE_STEPS = 64  # unreadable sqlite rows that are skipped one by one; then the steps grow


def scan(path: Path, notes: Notes) -> Iterator[StoredMessage]:
    """Yield every message that can still be read, in the order of the file; damage is noted, never raised."""
    with path.open('rb') as file:
        head = file.read(16)
    if head.startswith(b'#ROSBAG V2.0'):
        yield from _scan_ros1(path, notes)
    elif head.startswith(b'SQLite format 3'):
        yield from _scan_sqlite(path, notes)
    elif head.startswith(MCAP_MAGIC):
        yield from scan_mcap(path, notes)
    else:
        notes.damage(f'{path.name}: is neither an mcap, nor a sqlite3, nor a ROS 1 bag file; nothing in it can be read')


def _scan_ros1(path: Path, notes: Notes) -> Iterator[StoredMessage]:
    """Walk over the records (bag format 2.0, wiki.ros.org/Bags/Format/2.0)."""
    connections: dict[int, Topic] = {}
    size = path.stat().st_size
    with path.open('rb') as file:
        file.readline()
        while file.tell() < size:
            start = file.tell()
            try:
                header, data, complete = _ros1_record(file, size)
                if header.get('op') == _ROS1_CHUNK:
                    block, sound = unpack(data, header.get('compression', b'').decode('ascii', 'replace'))
                    if sound or not complete:
                        yield from _ros1_chunk(block, connections)
                    else:
                        notes.damage(f'{path.name}: a damaged chunk at byte {start} is left out')
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
    if not header:  # nothing but zeros, of which a sparse file has any number
        raise Cut
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


def _ros1_chunk(data: bytes, connections: dict[int, Topic]) -> Iterator[StoredMessage]:
    buffer = Fields(data)
    messages: list[StoredMessage] = []
    with contextlib.suppress(Cut):
        while buffer.position < len(data) and len(messages) < MAX_BAG_BLOCK_RECORDS:
            header = _ros1_fields(buffer.bytes(buffer.number('I')))
            if not header:  # nothing but zeros
                return
            messages += _ros1_message(header, buffer.bytes(buffer.number('I')), connections)
    yield from sorted(messages, key=lambda message: message.time_ns)


def _ros1_message(header: dict[str, bytes], data: bytes, connections: dict[int, Topic]) -> Iterator[StoredMessage]:
    kind, number = header.get('op'), header.get('conn', b'')
    if len(number) != 4:
        return
    connection = struct.unpack('<I', number)[0]
    if kind == _ROS1_CONNECTION:
        fields = _ros1_fields(data)
        topic, text = (fields.get(key, b'') for key in ('type', 'message_definition'))
        connections[connection] = Topic(
            header.get('topic', b'').decode('utf-8', 'replace'),
            full_type(topic.decode('utf-8', 'replace')),
            text.decode('utf-8', 'replace'),
            True,
        )
    elif kind == _ROS1_MESSAGE and connection in connections and len(header.get('time', b'')) == 8:
        seconds, nanoseconds = struct.unpack('<II', header['time'])
        yield StoredMessage(connections[connection], seconds * 10**9 + nanoseconds, data)


def _scan_sqlite(path: Path, notes: Notes) -> Iterator[StoredMessage]:
    """Walk over the rows by id; `writable_schema` lets SQLite open a file that is shorter than its header says."""
    try:
        with contextlib.closing(_open_sqlite(path)) as database:
            _check_tables(database)
            topics = _sqlite_topics(database)
            yield from _sqlite_rows(database, topics, path, notes)
    except sqlite3.Error as error:
        notes.damage(f'{path.name}: damaged ({error}); nothing in it can be read')


def _open_sqlite(path: Path) -> sqlite3.Connection:
    """Open for reading; as a URI, whose `#`, `%` and `?` have to be written out."""
    database = sqlite3.connect(path.absolute().as_uri() + '?mode=ro', uri=True, check_same_thread=False)
    database.text_factory = functools.partial(str, encoding='utf-8', errors='replace')  # text may be damaged
    database.execute('PRAGMA writable_schema=ON')
    return database


def check_sqlite(path: Path) -> None:
    """
    Raise sqlite3.DatabaseError where reading might never end: views, computed columns, trees that run in circles.

    Both are small: a view of a few bytes can have any number of rows, and so can twenty pages that name each other.
    """
    steps_left = [(MAX_SQLITE_STEPS + path.stat().st_size) // _STEPS_AT_ONCE]

    def too_long() -> bool:
        steps_left[0] -= 1
        return steps_left[0] < 0

    with contextlib.closing(_open_sqlite(path)) as database:
        database.set_progress_handler(too_long, _STEPS_AT_ONCE)
        _check_tables(database)
        if database.execute('SELECT COUNT(*) FROM topics').fetchone()[0] > MAX_SQLITE_TOPICS:
            raise sqlite3.DatabaseError(f'it has more than {MAX_SQLITE_TOPICS} topics')
        database.execute('SELECT SUM(1) FROM messages NOT INDEXED').fetchone()
        database.execute('SELECT MIN(timestamp), MAX(timestamp), COUNT(*) FROM messages').fetchone()


def _check_tables(database: sqlite3.Connection) -> None:
    """Raise sqlite3.DatabaseError where what is read of a bag is no plain table: no view, nor computed."""
    for name, kind, page in database.execute('SELECT name, type, rootpage FROM sqlite_master').fetchall():
        if name in _SQLITE_TABLES:
            columns = database.execute(f'PRAGMA table_xinfo({name})').fetchall()
            if kind != 'table' or not page or any(column[-1] for column in columns):
                raise sqlite3.DatabaseError(f'{name!r} is no table as rosbag2 writes it')


def _sqlite_topics(database: sqlite3.Connection) -> dict[int, Topic]:
    definitions: dict[str, str] = {}
    with contextlib.suppress(sqlite3.Error):  # absent before Iron
        query = "SELECT topic_type, encoded_message_definition FROM message_definitions WHERE encoding = 'ros2msg'"
        definitions = dict(database.execute(query))
    profiles: dict[int, object] = {}
    with contextlib.suppress(sqlite3.Error):  # absent in the oldest bags
        profiles = dict(database.execute('SELECT id, offered_qos_profiles FROM topics'))
    return {
        number: Topic(
            str(name),
            str(msgtype),
            str(definitions.get(msgtype, '')),
            False,
            qos=qos_profiles(str(profiles.get(number, ''))),
        )
        for number, name, msgtype in database.execute('SELECT id, name, type FROM topics')
    }


def _sqlite_rows(
    database: sqlite3.Connection, topics: dict[int, Topic], path: Path, notes: Notes
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
