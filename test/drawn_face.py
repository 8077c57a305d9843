"""A drawn face that face detectors take for one, so that no photograph of a person is needed."""

from __future__ import annotations

import cv2
import numpy as np

SKIN, SHADE, HAIR, LIPS = (150, 180, 225), (110, 140, 190), (40, 50, 70), (90, 90, 190)


def draw_face(image: np.ndarray, center: tuple[float, float], size_px: float) -> None:
    """Draw a face of a height from hair to chin into a (H, W, 3) uint8 BGR image."""
    fine = 4  # drawn larger and scaled down, for smooth edges
    side = round(size_px * 1.3) * fine
    face = np.zeros((side, side, 4), np.uint8)
    unit = size_px * fine / 100

    def ellipse(x: float, y: float, rx: float, ry: float, colour: tuple[int, int, int], angle: float = 0) -> None:
        middle = round(side / 2 + x * unit), round(side / 2 + y * unit)
        cv2.ellipse(face, middle, (round(rx * unit), round(ry * unit)), angle, 0, 360, (*colour, 255), -1, cv2.LINE_AA)

    ellipse(0, -4, 41, 54, HAIR)
    ellipse(0, 4, 36, 46, SKIN)
    ellipse(0, -38, 30, 10, HAIR)
    for sign in (-1, 1):
        ellipse(sign * 16, -9, 9.5, 5, SHADE)
        ellipse(sign * 16, -8, 7.5, 3.6, (235, 235, 240))
        ellipse(sign * 16, -8, 3.2, 3.4, (60, 70, 90))
        ellipse(sign * 16, -8, 1.5, 1.6, (10, 10, 10))
        ellipse(sign * 16, -17, 10, 2, HAIR, sign * 5)
        ellipse(sign * 5, 14, 2.5, 1.6, SHADE)
    ellipse(0, 2, 2.5, 12, (165, 195, 235))
    ellipse(0, 13, 6, 3, (135, 165, 212))
    ellipse(0, 27, 13, 4.5, LIPS)
    ellipse(0, 27, 12, 1, (60, 50, 110))
    ellipse(0, 40, 8, 2, SHADE)
    face = cv2.GaussianBlur(face, (0, 0), 1.0 * unit)
    face = cv2.resize(face, None, fx=1 / fine, fy=1 / fine, interpolation=cv2.INTER_AREA)
    left, top = round(center[0] - face.shape[1] / 2), round(center[1] - face.shape[0] / 2)
    x0, y0 = max(left, 0), max(top, 0)
    x1, y1 = min(left + face.shape[1], image.shape[1]), min(top + face.shape[0], image.shape[0])
    part = face[y0 - top : y1 - top, x0 - left : x1 - left].astype(float)
    alpha = part[..., 3:] / 255
    image[y0:y1, x0:x1] = (alpha * part[..., :3] + (1 - alpha) * image[y0:y1, x0:x1]).astype(np.uint8)
