"""Reading a damaged sqlite3 file of rosbag2, row by row."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from custom_pose_ros.evaluation.bags.stored import StoredMessage, StoredTopic, qos_profiles
from custom_pose_ros.evaluation.notes import Notes

_MAX_ROW_ID = 1 << 31
_SINGLE_STEPS = 64  # unreadable sqlite rows that are skipped one by one; then the steps grow


def scan_sqlite(path: Path, notes: Notes) -> Iterator[StoredMessage]:
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
    profiles: dict[int, object] = {}
    with contextlib.suppress(sqlite3.Error):  # absent in the oldest bags
        profiles = dict(database.execute('SELECT id, offered_qos_profiles FROM topics'))
    return {
        number: StoredTopic(
            str(name),
            str(msgtype),
            str(definitions.get(msgtype, '')),
            False,
            qos=qos_profiles(str(profiles.get(number, ''))),
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
