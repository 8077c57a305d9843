"""Image -> network input of a fixed height, and the exact map between the pixels of both."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import cv2
import numpy as np

from custom_pose_ros.core.errors import ConfigError
from custom_pose_ros.core.keypoints.poses import KeypointPose
from custom_pose_ros.core.limits import MAX_ASPECT

STRIDE = 8  # input pixels for each cell of the heatmaps and part affinity fields, in height and width
SIZE_MULTIPLE = 32  # of the input height and width: the coarsest stride inside the networks
MAX_INPUT_HEIGHT = 1024  # [px]


def check_input_height(height: int) -> None:
    """Raise ConfigError unless a network can have this height of its input [px]."""
    if height % SIZE_MULTIPLE or not 64 <= height <= MAX_INPUT_HEIGHT:
        raise ConfigError(
            f'input_height: wanted a multiple of {SIZE_MULTIPLE} from 64 to {MAX_INPUT_HEIGHT}, got {height}'
        )


@dataclass(frozen=True, eq=False)
class PixelMap:
    """
    The map between pixels of an image and pixels of the network input made from it; both directions exact.

    Pixel coordinates are those of pixel centres: the corner of the image lies at (-0.5, -0.5) in both, so that
    ``input + 0.5 = (image + 0.5) * scale`` for each axis (the convention of cv2.resize).

    Attributes:
        scale: (2,) float64, input pixels per image pixel along x and y.
    """

    scale: np.ndarray

    def __post_init__(self) -> None:
        scale = np.asarray(self.scale, float)
        if scale.shape != (2,):
            raise ValueError(f'scale must have shape (2,), got {scale.shape}')
        if not all(0 < value < math.inf for value in scale.tolist()):
            raise ValueError(f'scale must be positive, got {scale.tolist()}')
        object.__setattr__(self, 'scale', scale)

    def to_image(self, points: np.ndarray) -> np.ndarray:
        """Return (..., 2) points of the network input [px] as points of the image [px]."""
        return (np.asarray(points, float) + 0.5) / self.scale - 0.5

    def pose_to_image(self, pose: KeypointPose) -> KeypointPose:
        """Return a pose found in the network input as a pose in the image; covariances are scaled with it."""
        return replace(
            pose,
            keypoints=self.to_image(pose.keypoints),
            covariances=pose.covariances / (self.scale[:, None] * self.scale),
            alternative=None if pose.alternative is None else self.pose_to_image(pose.alternative),
        )


def prepare(image: np.ndarray, input_height: int, out: np.ndarray | None = None) -> tuple[np.ndarray, PixelMap]:
    """
    Scale an image to the network's input height, keeping its aspect, and pad it to whole network cells.

    The image fills the top left; zeros fill the right and the bottom. To shrink without aliasing and without a slow
    general area filter, the image is halved by exact 2 x 2 means while it is at least twice too large and scaled
    bilinearly from there; up to one row and column per halving is cut off where a size is odd.

    Args:
        image: (H, W, 3) uint8, BGR. Never changed; may be a strided view.
        input_height: height of the network input [px], a multiple of 32.
        out: optional (h, w, 3) uint8 buffer to write into, at least as large as `input_shape` says; a larger one is
            padded further with zeros (images of different aspect in one batch).

    Returns:
        The (h, w, 3) uint8 network input (`out` itself where given) and the map of its pixels.

    Raises:
        ValueError: the image or the buffer cannot be used.
    """
    check_image(image)
    height, width = _content_shape(image.shape, input_height)
    shape = input_shape(image.shape, input_height)
    if out is None:
        out = np.empty((*shape, 3), np.uint8)
    _check_buffer(out, shape)

    reduced, factor = _halve(image, height, width)
    content = out[:height, :width]
    if reduced.shape[:2] in ((height, width), (1, 1)):  # OpenCV 4.5 cannot resize a single pixel, and need not
        content[:] = reduced
    else:
        resized = cv2.resize(reduced, (width, height), dst=content, interpolation=cv2.INTER_LINEAR)
        if not np.shares_memory(resized, content):  # this OpenCV did not accept the strided view as its output
            content[:] = resized
    out[:height, width:] = 0
    out[height:] = 0
    used_height, used_width = reduced.shape[0] * factor, reduced.shape[1] * factor
    return out, PixelMap(np.array([width / used_width, height / used_height]))


def input_shape(image_shape: tuple[int, ...], input_height: int) -> tuple[int, int]:
    """Return height and width [px] of the network input that `prepare` makes of an image of shape (H, W, ...)."""
    height, width = _content_shape(image_shape, input_height)
    return -(-height // SIZE_MULTIPLE) * SIZE_MULTIPLE, -(-width // SIZE_MULTIPLE) * SIZE_MULTIPLE


def _content_shape(image_shape: tuple[int, ...], input_height: int) -> tuple[int, int]:
    """Return height and width [px] of the scaled image before padding."""
    if input_height < SIZE_MULTIPLE or input_height % SIZE_MULTIPLE:
        raise ValueError(f'input_height must be a positive multiple of {SIZE_MULTIPLE}, got {input_height}')
    height, width = image_shape[:2]
    scale = min(input_height / height, MAX_ASPECT * input_height / width)
    return max(1, round(height * scale)), max(1, round(width * scale))


def _halve(image: np.ndarray, height: int, width: int) -> tuple[np.ndarray, int]:
    """Halve an image while both sides stay at least (height, width); return it and the total factor."""
    factor = 1
    while image.shape[0] >= 2 * height and image.shape[1] >= 2 * width:
        rows, columns = image.shape[0] // 2, image.shape[1] // 2
        image = cv2.resize(image[: 2 * rows, : 2 * columns], (columns, rows), interpolation=cv2.INTER_AREA)
        factor *= 2
    return image, factor


def _check_buffer(out: np.ndarray, shape: tuple[int, int]) -> None:
    good = out.ndim == 3 and out.shape[2] == 3 and out.shape[0] >= shape[0] and out.shape[1] >= shape[1]
    if not good or out.dtype != np.uint8:
        raise ValueError(f'out must be uint8 of at least {(*shape, 3)}, got {out.dtype} {out.shape}')


def check_image(image: np.ndarray) -> None:
    """Raise ValueError unless the image is (H, W, 3) uint8 with at least one pixel."""
    good = isinstance(image, np.ndarray) and image.ndim == 3 and image.shape[2] == 3 and image.dtype == np.uint8
    if not good or 0 in image.shape:
        got = f'{image.dtype} {image.shape}' if isinstance(image, np.ndarray) else type(image).__name__
        raise ValueError(f'image must be a uint8 BGR array of shape (H, W, 3), got {got}')
