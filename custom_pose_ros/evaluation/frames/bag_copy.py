"""A copy of a bag with the results as new topics (poses, orientations, pose, /tf), for RViz and Foxglove."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rosbags.interfaces import Connection
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys.store import Typestore

from custom_pose_ros.core.errors import UsageError
from custom_pose_ros.core.files import replacing
from custom_pose_ros.core.object_model import ObjectModel
from custom_pose_ros.core.orientation.estimate import OrientationEstimate
from custom_pose_ros.evaluation.bags.decoding import pose_types
from custom_pose_ros.evaluation.bags.reader import Bag
from custom_pose_ros.evaluation.bags.stored import StoredMessage
from custom_pose_ros.evaluation.frames.frame_sources import EvaluatedFrame
from custom_pose_ros.evaluation.notes import Notes
from custom_pose_ros.inference.pose_messages import MessageMaker

BAG_VERSION = 8  # metadata that Humble to Kilted read
PREFIX_ON_CONFLICT = '/evaluated'
TOPICS = {
    '/poses': 'custom_pose_msgs/msg/PoseArray',
    '/orientations': 'custom_pose_msgs/msg/OrientationArray',
    '/pose': 'geometry_msgs/msg/PoseStamped',
    '/tf': 'tf2_msgs/msg/TFMessage',
}


@contextlib.contextmanager
def bag_copy(path: Path, bag: Bag, model: ObjectModel, notes: Notes) -> Iterator[BagCopy]:
    """
    Write an mcap bag that appears when the block ends well; a prefix of its new topics is noted then.

    Raises:
        UsageError: It exists already, or the bag is one of ROS 1.
        OutputError: It cannot be written.
    """
    if path.exists():
        raise UsageError(f'--write-bag {path}: exists already; give another name or remove it')
    if any(topic.ros1 for topic in bag.topics.values()):
        raise UsageError(
            '--write-bag: this is a ROS 1 bag; convert it first (rosbags-convert), then evaluate the result'
        )
    with (
        replacing(path) as temporary,
        Writer(temporary, version=BAG_VERSION, storage_plugin=StoragePlugin.MCAP) as writer,
    ):
        yield (copy := BagCopy(writer, bag, model))
    if copy.prefix:
        notes.info(f'--write-bag: the bag has such topics already; the new ones are under {copy.prefix}')


class BagCopy:
    """
    Every message of a bag unchanged, and after each image its results at the same time.

    Attributes:
        prefix: Under which the results are written where the bag already uses their names; /tf is joined.
    """

    def __init__(self, writer: Writer, bag: Bag, model: ObjectModel):
        self._writer, self._decoder = writer, bag.decoder
        self._types, self._model = pose_types(), model
        self._make = message_maker(self._types)
        used = {name: bag.topics[name].msgtype for name in TOPICS if name in bag.topics}
        conflict = any(name != '/tf' or msgtype != TOPICS[name] for name, msgtype in used.items())
        self.prefix = PREFIX_ON_CONFLICT if conflict else ''
        self._connections: dict[str, Connection | None] = {}

    def add_message(self, message: StoredMessage) -> None:
        """Write a message as it is; topics of unknown type are left out with a note."""
        topic = message.topic
        if topic.name not in self._connections:
            types = self._decoder.typestore(topic)
            self._connections[topic.name] = types and self._writer.add_connection(
                topic.name, topic.msgtype, typestore=types, offered_qos_profiles=topic.qos
            )
        connection = self._connections[topic.name]
        if connection is not None:
            self._writer.write(connection, message.time_ns, message.data)

    def add_frame(self, frame: EvaluatedFrame) -> None:
        """Write the results of one image, at the time the image was recorded."""
        result, make = frame.result, self._make
        header = header_message(self._types, result.stamp_ns, frame.frame_id)
        messages: dict[str, Any] = {
            '/poses': make.poses(frame.poses, self._model, header, result.width, result.height),
            '/orientations': make.orientations(result.estimates, self._model.name, header),
        }
        if result.estimates:
            pose = make.rigid_pose(result.estimates[0].pose)
            messages['/pose'] = self._types.types[TOPICS['/pose']](header=header, pose=pose)
            messages['/tf'] = self._transforms(header, result.estimates)
        for name, message in messages.items():
            msgtype = TOPICS[name]
            full = name if name == '/tf' else self.prefix + name
            if self._connections.get(full) is None:
                self._connections[full] = self._writer.add_connection(full, msgtype, typestore=self._types)
            data = self._types.serialize_cdr(message, msgtype)
            self._writer.write(self._connections[full], result.time_ns, bytes(data))

    def _transforms(self, header: Any, estimates: Sequence[OrientationEstimate]) -> Any:
        """Return a tf2_msgs/TFMessage: the frame of the camera to `<object>_<track id>` for each tracked instance."""
        make = self._types.types['geometry_msgs/msg/TransformStamped']
        transforms = [
            make(
                header=header,
                child_frame_id=f'{self._model.name}_{estimate.track_id}',
                transform=self._make.transform(estimate.pose),
            )
            for estimate in estimates
            if estimate.track_id is not None
        ]
        return self._types.types[TOPICS['/tf']](transforms=transforms)


def header_message(types: Typestore, stamp_ns: int, frame_id: str) -> Any:
    """Return a std_msgs/Header."""
    stamp = types.types['builtin_interfaces/msg/Time'](sec=stamp_ns // 10**9, nanosec=stamp_ns % 10**9)
    return types.types['std_msgs/msg/Header'](stamp=stamp, frame_id=frame_id)


def message_maker(types: Typestore) -> MessageMaker:
    """Return what builds the messages that the nodes would publish, as rosbags objects."""
    return MessageMaker(types.types, functools.partial(np.array, dtype=np.uint16))
