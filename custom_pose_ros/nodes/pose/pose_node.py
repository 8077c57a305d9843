"""pose_node: camera images in, keypoint poses of every instance out; wiring only."""

from __future__ import annotations

import contextlib
import dataclasses
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from typing import Any

import numpy as np

from custom_pose_ros.core.errors import ConfigError, MessageError
from custom_pose_ros.core.keypoints.poses import KeypointPose
from custom_pose_ros.core.object_model import Thresholds
from custom_pose_ros.inference.backends import Backend
from custom_pose_ros.inference.estimator import PoseEstimator
from custom_pose_ros.nodes.pose.image_queue import NewestFrames
from custom_pose_ros.nodes.pose.pose_camera import ImageMessage, PoseCamera
from custom_pose_ros.nodes.pose.pose_parameters import PoseNodeParameters, ThresholdParameters
from custom_pose_ros.nodes.ros import qos
from custom_pose_ros.nodes.ros.conversions import image_to_bgr
from custom_pose_ros.nodes.ros.input_watch import InputWatch
from custom_pose_ros.nodes.ros.managed_node import UNCONFIGURED, ManagedNode
from custom_pose_ros.nodes.ros.object_switch import ObjectSwitch
from custom_pose_ros.nodes.ros.parameters import NodeParameters
from custom_pose_ros.nodes.ros.runner import leave, run_node

SWITCH_INSTEAD = 'parameters object, model: wanted a call of ~/switch_object, or the node cleaned up first'


class PoseNode(ManagedNode[PoseNodeParameters]):
    """
    Subscribes image (or <camera>/image for each of several cameras), publishes poses, ~/overlay and /diagnostics.

    The subscription stores the newest frame and returns; a worker thread converts, estimates, tracks and publishes. A
    frame that a newer one overtakes is dropped and counted. inactive: the network is loaded and warm, nothing is
    subscribed.
    """

    def __init__(self, **node_options: Any):
        """Declare parameters and, by autostart, start. Raises ConfigError or ModelError: one line for the user."""
        self._estimator: PoseEstimator | None = None
        self._thresholds: NodeParameters[ThresholdParameters] | None = None
        super().__init__('pose_node', 'pose estimation', PoseNodeParameters, **node_options)
        self._switch = ObjectSwitch(self, self._load, self._switch_to)
        self.start()

    def configure(self, opened: ExitStack) -> None:
        """Load and warm up the network, advertise."""
        values = self.settings.values
        self._source = values.object, values.model
        self._take(self._load(*self._source))
        opened.callback(self._drop)
        with qos.overrides_explained():
            self._cameras = {
                name: PoseCamera(self, name, self.settings, statistics, opened)
                for name, statistics in self.statistics.items()
            }
        self._switch.open(lambda: self._source)
        opened.callback(self._switch.close)

    def activate(self, opened: ExitStack) -> None:
        """Start the worker and subscribe."""
        self._frames = NewestFrames()
        worker = threading.Thread(target=self._work, name='pose_worker', daemon=True)
        worker.start()
        opened.callback(worker.join)
        opened.callback(self._frames.close)
        with qos.overrides_explained():
            for camera in self._cameras.values():
                camera.subscribe(self._frames.put, opened)
        topics = ', '.join(camera.topic for camera in self._cameras.values())
        self.get_logger().info(f'finding {self.hardware_id()} in {topics} with {_in_words(self._estimator.backend)}')

    def on_settings(self, values: PoseNodeParameters) -> None:
        """Refuse another object or model while one is loaded."""
        if self.state != UNCONFIGURED and (values.object, values.model) != self._source:
            raise ConfigError(SWITCH_INSTEAD)

    def hardware_id(self) -> str:
        """Return the name of the object, or what stands in for it until that is known."""
        return self._estimator.model.name if self._estimator else self.settings.values.object

    def inputs(self, camera: str) -> Sequence[InputWatch]:
        """Return the subscription of the images."""
        return [self._cameras[camera].input]

    def rows(self, camera: str) -> dict[str, str]:
        """Return what serves."""
        model = self.settings.values.model or 'of the object'
        rows = {'object': self.hardware_id(), 'model': model, 'last switch': self._switch.last}
        if estimator := self._estimator:
            backend = estimator.backend
            rows |= {
                'backend': backend.name,
                'precision': backend.precision,
                'device': backend.device,
                'choice of the backend': backend.choice,
                'input height [px]': str(estimator.input_height),
            }
            if backend.exact:
                rows['images computed again in f32'] = str(estimator.repeated)
        return rows

    def _load(self, source: str, model: str) -> PoseEstimator:
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

    def _take(self, estimator: PoseEstimator) -> None:
        """Let a network serve, from the next frame on; thresholds that nobody changed become those of its object."""
        defaults = dataclasses.asdict(estimator.model.thresholds)
        if self._thresholds is None:
            self._thresholds = NodeParameters(
                self, ThresholdParameters, 'thresholds.', defaults, on_change=self._set_thresholds
            )
        estimator.thresholds = _core_thresholds(self._thresholds.with_defaults(defaults))
        self._estimator = estimator
        self._thresholds.set_defaults(defaults)

    def _switch_to(self, source: str, model: str, estimator: PoseEstimator) -> str:
        self._take(estimator)
        self._source = source, model
        self.settings.set(object=source, model=model)
        text = f'{estimator.model.name} serves, with {estimator.backend_name}'
        self.get_logger().info(text)
        return text

    def _drop(self) -> None:
        self._estimator = None

    def _set_thresholds(self, values: ThresholdParameters) -> None:
        if self._estimator:
            self._estimator.thresholds = _core_thresholds(values)

    def _work(self) -> None:
        while (frames := self._frames.take()) is not None:
            with self._refusing(*frames):  # whatever frames do, the next ones get their chance
                self._process(frames)

    def _process(self, frames: dict[str, ImageMessage]) -> None:
        """Answer the newest frame of each camera that has one; they go through the network together."""
        started, estimator = time.monotonic(), self._estimator
        images: dict[str, np.ndarray] = {}
        for name, message in frames.items():
            with self._refusing(name):
                images[name] = image_to_bgr(message)
        for name, poses in self._estimate(estimator, images).items():
            with self._refusing(name):
                self._cameras[name].publish(frames[name], images[name], poses, estimator.model, started)

    def _estimate(self, estimator: PoseEstimator, images: dict[str, np.ndarray]) -> dict[str, list[KeypointPose]]:
        """Return the poses in the image of each camera, without those that the estimator cannot take."""
        if len(images) > 1:
            with contextlib.suppress(Exception):  # one of them is at fault: the others do without it
                return dict(zip(images, estimator.batch(list(images.values()))))
        results = {}
        for name, image in images.items():
            with self._refusing(name):
                results[name] = estimator(image)
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


def _in_words(backend: Backend) -> str:
    return f'{backend.name} {backend.precision} on {backend.device} ({backend.choice})'


def _core_thresholds(values: ThresholdParameters) -> Thresholds:
    return Thresholds(**dataclasses.asdict(values))


def main(args: Sequence[str] | None = None) -> int:
    """Run the node; return the exit code."""
    return run_node(PoseNode, args)


if __name__ == '__main__':
    leave(main())
