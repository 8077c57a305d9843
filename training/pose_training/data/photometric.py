"""
Random colour, light, blur and occlusion of a training crop.

Everything works on uint8, so that a 256 px sample costs about a millisecond.
"""

from __future__ import annotations

import math

import cv2
import numpy as np

from training.pose_training.data.augmentation import Augmentation

_LEVELS = np.linspace(0.0, 1.0, 256)
_NOISE_SIDE = 512
_NOISE_STEP = 32.0  # grey levels of one standard deviation in the noise tile


def photometric(
    image: np.ndarray, keypoints: np.ndarray, settings: Augmentation, rng: np.random.Generator
) -> np.ndarray:
    """
    Return the (H, W, 3) uint8 image under other light, water, optics and camera; the argument may be changed.

    Args:
        image: (H, W, 3) uint8 BGR.
        keypoints: (V, 2) visible keypoints [px], each of which may be covered.
        settings: Strength of the random changes.
        rng: Source of the random numbers.
    """
    for place in keypoints:
        if rng.random() < settings.p_cover:
            image = cover(image, place, rng)
    for probability, change in (
        (settings.p_cutout, cutout),
        (settings.p_shade, shade),
        (settings.p_haze, haze),
        (settings.p_glare, glare),
        (settings.p_motion_blur, motion_blur),
        (settings.p_blur, blur),
    ):
        if rng.random() < probability:
            image = change(image, rng)
    image = colour(image, settings, rng)
    if rng.random() < settings.p_noise:
        image = noise(image, rng)
    if rng.random() < settings.p_jpeg:
        image = jpeg(image, rng)
    return image


def colour(image: np.ndarray, settings: Augmentation, rng: np.random.Generator) -> np.ndarray:
    """Change gain, tint, offset and gamma by one table per channel; sometimes drop the colour."""
    if settings.p_grey and rng.random() < settings.p_grey:
        image = cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY), cv2.COLOR_GRAY2BGR)
    if not (settings.gain or settings.tint or settings.gamma):
        return image
    gain = math.exp(rng.uniform(-settings.gain, settings.gain)) * (1 + rng.uniform(-settings.tint, settings.tint, 3))
    offset = rng.uniform(-0.3, 0.3) * settings.gain
    gamma = math.exp(rng.uniform(-settings.gamma, settings.gamma))
    table = np.outer(_LEVELS**gamma, gain * 255) + offset * 255
    return cv2.LUT(image, np.clip(table, 0, 255).astype(np.uint8).reshape(256, 1, 3))


