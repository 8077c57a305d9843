"""Image files: found in folders, and decoded without an exception whatever is in them."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from custom_pose_ros.core.errors import DatasetError
from custom_pose_ros.core.files import IMAGE_SUFFIXES


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
