"""A video appears complete or not at all."""

from __future__ import annotations

import os

import numpy as np
import pytest

from custom_pose_ros.core.video_file import VideoFile
from custom_pose_ros.tools.media import VideoReader

IMAGE = np.full((48, 64, 3), 90, np.uint8)


def write_frames(path, count, error=None):
    with VideoFile(path, 30.0) as video:
        for _ in range(count):
            video.write(IMAGE)
        assert not path.exists()
        if error:
            raise error
    return video


def test_video_appears_at_the_end(tmp_path):
    assert write_frames(tmp_path / 'a.mp4', 5).saved
    with VideoReader(tmp_path / 'a.mp4') as reader:
        assert len(list(reader)) == 5
    assert os.listdir(tmp_path) == ['a.mp4']


def test_video_is_kept_after_ctrl_c_and_dropped_after_an_error_or_without_frames(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        write_frames(tmp_path / 'kept.mp4', 5, KeyboardInterrupt())
    with pytest.raises(ZeroDivisionError):
        write_frames(tmp_path / 'dropped.mp4', 5, ZeroDivisionError())
    assert not write_frames(tmp_path / 'none.mp4', 0).saved
    assert os.listdir(tmp_path) == ['kept.mp4']
