"""pose_node: camera images in, keypoint poses of every instance out; wiring only."""

from __future__ import annotations

import dataclasses
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.subscription import Subscription
from sensor_msgs.msg import CompressedImage, Image

from custom_pose_ros.core.errors import MessageError
from custom_pose_ros.core.object_model import ObjectModel, Thresholds
from custom_pose_ros.core.overlay import draw_poses
from custom_pose_ros.core.poses import KeypointPose
from custom_pose_ros.core.tracking import PoseTracker
from custom_pose_ros.inference.estimator import PoseEstimator
from custom_pose_ros.nodes import qos
from custom_pose_ros.nodes.conversions import bgr_to_image, image_to_bgr, poses_to_message, stamp_seconds
from custom_pose_ros.nodes.diagnostics import DiagnosticsPublisher, Statistics
from custom_pose_ros.nodes.image_queue import NewestFrames
from custom_pose_ros.nodes.messages import PoseArray
from custom_pose_ros.nodes.parameters import NodeParameters, PoseNodeParameters, ThresholdParameters, unknown_overrides
from custom_pose_ros.nodes.runner import run_node

WARNING_PERIOD_S = 5.0


@dataclass
class Camera:
    """What belongs to one camera."""

    subscription: Subscription
    poses: Publisher
    overlay: Publisher
    tracker: PoseTracker


class PoseNode(Node):
    """
    Subscribes image (or <camera>/image for each of several cameras), publishes poses, ~/overlay and /diagnostics.

    The subscription stores the newest frame and returns; a worker thread converts, estimates, tracks and publishes. A
    frame that a newer one overtakes is dropped and counted.
    """

    def __init__(self, **node_options: Any):
        """Declare parameters, load the model and start. Raises ConfigError or ModelError: one line for the user."""
        super().__init__('pose_node', **node_options)
        self._worker: threading.Thread | None = None
        self.configure()
        self.activate()

    def configure(self) -> None:
        """Read parameters, load and warm up the network."""
        self._settings = NodeParameters(self, PoseNodeParameters)
        values = self._settings.values
        model = ObjectModel.load(values.object)
        self._thresholds = NodeParameters(
            self, ThresholdParameters, 'thresholds.', dataclasses.asdict(model.thresholds), self._set_thresholds
        )
        self._estimator = PoseEstimator.load(
            values.object,
            values.model or None,
            backend=values.backend,
            input_height=values.input_height or None,
            thresholds=_core_thresholds(self._thresholds.values),
            threads=values.threads or None,
        )
        self._estimator.warm_up()

    def activate(self) -> None:
        """Subscribe, advertise and start the worker."""
        values = self._settings.values
        self._statistics = Statistics()
        self._frames = NewestFrames()
        with qos.overrides_explained():
            self._cameras = {name: self._open_camera(name) for name in values.cameras or ('',)}
        self._diagnostics = DiagnosticsPublisher(
            self, 'pose estimation', self._estimator.model.name, self._statistics, self._model_rows
        )
        self._worker = threading.Thread(target=self._work, name='pose_worker', daemon=True)
        self._worker.start()
        for line in unknown_overrides(self):
            self.get_logger().warning(line)
        topics = ', '.join(camera.subscription.topic_name for camera in self._cameras.values())
        self.get_logger().info(f'finding {self._estimator.model.name} in {topics} with {self._estimator.backend_name}')

    def deactivate(self) -> None:
        """Stop the worker and everything it publishes with."""
        self._frames.close()
        self._worker.join()
        self._worker = None
        self._diagnostics.close()
        for camera in self._cameras.values():
            self.destroy_subscription(camera.subscription)
            self.destroy_publisher(camera.poses)
            self.destroy_publisher(camera.overlay)

    def destroy_node(self) -> None:
        """Deactivate and end."""
        if self._worker is not None:
            self.deactivate()
        super().destroy_node()

    def _open_camera(self, name: str) -> Camera:
        values = self._settings.values
        prefix = f'{name}/' if name else ''
        topic, message_type = f'{prefix}image', Image
        if values.image_transport == 'compressed':
            # As image_transport does: remapping the base topic moves the compressed one along.
            topic, message_type = self.resolve_topic_name(topic) + '/compressed', CompressedImage
        return Camera(
            subscription=self.create_subscription(
                message_type,
                topic,
                lambda message: self._on_image(name, message),
                qos.images(values.image_reliability),
                qos_overriding_options=qos.overridable(),
            ),
            poses=self.create_publisher(
                PoseArray, f'{prefix}poses', qos.RESULTS, qos_overriding_options=qos.overridable()
            ),
            overlay=self.create_publisher(
                Image, f'~/{prefix.lstrip("/")}overlay', qos.overlay(), qos_overriding_options=qos.overridable()
            ),
            tracker=PoseTracker(self._estimator.model, max_gap_s=values.track_max_gap),
        )

    def _set_thresholds(self, values: ThresholdParameters) -> None:
        self._estimator.thresholds = _core_thresholds(values)

    def _model_rows(self) -> dict[str, str]:
        estimator = self._estimator
        return {
            'object': estimator.model.name,
            'model': self._settings.values.model or 'of the object',
            'backend': estimator.backend_name,
            'input height [px]': str(estimator.input_height),
        }

    def _on_image(self, camera: str, message: Image | CompressedImage) -> None:
        self._statistics.received(dropped=self._frames.put(camera, message))

    def _work(self) -> None:
        while (frames := self._frames.take()) is not None:
            try:
                self._process(frames)
            except Exception as error:  # whatever a frame does, the next one gets its chance
                if self.context.ok():  # else nothing can be published any more: the process is ending
                    self._refuse(f'{type(error).__name__}: {error}')

    def _process(self, frames: dict[str, Image | CompressedImage]) -> None:
        """Answer the newest frame of each camera that has one; they go through the network together."""
        started = time.monotonic()
        images: dict[str, np.ndarray] = {}
        for name, message in frames.items():
            try:
                images[name] = image_to_bgr(message)
            except MessageError as error:
                self._refuse(f'{self._cameras[name].subscription.topic_name}: {error}')
        results = self._estimator.batch(list(images.values())) if images else []
        for (name, bgr), poses in zip(images.items(), results):
            self._publish(self._cameras[name], frames[name], bgr, poses, started)

    def _publish(
        self,
        camera: Camera,
        message: Image | CompressedImage,
        bgr: np.ndarray,
        poses: list[KeypointPose],
        started: float,
    ) -> None:
        values, model, stamp_s = self._settings.values, self._estimator.model, stamp_seconds(message.header.stamp)
        if values.tracking:
            poses = camera.tracker.update(poses, stamp_s)
        height, width = bgr.shape[:2]
        camera.poses.publish(poses_to_message(poses, model, message.header, width, height))
        latency_s = 1e-9 * self.get_clock().now().nanoseconds - stamp_s
        self._statistics.processed(latency_s, time.monotonic() - started)
        if values.overlay and camera.overlay.get_subscription_count():
            camera.overlay.publish(bgr_to_image(draw_poses(bgr, poses, model), message.header))

    def _refuse(self, reason: str) -> None:
        self._statistics.failed(reason)
        self.get_logger().warning(f'frame refused: {reason}', throttle_duration_sec=WARNING_PERIOD_S)


def _core_thresholds(values: ThresholdParameters) -> Thresholds:
    return Thresholds(**dataclasses.asdict(values))


def main(args: Sequence[str] | None = None) -> int:
    """Run the node; return the exit code."""
    return run_node(PoseNode, args)


if __name__ == '__main__':
    sys.exit(main())
