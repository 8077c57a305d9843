"""pose_node: camera images in, keypoint poses of every instance out; wiring only."""

from __future__ import annotations

import contextlib
import dataclasses
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from rclpy.lifecycle import LifecycleState, TransitionCallbackReturn

from custom_pose_ros.core.errors import ConfigError, MessageError
from custom_pose_ros.core.keypoints.poses import KeypointPose
from custom_pose_ros.inference.estimator import Estimator, PoseEstimator
from custom_pose_ros.nodes.pose.image_queue import NewestFrames
from custom_pose_ros.nodes.pose.on_demand import OnDemand
from custom_pose_ros.nodes.pose.pose_camera import WARNING_PERIOD_S, PoseCamera
from custom_pose_ros.nodes.pose.pose_parameters import PoseNodeParameters, ThresholdParameters
from custom_pose_ros.nodes.ros import qos
from custom_pose_ros.nodes.ros.frames import FrameExchange, ReceivedImage
from custom_pose_ros.nodes.ros.health import CameraReport, Health
from custom_pose_ros.nodes.ros.loading import loaded_before_shutdown
from custom_pose_ros.nodes.ros.managed_node import ACTIVE, INACTIVE, UNCONFIGURED, ManagedNode, run_node, transition
from custom_pose_ros.nodes.ros.object_switch import ObjectSwitch
from custom_pose_ros.nodes.ros.parameters import NodeParameters, warn_of_unknown_overrides

SWITCH_INSTEAD = 'parameters object, model: wanted a call of ~/switch_object, or the node cleaned up first'


