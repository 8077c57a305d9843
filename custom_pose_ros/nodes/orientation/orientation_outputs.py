"""OrientationOutputs: every topic an orientation is published on, for one camera or for all of them together."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack

from geometry_msgs.msg import PoseArray as RigidPoseArray
from geometry_msgs.msg import (
    PoseStamped,
    PoseWithCovarianceStamped,
    QuaternionStamped,
    TransformStamped,
    Vector3,
    Vector3Stamped,
)
from rclpy.lifecycle import LifecycleNode
from rclpy.logging import get_logger
from std_msgs.msg import Header
from visualization_msgs.msg import MarkerArray

from custom_pose_ros.core.errors import ConfigError
from custom_pose_ros.core.geometry.rigid import BODY_OPTICAL
from custom_pose_ros.core.object_model import ObjectModel
from custom_pose_ros.core.orientation.estimate import OrientationEstimate
from custom_pose_ros.core.orientation.filter_models import FilterParameters
from custom_pose_ros.core.orientation.fusion import PoseFusion
from custom_pose_ros.nodes.orientation.markers import orientations_to_markers
from custom_pose_ros.nodes.orientation.orientation_parameters import OrientationNodeParameters
from custom_pose_ros.nodes.orientation.reference_frame import BODY_SUFFIX, CAMERA_BODY, CAMERA_OPTICAL
from custom_pose_ros.nodes.ros import qos
from custom_pose_ros.nodes.ros.conversions import (
    Orientation,
    OrientationArray,
    estimates_to_message,
    stamp_seconds,
    transform_message,
)
from custom_pose_ros.nodes.ros.parameters import NodeParameters

try:
    from tf2_msgs.msg import TFMessage
except ImportError:  # not everywhere: PyPI has no wheel of it
    TFMessage = None

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
_FUSED = 'fused'  # namespace of what all cameras say together
_USUAL = 0.5  # of a speed that is rarely passed


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
        self._settings, self._frame_prefix = settings, frame_prefix
        self._logger = get_logger(node.get_logger().name)
        self._body_frames: set[str] = set()
        self._publishers = {
            topic: qos.advertise(node, kind, topic_in(namespace, topic), qos.results(), held)
            for topic, kind in TOPICS.items()
        }
        for topic, profile in (('/tf', qos.TF), ('/tf_static', qos.STATIC_TF)) if frames_available() else ():
            self._publishers[topic] = node.create_lifecycle_publisher(TFMessage, topic, profile)
            held.callback(node.destroy_lifecycle_publisher, self._publishers[topic])

    def publish(self, result: OrientationArray, model: ObjectModel) -> None:
        """Publish the orientations of one image, and the chosen one in common messages."""
        values, header = self._settings.values, result.header
        self._publishers['orientations'].publish(result)
        poses = [orientation.pose.pose for orientation in result.orientations]
        self._publishers['object_poses'].publish(RigidPoseArray(header=header, poses=poses))
        if values.publish_markers and self._publishers['~/markers'].get_subscription_count():
            optical = values.reference_frame == CAMERA_OPTICAL
            self._publishers['~/markers'].publish(orientations_to_markers(result, model, optical))
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
        """Publish the objects' frames on /tf, at the stamp of the image; estimates are in the frame of the header."""
        values = self._settings.values
        if not values.publish_tf or '/tf' not in self._publishers:
            return
        if not header.frame_id:
            self._logger.warning('poses have no frame_id: /tf needs one', throttle_duration_sec=WARNING_PERIOD_S)
            return
        if estimates:
            transforms = [
                TransformStamped(
                    header=header,
                    child_frame_id=self._frame_prefix + object_frame(model.name, estimate.track_id, index),
                    transform=transform_message(estimate.pose),
                )
                for index, estimate in enumerate(estimates)
            ]
            self._publishers['/tf'].publish(TFMessage(transforms=transforms))
        if values.reference_frame == CAMERA_BODY and header.frame_id not in self._body_frames:
            self._publish_body(header)

    def _publish_body(self, header: Header) -> None:
        """Publish, once for each camera, where its body frame is."""
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
        self._publishers['/tf_static'].publish(TFMessage(transforms=transforms))


def frames_available() -> bool:
    """Whether tf2_msgs is installed; without it no frames are published."""
    return TFMessage is not None


def topic_in(namespace: str, topic: str) -> str:
    """Return a topic in a namespace, a private one below the node's own name."""
    if not namespace:
        return topic
    return f'~/{namespace.lstrip("/")}/{topic[2:]}' if topic.startswith('~/') else f'{namespace}/{topic}'


def object_frame(object_name: str, track_id: int | None, index: int) -> str:
    """Return the name of an instance's frame: by its track, or by its place in the message while nobody tracks."""
    return f'{object_name}_{index if track_id is None else track_id}'


class FusedOrientation:
    """Fuses the estimates of all cameras, and answers the newest image with all of them together."""

    def __init__(self, node: LifecycleNode, settings: NodeParameters[OrientationNodeParameters], held: ExitStack):
        """
        Advertise; `held` is given the release of the publishers.

        Raises:
            ConfigError: there is only one camera, or no frame that is the same for all.
        """
        values = settings.values
        if len(values.cameras) < 2 or values.reference_frame in (CAMERA_OPTICAL, CAMERA_BODY):
            raise ConfigError(
                'parameter fusion: wanted several cameras and a reference_frame of TF, such as base_link, '
                f'got cameras {list(values.cameras)} and {values.reference_frame}'
            )
        self._outputs = OrientationOutputs(node, _FUSED, '', settings, held)
        self._fusion: PoseFusion | None = None

    def update(
        self,
        camera: str,
        header: Header,
        estimates: Sequence[OrientationEstimate],
        model: ObjectModel,
        parameters: FilterParameters,
    ) -> None:
        """
        Add the estimates of one image of one camera.

        Args:
            camera: its name.
            header: the stamp of the image, and the reference frame.
            estimates: in the reference frame.
            model: the object.
            parameters: what the object can do.
        """
        if self._fusion is None or self._fusion.model is not model:
            self._fusion = PoseFusion(model)
        self._fusion.speeds = _USUAL * parameters.max_speed, _USUAL * parameters.max_angular_speed
        stamp_s = stamp_seconds(header.stamp)
        fused = self._fusion.update(camera, stamp_s, estimates)
        if stamp_s < self._fusion.stamp_s:
            return  # a camera that is late: its images count, but the answer to a later one is out
        self._outputs.publish(estimates_to_message(fused, model.name, header), model)
        self._outputs.publish_frames(header, fused, model)
