"""Frames of the annotated video: drawn, and all of one size."""

from __future__ import annotations

import numpy as np

from custom_pose_ros.evaluation.records import FrameRecord
from custom_pose_ros.evaluation.report.video import AnnotatedFrames
from custom_pose_ros.evaluation.results.sources import Frame


def test_all_frames_get_the_size_of_the_first(tiny_model):
    written: list[np.ndarray] = []
    draw = AnnotatedFrames(tiny_model, written.append)
    for size in ((64, 48), (128, 96), (64, 48)):
        draw(Frame(FrameRecord(0, 0), np.full((size[1], size[0], 3), 90, np.uint8), [], 'camera', None))
    assert [image.shape for image in written] == [(48, 64, 3)] * 3
