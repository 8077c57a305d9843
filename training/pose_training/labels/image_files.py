"""Image files: found in folders or by the name in a label file, decoded, and sampled over folders and videos."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from custom_pose_ros.core.errors import DatasetError
from custom_pose_ros.core.files import IMAGE_SUFFIXES, VIDEO_SUFFIXES
from custom_pose_ros.core.labels.raw_labels import base_name

_UPLOAD_PREFIX = re.compile(r'^[0-9a-f]{8}-')  # Label Studio puts it before the name of every uploaded file


def find_images(folder: Path) -> list[Path]:
    """
    Return the image files of a folder, at any depth, sorted.

    Raises:
        DatasetError: There is none.
    """
    images = [path for path in sorted(folder.rglob('*')) if path.suffix.lower() in IMAGE_SUFFIXES]
    if not images:
        raise DatasetError(f'{folder}: no images found; give a folder with {", ".join(IMAGE_SUFFIXES)} files')
    return images


def decode_image(path: Path, obey_exif: bool = True) -> np.ndarray | None:
    """
    Return the (H, W, 3) uint8 BGR image of a file, None when the file is damaged.

    Args:
        path: Image file.
        obey_exif: Turn the image as its EXIF orientation says.
    """
    flags = cv2.IMREAD_COLOR if obey_exif else cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
    try:
        return cv2.imread(str(path), flags)
    except cv2.error:  # a header that claims an image too large to decode
        return None


class ImageIndex:
    """
    Finds images by the end of the path that a label file gives: container paths are resolved by file name.

    Where no file has a name, the name is treated as that of an upload, which Label Studio changes.
    """

    def __init__(self, folders: Sequence[Path], exclude: Path | None = None):
        """
        List the images.

        Args:
            folders: Searched to any depth.
            exclude: A folder in them that is not searched, where copies may lie.

        Raises:
            DatasetError: A folder does not exist.
        """
        self._folders = folders
        self._files: dict[str, list[Path]] = {}
        self._uploads: dict[str, list[Path]] = {}
        for folder in folders:
            if not folder.is_dir():
                raise DatasetError(f'{folder}: no such folder with images')
            for file in sorted(folder.rglob('*')):
                if file.suffix.lower() in IMAGE_SUFFIXES and (exclude is None or exclude not in file.parents):
                    self._files.setdefault(file.name, []).append(file)
                    self._uploads.setdefault(_upload_name(file.name), []).append(file)

    def __str__(self) -> str:
        return ', '.join(str(folder) for folder in self._folders)

    def find(self, name: str) -> list[Path]:
        """Return the files that share the longest end of the path `name`; several when it is not clear which."""
        wanted = name.replace('\\', '/').split('/')
        last = base_name(name)
        candidates = self._files.get(last) or self._uploads.get(_UPLOAD_PREFIX.sub('', last), [])
        best = max((_common_end(wanted, file.parts) for file in candidates), default=0)
        return [file for file in candidates if _common_end(wanted, file.parts) == best]


def _upload_name(name: str) -> str:
    """Return what Label Studio makes of a file name: blanks become '_', brackets and the like go."""
    return re.sub(r'[^-\w.]', '', name.strip().replace(' ', '_'))


def _common_end(a: Sequence[str], b: Sequence[str]) -> int:
    count = 0
    for one, other in zip(reversed(a), reversed(b)):
        if one != other:
            break
        count += 1
    return count


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
