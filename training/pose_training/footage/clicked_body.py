"""The shape of a rigid object, and its pose in each clicked picture, from the clicks alone."""

from __future__ import annotations

import numpy as np

from custom_pose_ros.core.geometry.rigid import Rigid
from training.pose_training.footage.rigid_adjustment import Observations, RigidBody, adjust

FEWEST_PICTURES = 3
FEWEST_KEYPOINTS = 4
_CLICK_PX = 1.0  # standard deviation of a click on what is seen, on what is hidden
_HIDDEN_PX = 3.0
_STARTS = 6  # of random depths; the usual object needs one
_DEPTH = 0.4  # of the object's size: spread of these depths
_STEPS = 100


def click_observations(clicks: np.ndarray, frames: np.ndarray) -> Observations:
    """
    Return clicks as observations of the keypoints.

    Args:
        clicks: (C, K, 3) x, y [px from the principal point] and 0 not labelled, 1 hidden, 2 seen.
        frames: (C,) index of the pose of each picture.
    """
    picture, keypoint = np.nonzero(clicks[..., 2] > 0)
    sigmas = np.where(clicks[picture, keypoint, 2] > 1, _CLICK_PX, _HIDDEN_PX)
    return Observations(frames[picture], keypoint, clicks[picture, keypoint, :2], sigmas)


def body_from_clicks(clicks: np.ndarray, focal_px: float, focal_sigma: float) -> RigidBody:
    """
    Return the rigid body that explains the clicks best; what it cannot explain has large errors.

    Args:
        clicks: (C, K, 3) as in `click_observations`; at least three pictures, every keypoint labelled in one of them.
        focal_px: Of the camera.
        focal_sigma: How well that is known: relative standard deviation, 0 where it is certain.
    """
    seen = click_observations(clicks, np.arange(len(clicks)))
    rng = np.random.default_rng(0)
    starts = [_start(clicks, focal_px, focal_sigma, rng) for _ in range(_STARTS)]
    bodies = [adjust(start, seen, clicks.shape[1], _STEPS) for start in starts]
    costs = [float(np.log1p((body.errors(seen) / seen.sigmas) ** 2).sum()) for body in bodies]
    return bodies[int(np.argmin(costs))]


def _start(clicks: np.ndarray, focal_px: float, focal_sigma: float, rng: np.random.Generator) -> RigidBody:
    """Return a flat object with random depths, upright in every picture, as large and where its clicks are."""
    labelled = clicks[..., 2] > 0
    first = int(labelled.sum(1).argmax())
    places, known = clicks[first, :, :2], labelled[first]
    size = _size(places[known])
    points = np.column_stack([places / size, rng.normal(0.0, _DEPTH, len(places))])  # unit: the size of the object
    points[~known, :2] = points[known, :2].mean(0)
    points -= points[known].mean(0)
    translations = np.zeros((len(clicks), 3))
    for i, picture in enumerate(clicks):
        both = known & labelled[i]
        if both.sum() < 2:
            both = labelled[i]
        depth = focal_px / max(_size(picture[both, :2]), 1.0) * max(_size(points[both, :2]), 1e-3)
        offset = picture[both, :2].mean(0) * depth / focal_px - points[both, :2].mean(0)
        translations[i] = *offset, depth
    rotations = np.repeat(np.eye(3)[None], len(clicks), axis=0)
    return RigidBody(Rigid(rotations, translations), points, focal_px, focal_sigma, focal_px)


def _size(places: np.ndarray) -> float:
    return float(np.linalg.norm(np.ptp(places, axis=0))) if len(places) else 0.0
