"""Contact sheets: many labelled pictures on one, to look at."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

TILE = (320, 240)  # px, width and height
_COLUMNS = 4


def colours(count: int) -> list[tuple[int, int, int]]:
    """Return BGR colours that differ as much as possible, one for each keypoint."""
    hues = np.uint8([[[round(180 * i / max(count, 1)), 255, 255] for i in range(count)]])
    return [tuple(int(v) for v in c) for c in cv2.cvtColor(hues, cv2.COLOR_HSV2BGR)[0]]


def tile(
    pixels: np.ndarray,
    labelled: Sequence[np.ndarray],
    found: Sequence[np.ndarray] = (),
    title: str = '',
) -> np.ndarray:
    """
    Return one picture of the sheet.

    labelled, found : instances of (K, 3) x, y [px of `pixels`], visibility; labels are rings, what was found crosses.
    """
    scale = min(TILE[0] / pixels.shape[1], TILE[1] / pixels.shape[0])
    size = (max(1, round(pixels.shape[1] * scale)), max(1, round(pixels.shape[0] * scale)))
    small = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)
    canvas = np.zeros((TILE[1], TILE[0], 3), np.uint8)
    canvas[: size[1], : size[0]] = small
    for instances, is_label in ((labelled, True), (found, False)):
        for points in instances:
            for (x, y, visible), colour in zip(points, colours(len(points))):
                if visible > 0:
                    centre = (round((x + 0.5) * scale - 0.5), round((y + 0.5) * scale - 0.5))
                    if is_label:
                        cv2.circle(canvas, centre, 4, colour, 1, cv2.LINE_AA)
                    else:
                        cv2.drawMarker(canvas, centre, colour, cv2.MARKER_TILTED_CROSS, 7, 1, cv2.LINE_AA)
    for thickness, shade in ((3, (0, 0, 0)), (1, (255, 255, 255))):
        cv2.putText(canvas, title, (4, TILE[1] - 6), cv2.FONT_HERSHEY_SIMPLEX, 0.4, shade, thickness, cv2.LINE_AA)
    return canvas


def write_sheet(path: Path, tiles: Sequence[np.ndarray], names: Sequence[str]) -> None:
    """Write the tiles in rows, below a legend of the keypoints' colours."""
    blank = np.zeros((TILE[1], TILE[0], 3), np.uint8)
    padded = [*tiles, *[blank] * (-len(tiles) % _COLUMNS)] or [blank] * _COLUMNS
    rows = [np.hstack(padded[i : i + _COLUMNS]) for i in range(0, len(padded), _COLUMNS)]
    legend = np.zeros((22, rows[0].shape[1], 3), np.uint8)
    left = 6
    for name, colour in zip(names, colours(len(names))):
        cv2.putText(legend, name, (left, 16), cv2.FONT_HERSHEY_SIMPLEX, 0.45, colour, 1, cv2.LINE_AA)
        left += cv2.getTextSize(name, cv2.FONT_HERSHEY_SIMPLEX, 0.45, 1)[0][0] + 14
    cv2.imwrite(str(path), np.vstack([legend, *rows]))
