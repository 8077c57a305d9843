"""Contact sheets: many labelled pictures in one image, to look at before training on them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from custom_pose_ros.core.files import write_image

TILE = (320, 240)  # width and height [px]
_COLUMNS = 4
_WHITE, _BLACK = (255, 255, 255), (0, 0, 0)
_FONT = cv2.FONT_HERSHEY_SIMPLEX
_SHIFT = 4  # drawing coordinates have 4 binary places


def keypoint_colours(count: int) -> list[tuple[int, int, int]]:
    """Return BGR colours that differ as much as possible, one for each keypoint."""
    if count == 0:
        return []
    hues = np.array([[[round(180 * i / count), 255, 255] for i in range(count)]], np.uint8)
    return [(blue, green, red) for blue, green, red in cv2.cvtColor(hues, cv2.COLOR_HSV2BGR)[0].tolist()]


def draw_tile(
    image: np.ndarray,
    labelled: Sequence[np.ndarray],
    found: Sequence[np.ndarray] = (),
    title: str = '',
    skeleton: Sequence[tuple[int, int]] = (),
    boxes: Sequence[Sequence[float]] = (),
) -> np.ndarray:
    """
    Return one picture of the sheet.

    Labels are rings, with a dot inside where the keypoint is seen; what a network found are crosses.

    Args:
        image: (H, W, 3) uint8 BGR.
        labelled: instances of (K, 3) x, y [px of `image`] and visibility as in COCO: 0 absent, 1 hidden, 2 seen.
        found: instances of (K, 3) x, y [px of `image`] and visibility: 0 is not drawn.
        title: Text at the bottom.
        skeleton: Pairs of keypoint indices, drawn as lines between labelled keypoints.
        boxes: Left, top, right, bottom [px of `image`] of each instance.

    Returns:
        (240, 320, 3) uint8 BGR, the image in the upper left corner on black.
    """
    scale = min(TILE[0] / image.shape[1], TILE[1] / image.shape[0])
    size = (max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale)))
    tile = np.zeros((TILE[1], TILE[0], 3), np.uint8)
    tile[: size[1], : size[0]] = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    for left, top, right, bottom in boxes:
        first, last = _fixed(np.array([[left, top], [right, bottom]]), scale)
        cv2.rectangle(tile, first, last, (200, 200, 200), 1, cv2.LINE_AA, _SHIFT)
    for points in labelled:
        places = _fixed(points[:, :2], scale)
        for a, b in skeleton:
            if points[a, 2] > 0 and points[b, 2] > 0:
                cv2.line(tile, places[a], places[b], _WHITE, 1, cv2.LINE_AA, _SHIFT)
        for place, visible, colour in zip(places, points[:, 2], keypoint_colours(len(points))):
            if visible > 0:
                cv2.circle(tile, place, 4 << _SHIFT, colour, 1, cv2.LINE_AA, _SHIFT)
            if visible > 1:
                cv2.circle(tile, place, 1 << _SHIFT, colour, cv2.FILLED, cv2.LINE_AA, _SHIFT)
    for points in found:
        for (x, y), visible, colour in zip(points[:, :2], points[:, 2], keypoint_colours(len(points))):
            if visible > 0:
                centre = (round((x + 0.5) * scale - 0.5), round((y + 0.5) * scale - 0.5))
                cv2.drawMarker(tile, centre, colour, cv2.MARKER_TILTED_CROSS, 7, 1, cv2.LINE_AA)
    for thickness, shade in ((3, _BLACK), (1, _WHITE)):
        cv2.putText(tile, title, (4, TILE[1] - 6), _FONT, 0.4, shade, thickness, cv2.LINE_AA)
    return tile


def write_contact_sheet(path: Path, tiles: Sequence[np.ndarray], keypoint_names: Sequence[str]) -> None:
    """
    Write tiles in rows of four, below a legend of the keypoints' colours.

    Args:
        path: Image file to write.
        tiles: Pictures of `draw_tile`.
        keypoint_names: K names in the order of the keypoints.

    Raises:
        OutputError: The file cannot be written.
    """
    blank = np.zeros((TILE[1], TILE[0], 3), np.uint8)
    padded = [*tiles, *[blank] * (-len(tiles) % _COLUMNS)] or [blank] * _COLUMNS
    rows = [np.hstack(padded[i : i + _COLUMNS]) for i in range(0, len(padded), _COLUMNS)]
    legend = np.zeros((22, rows[0].shape[1], 3), np.uint8)
    left = 6
    for name, colour in zip(keypoint_names, keypoint_colours(len(keypoint_names))):
        cv2.putText(legend, name, (left, 16), _FONT, 0.45, colour, 1, cv2.LINE_AA)
        left += cv2.getTextSize(name, _FONT, 0.45, 1)[0][0] + 14
    write_image(path, np.vstack([legend, *rows]))


def _fixed(points: np.ndarray, scale: float) -> list[tuple[int, int]]:
    """Return points (N, 2) [px of the image] in OpenCV's fixed-point pixels of the tile; pixel corners coincide."""
    fixed = np.rint(((points + 0.5) * scale - 0.5) * 2**_SHIFT)
    return [(int(x), int(y)) for x, y in np.clip(np.nan_to_num(fixed), -1e6, 1e6)]
