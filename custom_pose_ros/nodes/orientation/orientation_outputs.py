"""OrientationOutputs: every topic an orientation is published on, for one camera or for all of them together."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack

from geometry_msgs.msg import PoseArray as RigidPoseArray
from geometry_msgs.msg import PoseStamped, PoseWithCovarianceStamped, QuaternionStamped, Vector3, Vector3Stamped
from rclpy.lifecycle import LifecycleNode
from rclpy.logging import get_logger
from std_msgs.msg import Header
from visualization_msgs.msg import MarkerArray

from custom_pose_ros.core.object_model import ObjectModel
from custom_pose_ros.core.orientation.estimate import OrientationEstimate
from custom_pose_ros.nodes.orientation.markers import orientations_to_markers
from custom_pose_ros.nodes.orientation.object_frames import ObjectFrames
from custom_pose_ros.nodes.orientation.orientation_parameters import OrientationNodeParameters
from custom_pose_ros.nodes.orientation.reference_frame import CAMERA_BODY
from custom_pose_ros.nodes.ros import qos
from custom_pose_ros.nodes.ros.messages import Orientation, OrientationArray
from custom_pose_ros.nodes.ros.parameters import NodeParameters

WARNING_PERIOD_S = 5.0
TOPICS = {
    'orientations': OrientationArray,
    'pose': PoseStamped,
    'pose_with_covariance': PoseWithCovarianceStamped,
    'quaternion': QuaternionStamped,
    'euler': Vector3Stamped,
    'object_poses': RigidPoseArray,
    '~/markers': MarkerArray,
}


class OrientationOutputs:
    """Publishers of one namespace; what they publish follows the live parameters."""

    def __init__(
        self,
        node: LifecycleNode,
        namespace: str,
        frame_prefix: str,
        settings: NodeParameters[OrientationNodeParameters],
        held: ExitStack,
    ):
        """Advertise; `frame_prefix` is put before the objects' frames, `held` is given the publishers' release."""
        self._settings = settings
        self._logger = get_logger(node.get_logger().name)
        self._publishers = {}
        for topic, kind in TOPICS.items():
            name = topic_in(namespace, topic)
            options = qos.publisher_options(node, name)
            self._publishers[topic] = node.create_lifecycle_publisher(kind, name, qos.RESULTS, **options)
            held.callback(node.destroy_lifecycle_publisher, self._publishers[topic])
        self._frames = ObjectFrames(node, frame_prefix)
        held.callback(self._frames.close)

    def publish(self, result: OrientationArray, model: ObjectModel) -> None:
        """Publish the orientations of one image, and the chosen one in common messages."""
        values, header = self._settings.values, result.header
        self._publishers['orientations'].publish(result)
        poses = [orientation.pose.pose for orientation in result.orientations]
        self._publishers['object_poses'].publish(RigidPoseArray(header=header, poses=poses))
        if values.publish_markers and self._publishers['~/markers'].get_subscription_count():
            self._publishers['~/markers'].publish(orientations_to_markers(result, model))
        chosen = next((o for o in result.orientations if values.track_id in (-1, o.track_id)), None)
        if chosen is not None:
            self._publish_chosen(header, chosen)

    def _publish_chosen(self, header: Header, chosen: Orientation) -> None:
        pose, publishers = chosen.pose.pose, self._publishers
        publishers['pose'].publish(PoseStamped(header=header, pose=pose))
        publishers['pose_with_covariance'].publish(PoseWithCovarianceStamped(header=header, pose=chosen.pose))
        publishers['quaternion'].publish(QuaternionStamped(header=header, quaternion=pose.orientation))
        angles = Vector3(x=chosen.roll, y=chosen.pitch, z=chosen.yaw)
        publishers['euler'].publish(Vector3Stamped(header=header, vector=angles))

    def publish_frames(self, header: Header, estimates: Sequence[OrientationEstimate], model: ObjectModel) -> None:
        """Publish the objects' frames on /tf; estimates are in the frame of the header."""
        values = self._settings.values
        if not (values.publish_tf and self._frames.available()):
            return
        if not header.frame_id:
            self._logger.warning('poses have no frame_id: /tf needs one', throttle_duration_sec=WARNING_PERIOD_S)
            return
        self._frames.publish(header, estimates, model.name)
        if values.reference_frame == CAMERA_BODY:
            self._frames.publish_body(header)


def topic_in(namespace: str, topic: str) -> str:
    """Return a topic in a namespace, a private one below the node's own name."""
    if not namespace:
        return topic
    return f'~/{namespace.lstrip("/")}/{topic[2:]}' if topic.startswith('~/') else f'{namespace}/{topic}'
