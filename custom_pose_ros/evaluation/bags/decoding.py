"""Decoding of messages without ROS, by the definitions in the bag, of ROS or of custom_pose_msgs."""

from __future__ import annotations

import os
import sys
from functools import lru_cache
from pathlib import Path

from rosbags.typesys import Stores, get_types_from_msg, get_typestore
from rosbags.typesys.store import Typestore

from custom_pose_ros.core.errors import ConfigError
from custom_pose_ros.core.limits import MAX_DEFINITION_BYTES
from custom_pose_ros.evaluation.bags.stored import StoredMessage, Topic
from custom_pose_ros.evaluation.notes import Notes

POSE_MESSAGES = 'custom_pose_msgs'
_FIRST_FIELDS = {f'{POSE_MESSAGES}/msg/Pose': 8, f'{POSE_MESSAGES}/msg/Orientation': 10}  # of the first version


class Decoder:
    """Deserialises the messages of a bag; what cannot be is noted once for each topic and reason, and counted."""

    def __init__(self, notes: Notes):
        self.notes = notes
        self._stores: dict[tuple[str, str, bool], Typestore | None] = {}
        self._readable_stores: dict[tuple[str, str, bool], Typestore | None] = {}

    def decode(self, stored: StoredMessage) -> object | None:
        """Return the message, or None when its type is unknown or its bytes do not fit the type."""
        topic = stored.topic
        store = self._readable(topic)
        if store is None:
            return None
        try:
            if topic.ros1:
                return store.deserialize_ros1(stored.data, topic.msgtype)
            return store.deserialize_cdr(stored.data, topic.msgtype)
        except Exception:
            older = self._older(stored)
            if older is None:
                self.notes.damage(f'{topic.name}: a message is damaged and left out', counted=True)
            return older

    @staticmethod
    def _older(stored: StoredMessage) -> object | None:
        """Return a message of custom_pose_msgs whose bag tells no definition, by the fields of the first version."""
        topic = stored.topic
        if topic.definition or topic.ros1 or not topic.msgtype.startswith(f'{POSE_MESSAGES}/'):
            return None
        try:
            return first_pose_types().deserialize_cdr(stored.data, topic.msgtype)
        except Exception:
            return None

    def _readable(self, topic: Topic) -> Typestore | None:
        """Return the types that give messages with the expected fields: the known ones where the recorded differ."""
        key = (topic.msgtype, topic.definition, topic.ros1)
        if key not in self._readable_stores:
            store, known = self.typestore(topic), ros1_types() if topic.ros1 else ros2_types()
            if store is not None and topic.msgtype in known.fielddefs and not _same_fields(store, known):
                self.notes.damage(
                    f'{topic.name}: the recorded definition of {topic.msgtype} is not the known one, which is used'
                )
                store = known
            self._readable_stores[key] = store
        return self._readable_stores[key]

    def typestore(self, topic: Topic) -> Typestore | None:
        """Return the types to copy a topic with: as recorded with it, else as known; None if neither."""
        key = (topic.msgtype, topic.definition, topic.ros1)
        if key not in self._stores:
            self._stores[key] = self._recorded(topic) or self._known(topic)
        return self._stores[key]

    def _recorded(self, topic: Topic) -> Typestore | None:
        if not topic.definition:
            return None
        if len(topic.definition) > MAX_DEFINITION_BYTES:
            self.notes.damage(
                f'{topic.name}: its recorded message definition has {len(topic.definition)} characters, '
                f'wanted {MAX_DEFINITION_BYTES} at most; the known one of {topic.msgtype} is used'
            )
            return None
        store = get_typestore(Stores.EMPTY)
        try:
            store.register(get_types_from_msg(topic.definition, topic.msgtype))
            if topic.ros1:
                store.get_msgdef(topic.msgtype)
            else:
                store.hash_rihs01(topic.msgtype)  # fails when the definition of a part is missing
            return store
        except Exception:
            self.notes.damage(
                f'{topic.name}: its recorded message definition is damaged; the known one of {topic.msgtype} is used'
            )
            return None

    def _known(self, topic: Topic) -> Typestore | None:
        store = ros1_types() if topic.ros1 else ros2_types()
        if topic.msgtype in store.fielddefs:
            return store
        self.notes.damage(f'{topic.name}: message type {topic.msgtype} is unknown; the topic is left out')
        return None


def _same_fields(store: Typestore, known: Typestore) -> bool:
    """
    Whether all types that both know have the same fields, in names, order and types.

    Those of custom_pose_msgs may lack the last ones, which were appended later.
    """
    for name in store.fielddefs.keys() & known.fielddefs.keys():
        recorded, wanted = store.fielddefs[name][1], known.fielddefs[name][1]
        wanted = wanted[: len(recorded)] if name in _FIRST_FIELDS and len(recorded) >= _FIRST_FIELDS[name] else wanted
        if recorded != wanted:
            return False
    return True


@lru_cache(maxsize=1)
def ros1_types() -> Typestore:
    """Return the message types of ROS 1 Noetic."""
    return get_typestore(Stores.ROS1_NOETIC)


@lru_cache(maxsize=1)
def ros2_types() -> Typestore:
    """Return the message types of ROS 2, and custom_pose_msgs where its .msg files are found."""
    return _with_pose_types(first_version=False)


@lru_cache(maxsize=1)
def first_pose_types() -> Typestore:
    """Return the same types as `ros2_types`, but custom_pose_msgs without the fields that were appended later."""
    return _with_pose_types(first_version=True)


def _with_pose_types(first_version: bool) -> Typestore:
    store = get_typestore(Stores.LATEST)
    folder = find_pose_messages()
    for file in sorted(folder.glob('*.msg')) if folder is not None else ():
        types = get_types_from_msg(file.read_text(encoding='utf-8'), f'{POSE_MESSAGES}/msg/{file.stem}')
        for name in types.keys() & _FIRST_FIELDS.keys() if first_version else ():
            constants, fields = types[name]
            types[name] = constants, fields[: _FIRST_FIELDS[name]]
        store.register(types)
    return store


def find_pose_messages() -> Path | None:
    """Return the folder with the .msg files of custom_pose_msgs: of this checkout, the workspace, or this Python."""
    prefixes = [*os.environ.get('AMENT_PREFIX_PATH', '').split(os.pathsep), sys.prefix]
    candidates = [Path(__file__).resolve().parents[3] / POSE_MESSAGES / 'msg']  # those that belong to this code
    candidates += [Path(prefix) / 'share' / POSE_MESSAGES / 'msg' for prefix in prefixes if prefix]
    return next((folder for folder in candidates if (folder / 'PoseArray.msg').is_file()), None)


def pose_types() -> Typestore:
    """Return types that include custom_pose_msgs; ConfigError saying how to get them otherwise."""
    store = ros2_types()
    if f'{POSE_MESSAGES}/msg/PoseArray' not in store.fielddefs:
        raise ConfigError(
            f'the message definitions of {POSE_MESSAGES} are not found: build it '
            f'(colcon build --base-paths . {POSE_MESSAGES}) and source the workspace'
        )
    return store
