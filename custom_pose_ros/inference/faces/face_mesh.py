"""FaceMesh: landmarks of one face from a crop that is turned upright, and the crop for the next frame."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from custom_pose_ros.core.errors import ConfigError
from custom_pose_ros.inference.faces.face_models import MESH, FaceNetwork

_MARGIN = 1.5  # side of the crop over the longer side of the face
_RIGHT_EYE, _LEFT_EYE = 33, 263  # outer corners, the person's own sides


@dataclass(frozen=True)
class Landmark:
    """
    A named point of the face on MediaPipe's mesh of 468 points.

    Attributes:
        weights: mesh points and their weights, which add up to 1; a negative one goes on beyond the mesh.
        error: standard deviation of the point along the face's own horizontal and vertical, as a share of the face's
            `size_px`, measured by test/benchmarks/faces.py.
    """

    weights: dict[int, float]
    error: tuple[float, float]


LANDMARKS = {
    'nose_tip': Landmark({1: 0.5, 4: 0.5}, (0.02, 0.02)),
    'chin': Landmark({152: 1.6, 199: -0.6}, (0.04, 0.04)),
    'left_eye_outer_corner': Landmark({263: 1.0}, (0.02, 0.02)),
    'right_eye_outer_corner': Landmark({33: 1.0}, (0.02, 0.02)),
    'left_mouth_corner': Landmark({291: 1.0}, (0.02, 0.02)),
    'right_mouth_corner': Landmark({61: 1.0}, (0.02, 0.02)),
}


@dataclass(frozen=True)
class Crop:
    """A square of the image that shows one face upright: centre (2,) px, side px, and the face's angle in radians."""

    center: np.ndarray
    side_px: float
    angle: float

    def to_image(self) -> np.ndarray:
        """Return the (2, 3) affine map from pixels of the network's input to pixels of the image."""
        scale = self.side_px / MESH.size_px
        axes = scale * _axes(self.angle)
        middle = np.full(2, (MESH.size_px - 1) / 2)
        return np.column_stack([axes, self.center - axes @ middle])


@dataclass(frozen=True)
class FaceShape:
    """
    The mesh of one face in an image.

    Attributes:
        points: (468, 2) px.
        presence: probability that the crop shows a face, in [0, 1].
        angle: of the face in the image, radians.
    """

    points: np.ndarray
    presence: float
    angle: float

    @property
    def size_px(self) -> float:
        """Longer side of the box around the points, along the face's own axes."""
        return float(np.ptp(self.points @ _axes(self.angle), axis=0).max())

    def crop(self) -> Crop:
        """Return the crop in which to look for this face next."""
        upright = self.points @ _axes(self.angle)
        center = _axes(self.angle) @ ((upright.min(0) + upright.max(0)) / 2)
        return Crop(center, _MARGIN * self.size_px, self.angle)


class FaceMesh:
    """MediaPipe's face mesh (Kartynnik et al., CVPR workshop 2019)."""

    def __init__(self, threads: int):
        """Load the network; raises ModelError when a package is missing."""
        self._network = FaceNetwork(MESH, threads)

    def __call__(self, image: np.ndarray, crop: Crop) -> FaceShape:
        """
        Return the face that a crop of an image shows; a low `presence` means that it shows none.

        Args:
            image: (H, W, 3) uint8 BGR.
            crop: where the face is about.
        """
        to_image = crop.to_image()
        size = (MESH.size_px, MESH.size_px)
        upright = cv2.warpAffine(image, to_image, size, flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP)
        mesh, presence = self._network(upright)
        points = mesh.reshape(-1, 3)[:, :2] @ to_image[:, :2].T + to_image[:, 2]
        x, y = points[_LEFT_EYE] - points[_RIGHT_EYE]
        return FaceShape(points, float(1.0 / (1.0 + np.exp(-presence.item()))), float(np.arctan2(y, x)))


class LandmarkReader:
    """Reads the keypoints of an object off the mesh, with their covariances."""

    def __init__(self, names: tuple[str, ...]):
        """
        Look the names up.

        Raises:
            ConfigError: a keypoint is none of LANDMARKS.
        """
        unknown = [name for name in names if name not in LANDMARKS]
        if unknown:
            raise ConfigError(
                f'keypoints {", ".join(unknown)}: the face mesh does not know them; it knows {", ".join(LANDMARKS)}'
            )
        landmarks = [LANDMARKS[name] for name in names]
        self._weights = np.zeros((len(names), 468))
        for row, landmark in zip(self._weights, landmarks):
            row[list(landmark.weights)] = list(landmark.weights.values())
        self._errors = np.array([landmark.error for landmark in landmarks])

    def __call__(self, face: FaceShape) -> tuple[np.ndarray, np.ndarray]:
        """Return the keypoints (K, 2) px and their covariances (K, 2, 2) px^2."""
        axes = _axes(face.angle)
        variances = (self._errors * face.size_px) ** 2
        return self._weights @ face.points, np.einsum('ia,ka,ja->kij', axes, variances, axes)


def _axes(angle: float) -> np.ndarray:
    """Return the (2, 2) rotation whose columns are the face's horizontal and vertical in the image."""
    c, s = np.cos(angle), np.sin(angle)
    return np.array([[c, -s], [s, c]])
