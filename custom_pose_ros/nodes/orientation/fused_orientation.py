"""FusedOrientation: what all cameras of an orientation_node say together, published in the namespace `fused`."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack

from rclpy.lifecycle import LifecycleNode
from std_msgs.msg import Header

from custom_pose_ros.core.errors import ConfigError
from custom_pose_ros.core.object_model import ObjectModel
from custom_pose_ros.core.orientation.estimate import OrientationEstimate
from custom_pose_ros.core.orientation.filter import FilterParameters
from custom_pose_ros.core.orientation.fusion import PoseFusion
from custom_pose_ros.nodes.orientation.orientation_outputs import OrientationOutputs
from custom_pose_ros.nodes.orientation.orientation_parameters import OrientationNodeParameters
from custom_pose_ros.nodes.orientation.reference_frame import CAMERA_BODY, CAMERA_OPTICAL
from custom_pose_ros.nodes.ros.conversions import estimates_to_message, stamp_seconds
from custom_pose_ros.nodes.ros.parameters import NodeParameters

NAMESPACE = 'fused'
_USUAL = 0.5  # of a speed that is rarely passed


class FusedOrientation:
    """Fuses the estimates of all cameras, and answers the newest image with all of them together."""

    def __init__(self, node: LifecycleNode, settings: NodeParameters[OrientationNodeParameters], held: ExitStack):
        """
        Advertise; `held` is given the release of the publishers.

        Raises:
            ConfigError: there is only one camera, or no frame that is the same for all.
        """
        values = settings.values
        if len(values.cameras) < 2 or values.reference_frame in (CAMERA_OPTICAL, CAMERA_BODY):
            raise ConfigError(
                'parameter fusion: wanted several cameras and a reference_frame of TF, such as base_link, '
                f'got cameras {list(values.cameras)} and {values.reference_frame}'
            )
        self._outputs = OrientationOutputs(node, NAMESPACE, '', settings, held)
        self._fusion: PoseFusion | None = None

    def update(
        self,
        camera: str,
        header: Header,
        estimates: Sequence[OrientationEstimate],
        model: ObjectModel,
        parameters: FilterParameters,
    ) -> None:
        """
        Add the estimates of one image of one camera.

        Args:
            camera: its name.
            header: the stamp of the image, and the reference frame.
            estimates: in the reference frame.
            model: the object.
            parameters: what the object can do.
        """
        if self._fusion is None or self._fusion.model is not model:
            self._fusion = PoseFusion(model)
        self._fusion.speeds = _USUAL * parameters.max_speed, _USUAL * parameters.max_angular_speed
        stamp_s = stamp_seconds(header.stamp)
        fused = self._fusion.update(camera, stamp_s, estimates)
        if stamp_s < self._fusion.stamp_s:
            return  # a camera that is late: its images count, but the answer to a later one is out
        self._outputs.publish(estimates_to_message(fused, model.name, header), model)
        self._outputs.publish_frames(header, fused, model)
