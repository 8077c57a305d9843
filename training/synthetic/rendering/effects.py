"""Image effects of water, light and camera: caustics, mirrored windows, haze, bubbles, exposure, blur, noise, JPEG."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace

import cv2
import numpy as np

from training.synthetic.rendering.noise import blend, displaced, fractal_noise, scaled, white_noise

WATER_COLORS = ((0.78, 0.80, 0.74), (0.72, 0.66, 0.36), (0.55, 0.66, 0.48), (0.62, 0.68, 0.72))  # BGR of thick water
WATER_WEIGHTS = (0.5, 0.2, 0.15, 0.15)
GREY = np.array([0.114, 0.587, 0.299])  # share of blue, green and red in the brightness of a pixel


def caustics(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """Return the net of bright lines that waves throw on a floor, (height, width) float32 in [0, 1]."""
    rows, columns = height // 2, width // 2
    scale = rng.uniform(5, 16) / columns
    x = (np.arange(columns, dtype=np.float32) * np.float32(scale))[None]
    y = (np.arange(rows, dtype=np.float32) * np.float32(scale))[:, None]
    bend_x, bend_y = (fractal_noise(rng, rows, columns, 3, 4) * np.float32(2.4) for _ in range(2))
    total = np.zeros((rows, columns), np.float32)
    for _ in range(3):
        angle = rng.uniform(0, np.pi)
        across = (x + bend_x) * np.float32(1.7 * np.cos(angle)) + (y + bend_y) * np.float32(1.7 * np.sin(angle))
        total += np.abs(np.sin(across + np.float32(rng.uniform(0, 6))))
    net = np.clip(np.float32(1.25) - total / np.float32(1.6), 0, 1) ** np.float32(rng.uniform(2, 4))
    return cv2.resize(net, (width, height))


def surface_reflection(
    rng: np.random.Generator, height: int, width: int, over: Sequence[np.ndarray] = ()
) -> np.ndarray:
    """
    Return the light that the water's surface mirrors into the camera, (height, width, 3) float32 BGR >= 0.

    Sharp-edged window panes, lamps and leaves, torn into pieces by waves: add it (or screen it) over the picture.

    Args:
        rng: source of the random numbers.
        height: of the picture [px].
        width: of the picture [px].
        over: positions (2,) [px] that one window each lies over or beside; the network learns to look through it.
    """
    light = np.zeros((height, width, 3), np.float32)
    for _ in range(rng.integers(1, 4)):
        _mirror_window(rng, light, rng.uniform(-0.1, 1.1, 2) * (width, height), rng.uniform(0.06, 0.38, 2))
    for point in over:  # over the point, or ending there and hiding one side; half of them are a single pane
        ends_there, grid = rng.random() < 0.6, 2 if rng.random() < 0.5 else 5
        _mirror_window(rng, light, point, rng.uniform(0.04, 0.20, 2), ends_there, grid)
    if rng.random() < 0.5:  # what is behind the panes: a room, trees, clouds
        light *= 0.55 + 0.75 * fractal_noise(rng, height, width, 3, int(rng.integers(3, 12)))[..., None]
    if rng.random() < 0.3:
        _mirror_leaves(rng, light)
    if rng.random() < 0.4:
        haze = fractal_noise(rng, height, width, 3, 2)
        light += (np.clip(haze - np.float32(0.5), 0, 1) * np.float32(rng.uniform(0.2, 0.9)))[..., None]
    strength = rng.uniform(0.004, 0.035) * width
    cells = int(rng.integers(5, 16))
    dx = (fractal_noise(rng, height, width, 2, cells) - np.float32(0.5)) * np.float32(2 * strength)
    dy = (fractal_noise(rng, height, width, 2, cells) - np.float32(0.5)) * np.float32(2 * strength)
    light = displaced(light, dx, dy, cv2.BORDER_REPLICATE)
    if rng.random() < 0.5:
        light += _glints(rng, height, width)[..., None]
    return cv2.GaussianBlur(light, (0, 0), rng.uniform(0.5, 2.0)) if rng.random() < 0.4 else light


def _mirror_window(
    rng, light: np.ndarray, at: np.ndarray, reach: np.ndarray, ends_there: bool = False, grid: int = 5
) -> None:
    """
    Draw one window: a skewed grid of fewer than grid x grid bright panes with dark bars.

    Args:
        rng: source of the random numbers.
        light: (H, W, 3) float32, drawn on.
        at: (2,) [px], its middle, or with `ends_there` a point near one of its edges.
        reach: (2,), its half sides, as shares of the width.
        ends_there: whether `at` lies near an edge.
        grid: one more than the largest number of panes in a row.
    """
    wide, high = light.shape[1] * reach
    angle = rng.uniform(0, 2 * np.pi)
    right = wide * np.array([np.cos(angle), np.sin(angle)])
    lean = angle + np.pi / 2 + rng.uniform(-0.5, 0.5)
    down = high * np.array([np.cos(lean), np.sin(lean)])
    centre = at + rng.uniform(-0.8, 0.8) * right + rng.uniform(0.8, 1.2) * down if ends_there else at
    columns, rows = rng.integers(1, grid, 2)
    bar = rng.uniform(0.03, 0.16)
    tint = np.array([1.0, 0.99, 0.96]) + rng.uniform(-0.25, 0.1, 3)
    for row in range(rows):
        for column in range(columns):
            if rng.random() < 0.12:
                continue
            (c0, c1), (r0, r1) = ((first + bar, first + 1 - bar) for first in (column, row))
            corners = [(c0, r0), (c1, r0), (c1, r1), (c0, r1)]
            outline = [centre + (c / columns - 0.5) * 2 * right + (r / rows - 0.5) * 2 * down for c, r in corners]
            color = tuple(float(v) for v in tint * rng.uniform(0.45, 1.1))
            cv2.fillPoly(light, [np.int32(np.array(outline) * 16)], color, cv2.LINE_AA, 4)


def _mirror_leaves(rng, light: np.ndarray) -> None:
    """Darken leaf-shaped patches: trees in front of the mirrored sky."""
    height, width = light.shape[:2]
    centre = rng.uniform(0, 1, 2) * (width, height)
    for _ in range(rng.integers(15, 60)):
        at = centre + rng.normal(0, 0.09, 2) * width
        axes = (int(16 * rng.uniform(0.008, 0.04) * width), int(16 * rng.uniform(0.003, 0.012) * width))
        color = tuple(float(v) for v in rng.uniform(0.0, 0.25, 3))
        cv2.ellipse(light, tuple(int(16 * v) for v in at), axes, rng.uniform(0, 180), 0, 360, color, -1, cv2.LINE_AA, 4)


def _glints(rng, height: int, width: int) -> np.ndarray:
    """Return the thin bright lines along the crests of small waves, (height, width) float32 in [0, 1]."""
    field = fractal_noise(rng, height, width, 3, int(rng.integers(3, 9)))
    crests = np.clip(1 - np.abs(field - np.float32(rng.uniform(0.4, 0.6))) * np.float32(rng.uniform(30, 90)), 0, 1)
    where = np.clip((fractal_noise(rng, height, width, 2, 4) - np.float32(0.5)) * np.float32(4), 0, 1)
    return crests * where


def screen(image: np.ndarray, light: np.ndarray, share: float) -> np.ndarray:
    """Return the image with light laid over it: bright stays bright, nothing exceeds white by much."""
    return image + (1 - np.minimum(image, 1)) * light * np.float32(share)


def apply_water(
    rng, settings: SimpleNamespace, image: np.ndarray, depth: np.ndarray, keypoints: np.ndarray
) -> np.ndarray:
    """
    Return the picture (H, W, 3) float32 BGR as seen through water.

    Args:
        rng: source of the random numbers.
        settings: the group `water`.
        image: (H, W, 3) float32 BGR.
        depth: (H, W) [m], scales the haze.
        keypoints: (n, 2) [px], what a reflection may lie over; n may be 0.
    """
    height, width = image.shape[:2]
    if rng.random() < settings.caustics_probability:
        net = caustics(rng, height, width) - np.float32(0.15)
        image = scaled(image, 1 + np.float32(rng.uniform(*settings.caustics)) * net)
    if rng.random() < settings.haze_probability:
        low, high = settings.haze
        density = -np.log(1 - (low + (high - low) * rng.beta(1.1, 3.2)))
        share = 1 - np.exp(-np.float32(density) * depth / np.float32(max(np.median(depth), 1e-3)))
        color = np.array(WATER_COLORS[rng.choice(len(WATER_COLORS), p=WATER_WEIGHTS)]) * rng.uniform(0.7, 1.15)
        image = blend(image, color, share)
    if rng.random() < settings.reflection_probability:
        over = keypoints[rng.random(len(keypoints)) < settings.reflection_on_keypoint]
        image = screen(image, surface_reflection(rng, height, width, over), rng.uniform(*settings.reflection))
    for _ in range(rng.integers(settings.bubbles[0], settings.bubbles[1] + 1)):
        centre = tuple(int(16 * v) for v in rng.uniform(0, 1, 2) * (width, height))
        radius = int(16 * rng.uniform(0.8, 4.5))
        cv2.circle(image, centre, radius, (float(rng.uniform(0.75, 1.0)),) * 3, 1, cv2.LINE_AA, 4)
    return image


def apply_sensor(rng, settings: SimpleNamespace, image: np.ndarray) -> np.ndarray:
    """Return the picture as uint8 (H, W, 3) after light, exposure, colour, blur, noise, compression; group `sensor`."""
    image = scaled(image, _illumination(rng, settings, *image.shape[:2]))
    cast = 1 + rng.uniform(-settings.color_cast, settings.color_cast, 3)
    grey = rng.random() < settings.grey_probability
    exposure, saturation = rng.uniform(*settings.exposure), rng.uniform(*settings.saturation) * (not grey)
    colors = (saturation * np.eye(3) + (1 - saturation) * GREY) @ np.diag(exposure * cast)
    image = np.clip(cv2.transform(image, colors.astype(np.float32)), 0, 1)
    image = cv2.pow(image, float(rng.uniform(*settings.gamma))) * np.float32(255)
    if rng.random() < settings.blur_probability:
        image = cv2.GaussianBlur(image, (0, 0), rng.uniform(*settings.blur_px))
    if rng.random() < settings.motion_blur_probability:
        image = cv2.filter2D(image, -1, _motion_kernel(rng.uniform(*settings.motion_blur_px), rng.uniform(0, np.pi)))
    image = _add_noise(rng, settings, image, grey)
    if rng.random() < settings.sharpen_probability:
        image = image + np.float32(rng.uniform(*settings.sharpen)) * (image - cv2.GaussianBlur(image, (0, 0), 1.5))
    image = np.clip(image, 0, 255).astype(np.uint8)
    if rng.random() < settings.jpeg_probability:
        quality = int(rng.integers(settings.jpeg_quality[0], settings.jpeg_quality[1] + 1))
        image = cv2.imdecode(cv2.imencode('.jpg', image, [cv2.IMWRITE_JPEG_QUALITY, quality])[1], cv2.IMREAD_COLOR)
    return image


def _illumination(rng, settings: SimpleNamespace, height: int, width: int) -> np.ndarray:
    """Return the factor (height, width) float32 of a light from one side and of a lens that darkens the corners."""
    slope, vignette, angle = (
        rng.uniform(*settings.light_slope),
        rng.uniform(*settings.vignette),
        rng.uniform(0, 2 * np.pi),
    )
    x, y = np.linspace(-1, 1, width, dtype=np.float32)[None], np.linspace(-1, 1, height, dtype=np.float32)[:, None]
    across = np.float32(np.cos(angle)) * x + np.float32(np.sin(angle)) * y
    return (1 + np.float32(slope / 2) * across) * (1 - np.float32(vignette / 2) * (x * x + y * y))


def _motion_kernel(length: float, angle: float) -> np.ndarray:
    """Return a symmetric line kernel of `length` px: the mean position of everything stays where it was."""
    size = 2 * int(np.ceil(length / 2)) + 1
    middle = size // 2
    kernel = np.zeros((size, size), np.float32)
    reach = length / 2 * np.array([np.cos(angle), np.sin(angle)])
    first, second = (tuple(round(16 * (middle + sign * v)) for v in reach) for sign in (-1, 1))
    cv2.line(kernel, first, second, 1.0, 1, cv2.LINE_AA, 4)
    kernel += kernel[::-1, ::-1]
    return kernel / kernel.sum()


def _add_noise(rng, settings: SimpleNamespace, image: np.ndarray, only_grey: bool) -> np.ndarray:
    """Return the picture with grey noise and, of a camera with colour, (weaker) colour noise."""
    grey, color = rng.uniform(*settings.noise, 2)
    image = cv2.add(image, cv2.merge([white_noise(rng, image.shape[:2], grey)] * 3))
    return image if only_grey else cv2.add(image, white_noise(rng, image.shape, 0.6 * color))
