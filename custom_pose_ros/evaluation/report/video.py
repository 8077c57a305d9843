"""The annotated video of an evaluation: what was found, drawn into every frame."""

from __future__ import annotations

import cv2

from custom_pose_ros.core.drawing.overlay import draw_poses
from custom_pose_ros.core.files import VideoFile
from custom_pose_ros.core.object_model import ObjectModel
from custom_pose_ros.evaluation.frames.frame_sources import EvaluatedFrame


class AnnotatedVideo:
    """Draws frames into a video file; all in the size of the first one, as a video wants them."""

    def __init__(self, file: VideoFile, model: ObjectModel):
        self.file, self.model = file, model
        self._size: tuple[int, int] | None = None

    def add(self, frame: EvaluatedFrame) -> None:
        """Draw a frame and append it."""
        estimates = frame.result.estimates if frame.camera is not None else None
        drawing = draw_poses(frame.image, frame.poses, self.model, estimates, frame.camera)
        self._size = self._size or drawing.shape[1::-1]
        if drawing.shape[1::-1] != self._size:
            drawing = cv2.resize(drawing, self._size, interpolation=cv2.INTER_AREA)
        self.file.write(drawing)
