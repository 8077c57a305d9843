"""CameraSource: the intrinsics for the images of the keypoints - from a file, camera_info, or a stated guess."""

from __future__ import annotations

import time
from collections.abc import Callable

from sensor_msgs.msg import CameraInfo

from custom_pose_ros.core.errors import ConfigError, MessageError
from custom_pose_ros.core.geometry.camera import CameraIntrinsics
from custom_pose_ros.inference.camera_calibration import CameraCalibration


class CameraSource:
    """
    Answers with the intrinsics for an image size.

    In this order: a camera_calibration file; the last valid camera_info; after `timeout_s` without one, counted from
    the first question, a camera of the fallback field of view.

    Attributes:
        timeout_s: how long to wait for camera_info.
        fallback_fov_deg: horizontal field of view; 0: no fallback.
    """

    def __init__(
        self,
        calibration_file: str = '',
        rectified: bool = False,
        timeout_s: float = 5.0,
        fallback_fov_deg: float = 60.0,
        clock: Callable[[], float] = time.monotonic,
        report: Callable[[str], None] = lambda remark: None,
    ):
        """
        Read the calibration file if there is one.

        Args:
            calibration_file: a camera_calibration YAML file; empty: camera_info is used.
            rectified: whether the images are rectified, so that P is used.
            timeout_s: how long to wait for camera_info.
            fallback_fov_deg: horizontal field of view; 0: no fallback.
            clock: a monotonic clock [s].
            report: is told once what a user should know of the use of the calibration.

        Raises:
            ConfigError: the file cannot be used.
        """
        self.timeout_s, self.fallback_fov_deg = timeout_s, fallback_fov_deg
        self._file, self._clock = calibration_file, clock
        self._calibration = CameraCalibration(calibration_file, rectified, report)
        self._first_asked_s: float | None = None
        self._guessed_fov_deg = 0.0

    @property
    def state(self) -> str:
        """Where the intrinsics come from, in words."""
        if self._calibration.is_known:
            source = f'file {self._file}' if self._file else 'camera_info'
            images = ['rectified images'] if self._calibration.rectifies else []
            return '; '.join([source, *images, *self._calibration.remarks])
        if self._file:
            return f'file {self._file}: {self._calibration.refusal}'
        return f'guessed: {self._guessed_fov_deg:g} deg' if self.is_guess else 'waiting for camera_info'

    @property
    def rectified(self) -> bool:
        """Whether the images are rectified, so that P is used, without distortion."""
        return self._calibration.rectified

    @rectified.setter
    def rectified(self, rectified: bool) -> None:
        self._calibration.rectified = rectified

    @property
    def wants_camera_info(self) -> bool:
        """Whether camera_info is to be subscribed: not when a file replaces it."""
        return not self._calibration.is_given

    @property
    def is_missing(self) -> bool:
        """Whether a calibration was asked for and there is none, from a file or camera_info."""
        return not self._calibration.is_known and not self._file and self._first_asked_s is not None

    @property
    def is_guess(self) -> bool:
        """Whether the last answer was the fallback."""
        return not self._calibration.is_known and self._guessed_fov_deg > 0.0

    def accept_camera_info(self, message: CameraInfo) -> None:
        """
        Use the intrinsics of a camera_info message.

        Raises:
            ConfigError: it is no calibration; the last valid one stays in use.
        """
        self._calibration.accept(message)

    def intrinsics(self, width: int, height: int) -> CameraIntrinsics:
        """
        Return the intrinsics for images of this size [px]; the same object as long as they do not change.

        Raises:
            MessageError: there are none yet, or the size has another shape than the calibration's.
        """
        if self._first_asked_s is None:
            self._first_asked_s = self._clock()
        if not self._calibration.is_known and not self._file:
            self._guessed_fov_deg = self._checked_fallback(self._clock() - self._first_asked_s)
        try:
            return self._calibration.for_size(width, height, self._guessed_fov_deg)
        except ConfigError as error:
            raise MessageError(str(error)) from error

    def _checked_fallback(self, waited_s: float) -> float:
        """Return the field of view [deg] to assume now. Raises MessageError when there is none, or not yet."""
        problem = f'no usable camera_info ({self._calibration.refusal or "none received"})'
        if not self.fallback_fov_deg:
            raise MessageError(f'{problem}: publish it, or set camera_calibration or fallback_fov_deg')
        if waited_s < self.timeout_s:
            raise MessageError(
                f'{problem} yet: after {self.timeout_s:g} s {self.fallback_fov_deg:g} deg will be assumed'
            )
        return self.fallback_fov_deg
