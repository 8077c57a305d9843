"""From where the object is seen: sides in words, or anywhere that shows its keypoints."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace

import cv2
import numpy as np

from custom_pose_ros.core.errors import ConfigError
from custom_pose_ros.core.geometry.rotations import random_rotation
from custom_pose_ros.core.object_model import ObjectModel
from training.synthetic.geometry.keypoint_sites import KeypointSite
from training.synthetic.settings import ANYWHERE, SIDES

# Seen from straight above, an object with x forward and z up appears with z towards the camera.
R_CAMERA_FROM_ABOVE = np.diag([1.0, -1.0, -1.0])
DIRECTIONS = dict(zip(SIDES, np.array([[0, 0, 1], [0, 0, -1], [1, 0, 0], [-1, 0, 0], [0, 1, 0], [0, -1, 0]], float)))
SHOWN = 0.5  # share of the keypoints that the front of an object shows
FLAT = 0.1  # largest extent along z of the keypoints of a flat thing, as a share of their size
MAX_TRIES = 1000
_EVERYWHERE = 2000  # directions, to find the one that shows most


class Attitudes:
    """
    Draws attitudes of an object.

    Args:
        settings: the group `pose`.
        model: the object.
        sites: of its keypoints.

    Raises:
        ConfigError: a side shows no keypoint.
    """

    def __init__(self, settings: SimpleNamespace, model: ObjectModel, sites: Sequence[KeypointSite]):
        self._settings, self._sites = settings, sites
        self._up = _up_of(model)
        self._best = shown_share(sites, even_directions(_EVERYWHERE)).max()
        self._sides = [None if word == ANYWHERE else self._direction(word, model) for word in settings.seen_from]

    def _direction(self, word: str, model: ObjectModel) -> np.ndarray:
        direction = direction_of(word, self._sites)
        if shown_share(self._sites, direction[None])[0] <= 0:
            seen = [side for side, way in DIRECTIONS.items() if shown_share(self._sites, way[None])[0] > 0]
            raise ConfigError(
                f'--seen-from {word}: no keypoint of {model.name} can be seen from there, '
                f'wanted {", ".join([*seen, ANYWHERE])}'
            )
        return direction

    def sample(self, rng: np.random.Generator) -> np.ndarray:
        """Return a random R_camera_object (3, 3)."""
        R = self._sample(rng)
        if rng.random() < self._settings.upright_probability:
            up = R[:2] @ self._up
            lean = rng.normal(0, np.deg2rad(self._settings.upright_deg))
            R = _about_z(-np.pi / 2 - np.arctan2(up[1], up[0]) + lean) @ R
        return R

    def _sample(self, rng) -> np.ndarray:
        if rng.random() < self._settings.any_attitude_probability:
            return random_rotation(rng)
        side = self._sides[rng.integers(len(self._sides))]
        if side is not None:
            return self._from_side(rng, side)
        for _ in range(MAX_TRIES):
            R = random_rotation(rng)
            if shown_share(self._sites, -R[2:])[0] >= rng.random() * self._best:
                break
        return R

    def _from_side(self, rng, side: np.ndarray) -> np.ndarray:
        settings = self._settings
        tilt = min(abs(rng.normal(0, np.deg2rad(settings.tilt_deg))), np.deg2rad(settings.max_tilt_deg))
        heading, axis = rng.uniform(0, 2 * np.pi, 2)
        lean = cv2.Rodrigues(tilt * np.array([np.cos(axis), np.sin(axis), 0]))[0]
        return lean @ R_CAMERA_FROM_ABOVE @ _about_z(heading) @ _turned_to_z(side)


def shown_share(sites: Sequence[KeypointSite], directions: np.ndarray) -> np.ndarray:
    """Return how well (N,) keypoints face cameras in directions (N, 3) from the object, in [0, 1]."""
    return np.mean([np.clip(site.facing(directions), 0, 1) for site in sites], axis=0)


def direction_of(side: str, sites: Sequence[KeypointSite]) -> np.ndarray:
    """
    Return the direction (3,) from the object to a side.

    The front of a flat thing is where its keypoints are; as long as it has none, the front is along x.
    """
    direction = DIRECTIONS[side]
    if side != 'front' or not sites:
        return direction
    best = shown_share(sites, even_directions(_EVERYWHERE)).max()
    return front_of(sites, direction) if shown_share(sites, direction[None])[0] < SHOWN * best else direction


def front_of(sites: Sequence[KeypointSite], default: np.ndarray) -> np.ndarray:
    """Return the mean direction (3,) that the surfaces of the keypoints face; `default` where they face all ways."""
    normals = [site.normals.mean(0) for site in sites if site.normals is not None]
    mean = np.sum(normals, axis=0) if normals else np.zeros(3)
    length = np.linalg.norm(mean)
    return mean / length if length > SHOWN * len(sites) else default


def _up_of(model: ObjectModel) -> np.ndarray:
    """Return the axis (3,) that points up when the object is upright: z, or y of a print, whose z comes out of it."""
    extent = np.ptp(model.model_points[model.has_position], axis=0)  # type: ignore[index]
    return np.array([0.0, 1.0, 0.0] if extent[2] < FLAT * extent.max() else [0.0, 0.0, 1.0])


def looking_along(forward: np.ndarray, up: np.ndarray) -> np.ndarray:
    """Return R_camera_object (3, 3) of a camera that looks along `forward` (3,), `up` (3,) not along it."""
    ahead = forward / np.linalg.norm(forward)
    right = np.cross(ahead, up)
    right /= np.linalg.norm(right)
    return np.stack([right, np.cross(ahead, right), ahead])


def even_directions(count: int) -> np.ndarray:
    """Return `count` unit vectors (count, 3), spread evenly over all directions (Fibonacci's spiral)."""
    k = np.arange(count) + 0.5
    z, angle = 1 - 2 * k / count, np.pi * (1 + 5**0.5) * k
    return np.c_[np.sqrt(1 - z**2) * np.cos(angle), np.sqrt(1 - z**2) * np.sin(angle), z]


def _about_z(angle: float) -> np.ndarray:
    return cv2.Rodrigues(np.array([0, 0, angle]))[0]


def _turned_to_z(direction: np.ndarray) -> np.ndarray:
    """Return the smallest rotation (3, 3) that takes a unit vector to the z axis."""
    axis = np.cross(direction, [0, 0, 1])
    sine, cosine = np.linalg.norm(axis), direction[2]
    if sine < 1e-9:
        return np.eye(3) if cosine > 0 else np.diag([1.0, -1.0, -1.0])
    return cv2.Rodrigues(axis / sine * np.arctan2(sine, cosine))[0]
