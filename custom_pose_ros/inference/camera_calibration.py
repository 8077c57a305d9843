"""
CameraCalibration: the intrinsics for images of a size, from a given calibration or from camera_info; needs no ROS.

Takes any object with the fields of a CameraInfo message, made by rclpy or by rosbags, of ROS 1 or 2.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from custom_pose_ros.core.errors import ConfigError
from custom_pose_ros.core.geometry.camera import CameraIntrinsics

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
        fields = _calibration_fields(message, self._rectified)
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


def camera_from_message(message: Any, rectified: bool = False) -> CameraIntrinsics:
    """
    Return the intrinsics of the images that a CameraInfo (ROS 1 or 2) belongs to, after its region and binning.

    Args:
        message: The CameraInfo.
        rectified: False for raw images: K and D; True for rectified images: P, without distortion.

    Raises:
        ConfigError: It is not a calibration (an uncalibrated camera sends zeros).
    """
    if rectified:
        projection = np.reshape(_numbers(message, 'p'), (3, 4))
        camera = CameraIntrinsics(message.width, message.height, projection[:, :3])
    else:
        camera = CameraIntrinsics.from_camera_info_fields(
            width=message.width,
            height=message.height,
            distortion_model=message.distortion_model,
            d=_numbers(message, 'd'),
            k=_numbers(message, 'k'),
        )
    roi, binning = message.roi, (max(message.binning_x, 1), max(message.binning_y, 1))
    width, height = roi.width or message.width, roi.height or message.height
    if roi.x_offset + width > message.width or roi.y_offset + height > message.height:
        raise ConfigError(
            f'camera: roi: wanted a region inside {message.width}x{message.height}, '
            f'got {width}x{height} at ({roi.x_offset}, {roi.y_offset})'
        )
    if (width, height) == (message.width, message.height) and binning == (1, 1):
        return camera
    K = camera.K.copy()
    K[:2, 2] -= roi.x_offset, roi.y_offset
    for axis in (0, 1):
        K[axis] /= binning[axis]
        K[axis, 2] += 0.5 / binning[axis] - 0.5  # (0, 0) is the centre of a pixel, also of a binned one
    return CameraIntrinsics(width // binning[0], height // binning[1], K, camera.D, camera.distortion_model)


def _calibration_fields(message: Any, rectified: bool = False) -> tuple:
    """Return all that `camera_from_message` depends on: two messages with the same are the same calibration."""
    roi, matrices = message.roi, ('p',) if rectified else ('k', 'd')
    return (
        message.width, message.height, message.distortion_model, message.binning_x, message.binning_y,
        roi.x_offset, roi.y_offset, roi.width, roi.height, *(tuple(_numbers(message, name)) for name in matrices),
    )  # fmt: skip


def _numbers(message: Any, name: str) -> Sequence[float]:
    """Return the field `k`, `d` or `p` of a CameraInfo; ROS 1 spells them in capitals."""
    return getattr(message, name) if hasattr(message, name) else getattr(message, name.upper())
