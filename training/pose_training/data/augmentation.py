"""
Strength of the random changes of training samples, and the affine warp that makes a crop of an image and its labels.

The border is filled with a flat colour or the nearest pixel, never mirrored: a mirrored border shows unlabelled copies
of the object.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import cv2
import numpy as np


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
        Return 'strong' (few images), 'normal' (many), 'rendered', 'covered', or 'none' (a plain crop).

        Raises:
            ValueError: There is no such name.
        """
        if name not in _NAMED:
            raise ValueError(f'augmentation must be one of {", ".join(STRENGTHS)}, got {name!r}')
        return _NAMED[name]


_NORMAL = Augmentation(
    scale=(0.75, 1.35), shear=0.05, gain=0.25, tint=0.05, gamma=0.15, p_grey=0.0, p_blur=0.1, p_motion_blur=0.1,
    p_cutout=0.1, p_cover=0.01, p_haze=0.05, p_shade=0.1, p_glare=0.05, p_jpeg=0.0,
)  # fmt: skip
_NAMED = {
    'strong': Augmentation(),
    'normal': _NORMAL,
    'rendered': replace(_NORMAL, rotation_deg=20.0),  # renderings show all attitudes, lights and covers asked for
    'covered': Augmentation(p_cover=0.25),  # exact labels are worth learning from where a person sees no point either
    'none': Augmentation(
        rotation_deg=0.0, scale=(1.0, 1.0), shear=0.0, shift=0.0, p_flip=0.0, gain=0.0, tint=0.0, gamma=0.0, p_grey=0.0,
        p_blur=0.0, p_motion_blur=0.0, p_noise=0.0, p_cutout=0.0, p_cover=0.0, p_haze=0.0, p_shade=0.0, p_glare=0.0,
        p_jpeg=0.0,
    ),
}  # fmt: skip
STRENGTHS = tuple(_NAMED)


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
