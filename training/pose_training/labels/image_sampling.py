"""A sample of images, evenly over image files, folders and videos."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from custom_pose_ros.core.errors import DatasetError
from custom_pose_ros.core.files import VIDEO_SUFFIXES
from training.pose_training.labels.image_files import decode_image, find_images


def sample_images(sources: Sequence[Path], limit: int) -> list[np.ndarray]:
    """
    Return images evenly over all that the sources hold, in their order.

    Args:
        sources: Image or video files, or folders with images at any depth.
        limit: Number of images at most.

    Returns:
        (H, W, 3) uint8 BGR images.

    Raises:
        DatasetError: A source cannot be read.
    """
    frames = [frame for source in sources for frame in _frames(source)]
    count = min(limit, len(frames))
    chosen = {frames[i] for i in np.linspace(0, len(frames) - 1, count).round().astype(int)} if frames else set()
    videos = {path: {i for other, i in chosen if other == path} for path, i in chosen if i is not None}
    images: list[np.ndarray] = []
    for path in dict.fromkeys(path for path, _ in frames):
        if path in videos:
            images += _read_video(path, videos[path])
        elif (path, None) in chosen:
            images.append(_read_image(path))
    return images


def _frames(source: Path) -> list[tuple[Path, int | None]]:
    """Return file and frame number (None for an image) of everything in one source."""
    if source.is_dir():
        return [(path, None) for path in find_images(source)]
    if not source.is_file():
        raise DatasetError(f'{source}: no such file or folder')
    if source.suffix.lower() in VIDEO_SUFFIXES:
        capture = cv2.VideoCapture(str(source))
        count = int(capture.get(cv2.CAP_PROP_FRAME_COUNT))
        capture.release()
        if count < 1:
            raise DatasetError(f'{source}: cannot be read as a video')
        return [(source, i) for i in range(count)]
    return [(source, None)]


def _read_image(path: Path) -> np.ndarray:
    image = decode_image(path)
    if image is None:
        raise DatasetError(f'{path}: cannot be read as an image; remove it and start again')
    return image


def _read_video(path: Path, wanted: set[int]) -> list[np.ndarray]:
    """Return the frames with these numbers; the number of frames that a container announces may be too large."""
    capture = cv2.VideoCapture(str(path))
    images = []
    for i in range(max(wanted) + 1):
        if not capture.grab():
            break
        if i in wanted:
            good, image = capture.retrieve()
            if good:
                images.append(image)
    capture.release()
    return images
