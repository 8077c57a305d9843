"""Draw the picture of the axes in docs/conventions.md: object frame, camera optical frame, camera body frame."""

from __future__ import annotations

import sys
from pathlib import Path

import cv2
import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from custom_pose_ros.core.geometry.rotations import R_BODY_OPTICAL  # noqa: E402

OUT = ROOT / 'config' / 'submarine' / 'demo' / 'axes.png'
WIDTH, HEIGHT = 300, 265
COLOURS = {'x': (50, 50, 220), 'y': (50, 160, 50), 'z': (220, 120, 30)}  # BGR, as RViz draws them
INK = (60, 60, 60)
# Looking from behind, above and the right, in body axes (x forward, y left, z up): right and down of the picture.
R_PICTURE_BODY = np.array([[0.55, -0.84, 0.0], [-0.38, -0.25, -0.89]])
SUBMARINE = ((0.53, 0.0), (0.37, 0.14), (0.0, 0.0), (0.37, -0.14))  # head, left, bottom and right engine


def main() -> None:
    """Write the picture."""
    object_axes = np.eye(3)
    optical_axes = R_BODY_OPTICAL  # columns: the optical axes in body coordinates
    panels = [
        panel('object (model_points)', object_axes, submarine),
        panel('camera_optical', optical_axes, camera),
        panel('camera_body (REP 103)', object_axes, camera),
    ]
    cv2.imwrite(str(OUT), np.hstack(panels), [cv2.IMWRITE_PNG_COMPRESSION, 9])


def panel(title: str, axes: np.ndarray, draw: object) -> np.ndarray:
    """Return one picture (H, W, 3); axes: (3, 3), columns in body coordinates."""
    image = np.full((HEIGHT, WIDTH, 3), 255, np.uint8)
    cv2.putText(image, title, (12, 22), cv2.FONT_HERSHEY_SIMPLEX, 0.52, INK, 1, cv2.LINE_AA)
    draw(image)
    for name, axis in zip('xyz', axes.T):
        tip = at(axis)
        cv2.arrowedLine(image, at(np.zeros(3)), tip, COLOURS[name], 3, cv2.LINE_AA, tipLength=0.13)
        away = np.array(tip) - at(np.zeros(3))
        place = np.array(tip) + 14 * away / np.linalg.norm(away) + [-5, 5]
        cv2.putText(
            image, name, place.astype(int).tolist(), cv2.FONT_HERSHEY_SIMPLEX, 0.65, COLOURS[name], 2, cv2.LINE_AA
        )
    return image


def submarine(image: np.ndarray) -> None:
    """Draw the outline of the submarine's keypoints, stern propeller at the origin."""
    corners = [at(np.array([2.1 * x, 2.1 * y, 0.0])) for x, y in SUBMARINE]
    cv2.fillPoly(image, [np.array(corners, np.int32)], (235, 225, 190), cv2.LINE_AA)
    for corner in corners:
        cv2.circle(image, corner, 5, INK, cv2.FILLED, cv2.LINE_AA)


def camera(image: np.ndarray) -> None:
    """Draw a camera as a pyramid that opens forward."""
    rim = [at(np.array([0.75, 0.38 * side, 0.3 * up])) for side, up in ((1, 1), (-1, 1), (-1, -1), (1, -1))]
    cv2.polylines(image, [np.array(rim, np.int32)], True, (150, 150, 150), 1, cv2.LINE_AA)
    for corner in rim:
        cv2.line(image, at(np.zeros(3)), corner, (150, 150, 150), 1, cv2.LINE_AA)


def at(point: np.ndarray) -> tuple[int, int]:
    """Return the pixel of a point (3,) in body coordinates."""
    right, down = 105.0 * R_PICTURE_BODY @ point
    return round(115 + right), round(140 + down)


if __name__ == '__main__':
    main()
