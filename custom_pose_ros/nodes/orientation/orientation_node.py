"""orientation_node: keypoint poses and camera intrinsics in, orientations out; wiring only."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

from rclpy.lifecycle import LifecycleState, TransitionCallbackReturn

from custom_pose_ros.core.errors import ConfigError
from custom_pose_ros.core.limits import MIN_FOV_DEG
from custom_pose_ros.nodes.orientation.orientation_camera import OrientationCamera
from custom_pose_ros.nodes.orientation.orientation_outputs import FusedOrientation, frames_available
from custom_pose_ros.nodes.orientation.orientation_parameters import (
    OUTLINE,
    FilterNodeParameters,
    OrientationNodeParameters,
)
from custom_pose_ros.nodes.orientation.reference_frame import (
    ReferenceFrame,
    check_reference_frame,
    make_reference_frame,
)
from custom_pose_ros.nodes.orientation.served_object import ObjectChoice, ServedObject, load_served
from custom_pose_ros.nodes.ros import qos
from custom_pose_ros.nodes.ros.frames import FrameExchange
from custom_pose_ros.nodes.ros.health import CameraReport, Health
from custom_pose_ros.nodes.ros.managed_node import ACTIVE, INACTIVE, UNCONFIGURED, ManagedNode, run_node, transition
from custom_pose_ros.nodes.ros.object_switch import ObjectSwitch
from custom_pose_ros.nodes.ros.parameters import NodeParameters, warn_of_unknown_overrides


class OrientationNode(ManagedNode):
    """
    Subscribes poses and camera_info; publishes orientations, the chosen instance in common messages, markers and /tf.

    Every PoseArray is answered by an OrientationArray with its stamp, an empty one when nothing could be solved. With
    several cameras all topics are in the namespace of their camera, and each has its own calibration and filters.

    Attributes:
        settings: the parameters, without those of the filter.
        health: the diagnostics, with the statistics of each camera.
    """

    def __init__(self, frames: FrameExchange | None = None, **node_options: Any):
        """
        Declare the parameters; `start` configures and activates.

        Args:
            frames: images of a pose_node in the same process, instead of subscriptions.
            node_options: as for rclpy's Node.

        Raises:
            ConfigError: a parameter cannot be accepted; one line for the user.
        """
        super().__init__('orientation_node', **node_options)
        with self.destroyed_on_error():
            self.settings = NodeParameters(
                self, OrientationNodeParameters, check=self._check_settings, apply=self._on_settings
            )
            self._filter = NodeParameters(
                self, FilterNodeParameters, 'filter.', apply=self._on_filter, beside=self.settings
            )
            self._source, self._frames = '', frames
            self._objects: ObjectChoice | None = None
            self._reference: ReferenceFrame | None = None
            self._cameras: dict[str, OrientationCamera] = {}
            self._switch = ObjectSwitch(self, lambda source, _: self._load(source), self._switch_to)
            self.health = Health(self, 'orientation', self.settings.values.cameras, self._report)

    @transition(INACTIVE)
    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Load the object and, if given, the calibrations; advertise."""
        held, values = self.until_cleanup, self.settings.values
        self._source = values.object
        self._objects = ObjectChoice(self._load(self._source))
        held.callback(self._unload)
        check_values(values)
        check_reference_frame(values.reference_frame)  # refused now, not while driving
        with qos.overrides_explained():
            fused = FusedOrientation(self, self.settings, held) if values.fusion else None
            for name, statistics in self.health.statistics.items():
                self._cameras[name] = OrientationCamera(
                    self, name, self.settings, statistics, self._objects, fused, self._frames, held
                )
        self._on_filter(self._filter.values)
        if values.publish_tf and not frames_available():
            self.get_logger().warning(
                'tf2_msgs is not installed: /tf is not published (install it, or set publish_tf: false)'
            )
        held.enter_context(self._switch.accepting(lambda: (self._source, '')))
        return super().on_configure(state)

    @transition(ACTIVE)
    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Subscribe."""
        held, values = self.until_deactivate, self.settings.values
        self.health.restart()
        self._reference = make_reference_frame(values.reference_frame, self, values.tf_timeout)
        held.callback(self._reference.close)
        with qos.overrides_explained():
            for camera in self._cameras.values():
                camera.subscribe(self._reference, held)
        warn_of_unknown_overrides(self)
        topics = ', '.join(camera.inputs[0].topic_name for camera in self._cameras.values())
        states = {camera.source.state for camera in self._cameras.values()}
        outline = self._objects.serving.outline if self._objects else None
        refined = f', refined by the outline of {outline.mesh}' if outline else ''
        self.get_logger().info(
            f'orientation of {self._object_name} from {topics}{refined}, camera: {", ".join(sorted(states))}'
        )
        return super().on_activate(state)

    def _load(self, source: str) -> ServedObject:
        values = self.settings.values
        return load_served(source, values.refine, values.outline_file)

    def _switch_to(self, source: str, _: str, served: ServedObject) -> str:
        """Let another object follow: at once where it has the same keypoints, else with the first poses of it."""

        def settle() -> None:
            self._source = source
            self.settings.set(object=source)
            self.get_logger().info(f'{name} serves')

        name = served.model.name
        self._objects.follow(served, settle)
        serves = self._objects.serving is served
        return f'{name} serves' if serves else f'{name} will serve with the first poses of its keypoints'

    def _unload(self) -> None:
        self._objects = None
        self._cameras.clear()

    def _check_settings(self, values: OrientationNodeParameters) -> None:
        """Refuse another object while one is loaded."""
        if self.state != UNCONFIGURED and values.object != self._source:
            raise ConfigError('parameter object: wanted a call of ~/switch_object, or the node cleaned up first')
        check_values(values)

    def _on_settings(self, values: OrientationNodeParameters) -> None:
        for camera in self._cameras.values():
            camera.source.timeout_s = values.camera_info_timeout
            camera.source.fallback_fov_deg = values.fallback_fov_deg
        if self._reference:
            self._reference.timeout_s = values.tf_timeout

    def _on_filter(self, values: FilterNodeParameters) -> None:
        for camera in self._cameras.values():
            camera.restart_filter(values.core)

    @property
    def _object_name(self) -> str:
        return self._objects.serving.model.name if self._objects else self.settings.values.object

    def _report(self, name: str) -> CameraReport:
        """Return what diagnostics say about a camera and what serves it."""
        frame = self.settings.values.reference_frame
        rows = {'object': self._object_name, 'reference frame': frame, 'last switch': self._switch.last}
        camera = self._cameras.get(name)
        if camera is None:
            return CameraReport(self._object_name, rows)
        return CameraReport(self._object_name, rows | camera.rows(), camera.inputs, camera.problems())


def check_values(values: OrientationNodeParameters) -> None:
    """Raise ConfigError for what the bounds of each parameter do not tell."""
    if 0 < values.fallback_fov_deg < MIN_FOV_DEG:
        raise ConfigError(
            f'parameter fallback_fov_deg: wanted degrees, not radians, at least {MIN_FOV_DEG}, or 0 for no fallback, '
            f'got {values.fallback_fov_deg:g}'
        )
    if values.camera_rate and not (values.refine == OUTLINE and values.smoothing):
        raise ConfigError(
            f'parameter camera_rate: wanted refine: {OUTLINE} and smoothing: true with it, '
            f'got {values.refine} and {str(values.smoothing).lower()}'
        )


def main(args: Sequence[str] | None = None) -> int:
    """Run the node; return the exit code."""
    return run_node(OrientationNode, args)


if __name__ == '__main__':
    sys.exit(main())
