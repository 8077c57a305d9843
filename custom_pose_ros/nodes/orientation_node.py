"""orientation_node: keypoint poses and camera intrinsics in, orientations out; wiring only."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from typing import Any

from geometry_msgs.msg import PoseArray as RigidPoseArray
from geometry_msgs.msg import PoseStamped, PoseWithCovarianceStamped, QuaternionStamped, Vector3, Vector3Stamped
from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.subscription import Subscription
from sensor_msgs.msg import CameraInfo
from std_msgs.msg import Header
from visualization_msgs.msg import MarkerArray

from custom_pose_ros.core.camera import CameraIntrinsics
from custom_pose_ros.core.errors import ConfigError, CustomPoseError
from custom_pose_ros.core.object_model import ObjectModel
from custom_pose_ros.core.orientation import OrientationEstimate
from custom_pose_ros.core.orientation_estimator import OrientationEstimator
from custom_pose_ros.nodes import qos
from custom_pose_ros.nodes.camera_source import CameraSource
from custom_pose_ros.nodes.conversions import estimates_to_message, message_to_poses, stamp_seconds
from custom_pose_ros.nodes.diagnostics import DiagnosticsPublisher, Statistics
from custom_pose_ros.nodes.frames import CAMERA_BODY, ObjectFrames, make_reference_frame
from custom_pose_ros.nodes.markers import orientations_to_markers
from custom_pose_ros.nodes.messages import Orientation, OrientationArray, PoseArray
from custom_pose_ros.nodes.parameters import (
    FilterNodeParameters,
    NodeParameters,
    OrientationNodeParameters,
    unknown_overrides,
)
from custom_pose_ros.nodes.runner import run_node

WARNING_PERIOD_S = 5.0
OUTPUTS = {
    'orientations': OrientationArray,
    'pose': PoseStamped,
    'pose_with_covariance': PoseWithCovarianceStamped,
    'quaternion': QuaternionStamped,
    'euler': Vector3Stamped,
    'object_poses': RigidPoseArray,
    '~/markers': MarkerArray,
}


class OrientationNode(Node):
    """
    Subscribes poses and camera_info; publishes orientations, the chosen instance in common messages, markers and /tf.

    Every PoseArray is answered by an OrientationArray with its stamp, an empty one when nothing could be solved.
    """

    def __init__(self, **node_options: Any):
        """Declare parameters, load the object and start. Raises ConfigError: one line for the user."""
        super().__init__('orientation_node', **node_options)
        self._active = False
        self.configure()
        self.activate()

    def configure(self) -> None:
        """Read parameters, load the object and, if given, the calibration."""
        self._settings = NodeParameters(self, OrientationNodeParameters, on_change=self._on_settings)
        self._filter_settings = NodeParameters(self, FilterNodeParameters, 'filter.', on_change=self._on_filter)
        values = self._settings.values
        self._model = ObjectModel.load(values.object)
        OrientationEstimator(self._model, CameraIntrinsics.from_fov(640, 480, 1.0))  # an unfit object is refused now
        self._estimator: OrientationEstimator | None = None
        self._camera: CameraIntrinsics | None = None
        self._camera_source = CameraSource(
            values.camera_calibration, values.image_rectified, values.camera_info_timeout, values.fallback_fov_deg
        )

    def activate(self) -> None:
        """Advertise and subscribe."""
        values = self._settings.values
        self._statistics = Statistics()
        self._unsolved = 0
        self._reference = make_reference_frame(values.reference_frame, self, values.tf_timeout)
        with qos.overrides_explained():
            self._outputs = self._advertise()
            self._inputs = self._subscribe()
        self._frames = ObjectFrames(self, self._model.name)
        if values.publish_tf and not self._frames.available:
            self.get_logger().warning(
                'tf2_msgs is not installed: /tf is not published (install it, or set publish_tf: false)'
            )
        self._diagnostics = DiagnosticsPublisher(self, 'orientation', self._model.name, self._statistics, self._rows)
        self._active = True
        for line in unknown_overrides(self):
            self.get_logger().warning(line)
        self.get_logger().info(
            f'orientation of {self._model.name} from {self._inputs[0].topic_name}, camera: {self._camera_source.state}'
        )

    def _advertise(self) -> dict[str, Publisher]:
        return {
            topic: self.create_publisher(kind, topic, qos.RESULTS, qos_overriding_options=qos.overridable())
            for topic, kind in OUTPUTS.items()
        }

    def _subscribe(self) -> list[Subscription]:
        options = {'qos_overriding_options': qos.overridable()}
        inputs = [self.create_subscription(PoseArray, 'poses', self._on_poses, qos.RESULTS, **options)]
        if self._camera_source.wants_camera_info:
            callback, profile = self._on_camera_info, qos.camera_info()
            inputs.append(self.create_subscription(CameraInfo, 'camera_info', callback, profile, **options))
        return inputs

    def deactivate(self) -> None:
        """Stop listening and publishing."""
        self._active = False
        self._diagnostics.close()
        self._frames.close()
        self._reference.close()
        for subscription in self._inputs:
            self.destroy_subscription(subscription)
        for publisher in self._outputs.values():
            self.destroy_publisher(publisher)

    def destroy_node(self) -> None:
        """Deactivate and end."""
        if self._active:
            self.deactivate()
        super().destroy_node()

    def _on_settings(self, values: OrientationNodeParameters) -> None:
        self._camera_source.timeout_s = values.camera_info_timeout
        self._camera_source.fallback_fov_deg = values.fallback_fov_deg
        self._reference.timeout_s = values.tf_timeout

    def _on_filter(self, values: FilterNodeParameters) -> None:
        self._estimator = None  # all tracks start anew, with the new values

    def _rows(self) -> dict[str, str]:
        return {
            'object': self._model.name,
            'camera': self._camera_source.state,
            'reference frame': self._settings.values.reference_frame,
            'unsolved instances': str(self._unsolved),
        }

    def _on_camera_info(self, message: CameraInfo) -> None:
        try:
            self._camera_source.take_camera_info(message)
        except ConfigError as error:
            self._refuse(f'camera_info: {error}')

    def _on_poses(self, message: PoseArray) -> None:
        started = time.monotonic()
        self._statistics.received()
        header = Header(stamp=message.header.stamp, frame_id=self._reference.frame_id(message.header))
        result, estimates, problem = OrientationArray(header=header), [], ''
        try:
            estimates = self._solve(message)
            R, t = self._reference.locate(message.header)
            result = estimates_to_message(estimates, self._model.name, header, R, t)
        except CustomPoseError as error:
            problem = str(error)
        except Exception as error:  # whatever a message does, the next one gets its chance
            problem = f'{type(error).__name__}: {error}'
        self._publish(result)
        self._publish_frames(message.header, estimates)
        if problem:
            self._refuse(problem)
        else:
            latency_s = 1e-9 * self.get_clock().now().nanoseconds - stamp_seconds(message.header.stamp)
            self._statistics.processed(latency_s, time.monotonic() - started)

    def _solve(self, message: PoseArray) -> list[OrientationEstimate]:
        """Return the estimates in the camera optical frame. Raises MessageError when message or camera are no use."""
        poses = message_to_poses(message, self._model)
        camera = self._camera_source.intrinsics(message.image_width, message.image_height)
        if self._estimator is None or camera is not self._camera:
            self._camera = camera
            self._estimator = OrientationEstimator(
                self._model,
                camera,
                smoothing=self._settings.values.smoothing,
                parameters=self._filter_settings.values.core,
            )
        if self._camera_source.is_guess:
            self.get_logger().warning(
                f'no camera_info: a camera of {self._settings.values.fallback_fov_deg:g} deg is assumed, '
                'distances and angles are rough; publish camera_info or set camera_calibration',
                throttle_duration_sec=WARNING_PERIOD_S,
            )
        estimates = self._estimator.update(poses, stamp_seconds(message.header.stamp))
        self._unsolved += len(self._estimator.refusals)
        for track_id, reason in self._estimator.refusals:
            self.get_logger().debug(f'track {track_id}: {reason}')
        return estimates

    def _publish(self, result: OrientationArray) -> None:
        values, header = self._settings.values, result.header
        self._outputs['orientations'].publish(result)
        poses = [orientation.pose.pose for orientation in result.orientations]
        self._outputs['object_poses'].publish(RigidPoseArray(header=header, poses=poses))
        if values.publish_markers and self._outputs['~/markers'].get_subscription_count():
            self._outputs['~/markers'].publish(orientations_to_markers(result, self._model))
        chosen = next((o for o in result.orientations if values.track_id in (-1, o.track_id)), None)
        if chosen is not None:
            self._publish_chosen(header, chosen)

    def _publish_chosen(self, header: Header, chosen: Orientation) -> None:
        pose, outputs = chosen.pose.pose, self._outputs
        outputs['pose'].publish(PoseStamped(header=header, pose=pose))
        outputs['pose_with_covariance'].publish(PoseWithCovarianceStamped(header=header, pose=chosen.pose))
        outputs['quaternion'].publish(QuaternionStamped(header=header, quaternion=pose.orientation))
        angles = Vector3(x=chosen.roll, y=chosen.pitch, z=chosen.yaw)
        outputs['euler'].publish(Vector3Stamped(header=header, vector=angles))

    def _publish_frames(self, header: Header, estimates: Sequence[OrientationEstimate]) -> None:
        values = self._settings.values
        if not (values.publish_tf and self._frames.available):
            return
        if not header.frame_id:
            self.get_logger().warning('poses have no frame_id: /tf needs one', throttle_duration_sec=WARNING_PERIOD_S)
            return
        self._frames.publish(header, estimates)
        if values.reference_frame == CAMERA_BODY:
            self._frames.publish_body(header)

    def _refuse(self, reason: str) -> None:
        self._statistics.failed(reason)
        self.get_logger().warning(reason, throttle_duration_sec=WARNING_PERIOD_S)


def main(args: Sequence[str] | None = None) -> int:
    """Run the node; return the exit code."""
    return run_node(OrientationNode, args)


if __name__ == '__main__':
    sys.exit(main())
