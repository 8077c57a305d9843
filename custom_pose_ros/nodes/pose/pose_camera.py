"""PoseCamera: one camera of pose_node - subscription, publishers, tracker, rate limit, statistics."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack

from rclpy.lifecycle import LifecycleNode
from rclpy.logging import get_logger
from sensor_msgs.msg import CompressedImage, Image

from custom_pose_ros.core.drawing.overlay import draw_poses
from custom_pose_ros.core.keypoints.poses import KeypointPose
from custom_pose_ros.core.keypoints.tracking import PoseTracker
from custom_pose_ros.core.object_model import ObjectModel
from custom_pose_ros.inference.image_messages import looks_like_depth
from custom_pose_ros.nodes.pose.image_queue import ImageDemand, RateLimit
from custom_pose_ros.nodes.pose.pose_parameters import PoseNodeParameters
from custom_pose_ros.nodes.ros import qos
from custom_pose_ros.nodes.ros.conversions import PoseArray, bgr_to_image, poses_to_message, stamp_seconds
from custom_pose_ros.nodes.ros.diagnostics import Statistics
from custom_pose_ros.nodes.ros.frames import FrameExchange, ReceivedImage, image_source
from custom_pose_ros.nodes.ros.input_watch import IMAGE_LOSS_CURE, InputWatch
from custom_pose_ros.nodes.ros.parameters import NodeParameters

WARNING_PERIOD_S = 5.0


class PoseCamera:
    """
    One camera of a pose_node; publishes from its creation on, subscribes from `subscribe` on.

    Attributes:
        name: the namespace of its topics; empty for the only camera.
        topic: where its images come from.
        inputs: the subscription of the images, while there is one.
        demand: who waits for the answer to an image.
    """

    def __init__(
        self,
        node: LifecycleNode,
        name: str,
        settings: NodeParameters[PoseNodeParameters],
        statistics: Statistics,
        frames: FrameExchange | None,
        held: ExitStack,
    ):
        """Advertise; `held` is given the release of the publishers, `frames` every image that comes."""
        self.name = name
        self.inputs: list[InputWatch] = []
        self.demand = ImageDemand()
        self._node, self._settings, self._statistics = node, settings, statistics
        self._exchange = frames
        # One of its own, of the same name: how often it warns does not depend on the other cameras.
        self._logger = get_logger(node.get_logger().name)
        self._tracker: PoseTracker | None = None
        self._limit = RateLimit()
        self._kind, self.topic = image_source(node, name, settings.values.image_transport)
        prefix = f'{name}/' if name else ''
        overlay = f'~/{prefix.lstrip("/")}overlay'
        self._poses = qos.advertise(node, PoseArray, f'{prefix}poses', qos.results(), held)
        self._overlay = qos.advertise(node, Image, overlay, qos.overlay(), held)

    def subscribe(self, put: Callable[[str, ReceivedImage], bool], held: ExitStack) -> None:
        """Give every image to `put`, which returns whether that dropped an older one; `held` is given the end of it."""
        self._tracker = None  # time has passed

        def on_image(message: Image | CompressedImage) -> None:
            frame = ReceivedImage(message)
            if self._exchange is not None:
                self._exchange.put(self.name, frame)
            skipped = not self._admits(frame)
            self._statistics.received(dropped=not skipped and put(self.name, frame), skipped=skipped)

        profile = qos.images(self._settings.values.image_reliability)
        images = InputWatch(self._node, self._kind, self.topic, on_image, profile, IMAGE_LOSS_CURE)
        held.callback(images.close)
        self.inputs.append(images)
        held.callback(self.inputs.clear)

    def _admits(self, frame: ReceivedImage) -> bool:
        """Whether an image is to be answered."""
        values = self._settings.values
        return self.demand.takes(frame) or (values.enabled and self._limit.admits(time.monotonic(), values.max_rate))

    def publish(self, frame: ReceivedImage, poses: list[KeypointPose], model: ObjectModel, started: float) -> None:
        """
        Publish the answer to one image.

        Args:
            frame: the image, whose header the answer gets.
            poses: what was found in it, without track ids.
            model: the object.
            started: when its processing began [s, monotonic].
        """
        message, bgr = frame.message, frame.bgr
        values, stamp_s = self._settings.values, stamp_seconds(message.header.stamp)
        if values.tracking:
            if self._tracker is None or self._tracker.model is not model:
                self._tracker = PoseTracker(model)
            self._tracker.max_gap_s = values.track_max_gap
            poses = self._tracker.update(poses, stamp_s)
        if encoding := looks_like_depth(message):
            self._logger.warning(f'{self.topic}: {encoding} looks like depth, not like a picture', once=True)
        height, width = bgr.shape[:2]
        self._poses.publish(poses_to_message(poses, model, message.header, width, height))
        latency_s = 1e-9 * self._node.get_clock().now().nanoseconds - stamp_s
        self._statistics.processed(latency_s, time.monotonic() - started)
        if values.overlay and self._overlay.get_subscription_count():
            self._overlay.publish(bgr_to_image(draw_poses(bgr, poses, model), message.header))
        self.demand.answered(frame, len(poses))

    def refuse(self, reason: str) -> None:
        """Count an image that could not be used, and log why."""
        self.demand.refused(reason)
        self._statistics.failed(reason)
        self._logger.warning(f'frame refused: {reason}', throttle_duration_sec=WARNING_PERIOD_S)
