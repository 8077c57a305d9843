"""A copy of a bag with the results as new topics (poses, orientations, pose, /tf), for RViz and Foxglove."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rosbags.interfaces import Connection
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys.store import Typestore

from custom_pose_ros.core.errors import UsageError
from custom_pose_ros.core.files import replacing
from custom_pose_ros.core.geometry.rigid import Rigid
from custom_pose_ros.core.geometry.rotations import quaternion_from_matrix
from custom_pose_ros.core.keypoints.poses import KeypointPose
from custom_pose_ros.core.object_model import ObjectModel
from custom_pose_ros.core.orientation.estimate import OrientationEstimate
from custom_pose_ros.evaluation.bags.decoding import pose_types
from custom_pose_ros.evaluation.bags.reader import Bag
from custom_pose_ros.evaluation.bags.stored import StoredMessage
from custom_pose_ros.evaluation.frames.frame_sources import EvaluatedFrame
from custom_pose_ros.inference.pose_messages import keypoint_fields, orientation_fields, pose_fields

BAG_VERSION = 8  # metadata that Humble to Kilted read
PREFIX_ON_CONFLICT = '/evaluated'
TOPICS = {
    '/poses': 'custom_pose_msgs/msg/PoseArray',
    '/orientations': 'custom_pose_msgs/msg/OrientationArray',
    '/pose': 'geometry_msgs/msg/PoseStamped',
    '/tf': 'tf2_msgs/msg/TFMessage',
}


@contextlib.contextmanager
def bag_copy(path: Path, bag: Bag, model: ObjectModel) -> Iterator[BagCopy]:
    """
    Write an mcap bag that appears when the block ends well.

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
        yield BagCopy(writer, bag, model)


class BagCopy:
    """
    Every message of a bag unchanged, and after each image its results at the same time.

    Attributes:
        prefix: Under which the results are written where the bag already uses their names; /tf is joined.
    """

    def __init__(self, writer: Writer, bag: Bag, model: ObjectModel):
        self._writer, self._decoder = writer, bag.decoder
        self._types = pose_types()
        self._make = MessageMaker(self._types, model)
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
        header = make.header(result.stamp_ns, frame.frame_id)
        messages: dict[str, Any] = {
            '/poses': make.pose_array(header, frame.poses, result.width, result.height),
            '/orientations': make.orientation_array(header, result.estimates),
        }
        if result.estimates:
            messages['/pose'] = make.pose_stamped(header, result.estimates[0])
            messages['/tf'] = make.transforms(header, result.estimates)
        for name, message in messages.items():
            msgtype = TOPICS[name]
            full = name if name == '/tf' else self.prefix + name
            if self._connections.get(full) is None:
                self._connections[full] = self._writer.add_connection(full, msgtype, typestore=self._types)
            data = self._types.serialize_cdr(message, msgtype)
            self._writer.write(self._connections[full], result.time_ns, bytes(data))


class MessageMaker:
    """Builds the messages that the nodes would publish, as rosbags objects of a typestore with custom_pose_msgs."""

    def __init__(self, types: Typestore, model: ObjectModel):
        self._types, self._model = types.types, model

    def header(self, stamp_ns: int, frame_id: str) -> Any:
        """Return a std_msgs/Header."""
        stamp = self._types['builtin_interfaces/msg/Time'](sec=stamp_ns // 10**9, nanosec=stamp_ns % 10**9)
        return self._types['std_msgs/msg/Header'](stamp=stamp, frame_id=frame_id)

    def pose_array(self, header: Any, poses: Sequence[KeypointPose], width: int, height: int) -> Any:
        """Return a custom_pose_msgs/PoseArray of one image."""
        return self._types['custom_pose_msgs/msg/PoseArray'](
            header=header,
            image_width=width,
            image_height=height,
            keypoint_names=list(self._model.keypoint_names),
            skeleton=np.array([index for edge in self._model.skeleton for index in edge], np.uint16),
            poses=[self._pose(pose) for pose in poses],
        )

    def _pose(self, pose: KeypointPose) -> Any:
        return self._types['custom_pose_msgs/msg/Pose'](
            keypoints=self._keypoints(pose),
            alternative=self._keypoints(pose.alternative),
            **pose_fields(pose, self._model.name),
        )

    def _keypoints(self, pose: KeypointPose | None) -> list[Any]:
        make = self._types['custom_pose_msgs/msg/Keypoint']
        return [make(**{**fields, 'covariance': np.array(fields['covariance'])}) for fields in keypoint_fields(pose)]

    def orientation_array(self, header: Any, estimates: Sequence[OrientationEstimate]) -> Any:
        """Return a custom_pose_msgs/OrientationArray of one image, in the frame of the camera."""
        orientations = [self._orientation(estimate) for estimate in estimates]
        return self._types['custom_pose_msgs/msg/OrientationArray'](header=header, orientations=orientations)

    def _orientation(self, estimate: OrientationEstimate) -> Any:
        pose = self._types['geometry_msgs/msg/PoseWithCovariance'](
            pose=self._rigid_pose(estimate.pose), covariance=np.ascontiguousarray(estimate.covariance.ravel())
        )
        fields = orientation_fields(estimate, self._model.name)
        alternative = self._rigid_pose(estimate.alternative)
        return self._types['custom_pose_msgs/msg/Orientation'](pose=pose, alternative=alternative, **fields)

    def _rigid_pose(self, pose: Rigid | None) -> Any:
        """Return a geometry_msgs/Pose; all NaN without a pose."""
        position = np.full(3, np.nan) if pose is None else pose.translation
        quaternion = np.full(4, np.nan) if pose is None else quaternion_from_matrix(pose.rotation)
        return self._types['geometry_msgs/msg/Pose'](
            position=self._types['geometry_msgs/msg/Point'](*position.tolist()),
            orientation=self._types['geometry_msgs/msg/Quaternion'](*quaternion.tolist()),
        )

    def pose_stamped(self, header: Any, estimate: OrientationEstimate) -> Any:
        """Return a geometry_msgs/PoseStamped."""
        return self._types['geometry_msgs/msg/PoseStamped'](header=header, pose=self._rigid_pose(estimate.pose))

    def transforms(self, header: Any, estimates: Sequence[OrientationEstimate]) -> Any:
        """Return a tf2_msgs/TFMessage: the frame of the camera to `<object>_<track id>` for each tracked instance."""
        make = self._types
        return make['tf2_msgs/msg/TFMessage'](
            transforms=[
                make['geometry_msgs/msg/TransformStamped'](
                    header=header,
                    child_frame_id=f'{self._model.name}_{estimate.track_id}',
                    transform=make['geometry_msgs/msg/Transform'](
                        translation=make['geometry_msgs/msg/Vector3'](*estimate.t_camera_object.tolist()),
                        rotation=make['geometry_msgs/msg/Quaternion'](*estimate.quaternion.tolist()),
                    ),
                )
                for estimate in estimates
                if estimate.track_id is not None
            ]
        )
