"""A few sharp, different frames of videos and bags: what is taken, and what is no recording."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from custom_pose_ros.core.errors import DatasetError, UsageError
from custom_pose_ros.core.video_file import VideoFile
from training.pose_training.labels.film import is_recording
from training.pose_training.labels.sharp_frames import sharp_frames


def scene(number: int) -> np.ndarray:
    """Return a picture (120, 160, 3) of random squares."""
    small = np.random.default_rng(number).integers(0, 255, (6, 8, 3), np.uint8)
    return cv2.resize(small, (160, 120), interpolation=cv2.INTER_NEAREST)


@pytest.fixture(scope='module')
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three scenes of ten frames each, and ten blurred frames of a fourth."""
    path = tmp_path_factory.mktemp('video') / 'place.mp4'
    with VideoFile(path, 10) as file:
        for number in range(3):
            for _ in range(10):
                file.write(scene(number))
        for _ in range(10):
            file.write(cv2.GaussianBlur(scene(3), (0, 0), 12))
    return path


def test_each_sharp_scene_is_taken_once(video: Path) -> None:
    frames = sharp_frames(video, 10)
    nearest = [int(np.argmin([np.abs(frame.astype(float) - scene(k)).mean() for k in range(4)])) for frame in frames]
    assert nearest == [0, 1, 2]
    assert len(sharp_frames(video, 2)) == 2


def test_recordings_and_folders_of_pictures_are_told_apart(video: Path, tmp_path: Path) -> None:
    (tmp_path / 'photos').mkdir()
    (tmp_path / 'bag').mkdir()
    (tmp_path / 'bag' / 'dive_0.mcap').touch()
    found = {name: is_recording(tmp_path / name) for name in ('photos', 'bag', 'old.bag', 'split.db3.zstd', 'a.jpg')}
    assert found == {'photos': False, 'bag': True, 'old.bag': True, 'split.db3.zstd': True, 'a.jpg': False}
    assert is_recording(video)


def test_a_video_has_no_topics(video: Path) -> None:
    with pytest.raises(UsageError, match='--image /x chooses a topic of a bag, and .*place.mp4 is none: leave it out'):
        sharp_frames(video, 2, '/x')


def test_what_holds_no_picture_is_refused(tmp_path: Path) -> None:
    (tmp_path / 'no.mp4').write_bytes(b'no video')
    with pytest.raises(DatasetError, match='no.mp4: cannot be read as a video'):
        sharp_frames(tmp_path / 'no.mp4', 5)
