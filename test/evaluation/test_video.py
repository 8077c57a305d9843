"""Frames of the annotated video: drawn, all of one size, at the rate of the recording."""

from __future__ import annotations

import numpy as np
import pytest
from bag_maker import FRAME_NS, IMAGE, Messages, trajectory, write_bag

from custom_pose_ros.evaluation.bag_reader import Bag
from custom_pose_ros.evaluation.records import FrameRecord
from custom_pose_ros.evaluation.sources import Frame
from custom_pose_ros.evaluation.video import AnnotatedFrames, frame_rate


def test_all_frames_get_the_size_of_the_first(tiny_model):
    written: list[np.ndarray] = []
    draw = AnnotatedFrames(tiny_model, written.append)
    for size in ((64, 48), (128, 96), (64, 48)):
        draw(Frame(FrameRecord(0, 0), np.full((size[1], size[0], 3), 90, np.uint8), [], 'camera', None))
    assert [image.shape for image in written] == [(48, 64, 3)] * 3


def test_the_rate_of_the_recording(dive, tmp_path):
    with Bag([dive[0]]) as bag:
        assert frame_rate(bag, IMAGE) == pytest.approx(1e9 / FRAME_NS)
    one = Messages().image(1, np.zeros((8, 8, 3), np.uint8))
    single = write_bag(tmp_path / 'bag', [(IMAGE, 'sensor_msgs/msg/Image', trajectory(1)[0].stamp_ns, one)])
    with Bag([single]) as bag:
        assert frame_rate(bag, IMAGE) == 30.0
