"""OrientationCamera: what orientation_node has for one camera - calibration, filter, inputs, outputs, statistics."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import ExitStack

from geometry_msgs.msg import PoseArray as RigidPoseArray
from geometry_msgs.msg import PoseStamped, PoseWithCovarianceStamped, QuaternionStamped, Vector3, Vector3Stamped
from rclpy.lifecycle import LifecycleNode
from rclpy.logging import get_logger
from sensor_msgs.msg import CameraInfo
from std_msgs.msg import Header
from visualization_msgs.msg import MarkerArray

from custom_pose_ros.core.camera import CameraIntrinsics
from custom_pose_ros.core.errors import ConfigError, CustomPoseError
from custom_pose_ros.core.filtering import FilterParameters
from custom_pose_ros.core.object_model import ObjectModel
from custom_pose_ros.core.orientation import OrientationEstimate
from custom_pose_ros.core.orientation_estimator import OrientationEstimator
from custom_pose_ros.nodes import qos
from custom_pose_ros.nodes.camera_source import CameraSource
from custom_pose_ros.nodes.conversions import estimates_to_message, message_to_poses, stamp_seconds
from custom_pose_ros.nodes.diagnostics import Statistics
from custom_pose_ros.nodes.frames import CAMERA_BODY, ObjectFrames, ReferenceFrame
from custom_pose_ros.nodes.input_watch import InputWatch
from custom_pose_ros.nodes.markers import orientations_to_markers
from custom_pose_ros.nodes.messages import Orientation, OrientationArray, PoseArray
from custom_pose_ros.nodes.object_choice import ObjectChoice
from custom_pose_ros.nodes.parameters import NodeParameters, OrientationNodeParameters

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


class OrientationCamera:
    """
    One camera of an orientation_node; publishes from its creation on, subscribes from `subscribe` on.

    reference : the frame of the results; to be set before `subscribe`.
    parameters : of the filter; assigning them starts all tracks anew.
    unsolved : how many instances could not be solved so far.
    inputs : the poses and, unless a file replaces it, camera_info; from `subscribe` on.
    """

    reference: ReferenceFrame
    inputs: list[InputWatch]

    def __init__(
        self,
        node: LifecycleNode,
        name: str,
        settings: NodeParameters[OrientationNodeParameters],
        statistics: Statistics,
        objects: ObjectChoice,
        opened: ExitStack,
    ):
        """
        Read the calibration file if there is one, and advertise.

        name : namespace of its topics; empty for the only camera.
        objects : says which object a message is about.
        opened : is given what releases the publishers.
        """
        values = settings.values
        self.name, self.statistics, self.unsolved = name, statistics, 0
        self._node, self._settings, self._objects = node, settings, objects
        # One of its own, of the same name: how often it warns does not depend on the other cameras.
        self._logger = get_logger(node.get_logger().name)
        self._prefix = f'{name}/' if name else ''
        self.parameters = FilterParameters()
        self._camera: CameraIntrinsics | None = None
        self.source = CameraSource(
            _calibration_of(name, values.camera_calibration),
            values.image_rectified,
            values.camera_info_timeout,
            values.fallback_fov_deg,
        )
        self._outputs = {}
        for topic, kind in OUTPUTS.items():
            name = self._topic(topic)
            options = qos.publisher_options(node, name)
            self._outputs[topic] = node.create_lifecycle_publisher(kind, name, qos.RESULTS, **options)
            opened.callback(node.destroy_lifecycle_publisher, self._outputs[topic])
        self._frames = ObjectFrames(node, self._prefix.lstrip('/'))
        opened.callback(self._frames.close)

    @property
    def parameters(self) -> FilterParameters:
        """What the object can do."""
        return self._parameters

    @parameters.setter
    def parameters(self, parameters: FilterParameters) -> None:
        self._parameters = parameters
        self._estimator: OrientationEstimator | None = None

    def _topic(self, topic: str) -> str:
        """Return a topic in the namespace of the camera."""
        private, name = ('~/', topic[2:]) if topic.startswith('~/') else ('', topic)
        return private + (self._prefix.lstrip('/') if private else self._prefix) + name

    def subscribe(self, opened: ExitStack) -> None:
        """Answer the poses of this camera from now on."""
        self._estimator = None  # time has passed
        wanted = [(PoseArray, 'poses', self._on_poses, qos.RESULTS)]
        if self.source.wants_camera_info:
            wanted.append((CameraInfo, 'camera_info', self._on_camera_info, qos.camera_info()))
        self.inputs = []
        for kind, topic, callback, profile in wanted:
            self.inputs.append(InputWatch(self._node, kind, self._topic(topic), callback, profile))
            opened.callback(self.inputs[-1].close)

    def problems(self) -> list[str]:
        """Return what is wrong with the calibration."""
        return [f'camera {self.source.state}: {self.inputs[-1].silence()}'] if self.source.is_missing else []

    def _on_camera_info(self, message: CameraInfo) -> None:
        try:
            self.source.take_camera_info(message)
        except ConfigError as error:
            self._refuse(f'{self._topic("camera_info")}: {error}')

    def _on_poses(self, message: PoseArray) -> None:
        started = time.monotonic()
        self.statistics.received()
        header = Header(stamp=message.header.stamp, frame_id=self.reference.frame_id(message.header))
        model = self._objects.of(message.keypoint_names)
        result, estimates, problem = OrientationArray(header=header), [], ''
        try:
            estimates = self._solve(message, model)
            R, t = self.reference.locate(message.header)
            result = estimates_to_message(estimates, model.name, header, R, t)
        except CustomPoseError as error:
            problem = str(error)
        except Exception as error:  # whatever a message does, the next one gets its chance
            problem = f'{type(error).__name__}: {error}'
        self._publish(result, model)
        self._publish_frames(message.header, estimates, model)
        if problem:
            self._refuse(f'{self.name}: {problem}' if self.name else problem)
        else:
            latency_s = 1e-9 * self._node.get_clock().now().nanoseconds - stamp_seconds(message.header.stamp)
            self.statistics.processed(latency_s, time.monotonic() - started)

    def _solve(self, message: PoseArray, model: ObjectModel) -> list[OrientationEstimate]:
        """Return the estimates in the camera optical frame. Raises MessageError when message or camera are no use."""
        poses = message_to_poses(message, model)
        camera = self.source.intrinsics(message.image_width, message.image_height)
        estimator = self._estimator_of(model, camera)
        if self.source.is_guess:
            self._logger.warning(
                f'no {self._topic("camera_info")}: a camera of {self._settings.values.fallback_fov_deg:g} deg is '
                'assumed, distances and angles are rough; publish camera_info or set camera_calibration',
                throttle_duration_sec=WARNING_PERIOD_S,
            )
        estimates = estimator.update(poses, stamp_seconds(message.header.stamp))
        self.unsolved += len(estimator.refusals)
        for track_id, reason in estimator.refusals:
            self._logger.debug(f'track {track_id}: {reason}')
        return estimates

    def _estimator_of(self, model: ObjectModel, camera: CameraIntrinsics) -> OrientationEstimator:
        """Return the filters, new ones where object or camera are others; they follow the live parameters."""
        smoothing = self._settings.values.smoothing
        if self._estimator is None or self._estimator.model is not model or camera is not self._camera:
            self._camera = camera
            self._estimator = OrientationEstimator(model, camera, parameters=self._parameters)
        self._estimator.smoothing = smoothing
        return self._estimator

    def _publish(self, result: OrientationArray, model: ObjectModel) -> None:
        values, header = self._settings.values, result.header
        self._outputs['orientations'].publish(result)
        poses = [orientation.pose.pose for orientation in result.orientations]
        self._outputs['object_poses'].publish(RigidPoseArray(header=header, poses=poses))
        if values.publish_markers and self._outputs['~/markers'].get_subscription_count():
            self._outputs['~/markers'].publish(orientations_to_markers(result, model))
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

    def _publish_frames(self, header: Header, estimates: Sequence[OrientationEstimate], model: ObjectModel) -> None:
        values = self._settings.values
        if not (values.publish_tf and self._frames.available()):
            return
        if not header.frame_id:
            self._logger.warning('poses have no frame_id: /tf needs one', throttle_duration_sec=WARNING_PERIOD_S)
            return
        self._frames.publish(header, estimates, model.name)
        if values.reference_frame == CAMERA_BODY:
            self._frames.publish_body(header)

    def _refuse(self, reason: str) -> None:
        self.statistics.failed(reason)
        self._logger.warning(reason, throttle_duration_sec=WARNING_PERIOD_S)


def _calibration_of(camera: str, path: str) -> str:
    """Return the calibration file of one of several cameras."""
    if camera and path and '{camera}' not in path:
        raise ConfigError(
            f'parameter camera_calibration: wanted {{camera}} in the path where there are several cameras, got {path!r}'
        )
    return path.replace('{camera}', camera.strip('/'))
