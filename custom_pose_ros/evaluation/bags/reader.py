"""Bags of every kind as one stream of messages in time order: rosbag2 (mcap, sqlite3, compressed, split) and ROS 1."""

from __future__ import annotations

import contextlib
import heapq
import itertools
import os
import re
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

import numpy as np

from custom_pose_ros.core.errors import ConfigError, DatasetError
from custom_pose_ros.core.yaml_files import read_yaml
from custom_pose_ros.evaluation.bags.decoding import Decoder
from custom_pose_ros.evaluation.bags.storage import STORAGE_SUFFIXES, StorageFile
from custom_pose_ros.evaluation.bags.stored import StoredMessage, Topic
from custom_pose_ros.evaluation.notes import Notes

_DEFAULT_FPS, _LOWEST_FPS, _HIGHEST_FPS = 30.0, 1.0, 120.0
_PROBED_MESSAGES = 60


class Bag:
    """
    A recording: rosbag2 folders and files, or ROS 1 files; several are merged by time. Use as a context manager.

    Every file is opened, and unpacked where it is compressed as a whole, once and stays open until the block ends.

    Attributes:
        topics: By name, as the first file describes them, with the number of messages in all files.
        start_ns: Time of the first message [ns since the epoch]; 0 for a bag without messages.
        notes: What was damaged or odd.
    """

    def __init__(self, paths: Sequence[str | Path]):
        """
        Find the files of the bag.

        Args:
            paths: Folders (with or without metadata.yaml) or files (.mcap, .db3, .bag, and these with .zstd).

        Raises:
            DatasetError: There is nothing that could be a bag.
        """
        self.notes = Notes()
        self.paths = [Path(path) for path in paths]
        self.topics: dict[str, Topic] = {}
        self.start_ns = 0
        self.decoder = Decoder(self.notes)
        self._parts = [
            [StorageFile(file, self.notes) for file in _storage_files(path, self.notes)] for path in self.paths
        ]
        self._open_files = contextlib.ExitStack()

    def __enter__(self) -> Bag:
        starts = []
        with contextlib.ExitStack() as stack:
            for storage in itertools.chain.from_iterable(self._parts):
                stack.enter_context(storage)
                self._add_topics(storage.topics(), storage.path.name)
                starts += [storage.start_ns] if storage.start_ns is not None else []
            self._open_files = stack.pop_all()
        self.start_ns = min(starts, default=0)
        return self

    def __exit__(self, *_: object) -> None:
        self._open_files.close()

    @property
    def indexed(self) -> bool:
        """Whether a part of it can be read without reading all of it."""
        return all(storage.indexed for part in self._parts for storage in part)

    @property
    def name(self) -> str:
        """Name of the folder or file it was given as."""
        others = len(self.paths) - 1
        return self.paths[0].resolve().name + (f' and {others} more' if others else '')

    def messages(
        self, names: Collection[str] | None = None, start_ns: int | None = None, stop_ns: int | None = None
    ) -> Iterator[StoredMessage]:
        """Yield the messages of the named topics (None: all) recorded in [start_ns, stop_ns), oldest first."""
        wanted = set(self.topics if names is None else names)
        chains = [self._chain(part, wanted, start_ns, stop_ns) for part in self._parts]
        with contextlib.ExitStack() as stack:
            for chain in chains:
                stack.callback(chain.close)  # ends the reading of a file, also when the caller stops early
            yield from heapq.merge(*chains, key=lambda message: message.time_ns)

    def decode(self, message: StoredMessage) -> object | None:
        """Return a message as an object with ROS 2 field names; None, with a note, when its bytes are damaged."""
        return self.decoder.decode(message)

    def static_transforms(self, names: Collection[str], until_ns: int) -> Iterator[StoredMessage]:
        """Yield those of the named topics that hold for the whole bag, recorded before `until_ns`, as if then."""
        static = {name for name in names if is_static(name)}
        for message in self.messages(static, stop_ns=until_ns) if static else ():
            yield message._replace(time_ns=until_ns)

    def first(self, topic: str) -> object | None:
        """Return the first message of a topic that can be decoded; None where there is none among the first ones."""
        probe = Decoder(Notes())  # what is damaged is told when it is read for good
        decoded = map(probe.decode, itertools.islice(self.messages([topic]), _PROBED_MESSAGES))
        return next((message for message in decoded if message is not None), None)

    def frame_rate(self, topic: str) -> float:
        """Return the messages per second of a topic, from its first ones."""
        times = [message.time_ns for message in itertools.islice(self.messages([topic]), _PROBED_MESSAGES)]
        steps = np.diff(np.array(times, np.int64))
        if not len(steps) or np.median(steps) <= 0:
            return _DEFAULT_FPS
        return float(np.clip(1e9 / np.median(steps), _LOWEST_FPS, _HIGHEST_FPS))

    @staticmethod
    def _chain(
        part: list[StorageFile], names: Collection[str], start_ns: int | None, stop_ns: int | None
    ) -> Iterator[StoredMessage]:
        """Yield the messages of the files of a split bag, one after the other."""
        for storage in part:
            yield from storage.messages(names, start_ns, stop_ns)

    def _add_topics(self, stored: list[Topic], file: str) -> None:
        for topic in stored:
            known = self.topics.get(topic.name)
            if known is None:
                self.topics[topic.name] = topic
            elif known.msgtype == topic.msgtype:
                self.topics[topic.name] = known._replace(count=known.count + topic.count)
            else:
                self.notes.damage(
                    f'{file}: topic {topic.name} is {topic.msgtype} here and {known.msgtype} before; left out here'
                )


