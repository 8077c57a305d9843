"""Contact sheets: many labelled pictures in one image, to look at before training on them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from custom_pose_ros.core.files import write_image

MOST_TILES = 48  # of a sheet that shows a part of the pictures
TILE = (320, 240)  # width and height [px]
_COLUMNS = 4
_WHITE, _BLACK = (255, 255, 255), (0, 0, 0)
_FONT = cv2.FONT_HERSHEY_SIMPLEX
_LINE = 22  # height of a line of the legend [px]
_MARGIN = 0.25  # around the objects, as a share of what they take of the picture
_LARGEST = 3.0  # px of a tile for one of the image
_WORTH_CUTTING = 1.3  # how much larger the objects must become
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

    Labels are rings, with a dot inside where the keypoint is seen; what a network found are crosses. Where all of them
    take a small part of the image only that part is shown.

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
    corner, image = _cut(image, [*labelled, *found], boxes)
    labelled, found = ([points - (*corner, 0) for points in instances] for instances in (labelled, found))
    scale = min(TILE[0] / image.shape[1], TILE[1] / image.shape[0])
    size = (max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale)))
    tile = np.zeros((TILE[1], TILE[0], 3), np.uint8)
    smooth = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    tile[: size[1], : size[0]] = cv2.resize(image, size, interpolation=smooth)
    for left, top, right, bottom in boxes:
        first, last = _fixed(np.array([[left, top], [right, bottom]]) - corner, scale)
        cv2.rectangle(tile, first, last, (200, 200, 200), 1, cv2.LINE_AA, _SHIFT)
    for points in labelled:
        places = _fixed(points[:, :2], scale)
        for a, b in skeleton:
            if points[a, 2] > 0 and points[b, 2] > 0:
                for thickness, shade in ((3, _BLACK), (1, _WHITE)):
                    cv2.line(tile, places[a], places[b], shade, thickness, cv2.LINE_AA, _SHIFT)
        for place, visible, colour in zip(places, points[:, 2], keypoint_colours(len(points))):
            for radius, shade in ((5, _BLACK), (4, colour)) if visible > 0 else ():
                cv2.circle(tile, place, radius << _SHIFT, shade, 1, cv2.LINE_AA, _SHIFT)
            if visible > 1:
                cv2.circle(tile, place, 1 << _SHIFT, colour, cv2.FILLED, cv2.LINE_AA, _SHIFT)
    for points in found:
        for (x, y), visible, colour in zip(points[:, :2], points[:, 2], keypoint_colours(len(points))):
            if visible > 0:
                centre = (round((x + 0.5) * scale - 0.5), round((y + 0.5) * scale - 0.5))
                cv2.drawMarker(tile, centre, colour, cv2.MARKER_TILTED_CROSS, 9, 1, cv2.LINE_AA)
    for thickness, shade in ((3, _BLACK), (1, _WHITE)):
        cv2.putText(tile, title, (4, TILE[1] - 6), _FONT, 0.4, shade, thickness, cv2.LINE_AA)
    return tile


def _cut(
    image: np.ndarray, instances: Sequence[np.ndarray], boxes: Sequence[Sequence[float]]
) -> tuple[tuple[int, int], np.ndarray]:
    """Return the part of an image that holds all keypoints and boxes, and where its upper left corner is [px]."""
    shown = [points[points[:, 2] > 0, :2] for points in instances] + [np.reshape(box, (2, 2)) for box in boxes]
    places = np.concatenate([np.zeros((0, 2)), *shown])
    places = places[np.isfinite(places).all(1)]
    whole = np.array(image.shape[1::-1])
    if not len(places):
        return (0, 0), image
    places = np.clip(places, 0, whole - 1)
    low, high = places.min(0), places.max(0)
    tiles = max((high - low) * (1 + 2 * _MARGIN) / TILE)  # taken by the objects, along the side that they fill more
    size = np.ceil(np.array(TILE) * max(tiles, 1 / _LARGEST))
    if max(whole / TILE) < _WORTH_CUTTING * max(size / TILE):
        return (0, 0), image
    size = np.minimum(size, whole)
    left, top = np.clip(np.rint((low + high - size) / 2), 0, whole - size).astype(int).tolist()
    wide, high_px = size.astype(int).tolist()
    return (left, top), image[top : top + high_px, left : left + wide]


def write_contact_sheet(
    path: Path, tiles: Sequence[np.ndarray], keypoint_names: Sequence[str], rings: str = 'label', crosses: str = ''
) -> None:
    """
    Write tiles in rows of four, below a key of the marks and the keypoints' colours.

    Args:
        path: Image file to write.
        tiles: Pictures of `draw_tile`.
        keypoint_names: K names in the order of the keypoints.
        rings: What they are; nothing where nothing is drawn onto the pictures.
        crosses: What they are; nothing where there are none.

    Raises:
        OutputError: The file cannot be written.
    """
    blank = np.zeros((TILE[1], TILE[0], 3), np.uint8)
    padded = [*tiles, *[blank] * (-len(tiles) % _COLUMNS)] or [blank] * _COLUMNS
    rows = [np.hstack(padded[i : i + _COLUMNS]) for i in range(0, len(padded), _COLUMNS)]
    key = f'ring: {rings}, with a dot where the keypoint is seen{f"; cross: {crosses}" * bool(crosses)}'
    key = f'{key}; an image whose objects are small is cut to them' if rings else 'frames without labels'
    colours = keypoint_colours(len(keypoint_names))
    write_image(path, np.vstack([_legend([(key, _WHITE)]), _legend(list(zip(keypoint_names, colours))), *rows]))


def _legend(texts: Sequence[tuple[str, tuple[int, int, int]]]) -> np.ndarray:
    """Return texts in their colours, in as many lines as they take."""
    lines, left = [np.zeros((_LINE, _COLUMNS * TILE[0], 3), np.uint8)], 6
    for text, colour in texts:
        width = cv2.getTextSize(text, _FONT, 0.45, 1)[0][0]
        if left > 6 and left + width > _COLUMNS * TILE[0]:
            lines.append(np.zeros_like(lines[0]))
            left = 6
        cv2.putText(lines[-1], text, (left, 16), _FONT, 0.45, colour, 1, cv2.LINE_AA)
        left += width + 14
    return np.vstack(lines)


def _fixed(points: np.ndarray, scale: float) -> list[tuple[int, int]]:
    """Return points (N, 2) [px of the image] in OpenCV's fixed-point pixels of the tile; pixel corners coincide."""
    fixed = np.rint(((points + 0.5) * scale - 0.5) * 2**_SHIFT)
    return [(int(x), int(y)) for x, y in np.clip(np.nan_to_num(fixed), -1e6, 1e6)]
