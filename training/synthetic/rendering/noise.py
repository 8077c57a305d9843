"""Smooth random fields made from a few numbers: fractal noise, and images bent by a wavy displacement."""

from __future__ import annotations

import cv2
import numpy as np


def fractal_noise(
    rng: np.random.Generator, height: int, width: int, octaves: int = 5, cells: int = 2, gain: float = 0.55
) -> np.ndarray:
    """
    Return (height, width) float32 spread over [0, 1].

    Args:
        rng: source of the random numbers.
        height: of the field [px].
        width: of the field [px].
        octaves: number of fields of finer and finer detail that are added.
        cells: blotches across the width in the coarsest octave; each next one has twice as many.
        gain: strength of each octave relative to the one before.
    """
    coarse = cells * 2 ** (octaves - 1) < width / 4
    rows, columns = (
        (height // 2, width // 2) if coarse else (height, width)
    )  # fine detail is not there: half size will do
    total = np.zeros((rows, columns), np.float32)
    for octave in range(octaves):
        across = cells * 2**octave
        down = max(2, across * height // width)
        lattice = rng.random((down + 2, across + 2), dtype=np.float32) * np.float32(gain**octave)
        total += cv2.resize(lattice, (columns, rows), interpolation=cv2.INTER_CUBIC)
    low, high = float(total.min()), float(total.max())
    total = (total - low) * np.float32(1 / (high - low + 1e-6))
    return cv2.resize(total, (width, height), interpolation=cv2.INTER_LINEAR) if coarse else total


def displaced(image: np.ndarray, dx: np.ndarray, dy: np.ndarray, border: int = cv2.BORDER_REFLECT) -> np.ndarray:
    """Return the image read at (x + dx, y + dy); dx, dy (H, W) float32 [px]."""
    height, width = image.shape[:2]
    columns, rows = np.arange(width, dtype=np.float32)[None], np.arange(height, dtype=np.float32)[:, None]
    return cv2.remap(image, dx + columns, dy + rows, cv2.INTER_LINEAR, borderMode=border)


def blend(image: np.ndarray, color, share: np.ndarray) -> np.ndarray:
    """Return image (H, W, 3) with `color` (3,) or (H, W, 3) laid over it where `share` (H, W) in [0, 1] says so."""
    laid, share = np.asarray(color, np.float32), np.asarray(share, np.float32)
    laid = np.ascontiguousarray(laid) if laid.ndim == 3 else plain_picture(laid, *share.shape)
    return cv2.blendLinear(np.ascontiguousarray(image, np.float32), laid, 1 - share, share)


def plain_picture(color, height: int, width: int) -> np.ndarray:
    """Return a picture (height, width, 3) float32 of one colour (3,)."""
    row = np.tile(np.asarray(color, np.float32), width)  # whole rows are copied many times faster than pixels
    return np.ascontiguousarray(np.broadcast_to(row, (height, 3 * width))).reshape(height, width, 3)


def scaled(image: np.ndarray, factor: np.ndarray) -> np.ndarray:
    """Return image (H, W, 3) times a factor (H, W), both float32; as `image * factor[..., None]`, but quicker."""
    return cv2.multiply(image, cv2.merge([factor] * 3))


def white_noise(rng: np.random.Generator, shape: tuple[int, ...], deviation: float) -> np.ndarray:
    """Return normal noise of a standard deviation, float32 (H, W) or (H, W, C); OpenCV draws it much faster."""
    noise = np.empty(shape, np.float32)
    cv2.setRNGSeed(int(rng.integers(2**31)))
    cv2.randn(noise, (0.0,) * 4, (deviation,) * 4)
    return noise
