"""One file of a bag as a stream of messages: by its index where that works, record by record where it is damaged."""

from __future__ import annotations

import contextlib
import functools
import re
import tempfile
from collections.abc import Collection, Iterator
from pathlib import Path

from rosbags.interfaces import Connection, ConnectionExtRosbag2, MessageDefinitionFormat
from rosbags.rosbag1 import Reader as Ros1Reader
from rosbags.rosbag1 import reader as rosbag1_reader
from rosbags.rosbag2 import Reader as Ros2Reader
from rosbags.rosbag2 import storage_mcap, storage_sqlite3

from custom_pose_ros.core.errors import DatasetError, one_line
from custom_pose_ros.core.files import stand_in
from custom_pose_ros.core.limits import MAX_BAG_BLOCK_BYTES, MAX_UNPACKED_BYTES, MAX_UNPACKED_RATIO
from custom_pose_ros.evaluation.bags.salvage import check_sqlite, scan
from custom_pose_ros.evaluation.bags.salvage_mcap import chunk_records, mcap_profile
from custom_pose_ros.evaluation.bags.stored import Cut, StoredMessage, Topic, qos_profiles, unpack, zstd
from custom_pose_ros.evaluation.notes import Notes

STORAGE_SUFFIXES = ('.mcap', '.db3', '.bag')
_ZSTD_MAGIC = b'\x28\xb5\x2f\xfd'
_ROSBAG2_PROFILE = 'ros2'
_PACKED_SUFFIX = '.zstd'
_COPY_BYTES = 1 << 20