def blur(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Blur by a Gaussian of 0.5 to 2 px, cut off at two of its widths."""
    sigma = rng.uniform(0.5, 2.0)
    side = 2 * math.ceil(2 * sigma) + 1
    return cv2.GaussianBlur(image, (side, side), sigma)


def motion_blur(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Blur by a straight motion of 3 to 10 px in any direction."""
    side = int(rng.integers(3, 11)) | 1
    kernel = np.zeros((side, side), np.float32)
    kernel[side // 2] = 1.0
    rotation = cv2.getRotationMatrix2D((side // 2, side // 2), rng.uniform(0, 180), 1.0)
    kernel = cv2.warpAffine(kernel, rotation, (side, side))
    return cv2.filter2D(image, -1, kernel / kernel.sum())


def noise(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Add sensor noise of 1 to 8 grey levels, cut from a fixed tile at a random place."""
    height, width = image.shape[:2]
    tile = _noise_tile(max(height, width))
    top, left = (int(rng.integers(0, tile.shape[0] - size + 1)) for size in (height, width))
    weight = rng.uniform(1, 8) / _NOISE_STEP
    return cv2.addWeighted(image, 1.0, tile[top : top + height, left : left + width], weight, -128.0 * weight)


_tiles: dict[int, np.ndarray] = {}


def _noise_tile(at_least: int) -> np.ndarray:
    side = max(_NOISE_SIDE, 2 * at_least)
    if side not in _tiles:
        values = np.random.default_rng(0).normal(128.0, _NOISE_STEP, (side, side, 3))
        _tiles[side] = np.clip(values, 0, 255).astype(np.uint8)
    return _tiles[side]


def cutout(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Hide one or two rectangles behind a flat colour or behind another part of the image."""
    height, width = image.shape[:2]
    for _ in range(int(rng.integers(1, 3))):
        h, w = (int(size * rng.uniform(0.05, 0.25)) + 1 for size in (height, width))
        top, left = int(rng.integers(0, height - h + 1)), int(rng.integers(0, width - w + 1))
        if rng.random() < 0.5:
            image[top : top + h, left : left + w] = rng.integers(0, 256, 3)
        else:
            other_top, other_left = int(rng.integers(0, height - h + 1)), int(rng.integers(0, width - w + 1))
            patch = image[other_top : other_top + h, other_left : other_left + w]
            image[top : top + h, left : left + w] = _smeared(patch)
    return image


def cover(image: np.ndarray, place: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Hide a place, or one side of it, behind a pale patch, as a reflection on water does."""
    height, width = image.shape[:2]
    shape = _pane if rng.random() < 0.6 else _ragged
    outline = place + max(height, width) * shape(rng)
    mask = np.zeros((height, width), np.uint8)
    cv2.fillPoly(mask, [np.round(outline).astype(np.int32)], 255)
    top, left = np.clip(outline.min(0)[::-1].astype(int), 0, None)
    bottom, right = np.clip(outline.max(0)[::-1].astype(int) + 2, None, (height, width))
    if top >= bottom or left >= right:
        return image
    part = image[top:bottom, left:right]
    light = np.clip(rng.integers(120, 256) + rng.normal(0, 15, 3), 0, 255)
    veil = rng.uniform(0.5, 1.0)
    pale = cv2.addWeighted(_smeared(part), 1 - veil, np.full_like(part, light), veil, 0.0)
    np.copyto(part, pale, where=mask[top:bottom, left:right, None] > 0)
    return image


def _ragged(rng: np.random.Generator) -> np.ndarray:
    """Return the corners (n, 2) of a patch over the origin or beside it; 1 is the side of the picture."""
    corners = int(rng.integers(4, 9))
    angles = np.sort(rng.uniform(0, 2 * np.pi, corners))
    radii = rng.uniform(0.03, 0.18) * rng.uniform(0.5, 1.5, corners)
    centre = radii.mean() * rng.uniform(0.0, 1.2) * _direction(rng.uniform(0, 2 * np.pi))
    return centre + radii[:, None] * np.column_stack([np.cos(angles), np.sin(angles)])


def _pane(rng: np.random.Generator) -> np.ndarray:
    """Return the corners (6, 2) of a window pane, one of whose crooked edges runs past the origin."""
    angle = rng.uniform(0, 2 * np.pi)
    along = rng.uniform(0.08, 0.3) * _direction(angle)
    across = rng.uniform(0.05, 0.2) * _direction(angle + np.pi / 2 + rng.uniform(-0.4, 0.4))
    centre = rng.uniform(-0.8, 0.8) * along + rng.uniform(0.7, 1.3) * across
    corners = np.array([(-1, -1), (-0.33, -1), (0.33, -1), (1, -1), (1, 1), (-1, 1)]) + rng.normal(0, 0.08, (6, 2))
    return centre + corners @ np.stack([along, across])


def _direction(angle: float) -> np.ndarray:
    return np.array([np.cos(angle), np.sin(angle)])


def _smeared(patch: np.ndarray) -> np.ndarray:
    """Return the patch without detail: averaged over squares of about 12 px and interpolated between them."""
    height, width = patch.shape[:2]
    coarse = cv2.resize(patch, (width // 12 + 1, height // 12 + 1), interpolation=cv2.INTER_AREA)
    return cv2.resize(coarse, (width, height), interpolation=cv2.INTER_LINEAR)


def haze(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Mix with an uneven veil of one colour, as turbid water does."""
    veil = np.clip(rng.integers(60, 230, 3) + rng.normal(0, 25, (3, 3, 3)), 0, 255).astype(np.uint8)
    veil = cv2.resize(veil, image.shape[1::-1], interpolation=cv2.INTER_LINEAR)
    share = rng.uniform(0.1, 0.6)
    return cv2.addWeighted(image, 1 - share, veil, share, 0.0)


def shade(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Light unevenly: multiply with a smooth field from half to one and a half."""
    cells = int(rng.integers(2, 7))
    field = rng.integers(64, 193, (cells, cells, 1)).astype(np.uint8).repeat(3, axis=2)
    field = cv2.resize(field, image.shape[1::-1], interpolation=cv2.INTER_CUBIC)
    return cv2.multiply(image, field, scale=1 / 128)


def glare(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Add reflections of lamps and sky on water and glass: bright, soft-edged blobs and streaks."""
    softness = math.exp(rng.uniform(math.log(1.2), math.log(16.0)))  # px
    reduction = 2 if softness < 5 else 4  # soft light needs no more pixels than this
    height, width = (size // reduction for size in image.shape[:2])
    light = np.zeros((height, width), np.uint8)
    for _ in range(int(rng.integers(1, 7))):
        centre = (int(rng.integers(0, width)), int(rng.integers(0, height)))
        length = rng.uniform(0.01, 0.12) * width
        axes = (int(length) + 1, int(length * rng.uniform(0.1, 1.0)) + 1)
        cv2.ellipse(light, centre, axes, rng.uniform(0, 180), 0, 360, int(rng.integers(80, 256)), -1)
    light = cv2.GaussianBlur(light, (0, 0), softness / reduction)
    light = cv2.resize(light, image.shape[1::-1], interpolation=cv2.INTER_LINEAR)
    return cv2.add(image, cv2.merge([light, light, light]))


def jpeg(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Compress and expand at a quality of 25 to 80."""
    _, data = cv2.imencode('.jpg', image, [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(25, 81))])
    return cv2.imdecode(data, cv2.IMREAD_COLOR)
