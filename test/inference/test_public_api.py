"""The public names: all there, loaded only when used."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

import cv2
import pytest

import custom_pose_ros

ROOT = Path(__file__).resolve().parents[2]
CLIP = ROOT / 'config/submarine/demo/clip.mp4'


@pytest.mark.parametrize('name', custom_pose_ros.__all__)
def test_every_public_name_is_there(name):
    assert getattr(custom_pose_ros, name).__name__ == name
    assert name in dir(custom_pose_ros)


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="module 'custom_pose_ros' has no attribute 'PoseEstimater'"):
        custom_pose_ros.PoseEstimater  # noqa: B018


def test_importing_the_package_pulls_in_nothing_heavy():
    code = (
        'import sys, custom_pose_ros; '
        'print(sorted({"torch", "rclpy", "onnxruntime", "cv2", "numpy"} & set(sys.modules)))'
    )
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == '[]'


def test_the_lines_of_the_readme_run(tmp_path, monkeypatch):
    readme = (ROOT / 'README.md').read_text(encoding='utf-8')
    lines = textwrap.dedent(readme.partition('In Python:\n\n')[2].partition('\n\nBoth need')[0])
    read, frame = cv2.VideoCapture(str(CLIP)).read()
    assert read and cv2.imwrite(str(tmp_path / 'photo.jpg'), frame)
    monkeypatch.chdir(tmp_path)
    names: dict = {}
    exec(lines, names)
    (pose,), (estimate,) = names['poses'], names['estimates']
    assert pose.visible.all()
    assert estimate.keypoints_used == 4
