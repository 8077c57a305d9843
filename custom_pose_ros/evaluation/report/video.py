"""The annotated video of an evaluation: what was found, drawn into every frame."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

from custom_pose_ros.core.drawing.overlay import draw_poses
from custom_pose_ros.core.object_model import ObjectModel
from custom_pose_ros.evaluation.results.sources import Frame


class AnnotatedFrames:
    """Draws frames and hands them to `write`; all in the size of the first one, as a video wants them."""

    def __init__(self, model: ObjectModel, write: Callable[[np.ndarray], None]):
        self.model, self._write = model, write
        self._size: tuple[int, int] | None = None

    def __call__(self, frame: Frame) -> None:
        estimates = frame.record.estimates if frame.camera is not None else None
        drawing = draw_poses(frame.image, frame.poses, self.model, estimates, frame.camera)
        self._size = self._size or drawing.shape[1::-1]
        if drawing.shape[1::-1] != self._size:
            drawing = cv2.resize(drawing, self._size, interpolation=cv2.INTER_AREA)
        self._write(drawing)
