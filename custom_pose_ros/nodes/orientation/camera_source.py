"""CameraSource: which intrinsics belong to the images of the keypoints - a file, camera_info, or a stated guess."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

from sensor_msgs.msg import CameraInfo

from custom_pose_ros.core.errors import ConfigError, MessageError
from custom_pose_ros.core.geometry.camera import CameraIntrinsics
from custom_pose_ros.nodes.ros.conversions import camera_from_message


class CameraSource:
    """
    Answers with the intrinsics for an image size.

    In this order: a camera_calibration file; the last valid camera_info; after `timeout_s` without one, counted from
    the first question, a camera of the fallback field of view. A camera_info that is no calibration is refused and the
    last valid one stays in use. Intrinsics for another resolution of the same shape are scaled.
    """

    def __init__(
        self,
        calibration_file: str = '',
        rectified: bool = False,
        timeout_s: float = 5.0,
        fallback_fov_deg: float = 60.0,
        clock: Callable[[], float] = time.monotonic,
    ):
        """
        Read the calibration file if there is one.

        Args:
            calibration_file: a camera_calibration YAML file; empty: camera_info is used.
            rectified: whether the images are rectified, so that P of camera_info is used.
            timeout_s: how long to wait for camera_info, from the first question on.
            fallback_fov_deg: horizontal field of view; 0: no fallback.
            clock: a monotonic clock [s].

        Raises:
            ConfigError: the file cannot be used.
        """
        self._file = calibration_file
        self._rectified = rectified
        self.timeout_s = timeout_s
        self.fallback_fov_deg = fallback_fov_deg
        self._clock = clock
        self._calibrated = CameraIntrinsics.from_yaml(calibration_file) if calibration_file else None
        self._first_asked_s: float | None = None
        self._last_info: tuple = ()
        self._last_complaint = ''
        self._cache: dict[tuple[int, int], CameraIntrinsics] = {}
        self.state = f'file {calibration_file}' if calibration_file else 'waiting for camera_info'

    @property
    def wants_camera_info(self) -> bool:
        """Whether camera_info is to be subscribed: not when a file replaces it."""
        return not self._file

    @property
    def is_missing(self) -> bool:
        """Whether a calibration was asked for and there is none, from a file or camera_info."""
        return self._calibrated is None and self._first_asked_s is not None

    @property
    def is_guess(self) -> bool:
        """Whether the last answer was the fallback."""
        return self._calibrated is None and self.state.startswith('guessed')

    def accept_camera_info(self, message: CameraInfo) -> None:
        """
        Use the intrinsics of a camera_info message; most are the same as the one before and cost nothing.

        Raises:
            ConfigError: it is no calibration.
        """
        roi = message.roi
        info = (
            (message.width, message.height, message.binning_x, message.binning_y),
            (roi.x_offset, roi.y_offset, roi.width, roi.height),
            (message.distortion_model, tuple(message.d), tuple(message.k), tuple(message.p)),
        )
        if info == self._last_info:
            if self._last_complaint:
                raise ConfigError(self._last_complaint)
            return
        self._last_info, self._last_complaint = info, ''
        try:
            self._calibrated = camera_from_message(message, self._rectified)
        except ConfigError as error:
            self._last_complaint = str(error)
            raise
        self._cache.clear()
        self.state = 'camera_info'

    def intrinsics(self, width: int, height: int) -> CameraIntrinsics:
        """
        Return the intrinsics for images of this size; the same object as long as they do not change.

        Raises:
            MessageError: there are none yet, or the size has another shape than the calibration's.
        """
        if self._first_asked_s is None:
            self._first_asked_s = self._clock()
        if self._calibrated is None:
            return self._fallback(width, height)
        if (width, height) not in self._cache:
            try:
                self._cache = {(width, height): self._calibrated.scaled_to(width, height)}
            except ConfigError as error:
                raise MessageError(str(error)) from error
        return self._cache[width, height]

    def _fallback(self, width: int, height: int) -> CameraIntrinsics:
        waited_s = self._clock() - (self._first_asked_s or 0.0)
        problem = f'no usable camera_info ({self._last_complaint or "none received"})'
        if not self.fallback_fov_deg:
            raise MessageError(f'{problem}: publish it, or set camera_calibration or fallback_fov_deg')
        if waited_s < self.timeout_s:
            raise MessageError(
                f'{problem} yet: after {self.timeout_s:g} s {self.fallback_fov_deg:g} deg will be assumed'
            )
        state = f'guessed: {self.fallback_fov_deg:g} deg'
        if state != self.state or (width, height) not in self._cache:
            fov = math.radians(self.fallback_fov_deg)
            self._cache = {(width, height): CameraIntrinsics.from_fov(width, height, fov)}
            self.state = state
        return self._cache[width, height]
