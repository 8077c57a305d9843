"""CameraSupply: which intrinsics belong to the images of a bag - given ones, or the camera_info recorded with them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from custom_pose_ros.core.errors import ConfigError
from custom_pose_ros.core.geometry.camera import CameraIntrinsics
from custom_pose_ros.evaluation.bags.reader import Bag
from custom_pose_ros.evaluation.notes import Notes
from custom_pose_ros.inference.camera_calibration import CameraCalibration


class CameraSupply:
    """
    Answers with the intrinsics for an image size; the same object as long as nothing changes. Problems become notes.

    Attributes:
        description: Where the intrinsics come from.
    """

    def __init__(self, notes: Notes, file: Path | None = None, fov_deg: float | None = None, rectified: bool = False):
        """
        Begin with a calibration file or without one; ConfigError when it cannot be used.

        Args:
            notes: Where problems are written to.
            file: Calibration that replaces any camera_info.
            fov_deg: Horizontal field of view to assume where there is neither.
            rectified: Whether the images are rectified.
        """
        self.notes, self._fov_deg = notes, fov_deg
        self.description = file.name if file else 'none'
        self._calibration = CameraCalibration(file, rectified, self._report)

    def _report(self, remark: str) -> None:
        self.notes.info(f'{self.description}: {remark}')

    def find_first(self, bag: Bag, topic: str) -> None:
        """Use the first usable camera_info of the bag, so that images recorded before it are not lost."""
        for message in bag.messages([topic]):
            if self._calibration.is_known:
                return
            decoded = message.decode()
            if decoded is not None:
                self.accept(decoded, topic)

    def accept(self, message: Any, topic: str) -> None:
        """Use a camera_info message from here on, if it is a calibration and none was given."""
        if self._calibration.is_given:
            return
        was_known = self._calibration.is_known
        try:
            changed = self._calibration.accept(message)
        except ConfigError as error:
            self.notes.damage(f'{topic}: is not a calibration ({error})')
            return
        if changed and was_known:
            self.notes.info(f'{topic}: the calibration changes within the bag; each image uses the latest')
        self.description = topic

    def for_size(self, width: int, height: int) -> CameraIntrinsics | None:
        """Return the intrinsics for images of this size; None, with a note, when there are none."""
        if not self._calibration.is_known and self._fov_deg is None:
            self.notes.info(
                'no calibration: orientations are not evaluated; give --camera FILE, --camera-info TOPIC or --fov-deg'
            )
            return None
        if not self._calibration.is_known:
            self.description = f'assumed, horizontal field of view {self._fov_deg:g} deg'
        if self._calibration.rectifies:
            self.notes.info(f'{self.description}: P is used, without distortion, as the images are rectified')
        try:
            return self._calibration.for_size(width, height, self._fov_deg or 0.0)
        except ConfigError as error:
            self.notes.damage(f'images of {width}x{height} px: {error}')
            return None
