"""Backgrounds: floors with joints, tiles, stains and clutter, rooms and landscapes, or pictures of the user's own."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np

from custom_pose_ros.core.errors import DatasetError
from custom_pose_ros.core.files import camera_pictures
from custom_pose_ros.core.pictures import read_image
from training.synthetic.geometry.shapes import spline
from training.synthetic.rendering.noise import blend, fractal_noise, plain_picture, scaled, white_noise
from training.synthetic.rendering.rooms import landscape, room

# darkest and brightest blue, green, red of a floor, and how often it is drawn
FLOORS = (
    ((0.60, 0.68, 0.68), (0.76, 0.84, 0.85), 0.34),  # pale plywood and plaster
    ((0.62, 0.66, 0.69), (0.78, 0.81, 0.84), 0.22),  # grey concrete
    ((0.50, 0.60, 0.50), (0.76, 0.80, 0.68), 0.12),  # greenish plaster
    ((0.62, 0.52, 0.22), (0.86, 0.78, 0.50), 0.10),  # turquoise pool
    ((0.34, 0.30, 0.10), (0.66, 0.58, 0.30), 0.08),  # deep water
    ((0.22, 0.26, 0.26), (0.50, 0.54, 0.54), 0.08),  # dark floor
    ((0.42, 0.50, 0.58), (0.74, 0.80, 0.86), 0.12),  # warm lamp light
)
JOINT_COLORS = ((0.58, 0.62, 0.46), (0.45, 0.50, 0.40), (0.85, 0.86, 0.84), (0.30, 0.33, 0.34))
# BGR
LOOKALIKE_COLORS = ((0.10, 0.55, 0.82), (0.05, 0.05, 0.06), (0.62, 0.20, 0.03), (0.40, 0.55, 0.72), (0.85, 0.85, 0.85))
GREY_SAMPLES, GREY_LEVELS = 12, 8  # photos that are looked at, and how far apart their channels may be
CORD_COLORS = ((0.12, 0.76, 0.84), (0.08, 0.08, 0.08), (0.85, 0.85, 0.85), (0.5, 0.2, 0.1))


def list_background_photos(folder: str | Path | None) -> list[Path]:
    """Return the images in a folder (and below), without what predict drew; raises DatasetError when there are none."""
    if folder is None:
        return []
    folder = Path(folder)
    if not folder.is_dir():
        raise DatasetError(f'{folder}: no such folder of background photos')
    photos = camera_pictures(folder.rglob('*'))
    if not photos:
        raise DatasetError(f'{folder}: no background photos in it, wanted files such as *.jpg or *.png')
    return photos


def all_grey(photos: list[Path]) -> bool:
    """Say whether a camera without colour took the photos; a few of them are looked at."""
    chosen = photos[:: max(1, len(photos) // GREY_SAMPLES)]
    return all(int(np.ptp(read_image(path).astype(np.int16), axis=2).max()) <= GREY_LEVELS for path in chosen)


def photo_background(rng: np.random.Generator, photos: list[Path], height: int, width: int) -> np.ndarray:
    """Return a random, mirrored or turned crop (height, width, 3) float32 BGR in [0, 1] of one of the photos."""
    path = photos[rng.integers(len(photos))]
    image = read_image(path)
    if rng.random() < 0.5:
        image = image[:, ::-1]
    image = np.rot90(image, int(rng.choice([0, 2])))
    share = rng.uniform(0.6, 1.0)
    scale = min(image.shape[0] / height, image.shape[1] / width) * share
    rows, columns = int(height * scale), int(width * scale)
    top, left = (int(rng.integers(0, full - cut + 1)) for full, cut in zip(image.shape[:2], (rows, columns)))
    crop = np.ascontiguousarray(image[top : top + rows, left : left + columns])
    interpolation = cv2.INTER_AREA if scale > 1 else cv2.INTER_LINEAR
    return cv2.resize(crop, (width, height), interpolation=interpolation).astype(np.float32) / 255


KINDS = ('plain', 'tiles', 'joints', 'noise', 'room', 'landscape')


def drawn_background(rng: np.random.Generator, settings: SimpleNamespace, height: int, width: int) -> np.ndarray:
    """Return a procedural background (height, width, 3) float32 BGR in [0, 1]; `settings` is the group `background`."""
    weights = np.array([getattr(settings, kind) for kind in KINDS], float)
    kind = KINDS[rng.choice(len(KINDS), p=weights / weights.sum())]
    if kind in ('room', 'landscape'):
        image = (room if kind == 'room' else landscape)(rng, settings, height, width)
    else:
        image = _floor(rng, settings, kind, height, width)
    if rng.random() < settings.defocus_probability:
        image = cv2.GaussianBlur(image, (0, 0), rng.uniform(*settings.defocus_px))
    return image


def _floor(rng, settings: SimpleNamespace, kind: str, height: int, width: int) -> np.ndarray:
    image = _floor_paint(rng, height, width)
    if kind == 'tiles':
        image = _lay_lines(rng, image, _tile_lines(rng, width))
    elif kind == 'joints':
        image = _lay_lines(rng, image, _joint_lines(rng, width))
    elif kind == 'noise':
        image = _rough(rng, image)
    image = _stain(rng, image)
    if rng.random() < settings.crack_probability:
        _crack(rng, image)
    for _ in range(rng.integers(settings.clutter[0], settings.clutter[1] + 1)):
        lay_clutter(rng, image)
    if rng.random() < settings.ring_probability:
        lay_lookalikes(rng, image)
    if rng.random() < settings.cord_probability:
        draw_cord(rng, image)
    shade = fractal_noise(rng, height, width, 2, 2) * np.float32(rng.uniform(-0.4, 0.4)) + 1
    return np.clip(scaled(image, shade), 0, 1)


def _floor_paint(rng, height: int, width: int) -> np.ndarray:
    weights = np.array([row[2] for row in FLOORS])
    dark, bright, _ = FLOORS[rng.choice(len(FLOORS), p=weights / weights.sum())]
    hue = rng.normal(0, 0.035, 3)
    mix = fractal_noise(rng, height, width, 5, int(rng.integers(1, 5)))
    image = blend(plain_picture(dark + hue, height, width), bright + hue, mix)
    grain = cv2.GaussianBlur(white_noise(rng, (height, width), rng.uniform(0, 0.018)), (0, 0), 0.7)
    return cv2.add(image, cv2.merge([grain] * 3))


def _rough(rng, image: np.ndarray) -> np.ndarray:
    """Return the image under strong, small blotches: gravel, foliage, dirt."""
    height, width = image.shape[:2]
    field = fractal_noise(rng, height, width, 4, int(rng.integers(8, 40)), 0.75)
    color = rng.uniform(0.05, 0.95, 3)
    edge = np.clip((field - rng.uniform(0.35, 0.6)) * rng.uniform(3, 30), 0, 1)
    return blend(image, color, edge * np.float32(rng.uniform(0.2, 0.9)))


def _tile_lines(rng, width: int) -> np.ndarray:
    """Return joints of a tiled floor (S, S) float32 in [0, 1]; S is the image's diagonal."""
    size = int(1.7 * width)
    lines = np.zeros((size, size), np.float32)
    step = rng.uniform(0.06, 0.3) * width
    thickness = max(1, int(rng.uniform(0.02, 0.10) * step))
    for position in np.arange(rng.uniform(0, step), size, step):
        cv2.line(lines, (int(position), 0), (int(position), size), 1.0, thickness, cv2.LINE_AA)
    for position in np.arange(rng.uniform(0, step), size, step * rng.choice([0.5, 1, 1, 2])):
        cv2.line(lines, (0, int(position)), (size, int(position)), 1.0, thickness, cv2.LINE_AA)
    return lines


