"""Between the pixels of a film, those of the copies that are looked at, and places without distortion."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from custom_pose_ros.core.geometry.camera import CameraIntrinsics

_LONGEST_SIDE = 1024  # [px] of the copies in which points are followed
_USUAL_FOV = np.radians(60)
_FOCAL_SIGMA = 0.3  # relative, of the focal length that this stands for


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
