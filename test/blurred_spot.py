"""A blurred spot, and where it is."""

from __future__ import annotations

import numpy as np


def blob(width: int, height: int, centre: tuple[float, float], sigma: float) -> np.ndarray:
    x, y = np.arange(width), np.arange(height)[:, None]
    value = 255 * np.exp(-((x - centre[0]) ** 2 + (y - centre[1]) ** 2) / (2 * sigma**2))
    return np.repeat(value[..., None], 3, axis=2).round().astype(np.uint8)


def centroid(image: np.ndarray) -> np.ndarray:
    weight = np.where(image[..., 0] > 25, image[..., 0], 0).astype(float)
    y, x = np.mgrid[: image.shape[0], : image.shape[1]]
    return np.array([(weight * x).sum(), (weight * y).sum()]) / weight.sum()
