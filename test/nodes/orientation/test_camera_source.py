"""Tests of nodes.orientation.camera_source: a calibration file, camera_info, and the fallback."""

from __future__ import annotations

import math

import numpy as np
import pytest
import yaml
from sensor_msgs.msg import CameraInfo

from custom_pose_ros.core.errors import ConfigError, MessageError
from custom_pose_ros.core.geometry.camera import CameraIntrinsics
from custom_pose_ros.nodes.orientation.camera_source import CameraSource


class Clock:
    """A clock that goes when it is told to."""

    now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def info(focal_px: float = 500.0, width: int = 640, height: int = 480) -> CameraInfo:
    k = [focal_px, 0.0, (width - 1) / 2, 0.0, focal_px, (height - 1) / 2, 0.0, 0.0, 1.0]
    return CameraInfo(width=width, height=height, distortion_model='plumb_bob', d=[0.0] * 5, k=k)


def test_camera_info_is_used_and_stays_the_same_object_while_it_does_not_change() -> None:
    source = CameraSource()
    assert source.wants_camera_info
    source.accept_camera_info(info())
    camera = source.intrinsics(640, 480)
    assert (camera.K[0, 0], source.state, source.is_guess) == (500.0, 'camera_info', False)
    again = info()
    again.header.stamp.sec = 9  # comes with every image
    source.accept_camera_info(again)
    assert source.intrinsics(640, 480) is camera
    source.accept_camera_info(info(focal_px=510.0))
    assert source.intrinsics(640, 480).K[0, 0] == 510.0


def test_another_resolution_of_the_same_shape_is_scaled() -> None:
    source = CameraSource()
    source.accept_camera_info(info())
    camera = source.intrinsics(320, 240)
    assert (camera.width, camera.height, camera.K[0, 0], camera.K[0, 2]) == (320, 240, 250.0, 159.5)
    assert source.intrinsics(320, 240) is camera


def test_another_shape_is_refused_with_both_sizes() -> None:
    source = CameraSource()
    source.accept_camera_info(info())
    with pytest.raises(MessageError, match='calibration is for 640x480 and the image has 640x360'):
        source.intrinsics(640, 360)
    assert source.intrinsics(640, 480).height == 480


def test_without_camera_info_it_waits_and_then_guesses() -> None:
    clock = Clock()
    source = CameraSource(timeout_s=5.0, fallback_fov_deg=90.0, clock=clock)
    with pytest.raises(
        MessageError, match=r'no usable camera_info \(none received\) yet: after 5 s 90 deg will be assumed'
    ):
        source.intrinsics(640, 480)
    clock.now_s += 5.0
    camera = source.intrinsics(640, 480)
    assert camera.K[0, 0] == pytest.approx(320.0)  # half the width over tan(45 deg)
    assert (source.state, source.is_guess) == ('guessed: 90 deg', True)
    assert source.intrinsics(640, 480) is camera
    source.accept_camera_info(info())
    assert (source.intrinsics(640, 480).K[0, 0], source.is_guess) == (500.0, False)


def test_the_field_of_view_of_the_fallback_may_change() -> None:
    source = CameraSource(timeout_s=0.0, fallback_fov_deg=90.0)
    before = source.intrinsics(640, 480)
    source.fallback_fov_deg = 60.0
    after = source.intrinsics(640, 480)
    assert after is not before
    assert after.K[0, 0] == pytest.approx(320.0 / math.tan(math.radians(30.0)))


def test_no_fallback_means_none() -> None:
    source = CameraSource(timeout_s=0.0, fallback_fov_deg=0.0)
    with pytest.raises(MessageError, match='publish it, or set camera_calibration or fallback_fov_deg'):
        source.intrinsics(640, 480)


@pytest.mark.parametrize('spoilt', [0.0, math.nan])
def test_an_invalid_camera_info_is_refused_each_time_and_the_last_valid_one_stays(spoilt: float) -> None:
    source = CameraSource(timeout_s=0.0)
    source.accept_camera_info(info())
    good = source.intrinsics(640, 480)
    for _ in range(2):
        with pytest.raises(ConfigError, match='camera: K: wanted'):
            source.accept_camera_info(info(focal_px=spoilt))
    assert source.intrinsics(640, 480) is good
    source.accept_camera_info(info())  # the good one comes back
    assert source.intrinsics(640, 480) is good


def test_an_uncalibrated_camera_ends_in_the_fallback_with_its_reason() -> None:
    clock = Clock()
    source = CameraSource(clock=clock)
    with pytest.raises(ConfigError, match='an uncalibrated camera sends zeros'):
        source.accept_camera_info(info(focal_px=0.0))
    with pytest.raises(MessageError, match=r'no usable camera_info \(camera: K: wanted focal lengths above 0 px'):
        source.intrinsics(640, 480)
    clock.now_s += 5.0
    assert source.intrinsics(640, 480).K[0, 0] == pytest.approx(320.0 / math.tan(math.radians(30.0)))


def test_a_calibration_file_replaces_camera_info(tmp_path) -> None:
    camera = CameraIntrinsics(640, 480, np.array([[444.0, 0, 320], [0, 444, 240], [0, 0, 1]]), [0.1, 0, 0, 0, 0])
    path = tmp_path / 'camera.yaml'
    path.write_text(yaml.safe_dump(camera.to_yaml_dict()), encoding='utf-8')
    source = CameraSource(str(path))
    assert not source.wants_camera_info
    assert source.intrinsics(640, 480).K[0, 0] == 444.0
    assert source.intrinsics(320, 240).K[0, 0] == 222.0
    assert source.state.startswith(f'file {path}; the calibration is for 640x480 and is scaled to images of 320x240')


def test_a_calibration_file_that_is_missing_or_wrong_is_named(tmp_path) -> None:
    with pytest.raises(ConfigError, match=r'nowhere\.yaml: cannot be read'):
        CameraSource(str(tmp_path / 'nowhere.yaml'))
    path = tmp_path / 'camera.yaml'
    path.write_text('image_width: 640\n', encoding='utf-8')
    with pytest.raises(ConfigError, match=r'camera\.yaml: image_height: is missing'):
        CameraSource(str(path))


def test_what_a_user_should_know_is_said_once_and_in_the_state() -> None:
    said: list[str] = []
    source = CameraSource(report=said.append)
    source.accept_camera_info(info())
    for _ in range(3):
        source.intrinsics(320, 240)
    assert len(said) == 1
    assert source.state == f'camera_info; {said[0]}'
    assert 'is for 640x480 and is scaled to images of 320x240' in said[0]


def test_a_file_that_does_not_fit_rectified_images_is_no_reason_to_guess(tmp_path) -> None:
    camera = CameraIntrinsics(640, 480, np.array([[444.0, 0, 320], [0, 444, 240], [0, 0, 1]]), [0.1, 0, 0, 0, 0])
    content = camera.to_yaml_dict()
    del content['projection_matrix']
    path = tmp_path / 'camera.yaml'
    path.write_text(yaml.safe_dump(content), encoding='utf-8')
    source = CameraSource(str(path), timeout_s=0.0)
    source.rectified = True
    with pytest.raises(MessageError, match='P: is missing, and the images are rectified'):
        source.intrinsics(640, 480)
    assert source.state.startswith(f'file {path}: camera: P: is missing')
    with pytest.raises(ConfigError, match=f'^{path}: camera: P: is missing'):
        CameraSource(str(path), rectified=True)
