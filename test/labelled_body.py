"""A rigid body with known keypoints, labelled in pictures of a known camera."""

from __future__ import annotations

import numpy as np

from custom_pose_ros.core.geometry.rigid import Rigid
from custom_pose_ros.core.geometry.rotations import matrix_from_rotation_vector

NAMES = ('front_left_top', 'front_right_top', 'back_left_top', 'back_right_top', 'front_left_bottom', 'mast')
POINTS = np.array([
    [0.10, 0.08, 0.04], [0.10, -0.08, 0.04], [-0.10, 0.08, 0.04], [-0.10, -0.08, 0.04], [0.10, 0.08, -0.04],
    [-0.02, 0.0, 0.12],
])  # fmt: skip
SIZE, FOCAL_PX, K1 = (640, 480), 620.0, -0.1


def poses(count: int, rng: np.random.Generator, distance_m: float = 0.6, zoom: float = 1.0) -> Rigid:
    """Return a stack of poses from many sides, inside of the image of a zoomed lens."""
    turns = rng.uniform(-1, 1, (count, 3)) * [1.0, 1.0, 3.0]
    depth = distance_m * rng.uniform(0.8, 1.3, count)
    aside = rng.uniform(-0.2, 0.2, (count, 2)) * depth[:, None] / zoom
    return Rigid(matrix_from_rotation_vector(turns), np.column_stack([aside, depth]))


def pictured(R: np.ndarray, t: np.ndarray, points: np.ndarray = POINTS, focal_px: float = FOCAL_PX) -> np.ndarray:
    """Return the (V, K, 2) pixels of the keypoints from the middle of the image."""
    in_camera = points @ R.transpose(0, 2, 1) + t[:, None]
    xy = in_camera[..., :2] / in_camera[..., 2:]
    return focal_px * xy * (1 + K1 * (xy**2).sum(-1, keepdims=True))


def shape_error(measured: np.ndarray, truth: np.ndarray) -> float:
    """Return the root mean square distance [m] of shapes (K, 3) after the best similarity transform (Umeyama 1991)."""
    a, b = measured - measured.mean(0), truth - truth.mean(0)
    left, sizes, right = np.linalg.svd(b.T @ a)
    signs = np.array([1.0, 1.0, np.sign(np.linalg.det(left @ right))])
    scale = (sizes * signs).sum() / (a**2).sum()
    return float(np.sqrt(((scale * a @ ((left * signs) @ right).T - b) ** 2).sum(1).mean()))
