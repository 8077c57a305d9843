"""ObjectFrames: the frames of the objects, and the body frame of the camera, on /tf."""

from __future__ import annotations

from collections.abc import Sequence

from geometry_msgs.msg import TransformStamped
from rclpy.lifecycle import LifecycleNode
from std_msgs.msg import Header

from custom_pose_ros.core.geometry.rigid import BODY_OPTICAL
from custom_pose_ros.core.orientation.estimate import OrientationEstimate
from custom_pose_ros.nodes.orientation.reference_frame import BODY_SUFFIX
from custom_pose_ros.nodes.ros import qos
from custom_pose_ros.nodes.ros.conversions import transform_message

try:
    from tf2_msgs.msg import TFMessage
except ImportError:  # not everywhere: PyPI has no wheel of it
    TFMessage = None


class ObjectFrames:
    """Publishes camera optical frame -> object frames on /tf, and -> the camera body frame on /tf_static."""

    def __init__(self, node: LifecycleNode, prefix: str = ''):
        """Advertise; `prefix` tells the objects' frames of several cameras apart."""
        self._node, self._prefix = node, prefix
        self._body_frames: set[str] = set()
        self._publishers = []
        if self.available():
            self._publishers = [
                node.create_lifecycle_publisher(TFMessage, '/tf', qos.TF),
                node.create_lifecycle_publisher(TFMessage, '/tf_static', qos.STATIC_TF),
            ]

    @staticmethod
    def available() -> bool:
        """Whether tf2_msgs is installed; without it nothing is published."""
        return TFMessage is not None

    def publish(self, header: Header, estimates: Sequence[OrientationEstimate], object_name: str) -> None:
        """Publish one transform for each instance, from the frame of the image, at its stamp."""
        if estimates and self._publishers:
            transforms = [
                TransformStamped(
                    header=header,
                    child_frame_id=self._prefix + object_frame(object_name, estimate.track_id, index),
                    transform=transform_message(estimate.pose),
                )
                for index, estimate in enumerate(estimates)
            ]
            self._publishers[0].publish(TFMessage(transforms=transforms))

    def publish_body(self, header: Header) -> None:
        """Publish, once for each camera, where its body frame is."""
        if header.frame_id in self._body_frames or not self._publishers:
            return
        self._body_frames.add(header.frame_id)
        body_in_optical = transform_message(BODY_OPTICAL.inverse())
        transforms = [
            TransformStamped(
                header=Header(stamp=header.stamp, frame_id=optical),
                child_frame_id=optical + BODY_SUFFIX,
                transform=body_in_optical,
            )
            for optical in sorted(self._body_frames)  # a late listener gets the last message only
        ]
        self._publishers[1].publish(TFMessage(transforms=transforms))

    def close(self) -> None:
        """Stop publishing."""
        for publisher in self._publishers:
            self._node.destroy_lifecycle_publisher(publisher)


def object_frame(object_name: str, track_id: int | None, index: int) -> str:
    """Return the name of an instance's frame: by its track, or by its place in the message while nobody tracks."""
    return f'{object_name}_{index if track_id is None else track_id}'
