"""Frames of the annotated video: drawn, and all of one size."""

from __future__ import annotations

import numpy as np

from custom_pose_ros.evaluation.frame_result import FrameResult
from custom_pose_ros.evaluation.frames.frame_sources import EvaluatedFrame
from custom_pose_ros.evaluation.report.frame_pictures import AnnotatedVideo


class Images:
    """A video file that keeps its frames."""

    def __init__(self):
        self.written: list[np.ndarray] = []

    def write(self, image: np.ndarray) -> None:
        self.written.append(image)


def test_all_frames_get_the_size_of_the_first(tiny_model):
    file = Images()
    video = AnnotatedVideo(file, tiny_model)
    for size in ((64, 48), (128, 96), (64, 48)):
        image = np.full((size[1], size[0], 3), 90, np.uint8)
        video.add(EvaluatedFrame(FrameResult(0, 0), image, [], 'camera', None))
    assert [image.shape for image in file.written] == [(48, 64, 3)] * 3
