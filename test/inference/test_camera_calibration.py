"""Tests of custom_pose_ros.inference.camera_calibration: which intrinsics an image size gets, and when they change."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from custom_pose_ros.core.errors import ConfigError
from custom_pose_ros.core.geometry.camera import CameraIntrinsics
from custom_pose_ros.inference.camera_calibration import CameraCalibration


def info(focal_px: float = 500.0) -> SimpleNamespace:
    """A camera_info as ROS 1 and 2 have it, without a header."""
    roi = SimpleNamespace(x_offset=0, y_offset=0, width=0, height=0)
    k = [focal_px, 0.0, 319.5, 0.0, focal_px, 239.5, 0.0, 0.0, 1.0]
    size = {'width': 640, 'height': 480, 'binning_x': 0, 'binning_y': 0}
    return SimpleNamespace(**size, roi=roi, distortion_model='plumb_bob', d=[0.0] * 5, k=k)


def test_intrinsics_stay_the_same_object_until_the_calibration_changes() -> None:
    calibration = CameraCalibration()
    assert calibration.accept(info())
    camera, half = calibration.for_size(640, 480), calibration.for_size(320, 240)
    assert (camera.K[0, 0], half.K[0, 0]) == (500.0, 250.0)
    assert not calibration.accept(info())
    with pytest.raises(ConfigError):
        calibration.accept(info(0.0))
    assert calibration.refusal
    assert not calibration.accept(info())
    assert not calibration.refusal
    assert calibration.for_size(640, 480) is camera
    assert calibration.for_size(320, 240) is half
    assert calibration.accept(info(510.0))
    assert calibration.for_size(640, 480).K[0, 0] == 510.0


def test_a_field_of_view_is_assumed_only_while_there_is_no_calibration() -> None:
    calibration = CameraCalibration()
    guess = calibration.for_size(640, 480, 90.0)
    assert guess.K[0, 0] == pytest.approx(320.0)  # half the width over tan(45 deg)
    assert calibration.for_size(640, 480, 90.0) is guess
    assert calibration.for_size(640, 480, 60.0).K[0, 0] > 320.0
    calibration.accept(info())
    assert calibration.for_size(640, 480, 90.0).K[0, 0] == 500.0


def test_another_shape_is_refused_with_both_sizes() -> None:
    calibration = CameraCalibration(CameraIntrinsics.from_fov(640, 480, 1.0))
    assert calibration.is_given
    with pytest.raises(ConfigError, match='640x480.*640x360'):
        calibration.for_size(640, 360)
