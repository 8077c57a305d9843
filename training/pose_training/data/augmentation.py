"""
Augmentation: one affine warp of image and labels, then colour, light, blur and occlusion on the small crop.

The border is filled with a flat colour or the nearest pixel, never mirrored: a mirrored border shows unlabelled copies
of the object. Everything photometric works on uint8, so that a 256 px sample costs about a millisecond.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np

STRENGTHS = ('strong', 'rendered', 'normal', 'none')

_LEVELS = np.linspace(0.0, 1.0, 256)
_NOISE_SIDE = 512
_NOISE_STEP = 32.0  # grey levels of one standard deviation in the noise tile


@dataclass(frozen=True)
class Augmentation:
    """
    Strength of every random change. `p_` are probabilities.

    Attributes:
        rotation_deg: Largest rotation to either side.
        scale: Smallest and largest factor on the natural scale (the one that inference uses), log-uniform.
        object_size: Smallest and largest object extent as a share of the input height, instead of `scale`; log-uniform.
        shear: Largest entry of the random shear matrix.
        shift: Largest distance of the object's centre from the crop's centre, as a share of the crop.
        p_cover: Probability of each visible keypoint to be covered.
    """

    rotation_deg: float = 180.0
    scale: tuple[float, float] = (0.6, 1.5)
    object_size: tuple[float, float] | None = None
    shear: float = 0.15
    shift: float = 0.25
    p_flip: float = 0.5
    gain: float = 0.35
    tint: float = 0.15
    gamma: float = 0.3
    p_grey: float = 0.05
    p_blur: float = 0.25
    p_motion_blur: float = 0.25
    p_noise: float = 0.35
    p_cutout: float = 0.3
    p_cover: float = 0.06
    p_haze: float = 0.25
    p_shade: float = 0.3
    p_glare: float = 0.25
    p_jpeg: float = 0.15

    @classmethod
    def named(cls, name: str) -> Augmentation:
        """
        Return 'strong' (few images), 'rendered' (and many covers), 'normal', or 'none' (a plain crop).

        Raises:
            ValueError: There is no such name.
        """
        if name == 'strong':
            return cls()
        if name == 'rendered':  # exact labels are worth learning from where a person would not see the point either
            return cls(p_cover=0.25)
        if name == 'normal':
            return cls(
                scale=(0.75, 1.35), shear=0.05, gain=0.25, tint=0.05, gamma=0.15, p_grey=0.0, p_blur=0.1,
                p_motion_blur=0.1, p_cutout=0.1, p_cover=0.01, p_haze=0.05, p_shade=0.1, p_glare=0.05, p_jpeg=0.0,
            )  # fmt: skip
        if name == 'none':
            return cls(
                rotation_deg=0.0, scale=(1.0, 1.0), shear=0.0, shift=0.0, p_flip=0.0, gain=0.0, tint=0.0, gamma=0.0,
                p_grey=0.0, p_blur=0.0, p_motion_blur=0.0, p_noise=0.0, p_cutout=0.0, p_cover=0.0, p_haze=0.0,
                p_shade=0.0, p_glare=0.0, p_jpeg=0.0,
            )  # fmt: skip
        raise ValueError(f'augmentation must be {", ".join(STRENGTHS[:-1])} or {STRENGTHS[-1]}, got {name!r}')


@dataclass(frozen=True)
class Warp:
    """
    An affine map of pixel coordinates.

    Attributes:
        matrix: (2, 3) float64, source px -> crop px.
        mirrored: Whether it mirrors.
    """

    matrix: np.ndarray
    mirrored: bool

    @property
    def scale(self) -> float:
        """Side of the square that one source pixel becomes [px]."""
        (a, b, _), (c, d, _) = self.matrix.tolist()
        return math.sqrt(abs(a * d - b * c))

    def points(self, points: np.ndarray) -> np.ndarray:
        """Map (..., 2) source px to crop px."""
        return points @ self.matrix[:, :2].T + self.matrix[:, 2]


def random_warp(
    centre: np.ndarray,
    extent: float,
    natural_scale: float,
    input_height: int,
    crop: int,
    settings: Augmentation,
    rng: np.random.Generator,
) -> Warp:
    """
    Draw the warp that brings an object into a square crop.

    Args:
        centre: (2,) centre of the object [source px].
        extent: Longer side of its box [source px]; 0 for an image without object.
        natural_scale: Network px per source px at inference.
        input_height: Height [px] that inference scales images to.
        crop: Side of the crop [px].
        settings: Strength of the random changes.
        rng: Source of the random numbers.
    """
    angle = math.radians(rng.uniform(-settings.rotation_deg, settings.rotation_deg))
    if settings.object_size is not None and extent > 0:
        low, high = settings.object_size
        scale = input_height * math.exp(rng.uniform(math.log(low), math.log(high))) / extent
    else:
        low, high = settings.scale
        scale = natural_scale * math.exp(rng.uniform(math.log(low), math.log(high)))
    cos, sin = scale * math.cos(angle), scale * math.sin(angle)
    xx, xy, yx, yy = rng.uniform(-settings.shear, settings.shear, 4).tolist()
    mirrored = bool(rng.random() < settings.p_flip)
    sign = -1.0 if mirrored else 1.0
    # rotation times (identity + shear), then the mirrored x axis of the source
    linear = (
        (sign * (cos * (1 + xx) - sin * yx), cos * xy - sin * (1 + yy)),
        (sign * (sin * (1 + xx) + cos * yx), sin * xy + cos * (1 + yy)),
    )
    shift_x, shift_y = rng.uniform(-settings.shift, settings.shift, 2).tolist()
    x, y = float(centre[0]), float(centre[1])
    matrix = np.array([
        (a, b, (crop - 1) / 2 + shift * crop - a * x - b * y) for (a, b), shift in zip(linear, (shift_x, shift_y))
    ])
    return Warp(matrix, mirrored)


def random_border(rng: np.random.Generator) -> tuple[int, tuple[int, int, int]]:
    """Draw what lies outside of the image: OpenCV's border mode and colour."""
    mode = cv2.BORDER_CONSTANT if rng.random() < 0.6 else cv2.BORDER_REPLICATE
    blue, green, red = rng.integers(0, 256, 3).tolist()
    return mode, (blue, green, red)


