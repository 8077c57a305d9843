"""Shared by the tests of the command lines: pictures and videos of the tiny object."""

from __future__ import annotations

import math
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml
from tiny_model import TINY_POINTS, draw_tiny_object

from custom_pose_ros.core.geometry.camera import CameraIntrinsics

SIZE = (320, 256)


@pytest.fixture
def own_tiny_folder(tiny_folder, tmp_path) -> Path:
    """A copy of the tiny object that a test may change."""
    return Path(shutil.copytree(tiny_folder, tmp_path / 'own_tiny'))


@pytest.fixture
def picture(tmp_path) -> Path:
    """A 320x256 picture of one tiny object at TINY_POINTS."""
    path = tmp_path / 'scene.png'
    cv2.imwrite(str(path), draw_tiny_object(TINY_POINTS, SIZE))
    return path


def tiny_track(frames: int) -> np.ndarray:
    """(frames, 4, 2) px: the tiny object moving 1.5 px to the right in each frame."""
    return TINY_POINTS + np.array([1.5, 0.5]) * np.arange(frames)[:, None, None]


@pytest.fixture
def make_video(tmp_path):
    """Write a video of the moving tiny object; .avi is motion JPEG, which stays readable when it is cut."""

    def make(name: str = 'dive.avi', frames: int = 12) -> Path:
        path = tmp_path / name
        code = 'MJPG' if path.suffix == '.avi' else 'mp4v'
        writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*code), 30.0, SIZE)
        for points in tiny_track(frames):
            writer.write(draw_tiny_object(points, SIZE))
        writer.release()
        return path

    return make


@pytest.fixture(scope='session')
def camera() -> CameraIntrinsics:
    """The calibration of the pictures."""
    return CameraIntrinsics.from_fov(*SIZE, math.radians(60.0))


@pytest.fixture
def camera_file(tmp_path, camera) -> Path:
    path = tmp_path / 'camera.yaml'
    path.write_text(yaml.safe_dump(camera.to_yaml_dict()), encoding='utf-8')
    return path
