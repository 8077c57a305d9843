"""Reading picture files: what cannot be read is None, whatever the decoder thinks of it."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np


def read_picture(path: Path, obey_exif: bool = True) -> np.ndarray | None:
    """
    Return the (H, W, 3) uint8 BGR picture, or None when the file is damaged.

    obey_exif : turn the picture as its EXIF note says.
    """
    flags = cv2.IMREAD_COLOR if obey_exif else cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
    try:
        return cv2.imread(str(path), flags)
    except cv2.error:  # a header that claims a picture too large to decode
        return None
