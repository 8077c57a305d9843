"""OrientationCamera: one camera of orientation_node - calibration, filter, subscriptions, outputs, statistics."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack

from rclpy.lifecycle import LifecycleNode
from rclpy.logging import get_logger
from rclpy.node import Node, NodeNameNonExistentError
from sensor_msgs.msg import CameraInfo
from std_msgs.msg import Header

from custom_pose_ros.core.errors import ConfigError, CustomPoseError
from custom_pose_ros.core.geometry.camera import CameraIntrinsics
from custom_pose_ros.core.keypoints.poses import KeypointPose
from custom_pose_ros.core.limits import MAX_POSES_BYTES
from custom_pose_ros.core.object_model import ObjectModel
from custom_pose_ros.core.orientation.estimate import OrientationEstimate
from custom_pose_ros.core.orientation.filter import FilterParameters
from custom_pose_ros.core.orientation.orientation_estimator import OrientationEstimator
from custom_pose_ros.core.orientation.pnp import known_points
from custom_pose_ros.inference.camera_calibration import shows_rectified_images
from custom_pose_ros.inference.pose_messages import message_to_poses
from custom_pose_ros.nodes.orientation.camera_source import CameraSource
from custom_pose_ros.nodes.orientation.orientation_outputs import FusedOrientation, OrientationOutputs, topic_in
from custom_pose_ros.nodes.orientation.orientation_parameters import OrientationNodeParameters
from custom_pose_ros.nodes.orientation.reference_frame import ReferenceFrame
from custom_pose_ros.nodes.ros import qos
from custom_pose_ros.nodes.ros.conversions import OrientationArray, PoseArray, estimates_to_message, stamp_seconds
from custom_pose_ros.nodes.ros.diagnostics import Statistics
from custom_pose_ros.nodes.ros.input_watch import InputWatch
from custom_pose_ros.nodes.ros.parameters import NodeParameters

WARNING_PERIOD_S = 5.0
IMAGE_TYPES = {'sensor_msgs/msg/Image', 'sensor_msgs/msg/CompressedImage'}


class OrientationCamera:
    """
    One camera of an orientation_node; publishes from its creation on, subscribes from `subscribe` on.

    Attributes:
        source: where its intrinsics come from.
        unsolved: how many instances could not be solved so far.
        withheld: how many of them came out impossible.
        inputs: the subscriptions of the poses and, unless a file replaces it, of camera_info; while there are any.
    """

    def __init__(
        self,
        node: LifecycleNode,
        name: str,
        settings: NodeParameters[OrientationNodeParameters],
        statistics: Statistics,
        objects: ObjectChoice,
        fused: FusedOrientation | None,
        held: ExitStack,
    ):
        """
        Read the calibration file if there is one, and advertise in the namespace `name`.

        `objects` says which object a message is about, `fused` is given the estimates of this camera, and `held` the
        release of the publishers.
        """
        values = settings.values
        self.unsolved = self.withheld = 0
        self.inputs: list[InputWatch] = []
        self._name, self._statistics = name, statistics
        self._node, self._settings, self._objects = node, settings, objects
        self._fused = fused
        # One of its own, of the same name: how often it warns does not depend on the other cameras.
        self._logger = get_logger(node.get_logger().name)
        self._camera: CameraIntrinsics | None = None
        self.restart_filter(FilterParameters())
        self.source = CameraSource(
            _calibration_of(name, values.camera_calibration),
            values.image_rectified or shows_rectified_images(node.resolve_topic_name(topic_in(name, 'image'))),
            values.camera_info_timeout,
            values.fallback_fov_deg,
            report=self._on_remark,
        )
        self._outputs = OrientationOutputs(node, name, f'{name.lstrip("/")}/' if name else '', settings, held)

    def restart_filter(self, parameters: FilterParameters) -> None:
        """Start all tracks anew, of an object that can do this."""
        self._parameters = parameters
        self._estimator: OrientationEstimator | None = None

    def subscribe(self, reference: ReferenceFrame, held: ExitStack) -> None:
        """Answer the poses of this camera in a reference frame; `held` is given the end of the subscriptions."""
        self._reference = reference
        self._estimator = None  # time has passed
        self._has_answered = False
        wanted: list[tuple] = [(PoseArray, 'poses', self._on_poses, qos.results(), MAX_POSES_BYTES)]
        if self.source.wants_camera_info:
            wanted.append((CameraInfo, 'camera_info', self._on_camera_info, qos.camera_info(), None))
        held.callback(self.inputs.clear)
        for kind, topic, callback, profile, max_bytes in wanted:
            self.inputs.append(
                InputWatch(
                    self._node, kind, topic_in(self._name, topic), callback, profile,
                    max_bytes=max_bytes, refuse=self._refuse,
                )
            )  # fmt: skip
            held.callback(self.inputs[-1].close)

    def problems(self) -> list[str]:
        """Return what is wrong with the calibration; to be called regularly."""
        self._follow_image_topic()
        if not (self.inputs and self.source.is_missing):
            return []
        return [f'camera {self.source.state}: {self.inputs[-1].silence()}']

    def _follow_image_topic(self) -> None:
        """Take the images as rectified once the poses are found to come from such a topic."""
        if self.source.rectified or not self.inputs:
            return
        topics = image_topics_behind(self._node, self.inputs[0].topic_name)
        if topics and all(shows_rectified_images(topic) for topic in topics):
            self.source.rectified = True
            self._logger.info(f'{", ".join(topics)}: rectified images by their topic: P of the calibration is used')

    def _on_remark(self, remark: str) -> None:
        self._logger.warning(f'{self._name or "camera"}: {remark}')

    def _on_camera_info(self, message: CameraInfo) -> None:
        try:
            self.source.accept_camera_info(message)
        except ConfigError as error:
            self._refuse(f'{topic_in(self._name, "camera_info")}: {error}')

    def _on_poses(self, message: PoseArray) -> None:
        """Answer one message, by an empty array when it cannot be used."""
        started, stamp_s = time.monotonic(), stamp_seconds(message.header.stamp)
        self._statistics.received()
        if not self._has_answered:
            self._has_answered = True
            self._follow_image_topic()
        model = self._objects.of(message.keypoint_names)
        header = Header(stamp=message.header.stamp, frame_id=self._reference.frame_id(message.header))
        result, estimates, problem = OrientationArray(header=header), [], ''
        try:
            poses = message_to_poses(message, model)
            camera = self._intrinsics(message.image_width, message.image_height)
            estimates = self._estimate(poses, model, camera, stamp_s)
            reference_camera = self._reference.locate(message.header)
            located = [estimate.in_frame(header.frame_id, reference_camera) for estimate in estimates]
            result = estimates_to_message(located, model.name, header)
            if self._fused:
                self._fused.update(self._name, header, located, model, self._parameters)
        except Exception as error:  # whatever a message does, the next one gets its chance
            problem = str(error) if isinstance(error, CustomPoseError) else f'{type(error).__name__}: {error}'
        self._outputs.publish(result, model)
        self._outputs.publish_frames(message.header, estimates, model)
        if problem:
            self._refuse(f'{self._name}: {problem}' if self._name else problem)
        else:
            latency_s = 1e-9 * self._node.get_clock().now().nanoseconds - stamp_s
            self._statistics.processed(latency_s, time.monotonic() - started)

    def _intrinsics(self, width: int, height: int) -> CameraIntrinsics:
        """Return the intrinsics for an image size [px], with a warning when they are a guess."""
        camera = self.source.intrinsics(width, height)
        if self.source.is_guess:
            fov_deg = self._settings.values.fallback_fov_deg
            self._logger.warning(
                f'no {topic_in(self._name, "camera_info")}: a camera of {fov_deg:g} deg is assumed, distances and '
                'angles are rough; publish camera_info or set camera_calibration',
                throttle_duration_sec=WARNING_PERIOD_S,
            )
        return camera

    def _estimate(
        self, poses: list[KeypointPose], model: ObjectModel, camera: CameraIntrinsics, stamp_s: float
    ) -> list[OrientationEstimate]:
        """Return the estimates in the camera optical frame; counts the instances that cannot be solved."""
        if self._estimator is None or self._estimator.model is not model or camera is not self._camera:
            self._camera = camera
            self._estimator = OrientationEstimator(model, camera, parameters=self._parameters)
        self._estimator.smoothing = self._settings.values.smoothing
        before = self._estimator.withheld
        estimates = self._estimator.update(poses, stamp_s)
        self.withheld += self._estimator.withheld - before
        self.unsolved += len(self._estimator.refusals)
        for track_id, reason in self._estimator.refusals:
            self._logger.debug(f'track {track_id}: {reason}')
        return estimates

    def _refuse(self, reason: str) -> None:
        self._statistics.failed(reason)
        self._logger.warning(reason, throttle_duration_sec=WARNING_PERIOD_S)


def _calibration_of(camera: str, path: str) -> str:
    """Return the calibration file of one of several cameras."""
    if camera and path and '{camera}' not in path:
        raise ConfigError(
            f'parameter camera_calibration: wanted {{camera}} in the path where there are several cameras, got {path!r}'
        )
    return path.replace('{camera}', camera.strip('/'))


def image_topics_behind(node: Node, topic: str) -> list[str]:
    """
    Return the image topics that the publishers of a topic subscribe, as far as the middleware knows them now.

    Of a node with several cameras those in the namespace of the topic are meant, where there are any.
    """
    found = set()
    for publisher in node.get_publishers_info_by_topic(topic):
        if not publisher.node_namespace.startswith('/'):
            continue  # _NODE_NAMESPACE_UNKNOWN_: its process has just begun
        with contextlib.suppress(NodeNameNonExistentError):
            subscribed = node.get_subscriber_names_and_types_by_node(publisher.node_name, publisher.node_namespace)
            found |= {name for name, kinds in subscribed if not IMAGE_TYPES.isdisjoint(kinds)}
    beside = [name for name in found if name.startswith(topic.rpartition('/')[0] + '/')]
    return sorted(beside or found)


class ObjectChoice:
    """
    Keeps the object that serves until the first message about its successor.

    No message is lost then while pose_node and orientation_node change to another object one after the other.

    Attributes:
        serving: the object that serves.
    """

    def __init__(self, model: ObjectModel):
        self.serving = model
        self._next: tuple[ObjectModel, Callable[[], None]] | None = None

    def follow(self, model: ObjectModel, on_change: Callable[[], None]) -> None:
        """
        Prepare another object; it serves at once where it has the same keypoints.

        Args:
            model: the object.
            on_change: called when it begins to serve.
        """
        self._next = model, on_change
        self.of(self.serving.keypoint_names)

    def of(self, keypoint_names: Sequence[str]) -> ObjectModel:
        """Return the object that has these keypoints; the one that serves when neither has them."""
        if self._next is not None and tuple(keypoint_names) == self._next[0].keypoint_names:
            (self.serving, on_change), self._next = self._next, None
            on_change()
        return self.serving


def load_solvable(source: str) -> ObjectModel:
    """
    Load an object.

    Raises:
        ConfigError: it is damaged, or its keypoints do not give an orientation.
    """
    model = ObjectModel.load(source)
    known_points(model)
    return model
