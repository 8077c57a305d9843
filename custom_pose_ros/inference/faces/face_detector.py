"""FaceDetector: boxes and eyes of faces, from regions of an image that are scaled to what the detector can see."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from custom_pose_ros.inference.faces.face_models import DETECTOR, FaceNetwork

_CELL_PX = 4  # stride of the detector's one layer of anchors
_SMALLEST_FACE_PX = 18  # in the detector's input; smaller ones are found by chance
_OVERLAP = 0.25  # of neighbouring regions, as a share of their side
_GROWTH = 2.5  # must stay below _OVERLAP * size_px / _SMALLEST_FACE_PX = 2.67, or some faces fit neither square
_SCORE_LIMIT = 80.0  # beyond it exp() overflows in float32
_MAX_OVERLAP = 0.3  # intersection over union of two boxes of different faces

Region = tuple[int, int, int, int]  # left, top, width, height [px]


@dataclass(frozen=True)
class FaceBox:
    """
    One detected face.

    Attributes:
        center: (2,) px, middle of the box.
        size_px: longer side of the box.
        angle: direction from the person's right to left eye, radians from the image's x axis towards its y axis.
        score: in [0, 1].
    """

    center: np.ndarray
    size_px: float
    angle: float
    score: float


class FaceDetector:
    """
    MediaPipe's full-range face detector (BlazeFace; Bazarevsky et al., CVPR workshop 2019).

    Attributes:
        network: what runs it.
    """

    def __init__(self, threads: int, min_score: float):
        """
        Load the network.

        Args:
            threads: of OpenVINO.
            min_score: lowest score of a face, in [0, 1].

        Raises:
            ModelError: a package is missing.
        """
        self.network = FaceNetwork(DETECTOR, threads)
        self._min_score = min_score
        cells = DETECTOR.size_px // _CELL_PX
        rows, columns = np.mgrid[:cells, :cells]
        self._anchors = (np.stack([columns, rows], axis=-1).reshape(-1, 2) + 0.5) * _CELL_PX

    def __call__(self, image: np.ndarray, regions: list[Region]) -> list[FaceBox]:
        """
        Return the faces in some regions of an image, each once, best first.

        Args:
            image: (H, W, 3) uint8 BGR.
            regions: of the image, see `regions_of`.
        """
        boxes, eyes, scores = (np.concatenate(part) for part in zip(*(self._in_region(image, r) for r in regions)))
        corners = [[*(box[:2] - box[2:] / 2), *box[2:]] for box in boxes]
        kept = cv2.dnn.NMSBoxes(corners, scores.tolist(), self._min_score, _MAX_OVERLAP)
        return [_face_box(boxes[i], eyes[i], float(scores[i])) for i in np.array(kept, int).ravel()]

    def _in_region(self, image: np.ndarray, region: Region) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return boxes (A, 4) as centre, width, height, both eyes (A, 2, 2) and scores (A,), in pixels of the image."""
        left, top, width, height = region
        size = DETECTOR.size_px
        scale = size / max(width, height)
        small = cv2.resize(
            image[top : top + height, left : left + width],
            (max(round(width * scale), 1), max(round(height * scale), 1)),
            interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR,
        )
        square = np.zeros((size, size, 3), np.uint8)
        square[: small.shape[0], : small.shape[1]] = small
        values, logits = (output[0] for output in self.network(square))
        probabilities = 1.0 / (1.0 + np.exp(-np.clip(logits[:, 0], -_SCORE_LIMIT, _SCORE_LIMIT)))
        found = probabilities >= self._min_score
        points = values[found].reshape(-1, 8, 2)  # centre, size, right eye, left eye, nose, mouth, ears
        anchors = self._anchors[found]
        origin = np.array([left, top])
        boxes = np.concatenate([(points[:, 0] + anchors) / scale + origin, points[:, 1] / scale], axis=1)
        eyes = (points[:, 2:4] + anchors[:, None]) / scale + origin
        return boxes, eyes, probabilities[found]


def _face_box(box: np.ndarray, eyes: np.ndarray, score: float) -> FaceBox:
    x, y = eyes[1] - eyes[0]
    return FaceBox(box[:2], float(box[2:].max()), float(np.arctan2(y, x)), score)


def regions_of(width: int, height: int, smallest_face_px: float) -> list[Region]:
    """
    Return the regions of an image in which every face from a size on is seen whole and large enough.

    The first is the whole image. Squares follow in which the smallest faces are just large enough, and larger squares
    for the faces in between: squares overlap by a quarter, so that a smaller face lies whole in one of them, and are at
    most _GROWTH times as large as those before, so that a larger face is still large enough in the next.
    """
    regions = [(0, 0, width, height)]
    side = round(smallest_face_px * DETECTOR.size_px / _SMALLEST_FACE_PX)
    while side < max(width, height):
        regions += [
            (left, top, min(side, width), min(side, height))
            for top in _steps(height, side)
            for left in _steps(width, side)
        ]
        side = round(side * _GROWTH)
    return regions


def _steps(length: int, side: int) -> list[int]:
    """Return where windows of one side begin so that they cover a length and overlap by at least _OVERLAP."""
    count = 1 if length <= side else 1 + int(np.ceil((length - side) / ((1 - _OVERLAP) * side)))
    return [round(start) for start in np.linspace(0, max(length - side, 0), count)]
