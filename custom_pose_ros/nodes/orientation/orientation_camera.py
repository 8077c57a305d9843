"""OrientationCamera: one camera of orientation_node - calibration, filter, subscriptions, outputs, statistics."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import numpy as np
from rclpy.lifecycle import LifecycleNode
from rclpy.logging import get_logger
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import Header

from custom_pose_ros.core.drawing.overlay import draw_poses
from custom_pose_ros.core.errors import ConfigError, CustomPoseError
from custom_pose_ros.core.geometry.camera import CameraIntrinsics
from custom_pose_ros.core.keypoints.poses import KeypointPose
from custom_pose_ros.core.limits import MAX_POSES_BYTES
from custom_pose_ros.core.measuring.lens_check import LensVerdict
from custom_pose_ros.core.object_model import ObjectModel
from custom_pose_ros.core.orientation.camera_rate import CameraRateEstimator
from custom_pose_ros.core.orientation.estimate import OrientationEstimate
from custom_pose_ros.core.orientation.filter_models import FilterParameters
from custom_pose_ros.core.orientation.orientation_estimator import OrientationEstimator
from custom_pose_ros.inference.camera_calibration import shows_rectified_images
from custom_pose_ros.inference.pose_messages import message_to_poses
from custom_pose_ros.nodes.orientation.camera_source import CameraSource
from custom_pose_ros.nodes.orientation.lens_watch import LensWatch
from custom_pose_ros.nodes.orientation.orientation_outputs import FusedOrientation, OrientationOutputs, topic_in
from custom_pose_ros.nodes.orientation.orientation_parameters import OUTLINE, OrientationNodeParameters
from custom_pose_ros.nodes.orientation.reference_frame import ReferenceFrame
from custom_pose_ros.nodes.orientation.refinement import NO_IMAGE, Refinement
from custom_pose_ros.nodes.orientation.served_object import ObjectChoice, ServedObject
from custom_pose_ros.nodes.ros import qos
from custom_pose_ros.nodes.ros.conversions import (
    OrientationArray,
    PoseArray,
    bgr_to_image,
    estimates_to_message,
    stamp_nanoseconds,
    stamp_seconds,
)
from custom_pose_ros.nodes.ros.diagnostics import Statistics
from custom_pose_ros.nodes.ros.frames import FrameExchange, ReceivedImage, image_source, image_topics_behind
from custom_pose_ros.nodes.ros.health import REPEAT_S
from custom_pose_ros.nodes.ros.input_watch import IMAGE_LOSS_CURE, LOSS_CURE, InputWatch
from custom_pose_ros.nodes.ros.parameters import NodeParameters

WARNING_PERIOD_S = 5.0


class OrientationCamera:
    """
    One camera of an orientation_node; publishes from its creation on, subscribes from `subscribe` on.

    Attributes:
        source: where its intrinsics come from.
        unsolved: how many instances could not be solved so far.
        withheld: how many of them came out impossible.
        inputs: the subscriptions of the poses, of the images where they are wanted and, unless a file replaces it, of
            camera_info; while there are any.
    """

    def __init__(
        self,
        node: LifecycleNode,
        name: str,
        settings: NodeParameters[OrientationNodeParameters],
        statistics: Statistics,
        objects: ObjectChoice,
        fused: FusedOrientation | None,
        frames: FrameExchange | None,
        held: ExitStack,
    ):
        """
        Read the calibration file if there is one, and advertise in the namespace `name`.

        `objects` says which object a message is about, `fused` is given the estimates of this camera, and `held` the
        release of the publishers. Images come from `frames`, else from a subscription.
        """
        values = settings.values
        self.unsolved = self.withheld = 0
        self._lens = LensWatch()
        self._told: LensVerdict | None = None  # the last answer that was logged
        self.inputs: list[InputWatch] = []
        self._name, self._statistics = name, statistics
        self._node, self._settings, self._objects = node, settings, objects
        self._fused, self._exchange = fused, frames
        self._refinement: Refinement | None = None
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
        if values.refine == OUTLINE:
            self._overlay = qos.advertise(node, Image, topic_in(name, '~/overlay'), qos.overlay(), held)

    def restart_filter(self, parameters: FilterParameters) -> None:
        """Start all tracks anew, of an object that can do this."""
        self._parameters = parameters
        self._estimator: OrientationEstimator | CameraRateEstimator | None = None

    def subscribe(self, reference: ReferenceFrame, held: ExitStack) -> None:
        """Answer the poses of this camera in a reference frame; `held` is given the end of the subscriptions."""
        self._reference = reference
        self._estimator = None  # time has passed
        self._has_answered = False
        self._answered_ns = -1
        self._refinement = self._refine(held) if self._settings.values.refine == OUTLINE else None
        held.callback(self.inputs.clear)
        for watch in self._subscriptions():
            self.inputs.append(watch)
            held.callback(watch.close)

    def _subscriptions(self) -> Iterator[InputWatch]:
        """Make and yield one subscription after the other."""
        node, refinement = self._node, self._refinement
        on_poses = refinement.on_poses if refinement else self._answer
        topic = topic_in(self._name, 'poses')
        yield InputWatch(node, PoseArray, topic, on_poses, qos.results(), LOSS_CURE, MAX_POSES_BYTES, self._refuse)
        if refinement and self._exchange is None:
            values = self._settings.values
            profile = qos.images(values.image_reliability)
            if values.camera_rate:
                profile.depth = 1  # what waits would be answered late
            kind, topic = image_source(node, self._name, values.image_transport)
            on_frame = refinement.on_frame
            yield InputWatch(node, kind, topic, lambda m: on_frame(ReceivedImage(m)), profile, IMAGE_LOSS_CURE)
        if self.source.wants_camera_info:
            topic = topic_in(self._name, 'camera_info')
            yield InputWatch(node, CameraInfo, topic, self._on_camera_info, qos.camera_info())

    def _refine(self, held: ExitStack) -> Refinement:
        """Return what brings keypoints and images together; `held` is given the end of it."""
        follow = self._follow if self._settings.values.camera_rate else None
        refinement = Refinement(self._node, lambda: self._settings.values.refine_wait, self._answer, follow, held)
        if self._exchange is not None:
            refinement.take_from(self._exchange, self._name, held)
        return refinement

    def problems(self) -> list[str]:
        """Return what is wrong with the calibration; to be called regularly."""
        self._follow_image_topic()
        lines = self._refinement.counts.problems() if self._refinement else []
        for line in lines:
            self._logger.warning(line, throttle_duration_sec=REPEAT_S)
        if self._lens.verdict is not self._told:
            self._told = self._lens.verdict
            for line in self._lens.problems:
                self._logger.warning(line)
        lines += self._lens.problems
        if self.inputs and self.source.is_missing:
            lines.append(f'camera {self.source.state}: {self.inputs[-1].silence()}')
        return lines

    def rows(self) -> dict[str, str]:
        """Return the rows of diagnostics."""
        return {
            'camera': self.source.state,
            'calibration by the object': self._lens.row,
            'unsolved instances': str(self.unsolved),
            'impossible poses withheld': str(self.withheld),
            **({'images': self._images(), **self._refinement.counts.rows()} if self._refinement else {}),
        }

    def _images(self) -> str:
        """Return where the images come from that refine poses."""
        if self._exchange is not None:
            return 'from pose_node, in this process'
        if len(self.inputs) < 2:
            return 'none'
        topic = self.inputs[1].topic_name
        return f'{topic}, {self._node.count_publishers(topic)} publishers'

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

    def _answer(self, message: PoseArray, frame: ReceivedImage | None = None) -> None:
        """Answer one message, by an empty array when it cannot be used; its frame refines it."""
        started = time.monotonic()
        self._statistics.received()
        if not self._has_answered:
            self._has_answered = True
            self._follow_image_topic()
        served = self._objects.of(message.keypoint_names)

        def estimate() -> list[OrientationEstimate]:
            poses = message_to_poses(message, served.model)
            camera = self._intrinsics(message.image_width, message.image_height)
            return self._estimate(poses, served, camera, message.header, frame)

        problem = self._respond(message.header, served.model, estimate)
        if problem:
            self._refuse(problem)
        else:
            latency_s = 1e-9 * self._node.get_clock().now().nanoseconds - stamp_seconds(message.header.stamp)
            self._statistics.processed(latency_s, time.monotonic() - started)

    def _follow(self, frame: ReceivedImage, set_back: bool) -> None:
        """Answer a frame whose keypoints are not known, unless it has been answered; time may be set back before it."""
        if set_back:
            self._answered_ns = -1
        if frame.stamp_ns <= self._answered_ns:
            return
        served, header = self._objects.serving, frame.message.header

        def estimate() -> list[OrientationEstimate]:
            height, width = frame.bgr.shape[:2]
            return self._estimate(None, served, self._intrinsics(width, height), header, frame)

        if problem := self._respond(header, served.model, estimate):
            self._logger.warning(problem, throttle_duration_sec=WARNING_PERIOD_S)

    def _respond(
        self, camera_header: Header, model: ObjectModel, estimate: Callable[[], list[OrientationEstimate]]
    ) -> str:
        """
        Publish the estimates of one image, unless a later one is answered; return what is wrong with it.

        Args:
            camera_header: of the image.
            model: the object.
            estimate: returns the estimates in the camera optical frame.
        """
        stamp_ns = stamp_nanoseconds(camera_header.stamp)
        answered = self._settings.values.camera_rate and stamp_ns <= self._answered_ns
        header = Header(stamp=camera_header.stamp, frame_id=self._reference.frame_id(camera_header))
        result, estimates, problem = OrientationArray(header=header), [], ''
        try:
            estimates = estimate()
            if answered:
                return ''
            reference_camera = self._reference.locate(camera_header)
            located = [each.in_frame(header.frame_id, reference_camera) for each in estimates]
            result = estimates_to_message(located, model.name, header)
            if self._fused:
                self._fused.update(self._name, header, located, model, self._parameters)
        except Exception as error:  # whatever a message does, the next one gets its chance
            if not self._node.context.ok():
                raise  # the node is being stopped, which is no fault of the message
            problem = str(error) if isinstance(error, CustomPoseError) else f'{type(error).__name__}: {error}'
            problem = f'{self._name}: {problem}' if self._name else problem
            if answered:
                return problem
        self._answered_ns = stamp_ns
        self._outputs.publish(result, model)
        self._outputs.publish_frames(camera_header, estimates, model)
        return problem

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
        self,
        poses: list[KeypointPose] | None,
        served: ServedObject,
        camera: CameraIntrinsics,
        header: Header,
        frame: ReceivedImage | None,
    ) -> list[OrientationEstimate]:
        """
        Return the estimates in the camera optical frame; counts the instances that cannot be solved.

        Args:
            poses: what was found in the image; None where that is not known.
            served: the object.
            camera: that took the image.
            header: of the image.
            frame: the image, where it is known.
        """
        if self._estimator is None or self._served is not served or camera is not self._camera:
            self._camera, self._served = camera, served
            self._estimator = self._make_estimator(served, camera)
        estimator, stamp_s = self._estimator, stamp_seconds(header.stamp)
        estimator.smoothing = self._settings.values.smoothing
        before = estimator.withheld
        image, image_problem = self._image_of(frame, camera)
        if poses is not None:
            estimates = estimator.update(poses, stamp_s, image)
            if not self.source.is_guess:
                self._lens.add(served.model, camera, stamp_s, poses, estimates)
        elif isinstance(estimator, CameraRateEstimator) and image is not None:
            estimates = estimator.follow(stamp_s, image)
        else:
            estimates = []
        self.withheld += estimator.withheld - before
        self.unsolved += len(estimator.refusals)
        for track_id, reason in estimator.refusals:
            self._logger.debug(f'track {track_id}: {reason}')
        if self._refinement:
            self._refinement.counts.add(estimates, image_problem, poses is None)
            if image is not None and self._overlay.get_subscription_count():
                drawn = draw_poses(image, poses or (), served.model, estimates, camera, outline=served.outline)
                self._overlay.publish(bgr_to_image(drawn, header))
        return estimates

    def _make_estimator(
        self, served: ServedObject, camera: CameraIntrinsics
    ) -> OrientationEstimator | CameraRateEstimator:
        estimator = OrientationEstimator(served.model, camera, parameters=self._parameters, outline=served.outline)
        return CameraRateEstimator(estimator) if self._settings.values.camera_rate else estimator

    def _image_of(self, frame: ReceivedImage | None, camera: CameraIntrinsics) -> tuple[np.ndarray | None, str]:
        """Return the image that refines poses, or None and why there is none."""
        if frame is None:
            return None, NO_IMAGE
        try:
            image = frame.bgr
        except Exception as error:  # whatever an image holds, the pose of the keypoints goes out
            self._logger.warning(f'image refused: {error}', throttle_duration_sec=WARNING_PERIOD_S)
            return None, 'its image cannot be read'
        height, width = image.shape[:2]
        if (width, height) != (camera.width, camera.height):
            return None, f'its image has {width}x{height} pixels, that of the keypoints {camera.width}x{camera.height}'
        return image, ''

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