def _joint_lines(rng, width: int) -> np.ndarray:
    """Return a few silicone joints or tank edges (S, S), some of them side by side."""
    size = int(1.7 * width)
    lines = np.zeros((size, size), np.float32)
    for _ in range(rng.integers(1, 4)):
        ends = rng.uniform(0, size, (2, 2))
        thickness = int(rng.uniform(0.004, 0.035) * width) + 1
        level = float(rng.uniform(0.5, 1))
        for shift in [0, rng.uniform(1.2, 4) * thickness][: rng.integers(1, 3)]:
            first, second = (tuple(int(v + shift) for v in end) for end in ends)
            cv2.line(lines, first, second, level, thickness if shift == 0 else max(1, thickness // 3), cv2.LINE_AA)
    return lines


def _lay_lines(rng, image: np.ndarray, lines: np.ndarray) -> np.ndarray:
    """Return the image with lines drawn on the floor, seen from a random side."""
    height, width = image.shape[:2]
    size = len(lines)
    corners = np.float32([[0, 0], [size, 0], [size, size], [0, size]])
    angle = rng.uniform(0, 2 * np.pi)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    seen = (corners - size / 2) @ turn.T * rng.uniform(0.8, 1.3) + (width / 2, height / 2)
    seen += rng.uniform(-0.18, 0.18, (4, 2)) * size
    projection = cv2.getPerspectiveTransform(corners, np.float32(seen))
    lines = cv2.warpPerspective(lines, projection, (width, height))
    lines = cv2.GaussianBlur(lines, (0, 0), rng.uniform(0.4, 2.2))
    color = np.array(JOINT_COLORS[rng.integers(len(JOINT_COLORS))]) * rng.uniform(0.8, 1.1)
    return blend(image, color, np.clip(lines, 0, 1) * np.float32(rng.uniform(0.3, 0.9)))


def _stain(rng, image: np.ndarray) -> np.ndarray:
    height, width = image.shape[:2]
    field = fractal_noise(rng, height, width, 5, int(rng.integers(2, 5)), 0.65)
    share = np.clip((field - np.float32(rng.uniform(0.55, 0.75))) * np.float32(rng.uniform(3, 9)), 0, 1)
    return blend(image, rng.uniform(0.25, 0.6, 3), share * np.float32(rng.uniform(0, 0.55)))


def _crack(rng, image: np.ndarray) -> None:
    height, width = image.shape[:2]
    start = rng.uniform(0, 1, (1, 2)) * (width, height)
    points = np.cumsum(np.r_[start, rng.normal(0, 0.06 * width, (7, 2)) + rng.normal(0, 30, 2)], 0)
    shade = tuple(float(v) for v in rng.uniform(0.2, 0.5, 3))
    cv2.polylines(image, [np.int32(points * 16)], False, shade, 1, cv2.LINE_AA, 4)


def lay_clutter(rng, image: np.ndarray) -> None:
    """Draw, in place, one flat, sharp-edged thing of random outline, colour and texture."""
    height, width = image.shape[:2]
    centre = rng.uniform(0, 1, 2) * (width, height)
    reach = np.exp(rng.uniform(np.log(0.015), np.log(0.22))) * width
    kind = rng.choice(['polygon', 'box', 'blob', 'paper'])
    if kind == 'polygon':
        angles = np.sort(rng.uniform(0, 2 * np.pi, rng.integers(3, 9)))
        outline = reach * rng.uniform(0.3, 1, (len(angles), 1)) * np.c_[np.cos(angles), np.sin(angles)]
    elif kind == 'blob':
        angles = np.linspace(0, 2 * np.pi, 24, endpoint=False)
        radii = 1 + 0.25 * np.sin(angles * 2 + rng.uniform(0, 6)) + 0.2 * np.sin(angles * 3 + rng.uniform(0, 6))
        outline = reach * 0.6 * radii[:, None] * np.c_[np.cos(angles), rng.uniform(0.4, 1) * np.sin(angles)]
    else:
        wide, high = reach * rng.uniform(0.1, 1, 2)
        outline = np.array([[-wide, -high], [wide, -high], [wide, high], [-wide, high]])
    angle = rng.uniform(0, 2 * np.pi)
    outline = outline @ np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]]) + centre
    bright, shade = rng.uniform(0, 1), rng.uniform(0, 1, 3)
    color = np.clip(bright + (shade - 0.5) * rng.uniform(0, 1), 0.02, 0.98)
    cells, depth, opacity = int(rng.integers(1, 9)), rng.uniform(0, 0.9), rng.uniform(0.55, 1)
    left, top = np.clip(np.floor(outline.min(0)).astype(int) - 1, 0, (width, height))
    right, bottom = np.clip(np.ceil(outline.max(0)).astype(int) + 2, 0, (width, height))
    if right - left < 2 or bottom - top < 2:
        return
    patch = image[top:bottom, left:right]
    mask = np.zeros(patch.shape[:2], np.float32)
    cv2.fillPoly(mask, [np.int32((outline - (left, top)) * 16)], 1.0, cv2.LINE_AA, 4)
    texture = 1 + (fractal_noise(rng, *mask.shape, 3, cells) - 0.5) * np.float32(depth)
    patch[:] = blend(patch, np.float32(color) * texture[..., None], mask * np.float32(opacity))


