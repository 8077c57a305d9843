"""The camera of a film; between its pixels, those of the copies that are looked at, and places without distortion."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from custom_pose_ros.core.command_line import say
from custom_pose_ros.core.errors import ConfigError
from custom_pose_ros.core.geometry.camera import CameraIntrinsics
from custom_pose_ros.core.geometry.camera_checks import difference_from_recorded, lens_text
from custom_pose_ros.inference.camera_calibration import CameraCalibration
from training.pose_training.labels.film import Film

_LONGEST_SIDE = 1024  # [px] of the copies in which points are followed
_USUAL_FOV = np.radians(60)
_FOCAL_SIGMA = 0.3  # relative, of the focal length that this stands for


def given_calibration(file: Path | None) -> CameraCalibration | None:
    """Return what --camera names; ConfigError where it is no calibration."""
    return None if file is None else CameraCalibration(file, report=lambda text: say(f'note: {file}: {text}'))


def film_intrinsics(film: Film, given: CameraCalibration | None, width: int, height: int) -> CameraIntrinsics | None:
    """
    Return the camera of a film: of the calibration that is given, else of the one in a bag; None where there is none.

    Which one of the bag's is used is told, and by how much the one that is given differs from it.

    Args:
        film: The film.
        given: The calibration that is given.
        width: Of the pictures [px].
        height: Of the pictures [px].

    Raises:
        ConfigError: What is given is no calibration of such pictures.
    """
    rectified, topic, calibration = film.recorded_camera
    recorded = None
    if calibration is not None:
        try:
            recorded = calibration.for_size(width, height)
        except ConfigError as error:
            say(f'warning: {film.source}: {topic} is not used: images of {width}x{height} px: {error}')
    if given is None:
        if recorded is not None:
            say(f'note: {film.source}: the calibration is that of {topic}, {lens_text(recorded)}; --camera replaces it')
        return recorded
    given.rectified = rectified
    try:
        used = given.for_size(width, height)
    except ConfigError as error:
        raise ConfigError(f'{film.source}: --camera: {error}') from error
    if recorded is not None and (text := difference_from_recorded(used, recorded, str(topic))):
        say(f'warning: {film.source}: {text}')
    return used


@dataclass(frozen=True, eq=False)
class FilmCamera:
    """
    What is known of the camera of a film.

    Attributes:
        width: Of the film [px].
        height: Of the film [px].
        intrinsics: Of the camera; None where nobody knows.
    """

    width: int
    height: int
    intrinsics: CameraIntrinsics | None = None

    @property
    def scale(self) -> float:
        """From pixels of the film to those of the copies."""
        return min(1.0, _LONGEST_SIDE / max(self.width, self.height))

    @property
    def focal_px(self) -> float:
        """Of the copies."""
        if self.intrinsics is not None:
            return float(self.intrinsics.K[0, 0]) * self.scale
        return max(self.width, self.height) * self.scale / 2 / float(np.tan(_USUAL_FOV / 2))

    @property
    def focal_sigma(self) -> float:
        """Relative standard deviation of the focal length; 0 where it is known."""
        return 0.0 if self.intrinsics is not None else _FOCAL_SIGMA

    def copy(self, image: np.ndarray) -> np.ndarray:
        """Return the grey copy (h, w) uint8 of a frame (H, W, 3) uint8 BGR."""
        grey = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
        if self.scale == 1:
            return grey
        size = (round(self.width * self.scale), round(self.height * self.scale))
        return cv2.resize(grey, size, interpolation=cv2.INTER_AREA)

    def to_copy(self, places: np.ndarray) -> np.ndarray:
        """Return places (..., 2) [px of the film] in pixels of the copies."""
        return (places + 0.5) * self.scale - 0.5

    def to_film(self, places: np.ndarray) -> np.ndarray:
        """Return places (..., 2) [px of the copies] in pixels of the film."""
        return (places + 0.5) / self.scale - 0.5

    def ideal(self, places: np.ndarray) -> np.ndarray:
        """Return places (N, 2) [px of the copies] as they are from the principal point without distortion."""
        if self.intrinsics is None:
            return places - self._middle
        return self.intrinsics.undistort(self.to_film(places)) * self.focal_px

    def seen(self, ideal: np.ndarray) -> np.ndarray:
        """Return ideal places (N, 2) as they are seen [px of the copies]."""
        if self.intrinsics is None:
            return ideal + self._middle
        return self.to_copy(self.intrinsics.project(np.column_stack([ideal / self.focal_px, np.ones(len(ideal))])))

    @property
    def _middle(self) -> np.ndarray:
        return (np.array([self.width, self.height]) * self.scale - 1) / 2