class PoseNode(ManagedNode):
    """
    Subscribes image (or <camera>/image for each of several cameras), publishes poses, ~/overlay and /diagnostics.

    The subscription stores the newest frame and returns; a worker thread converts, estimates, tracks and publishes. A
    frame that a newer one overtakes is dropped and counted. inactive: the network is loaded and warm, nothing is
    subscribed.

    Attributes:
        settings: the parameters.
        health: the diagnostics, with the statistics of each camera.
    """

    def __init__(self, frames: FrameExchange | None = None, **node_options: Any):
        """
        Declare the parameters; `start` configures and activates.

        Args:
            frames: is given every image, for an orientation_node in the same process.
            node_options: as for rclpy's Node.

        Raises:
            ConfigError: a parameter cannot be accepted; one line for the user.
        """
        super().__init__('pose_node', **node_options)
        with self.destroyed_on_error():
            self.settings = NodeParameters(self, PoseNodeParameters, check=self._check_settings)
            self._thresholds: NodeParameters[ThresholdParameters] | None = None
            self._estimator: Estimator | None = None
            self._source, self._exchange = ('', ''), frames
            self._cameras: dict[str, PoseCamera] = {}
            self._batch_failures, self._batch_failure = 0, ''
            self._switch = ObjectSwitch(self, self._load, self._switch_to)
            self._on_demand = OnDemand(self, self.settings, self._cameras)
            self.health = Health(self, 'pose estimation', self.settings.values.cameras, self._report)

    @transition(INACTIVE)
    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Load and warm up the network, advertise."""
        held, values = self.until_cleanup, self.settings.values
        self._source = values.object, values.model
        self._install(loaded_before_shutdown(lambda: self._load(*self._source), self.context))
        held.callback(self._unload)
        with qos.overrides_explained():
            for name, statistics in self.health.statistics.items():
                self._cameras[name] = PoseCamera(self, name, self.settings, statistics, self._exchange, held)
        held.enter_context(self._switch.accepting(lambda: self._source))
        return super().on_configure(state)

    @transition(ACTIVE)
    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Start the worker and subscribe."""
        held = self.until_deactivate
        self.health.restart()
        self._frames = NewestFrames()
        worker = threading.Thread(target=self._work, name='pose_worker', daemon=True)
        worker.start()
        held.callback(worker.join)
        held.callback(self._frames.close)
        with qos.overrides_explained():
            for camera in self._cameras.values():
                camera.subscribe(self._frames.put, held)
        warn_of_unknown_overrides(self)
        topics = ', '.join(camera.topic for camera in self._cameras.values())
        self.get_logger().info(f'finding {self._object_name} in {topics} with {self._estimator.network}')
        return super().on_activate(state)

    def _work(self) -> None:
        while (frames := self._frames.take()) is not None:
            with self._refusing(*frames):  # whatever frames do, the next ones get their chance
                self._process(frames)

    def _process(self, frames: dict[str, ReceivedImage]) -> None:
        """Answer the newest frame of each camera that has one; they go through the network together."""
        started, estimator = time.monotonic(), self._estimator
        images: dict[str, np.ndarray] = {}
        for name, frame in frames.items():
            with self._refusing(name):
                images[name] = frame.bgr
        for name, poses in self._estimate(estimator, images).items():
            with self._refusing(name):
                self._cameras[name].publish(frames[name], poses, estimator.model, started)

    def _estimate(self, estimator: Estimator, images: dict[str, np.ndarray]) -> dict[str, list[KeypointPose]]:
        """Return the poses in the image of each camera, without those that the estimator cannot process."""
        if len(images) > 1:
            try:
                return dict(zip(images, estimator.batch(list(images.values()), list(images))))
            except Exception as error:  # one image may be at fault: each is tried on its own
                self._batch_failures += 1
                self._batch_failure = f'{type(error).__name__}: {error}'
                self.get_logger().warning(
                    'the images of the cameras cannot be processed together, each is processed alone: '
                    f'{self._batch_failure}',
                    throttle_duration_sec=WARNING_PERIOD_S,
                )
        results = {}
        for name, image in images.items():
            with self._refusing(name):
                results[name] = estimator(image, name)
        return results

    @contextlib.contextmanager
    def _refusing(self, *cameras: str) -> Iterator[None]:
        """Refuse the frames of these cameras when anything goes wrong with them."""
        try:
            yield
        except Exception as error:
            if self.context.ok():  # else nothing can be published any more: the process is ending
                for camera in (self._cameras[name] for name in cameras):
                    known = isinstance(error, MessageError)
                    camera.refuse(f'{camera.topic if known else type(error).__name__}: {error}')

    def _load(self, source: str, model: str) -> Estimator:
        """Return a network that has run once."""
        values = self.settings.values
        estimator = PoseEstimator.load(
            source,
            model or None,
            backend=values.backend,
            precision=values.precision,
            input_height=values.input_height or None,
            threads=values.threads or None,
        )
        estimator.warm_up()
        return estimator

    def _install(self, estimator: Estimator) -> None:
        """Let a network serve, from the next frame on; thresholds that nobody changed become those of its object."""
        defaults = dataclasses.asdict(estimator.model.thresholds)
        if self._thresholds is None:
            self._thresholds = NodeParameters(
                self, ThresholdParameters, 'thresholds.', defaults,
                check=self._check_thresholds, apply=self._on_thresholds, beside=self.settings,
            )  # fmt: skip
        thresholds = self._thresholds.with_defaults(defaults).core
        estimator.model.check_thresholds(thresholds)
        estimator.thresholds = thresholds
        self._estimator = estimator
        self._thresholds.set_defaults(defaults)

    def _unload(self) -> None:
        self._estimator = None
        self._cameras.clear()

    def _switch_to(self, source: str, model: str, estimator: Estimator) -> str:
        self._install(estimator)
        self._source = source, model
        self.settings.set(object=source, model=model)
        text = f'{estimator.model.name} serves, with {estimator.backend.name}'
        self.get_logger().info(text)
        return text

    def _check_settings(self, values: PoseNodeParameters) -> None:
        """Refuse another object or model while one is loaded."""
        if self.state != UNCONFIGURED and (values.object, values.model) != self._source:
            raise ConfigError(SWITCH_INSTEAD)

    def _check_thresholds(self, values: ThresholdParameters) -> None:
        if self._estimator:
            self._estimator.model.check_thresholds(values.core)

    def _on_thresholds(self, values: ThresholdParameters) -> None:
        if self._estimator:
            self._estimator.thresholds = values.core

    @property
    def _object_name(self) -> str:
        return self._estimator.model.name if self._estimator else self.settings.values.object

    def _report(self, name: str) -> CameraReport:
        """Return what diagnostics say about a camera and what serves it."""
        model = self.settings.values.model or 'of the object'
        rows = {'object': self._object_name, 'model': model, 'last switch': self._switch.last}
        rows['answers'] = 'every image' if self.settings.values.enabled else 'on demand'
        if estimator := self._estimator:
            backend = estimator.backend
            rows |= {
                'backend': backend.name,
                'precision': backend.precision,
                'device': backend.device,
                'choice of the backend': estimator.network.choice,
                'input height [px]': str(estimator.input_height),
            }
            if estimator.network.exact:
                rows['images computed again in f32'] = str(estimator.repeated)
        if self._batch_failures:
            rows['failed batches'] = f'{self._batch_failures}, the last by {self._batch_failure}'
        camera = self._cameras.get(name)
        return CameraReport(self._object_name, rows, camera.inputs if camera else ())


def main(args: Sequence[str] | None = None) -> int:
    """Run the node; return the exit code."""
    return run_node(PoseNode, args)


if __name__ == '__main__':
    sys.exit(main())