def is_static(topic: str) -> bool:
    """Whether a topic holds transforms that are recorded once and hold for ever."""
    return topic.endswith('tf_static')


def _storage_files(path: Path, notes: Notes) -> list[Path]:
    """Return the storage files of one bag in their order; DatasetError when there are none."""
    if not path.exists():
        raise DatasetError(f'{path}: no such bag; wanted a rosbag2 folder, or an .mcap, .db3 or .bag file')
    if not path.is_dir():
        if not _is_storage(path):
            raise DatasetError(f'{path}: is not a bag; wanted a rosbag2 folder, or an .mcap, .db3 or .bag file')
        return [path]
    found = sorted((p for p in path.iterdir() if _is_storage(p)), key=_natural_order)
    listed = _listed_files(path, notes)
    if listed is not None:
        for missing in (name for name in listed if not (path / name).is_file()):
            notes.damage(f'{missing}: listed in metadata.yaml but missing')
        order = {name: i for i, name in enumerate(listed)}
        found = sorted(found, key=lambda p: order.get(p.name, len(order)))
    if not found:
        raise DatasetError(f'{path}: this folder has no .mcap, .db3 or .bag file, so it is not a bag')
    return found


def _listed_files(folder: Path, notes: Notes) -> list[str] | None:
    """Return the names of the storage files in the order of metadata.yaml; None, with a note, when it does not tell."""
    file = folder / 'metadata.yaml'
    if not os.path.lexists(file):
        if not list(folder.glob('*.bag')):
            notes.damage(
                f'{folder.name}: has no metadata.yaml (recording not closed?); '
                'its files are read in the order of their names'
            )
        return None
    try:
        content = read_yaml(file, '')
        return [Path(str(entry)).name for entry in content['rosbag2_bagfile_information']['relative_file_paths']]
    except (ConfigError, LookupError, TypeError):
        notes.damage(f'{folder.name}: its metadata.yaml is damaged; the files are read in the order of their names')
    return None


def _is_storage(path: Path) -> bool:
    return path.is_file() and Path(path.name.removesuffix('.zstd')).suffix in STORAGE_SUFFIXES


def _natural_order(path: Path) -> list[tuple[int, str]]:
    """Sort key in which bag_2 comes before bag_10."""
    return [(int(part), '') if part.isdecimal() else (0, part) for part in re.split(r'(\d+)', path.name)]
