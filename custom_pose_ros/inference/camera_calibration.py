"""CameraCalibration: the intrinsics for images of a size, from a given calibration or from camera_info."""

from __future__ import annotations

import math
from typing import Any

from custom_pose_ros.core.errors import ConfigError
from custom_pose_ros.core.geometry.camera import CameraIntrinsics
from custom_pose_ros.inference.pose_messages import calibration_fields, camera_from_message

_SIZES = 16  # of images whose intrinsics are kept


class CameraCalibration:
    """
    Answers with the intrinsics for an image size; the same object as long as nothing changes.

    A camera_info that is no calibration is refused and the last valid one stays in use. Intrinsics for another
    resolution of the same shape are scaled.

    Attributes:
        is_given: whether a calibration was given; camera_info is not needed then.
        refusal: why the last camera_info is no calibration; empty when it is one.
    """

    def __init__(self, given: CameraIntrinsics | None = None, rectified: bool = False):
        """
        Begin with a given calibration or without one.

        Args:
            given: the calibration, instead of any camera_info.
            rectified: whether the images are rectified, so that P of camera_info is used.
        """
        self.is_given, self.refusal = given is not None, ''
        self._camera, self._rectified = given, rectified
        self._used: tuple = ()
        self._refused: tuple = ()
        self._scaled: dict[tuple[int, int, float], CameraIntrinsics] = {}

    @property
    def is_known(self) -> bool:
        """Whether there is a calibration, given or from camera_info."""
        return self._camera is not None

    def accept(self, message: Any) -> bool:
        """
        Use a CameraInfo message (ROS 1 or 2); one that repeats the one before costs nothing.

        Returns:
            Whether it has changed the calibration.

        Raises:
            ConfigError: it is no calibration.
        """
        fields = calibration_fields(message, self._rectified)
        if fields == self._used:
            self.refusal = ''
            return False
        if fields != self._refused or not self.refusal:
            try:
                camera = camera_from_message(message, self._rectified)
            except (ConfigError, ValueError, OverflowError) as error:
                self._refused, self.refusal = fields, str(error)
            else:
                self._used, self.refusal, self._camera = fields, '', camera
                self._scaled.clear()
                return True
        raise ConfigError(self.refusal)

    def for_size(self, width: int, height: int, fov_deg: float = 0.0) -> CameraIntrinsics:
        """
        Return the intrinsics for images of this size [px].

        Args:
            width: of the image.
            height: of the image.
            fov_deg: horizontal field of view to assume while there is no calibration.

        Raises:
            ConfigError: the image has another shape than that of the calibration.
        """
        key = width, height, 0.0 if self._camera else fov_deg
        if key not in self._scaled:
            if len(self._scaled) == _SIZES:
                self._scaled.clear()
            if self._camera:
                self._scaled[key] = self._camera.scaled_to(width, height)
            else:
                self._scaled[key] = CameraIntrinsics.from_fov(width, height, math.radians(fov_deg))
        return self._scaled[key]
