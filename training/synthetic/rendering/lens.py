"""Lens: turns pinhole renderings into pictures of a camera with distortion, exact to a small part of a pixel."""

from __future__ import annotations

import numpy as np

from custom_pose_ros.core.errors import ConfigError
from custom_pose_ros.core.geometry.camera import CameraIntrinsics

GRID_STEP_PX = 8  # the lens model is evaluated on a grid and interpolated: error below 0.005 px for real lenses
MAX_TANGENT = 3.0  # directions further than this from the axis (72 deg) are not drawn


class Lens:
    """
    The pinhole view that holds everything a camera sees, and the maps from it to the camera's picture.

    Args:
        camera: of the final picture.
        width: of the pinhole rendering [px].
        height: of the pinhole rendering [px].

    Attributes:
        K: (3, 3) pinhole matrix of that rendering.

    Raises:
        ConfigError: when the lens model has no direction for any pixel.
    """

    def __init__(self, camera: CameraIntrinsics, width: int, height: int):
        self.camera, self.width, self.height = camera, width, height
        self.directions = _directions(camera)
        low, high = (f(self.directions, axis=(0, 1)) for f in (np.nanmin, np.nanmax))
        low, high = np.maximum(low, -MAX_TANGENT), np.minimum(high, MAX_TANGENT)
        if not np.isfinite(low).all() or not (high > low).all():
            raise ConfigError(
                f'camera: the lens model {camera.distortion_model} {list(camera.D)} has no direction for any pixel'
            )
        focal = (np.array([width, height]) - 2) / (high - low)  # one pixel to spare at each border
        shift = 0.5 - focal * low
        self.K = np.array([[focal[0], 0, shift[0]], [0, focal[1], shift[1]], [0, 0, 1]])

    def pixel_map(self, scale: int) -> np.ndarray:
        """Return (H * scale, W * scale, 2) float32: each pixel's place in a pinhole rendering `scale` times larger."""
        camera = self.camera
        positions = self.directions @ self.K[:2, :2].T + self.K[:2, 2]
        fine = _enlarged(positions, camera.width, camera.height, scale)
        return np.nan_to_num((fine + 0.5) * scale - 0.5, nan=-1e6).astype(np.float32)

    def direction_map(self) -> np.ndarray:
        """Return (H, W, 2) float32: the direction (x / z, y / z) that each pixel sees; NaN where none."""
        return _enlarged(self.directions, self.camera.width, self.camera.height, 1).astype(np.float32)


def _directions(camera: CameraIntrinsics) -> np.ndarray:
    """Return (rows, columns, 2) directions on a grid of pixels, GRID_STEP_PX apart, two steps beyond the picture."""
    columns, rows = (np.arange(-2, np.ceil(n / GRID_STEP_PX) + 3) * GRID_STEP_PX for n in (camera.width, camera.height))
    grid = np.stack(np.meshgrid(columns, rows), -1)
    return camera.undistort(grid.reshape(-1, 2)).reshape(grid.shape)


def _enlarged(grid: np.ndarray, width: int, height: int, scale: int) -> np.ndarray:
    """Return the grid's values at every pixel of a picture `scale` times finer: (H, W, 2) float32."""
    (left, across), (top, down) = (
        _cubic_weights(((np.arange(n * scale) + 0.5) / scale - 0.5) / GRID_STEP_PX + 2) for n in (width, height)
    )
    grid = grid.astype(np.float32)
    lines = sum(weight[:, None, None] * grid[top + k] for k, weight in enumerate(down))
    return sum(weight[None, :, None] * lines[:, left + k] for k, weight in enumerate(across))


def _cubic_weights(position: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the first of the four grid lines around each position (n,), and their weights (4, n) (Keys 1981)."""
    first = np.floor(position).astype(int)
    s = (position - first).astype(np.float32)
    weights = [-s + 2 * s**2 - s**3, 2 - 5 * s**2 + 3 * s**3, s + 4 * s**2 - 3 * s**3, -(s**2) + s**3]
    return first - 1, np.stack(weights) / 2
