"""CameraSupply: which intrinsics belong to the images of a bag - given ones, or the camera_info recorded with them."""

from __future__ import annotations

import math
from typing import Any

from custom_pose_ros.core.errors import ConfigError
from custom_pose_ros.core.geometry.camera import CameraIntrinsics
from custom_pose_ros.evaluation.bags.reader import Bag
from custom_pose_ros.evaluation.notes import Notes
from custom_pose_ros.inference.pose_messages import calibration_fields, camera_from_message


class CameraSupply:
    """
    Answers with the intrinsics for an image size; the same object as long as nothing changes.

    given : calibration that replaces any camera_info.
    fov_deg : horizontal field of view to assume where there is neither.
    description : where the intrinsics come from.
    """

    def __init__(
        self, notes: Notes, given: CameraIntrinsics | None = None, fov_deg: float | None = None, source: str = ''
    ):
        self.notes, self.fov_deg = notes, fov_deg
        self.is_fixed = given is not None
        self.description = source if given is not None else 'none'
        self._camera = given
        self._fields: tuple = ()
        self._cache: dict[tuple[int, int], CameraIntrinsics | None] = {}

    def find_first(self, bag: Bag, topic: str) -> None:
        """Use the first usable camera_info of the bag, so that images recorded before it are not lost."""
        if self.is_fixed:
            return
        for message in bag.messages([topic]):
            decoded = message.decode()
            if decoded is not None and self.accept(decoded, topic):
                return

    def accept(self, message: Any, topic: str) -> bool:
        """Use a camera_info message from here on; says whether it is a calibration."""
        if self.is_fixed:
            return False
        fields = calibration_fields(message)
        if fields == self._fields:
            return True
        try:
            camera = camera_from_message(message)
        except (ConfigError, ValueError, OverflowError) as error:
            self.notes.damage(f'{topic}: is not a calibration ({error})')
            return False
        if self._fields:
            self.notes.info(f'{topic}: the calibration changes within the bag; each image uses the latest')
        self._fields, self._camera = fields, camera
        self.description = topic
        self._cache.clear()
        return True

    def for_size(self, width: int, height: int) -> CameraIntrinsics | None:
        """Return the intrinsics for images of this size; None, with a note, when there are none."""
        if (width, height) not in self._cache:
            self._cache[width, height] = self._find(width, height)
        return self._cache[width, height]

    def _find(self, width: int, height: int) -> CameraIntrinsics | None:
        if self._camera is None and self.fov_deg is None:
            self.notes.info(
                'no calibration: orientations are not evaluated; give --camera FILE, --camera-info TOPIC or --fov-deg'
            )
            return None
        if self._camera is None:
            self.description = f'assumed, horizontal field of view {self.fov_deg:g} deg'
            return CameraIntrinsics.from_fov(width, height, math.radians(self.fov_deg or 0.0))
        try:
            return self._camera.scaled_to(width, height)
        except ConfigError as error:
            self.notes.damage(f'images of {width}x{height} px: {error}')
            return None