def lay_lookalikes(rng, image: np.ndarray) -> None:
    """Draw, in place, rings and discs in colours such as the object's: what must not be mistaken for it."""
    height, width = image.shape[:2]
    for _ in range(rng.integers(1, 6)):
        color = np.clip(np.array(LOOKALIKE_COLORS[rng.integers(len(LOOKALIKE_COLORS))]) * rng.uniform(0.7, 1.2), 0, 1)
        centre = tuple(int(16 * v) for v in rng.uniform(0, 1, 2) * (width, height))
        axes = tuple(int(16 * v) for v in rng.uniform(0.01, 0.09) * width * np.array([1, rng.uniform(0.3, 1)]))
        thickness = -1 if rng.random() < 0.4 else int(rng.integers(1, 6))
        color = tuple(float(v) for v in color)
        cv2.ellipse(image, centre, axes, rng.uniform(0, 180), 0, 360, color, thickness, cv2.LINE_AA, 4)


def draw_cord(rng, image: np.ndarray) -> None:
    """Draw a cable or a line in place, over (height, width, 3) float32."""
    height, width = image.shape[:2]
    points = spline(rng.uniform(-0.1, 1.1, (int(rng.integers(3, 6)), 2)) * (width, height), 80)
    color = np.array(CORD_COLORS[rng.choice(4, p=[0.5, 0.25, 0.15, 0.1])])
    color = tuple(float(v) for v in color * rng.uniform(0.75, 1.1))
    cv2.polylines(image, [np.int32(points * 16)], False, color, int(rng.integers(1, 5)), cv2.LINE_AA, 4)