def warp_image(
    image: np.ndarray,
    warp: Warp,
    crop: int,
    border: tuple[int, tuple[int, int, int]] = (cv2.BORDER_CONSTANT, (0, 0, 0)),
) -> np.ndarray:
    """Return the (crop, crop, 3) uint8 view of an image through the warp; see `halvings` for strong reductions."""
    mode, fill = border
    return cv2.warpAffine(image, warp.matrix, (crop, crop), flags=cv2.INTER_LINEAR, borderMode=mode, borderValue=fill)


def halvings(warp: Warp) -> int:
    """Return how often to halve an image before the warp, so that linear interpolation does not alias."""
    return max(0, round(math.log2(1 / warp.scale)))


def halved(image: np.ndarray, times: int) -> np.ndarray:
    """Return the image averaged over squares of 2**times pixels."""
    size = tuple(max(1, side >> times) for side in image.shape[1::-1])
    return image if times == 0 else cv2.resize(image, size, interpolation=cv2.INTER_AREA)


def warp_of_halved(warp: Warp, image: np.ndarray, reduced: np.ndarray) -> Warp:
    """Return the warp that does to the reduced image what `warp` does to the image."""
    if reduced is image:
        return warp
    per_axis = np.array(image.shape[1::-1]) / reduced.shape[1::-1]
    linear, shift = warp.matrix[:, :2], warp.matrix[:, 2]
    # source = (reduced + 0.5) * per_axis - 0.5, as pixel centres lie at whole numbers
    return Warp(np.column_stack([linear * per_axis, shift + linear @ (per_axis / 2 - 0.5)]), warp.mirrored)


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
    """Gaussian blur of 0.5 to 2 px, cut off at two of its widths."""
    sigma = rng.uniform(0.5, 2.0)
    side = 2 * math.ceil(2 * sigma) + 1
    return cv2.GaussianBlur(image, (side, side), sigma)


def motion_blur(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Straight motion of 3 to 10 px in any direction."""
    side = int(rng.integers(3, 11)) | 1
    kernel = np.zeros((side, side), np.float32)
    kernel[side // 2] = 1.0
    rotation = cv2.getRotationMatrix2D((side // 2, side // 2), rng.uniform(0, 180), 1.0)
    kernel = cv2.warpAffine(kernel, rotation, (side, side))
    return cv2.filter2D(image, -1, kernel / kernel.sum())


def noise(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Sensor noise of 1 to 8 grey levels, cut from a fixed tile at a random place."""
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
    """Uneven light: multiply with a smooth field from half to one and a half."""
    cells = int(rng.integers(2, 7))
    field = rng.integers(64, 193, (cells, cells, 1)).astype(np.uint8).repeat(3, axis=2)
    field = cv2.resize(field, image.shape[1::-1], interpolation=cv2.INTER_CUBIC)
    return cv2.multiply(image, field, scale=1 / 128)


def glare(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Reflections of lamps and sky on water and glass: bright, soft-edged blobs and streaks."""
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
