"""Lens: turns pinhole renderings into pictures of a camera with distortion, exact to a small part of a pixel."""

from __future__ import annotations

from functools import cached_property

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

    @cached_property
    def pixel_map(self) -> np.ndarray:
        """(H, W, 2) float32: each pixel's place in the pinhole rendering [px]."""
        positions = self.directions @ self.K[:2, :2].T + self.K[:2, 2]
        return np.nan_to_num(_enlarged(positions, self.camera.width, self.camera.height), copy=False, nan=-1e6)

    def direction_map(self) -> np.ndarray:
        """Return (H, W, 2) float32: the direction (x / z, y / z) that each pixel sees; NaN where none."""
        return _enlarged(self.directions, self.camera.width, self.camera.height)


def _directions(camera: CameraIntrinsics) -> np.ndarray:
    """Return (rows, columns, 2) directions on a grid of pixels, GRID_STEP_PX apart, two steps beyond the picture."""
    columns, rows = (np.arange(-2, np.ceil(n / GRID_STEP_PX) + 3) * GRID_STEP_PX for n in (camera.width, camera.height))
    grid = np.stack(np.meshgrid(columns, rows), -1)
    return camera.undistort(grid.reshape(-1, 2)).reshape(grid.shape)


def _enlarged(grid: np.ndarray, width: int, height: int) -> np.ndarray:
    """Return the grid's values at every pixel of a picture: (H, W, 2) float32."""
    lines = _between(grid.astype(np.float32), height)
    across = np.ascontiguousarray(lines.swapaxes(0, 1))  # whole rows are gathered many times faster
    return np.ascontiguousarray(_between(across, width).swapaxes(0, 1))


def _between(lines: np.ndarray, count: int) -> np.ndarray:
    """Return (count, n, 2), cubics between lines (m, n, 2) of the grid at each of `count` pixels (Keys 1981)."""
    position = np.arange(count) / GRID_STEP_PX + 2
    first = np.floor(position).astype(int)
    s = (position - first).astype(np.float32)[:, None, None]
    weights = (-s + 2 * s**2 - s**3, 2 - 5 * s**2 + 3 * s**3, s + 4 * s**2 - 3 * s**3, -(s**2) + s**3)
    return sum(weight / 2 * lines[first - 1 + k] for k, weight in enumerate(weights))
