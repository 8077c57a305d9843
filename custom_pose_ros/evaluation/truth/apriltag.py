"""True poses from AprilTags (tag36h11) that are fixed to the object, detected in the same images."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from custom_pose_ros.core.errors import ConfigError
from custom_pose_ros.core.geometry.camera import CameraIntrinsics
from custom_pose_ros.core.geometry.rigid import Rigid
from custom_pose_ros.core.keypoints.poses import KeypointPose
from custom_pose_ros.core.labels.raw_labels import is_number
from custom_pose_ros.core.limits import MAX_KEYPOINTS
from custom_pose_ros.core.object_model import ObjectModel
from custom_pose_ros.core.orientation.estimate import AMBIGUOUS
from custom_pose_ros.core.orientation.solver import PoseSolver, Refusal
from custom_pose_ros.core.yaml_files import read_yaml
from custom_pose_ros.evaluation.truth.alignment import rigid_from_mapping

CORNER_SIGMA_PX = 0.3  # of a refined corner; decides how far away a tag still gives a truth
MAX_ROTATION_SIGMA_RAD = np.deg2rad(3.0)
_HIGHEST_ID = 586
# Tag 0 as the AprilTag library prints it, upright: OpenCV 4 holds the family turned by 180 degrees, later ones do not.
_TAG_0 = ('110101', '011101', '011000', '101000', '010110', '000100')
_CELL_PX = 16


@dataclass(frozen=True)
class Tag:
    """
    One tag on the object.

    Attributes:
        number: Its id in tag36h11.
        size_m: Outer edge of its black square.
        object_tag: Its pose in the object frame; the tag frame is that of the AprilTag library: origin in the middle,
            seen upright from the front x to the right, y down, z into the tag.
    """

    number: int
    size_m: float
    object_tag: Rigid

    @property
    def corners(self) -> np.ndarray:
        """(4, 3) m in the object frame: upper left, upper right, lower right, lower left of the upright tag."""
        half = self.size_m / 2.0
        square = np.array([[-half, -half, 0.0], [half, -half, 0.0], [half, half, 0.0], [-half, half, 0.0]])
        return self.object_tag.apply(square)


def read_tags(path: str | Path) -> list[Tag]:
    """
    Read the tags of an object: a YAML list `tags` of {id, size_m, object_from_tag: {xyz_m, rpy_deg | quaternion_xyzw}}.

    Raises ConfigError naming file, key, wanted and got.
    """
    data = read_yaml(path, 'wanted a YAML list of tags')
    tags = data.get('tags') if isinstance(data, Mapping) else None
    if not isinstance(tags, list) or not 1 <= len(tags) <= MAX_KEYPOINTS // 4:
        raise ConfigError(f'{path}: tags: wanted a list of 1 to {MAX_KEYPOINTS // 4} tags, got {tags!r:.80}')
    read = [_read_tag(tag, f'{path}: tags[{i}]') for i, tag in enumerate(tags)]
    if len({tag.number for tag in read}) != len(read):
        raise ConfigError(f'{path}: tags: wanted every id once')
    return read


def _read_tag(data: Any, source: str) -> Tag:
    keys = {'id', 'size_m', 'object_from_tag'}
    if not isinstance(data, Mapping) or set(data) != keys:
        raise ConfigError(f'{source}: wanted the keys {", ".join(sorted(keys))}, got {data!r:.80}')
    number, size = data['id'], data['size_m']
    if not isinstance(number, int) or isinstance(number, bool) or not 0 <= number <= _HIGHEST_ID:
        raise ConfigError(f'{source}.id: wanted a tag36h11 id from 0 to {_HIGHEST_ID}, got {number!r}')
    if not is_number(size) or not 1e-3 <= size <= 10:
        raise ConfigError(f'{source}.size_m: wanted metres from 0.001 to 10, got {size!r}')
    return Tag(number, float(size), rigid_from_mapping(data['object_from_tag'], f'{source}.object_from_tag'))


class TagTruth:
    """
    Measures the pose of the object by its tags, from the same image that the estimator sees.

    All corners of all tags go into one solution, so several tags are much better than one. Frames in which the tags
    do not fix the pose (mirrored solution as good, too small, too flat) give no truth.
    Raises ConfigError when this OpenCV cannot detect AprilTags.
    """

    def __init__(self, tags: list[Tag]):
        self.tags = tags
        self._detect = _detector()
        self._first_corner = self._find_first_corner()
        names = tuple(f'tag{tag.number}_corner{i}' for tag in tags for i in range(4))
        points = np.concatenate([tag.corners for tag in tags])
        self._model = ObjectModel('tags', names, (), np.full(len(names), 0.01), model_points=points)
        self._solver: PoseSolver | None = None

    def __call__(self, image: np.ndarray, camera: CameraIntrinsics) -> Rigid | None:
        """Return camera_object seen in a (H, W, 3) uint8 BGR image, or None."""
        corners = self.find_corners(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY))
        if not np.isfinite(corners).any():
            return None
        if self._solver is None or self._solver.camera is not camera:
            self._solver = PoseSolver(self._model, camera)
        visible = np.isfinite(corners[:, 0])
        covariances = np.full((len(corners), 2, 2), np.nan)
        covariances[visible] = CORNER_SIGMA_PX**2 * np.eye(2)
        pose = KeypointPose(
            keypoints=corners, covariances=covariances, scores=visible.astype(float), visible=visible, score=1.0
        )
        solution = self._solver.solve(pose)
        if isinstance(solution, Refusal) or solution.outlier_suspected or solution.ambiguity > AMBIGUOUS:
            return None
        if np.sqrt(np.linalg.eigvalsh(solution.covariance[3:, 3:])[-1]) > MAX_ROTATION_SIGMA_RAD:
            return None
        return solution.poses.at(0)

    def find_corners(self, gray: np.ndarray) -> np.ndarray:
        """Return the (4 * tags, 2) corners [px] in the order of Tag.corners; NaN for tags that are not seen."""
        found = np.full((4 * len(self.tags), 2), np.nan)
        for number, corners in self._detect(gray):
            for i, tag in enumerate(self.tags):
                if tag.number == number:
                    found[4 * i : 4 * i + 4] = np.roll(corners, -self._first_corner, axis=0)
        return found

    def _find_first_corner(self) -> int:
        """Return which of OpenCV's corners is the upper left one of an upright tag."""
        cells = np.zeros((8, 8), np.uint8)
        cells[1:7, 1:7] = [[255 * int(cell) for cell in row] for row in _TAG_0]
        picture = np.pad(np.kron(cells, np.ones((_CELL_PX, _CELL_PX), np.uint8)), 2 * _CELL_PX, constant_values=255)
        found = [corners for number, corners in self._detect(picture) if number == 0]
        if len(found) != 1:
            raise ConfigError('this OpenCV does not recognise AprilTags of the family tag36h11')
        return int(np.argmin(found[0].sum(1)))


def _detector() -> Any:
    """Return a function from a gray image to [(id, corners (4, 2))], for OpenCV before and after 4.7."""
    aruco = getattr(cv2, 'aruco', None)
    if aruco is None:
        raise ConfigError(
            'this OpenCV has no AprilTag detector; '
            'install opencv-python-headless 4.7 or newer (or opencv-contrib-python)'
        )
    dictionary = aruco.getPredefinedDictionary(aruco.DICT_APRILTAG_36h11)
    create = getattr(aruco, 'DetectorParameters_create', None) or aruco.DetectorParameters
    parameters = create()
    parameters.cornerRefinementMethod = aruco.CORNER_REFINE_SUBPIX
    if hasattr(aruco, 'ArucoDetector'):
        detect = aruco.ArucoDetector(dictionary, parameters).detectMarkers
    else:

        def detect(gray: np.ndarray) -> Any:
            return aruco.detectMarkers(gray, dictionary, parameters=parameters)

    def found(gray: np.ndarray) -> list[tuple[int, np.ndarray]]:
        corners, numbers, _ = detect(gray)
        numbers = () if numbers is None else numbers.ravel()
        return [(int(n), c.reshape(4, 2).astype(float)) for n, c in zip(numbers, corners)]

    return found
