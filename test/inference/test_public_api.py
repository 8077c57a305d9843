"""The public names: all there, loaded only when used."""

from __future__ import annotations

import subprocess
import sys

import pytest

import custom_pose_ros


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