class StorageFile:
    """
    One mcap, db3 or ROS 1 file, also when zstd-compressed as a whole (.zstd) or message by message. A context manager.

    Damage is written to `notes` and never raised.

    Attributes:
        start_ns: Time of its first message [ns]; None when there is none or it is not known yet.
    """

    def __init__(self, path: Path, notes: Notes):
        self.path, self.notes = path, notes
        self.start_ns: int | None = None
        self._stack = contextlib.ExitStack()
        self._reader: Ros1Reader | Ros2Reader | None = None
        self._local = path

    def __enter__(self) -> StorageFile:
        if self.path.suffix == _PACKED_SUFFIX:
            self._local = self._decompressed_copy()
        if problem := stand_in(self._local):
            self.notes.damage(f'{self.path.name}: {problem}')
            return self
        profile = mcap_profile(self._local) if self._local.suffix == '.mcap' else None
        if profile not in (None, _ROSBAG2_PROFILE):
            self.notes.info(
                f'{self.path.name}: was not written by rosbag2 (profile {profile!r}); read record by record'
            )
            return self
        try:
            if self._local.suffix == '.db3':
                check_sqlite(self._local)
            reader = Ros1Reader if self._local.suffix == '.bag' else Ros2Reader
            self._reader = self._stack.enter_context(reader(self._plainly_named(self._local)))
            lost = self._reader.message_count - sum(c.msgcount for c in self._reader.connections)
            if lost:
                self.notes.damage(f'{self.path.name}: its topics and its number of messages differ by {abs(lost)}')
            if self._reader.message_count:
                self.start_ns = self._reader.start_time
        except Exception as error:
            self._note_damage(error)
            self._reader = None
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(Exception):  # closing a damaged file must not hide what was read from it
            self._stack.close()

    @property
    def indexed(self) -> bool:
        """Whether the file's own index is in use; False after damage was met."""
        return self._reader is not None

    def topics(self) -> list[Topic]:
        """Return what the file holds, in its order; without an index the whole file is read, and start_ns found."""
        if self._reader is not None:
            return [self._topic(connection) for connection in self._reader.connections]
        counts: dict[Topic, int] = {}
        for message in scan(self._local, self.notes):
            counts[message.topic] = counts.get(message.topic, 0) + 1
            self.start_ns = message.time_ns if self.start_ns is None else min(self.start_ns, message.time_ns)
        return [topic._replace(count=count) for topic, count in counts.items()]

    def messages(
        self, names: Collection[str], start_ns: int | None = None, stop_ns: int | None = None
    ) -> Iterator[StoredMessage]:
        """Yield the messages of the named topics recorded in [start_ns, stop_ns), oldest first."""
        found = 0
        last_ns, last = -1, []  # what was delivered at the latest time, so that a scan repeats none and loses none
        try:
            if self._reader is not None:
                for message in self._indexed_messages(names, start_ns, stop_ns):
                    found += 1
                    if message.time_ns != last_ns:
                        last_ns, last = message.time_ns, []
                    last.append((message.topic.name, message.data))
                    yield from self._unpacked(message)
                promised = sum(c.msgcount for c in self._reader.connections if c.topic in names)
                if start_ns is None and stop_ns is None and found < promised:
                    raise ValueError(f'{found} of {promised} messages are where it says')
                return
        except Exception as error:
            self._note_damage(error)
            self._reader = None
        for message in scan(self._local, self.notes):
            topic, time_ns, data = message
            wanted = topic.name in names and (start_ns is None or time_ns >= start_ns)
            is_new = not last or time_ns > last_ns or (time_ns == last_ns and (topic.name, data) not in last)
            if wanted and (stop_ns is None or time_ns < stop_ns) and is_new:
                yield from self._unpacked(message)

    def _indexed_messages(self, names: Collection[str], start: int | None, stop: int | None) -> Iterator[StoredMessage]:
        assert self._reader is not None
        connections = [c for c in self._reader.connections if c.topic in names]
        if not connections:
            return
        topics = {c.id: self._topic(c) for c in connections}
        for connection, time_ns, data in self._reader.messages(connections, start, stop):
            yield StoredMessage(topics[connection.id], time_ns, bytes(data))

    def _unpacked(self, message: StoredMessage) -> Iterator[StoredMessage]:
        """Unpack a message of a bag with message compression; it is told from CDR by zstd's magic number."""
        if not message.data.startswith(_ZSTD_MAGIC):
            yield message
            return
        data, complete = unpack(message.data, 'zstd')
        if complete:
            yield message._replace(data=data)
        else:
            self.notes.damage(f'{message.topic.name}: a message is damaged and left out', counted=True)

    def _topic(self, connection: Connection) -> Topic:
        is_text = connection.msgdef.format == MessageDefinitionFormat.MSG
        definition = connection.msgdef.data if is_text else ''
        ros1, more = isinstance(self._reader, Ros1Reader), connection.ext
        qos = tuple(more.offered_qos_profiles) if isinstance(more, ConnectionExtRosbag2) else ()
        return Topic(connection.topic, connection.msgtype, definition, ros1, connection.msgcount, qos)

    def _note_damage(self, error: Exception) -> None:
        self.notes.damage(
            f'{self.path.name}: its index cannot be used ({one_line(error)[:150]}); read record by record'
        )

    def _plainly_named(self, path: Path) -> Path:
        """Return a link to a file whose path rosbags would take for a URI with parts, or could not pass to SQLite."""
        if re.fullmatch(r'[^#%?\x00-\x1f\ud800-\udfff]*', str(path)):
            return path
        folder = self._stack.enter_context(tempfile.TemporaryDirectory(prefix='evaluate_bag_'))
        link = Path(folder, 'bag').with_suffix(path.suffix)
        link.symlink_to(path.absolute())
        return link

    def _decompressed_copy(self) -> Path:
        """Unpack into a temporary file (never into memory), as far as a file that may be cut off or a bomb goes."""
        folder = self._stack.enter_context(tempfile.TemporaryDirectory(prefix='evaluate_bag_'))
        copy = Path(folder) / self.path.stem
        left = MAX_UNPACKED_BYTES + MAX_UNPACKED_RATIO * self.path.stat().st_size
        with self.path.open('rb') as packed, copy.open('wb') as target:
            try:
                with zstd.open(packed, 'rb') as source:
                    while left > 0 and (part := source.read(_COPY_BYTES)):
                        target.write(part)
                        left -= len(part)
                if left <= 0:
                    self.notes.damage(f'{self.path.name}: unpacked, it is larger than a recording would be; cut off')
            except (EOFError, zstd.ZstdError) as error:
                self.notes.damage(f'{self.path.name}: is cut off or damaged ({error}); unpacked as far as it goes')
            except OSError as error:
                raise DatasetError(f'{self.path.name}: cannot be unpacked into {folder} ({error.strerror})') from error
        return copy


def _unpacked(compression: str, data: bytes, size: int = MAX_BAG_BLOCK_BYTES) -> bytes:
    """Return an unpacked block; ValueError when it is larger than `size` or than MAX_BAG_BLOCK_BYTES."""
    limit = min(size, MAX_BAG_BLOCK_BYTES)
    block, complete = unpack(data, compression, limit)
    if len(block) > limit:
        raise ValueError(f'a chunk of {len(data)} bytes has more than {limit} bytes unpacked')
    if not complete:
        raise ValueError(f'a chunk of {len(data)} bytes is damaged')
    return block


def _unpacked_chunk(compression: str, data: bytes, size: int) -> bytes:
    """Return an unpacked chunk of an mcap; ValueError when it or the number of its records is not to be believed."""
    block = _unpacked(compression, data, size)
    try:
        for _ in chunk_records(block):
            pass
    except Cut as error:
        raise ValueError('a chunk whose records do not fit') from error
    return block


# rosbags itself unpacks a block whatever comes out, walks over any number of records, and reads YAML without a bound.
storage_mcap.parse_qos = storage_sqlite3.parse_qos = lambda text: list(qos_profiles(text))  # type: ignore[assignment]
for _compression in ('lz4', 'zstd'):
    storage_mcap.DECOMPRESSORS[_compression] = functools.partial(_unpacked_chunk, _compression)
for _compression in ('lz4', 'bz2'):
    rosbag1_reader.decompressors[_compression] = functools.partial(_unpacked, _compression)
