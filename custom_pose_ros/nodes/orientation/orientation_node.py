"""orientation_node: keypoint poses and camera intrinsics in, orientations out; wiring only."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any

from custom_pose_ros.core.errors import ConfigError
from custom_pose_ros.core.object_model import ObjectModel
from custom_pose_ros.nodes.orientation.fused_orientation import FusedOrientation
from custom_pose_ros.nodes.orientation.object_choice import ObjectChoice, load_solvable
from custom_pose_ros.nodes.orientation.orientation_camera import OrientationCamera
from custom_pose_ros.nodes.orientation.orientation_parameters import FilterNodeParameters, OrientationNodeParameters
from custom_pose_ros.nodes.orientation.tf_frames import ObjectFrames, ReferenceFrame, make_reference_frame
from custom_pose_ros.nodes.ros import qos
from custom_pose_ros.nodes.ros.input_watch import InputWatch
from custom_pose_ros.nodes.ros.managed_node import UNCONFIGURED, ManagedNode
from custom_pose_ros.nodes.ros.object_switch import ObjectSwitch
from custom_pose_ros.nodes.ros.parameters import NodeParameters
from custom_pose_ros.nodes.ros.runner import leave, run_node


class OrientationNode(ManagedNode[OrientationNodeParameters]):
    """
    Subscribes poses and camera_info; publishes orientations, the chosen instance in common messages, markers and /tf.

    Every PoseArray is answered by an OrientationArray with its stamp, an empty one when nothing could be solved. With
    several cameras all topics are in the namespace of their camera, and each has its own calibration and filters.
    """

    def __init__(self, **node_options: Any):
        """Declare parameters and, by autostart, start. Raises ConfigError: one line for the user."""
        self._objects: ObjectChoice | None = None
        self._reference: ReferenceFrame | None = None
        self._cameras: dict[str, OrientationCamera] = {}
        super().__init__('orientation_node', 'orientation', OrientationNodeParameters, **node_options)
        self._switch = ObjectSwitch(self, lambda source, _: load_solvable(source), self._follow)
        self._filter_settings = NodeParameters(self, FilterNodeParameters, 'filter.', on_change=self._on_filter)
        self.start()

    def configure(self, opened: ExitStack) -> None:
        """Load the object and, if given, the calibrations; advertise."""
        values = self.settings.values
        self._source = values.object
        self._objects = ObjectChoice(load_solvable(self._source))
        opened.callback(self._drop)
        make_reference_frame(values.reference_frame, self, values.tf_timeout).close()  # refused now, not while driving
        with qos.overrides_explained():
            fused = FusedOrientation(self, self.settings, opened) if values.fusion else None
            for name, statistics in self.statistics.items():
                self._cameras[name] = OrientationCamera(
                    self, name, self.settings, statistics, self._objects, fused, opened
                )
        self._on_filter(self._filter_settings.values)
        if values.publish_tf and not ObjectFrames.available():
            self.get_logger().warning(
                'tf2_msgs is not installed: /tf is not published (install it, or set publish_tf: false)'
            )
        self._switch.open(lambda: (self._source, ''))
        opened.callback(self._switch.close)

    def activate(self, opened: ExitStack) -> None:
        """Subscribe."""
        values = self.settings.values
        self._reference = make_reference_frame(values.reference_frame, self, values.tf_timeout)
        opened.callback(self._reference.close)
        with qos.overrides_explained():
            for camera in self._cameras.values():
                camera.reference = self._reference
                camera.subscribe(opened)
        topics = ', '.join(camera.inputs[0].topic_name for camera in self._cameras.values())
        states = {camera.source.state for camera in self._cameras.values()}
        self.get_logger().info(
            f'orientation of {self.hardware_id()} from {topics}, camera: {", ".join(sorted(states))}'
        )

    def on_settings(self, values: OrientationNodeParameters) -> None:
        """Take the live parameters; refuse another object while one is loaded."""
        if self.state != UNCONFIGURED and values.object != self._source:
            raise ConfigError('parameter object: wanted a call of ~/switch_object, or the node cleaned up first')
        for camera in self._cameras.values():
            camera.source.timeout_s = values.camera_info_timeout
            camera.source.fallback_fov_deg = values.fallback_fov_deg
        if self._reference:
            self._reference.timeout_s = values.tf_timeout

    def _on_filter(self, values: FilterNodeParameters) -> None:
        for camera in self._cameras.values():
            camera.parameters = values.core  # all tracks start anew, with the new values

    def hardware_id(self) -> str:
        """Return the name of the object, or what stands in for it until that is known."""
        return self._objects.serving.name if self._objects else self.settings.values.object

    def inputs(self, camera: str) -> Sequence[InputWatch]:
        """Return the subscriptions of the poses and of the camera info."""
        return self._cameras[camera].inputs

    def problems(self, camera: str) -> Sequence[str]:
        """Return what is wrong with the calibration."""
        return self._cameras[camera].problems()

    def rows(self, camera: str) -> dict[str, str]:
        """Return what serves."""
        frame = self.settings.values.reference_frame
        rows = {'object': self.hardware_id(), 'reference frame': frame, 'last switch': self._switch.last}
        if camera in self._cameras:
            rows['camera'] = self._cameras[camera].source.state
            rows['unsolved instances'] = str(self._cameras[camera].unsolved)
        return rows

    def _follow(self, source: str, _: str, model: ObjectModel) -> str:
        """Let another object follow: at once where it has the same keypoints, else with the first poses of it."""

        def settle() -> None:
            self._source = source
            self.settings.set(object=source)
            self.get_logger().info(f'{model.name} serves')

        self._objects.follow(model, settle)
        serves = self._objects.serving is model
        return f'{model.name} serves' if serves else f'{model.name} will serve with the first poses of its keypoints'

    def _drop(self) -> None:
        self._objects, self._cameras = None, {}


def main(args: Sequence[str] | None = None) -> int:
    """Run the node; return the exit code."""
    return run_node(OrientationNode, args)


if __name__ == '__main__':
    leave(main())
