"""Which intrinsics are used: given before recorded, the latest recorded, scaled to the image, or none with a word."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import yaml
from bag_maker import CAMERA, CAMERA_INFO, START_NS, Messages, write_bag
from stated_camera import stated_camera

from custom_pose_ros.core.errors import ConfigError, UsageError
from custom_pose_ros.core.geometry.camera import CameraIntrinsics
from custom_pose_ros.evaluation.bags.reader import Bag
from custom_pose_ros.evaluation.frames.frame_sources import CameraSupply
from custom_pose_ros.evaluation.notes import Notes

WIDE = CameraIntrinsics.from_fov(320, 256, math.radians(90.0))


def info(camera: CameraIntrinsics = CAMERA, **changes) -> object:
    message = Messages().camera_info(START_NS, camera)
    for name, value in changes.items():
        setattr(message.roi if hasattr(message.roi, name) and name != 'width' else message, name, value)
    return message


def file_of(folder: Path, camera: CameraIntrinsics) -> Path:
    path = folder / 'wide.yaml'
    path.write_text(yaml.safe_dump(camera.to_yaml_dict()), encoding='utf-8')
    return path


def test_a_given_calibration_goes_before_recorded_ones(tmp_path):
    supply = CameraSupply(Notes(), file_of(tmp_path, WIDE))
    supply.accept(info(), CAMERA_INFO)
    np.testing.assert_array_equal(supply.for_size(320, 256).K, WIDE.K)
    assert supply.description == 'wide.yaml'


def test_the_same_object_is_returned_until_the_calibration_changes():
    notes = Notes()
    supply = CameraSupply(notes)
    supply.accept(info(), CAMERA_INFO)
    first = supply.for_size(320, 256)
    supply.accept(info(), CAMERA_INFO)
    assert supply.for_size(320, 256) is first
    supply.accept(info(WIDE), CAMERA_INFO)
    np.testing.assert_array_equal(supply.for_size(320, 256).K, WIDE.K)
    (line,) = notes.lines()
    assert CAMERA_INFO in line and 'changes' in line


def test_another_resolution_is_scaled_and_another_shape_refused(tmp_path):
    notes = Notes()
    supply = CameraSupply(notes, file_of(tmp_path, CAMERA))
    for _ in range(3):
        assert supply.for_size(640, 512).K[0, 0] == pytest.approx(2 * CAMERA.K[0, 0])
    assert notes.lines() == [
        'wide.yaml: the calibration is for 320x256 and is scaled to images of 640x512: right where images are resized, '
        'wrong where they are cropped'
    ]
    assert supply.for_size(640, 480) is None
    assert 'images of 640x480 px' in notes.lines(damaged=True)[0]


def test_a_given_calibration_of_another_shape_than_the_first_images_is_no_damage(tmp_path):
    path = file_of(tmp_path, CAMERA)
    with pytest.raises(UsageError, match=f'^--camera {path}: the calibration is for 320x256 and the image has 640x480'):
        CameraSupply(Notes(), path).for_size(640, 480)


def test_without_any_a_field_of_view_is_assumed_or_nothing_with_a_word():
    notes = Notes()
    assert CameraSupply(notes).for_size(320, 256) is None
    assert 'give --camera FILE' in notes.lines()[0]
    np.testing.assert_allclose(CameraSupply(Notes(), fov_deg=60.0).for_size(320, 256).K, CAMERA.K)


def test_the_first_usable_calibration_of_a_bag_serves_the_images_before_it(tmp_path):
    kind = 'sensor_msgs/msg/CameraInfo'
    path = write_bag(tmp_path / 'bag', [(CAMERA_INFO, kind, 1, info(k=np.zeros(9))), (CAMERA_INFO, kind, 2, info())])
    notes = Notes()
    supply = CameraSupply(notes)
    with Bag([path]) as bag:
        supply.find_first(bag, CAMERA_INFO)
    np.testing.assert_allclose(supply.for_size(320, 256).K, CAMERA.K)
    assert 'is not a calibration' in notes.lines(damaged=True)[0]


def test_region_and_binning_are_taken_into_account():
    """Two by two pixels binned, of a region that begins at (32, 16): the ray through a pixel stays the same."""
    message = info(x_offset=32, y_offset=16, height=128)
    message.roi.width, message.roi.height = 160, 128
    message.height, message.binning_x, message.binning_y = 256, 2, 2
    camera = stated_camera(message)
    assert (camera.width, camera.height) == (80, 64)
    point = np.array([[0.1, -0.05, 1.0]])
    full = CAMERA.project(point)[0]
    np.testing.assert_allclose(camera.project(point)[0], (full - [32, 16] + 0.5) / 2 - 0.5)
    message.roi.x_offset = 200
    with pytest.raises(ConfigError, match='wanted a region inside 320x256'):
        stated_camera(message)


def test_another_distortion_or_region_is_another_calibration():
    supply = CameraSupply(Notes())
    supply.accept(info(), CAMERA_INFO)
    assert not supply.for_size(320, 256).has_distortion
    supply.accept(info(d=np.array([0.1, 0.0, 0.0, 0.0, 0.0])), CAMERA_INFO)
    assert supply.for_size(320, 256).has_distortion
    right_half = info()
    right_half.roi.x_offset, right_half.roi.width, right_half.roi.height = 160, 160, 256
    supply.accept(right_half, CAMERA_INFO)
    assert supply.for_size(160, 256).K[0, 2] == CAMERA.K[0, 2] - 160.0


def test_rectified_images_are_told_where_that_makes_a_difference():
    for d, told in (([0.0] * 5, 0), ([-0.3, 0.1, 0.0, 0.0, 0.0], 1)):
        notes = Notes()
        supply = CameraSupply(notes, rectified=True)
        supply.accept(info(d=np.array(d)), CAMERA_INFO)
        assert not supply.for_size(320, 256).has_distortion
        assert (
            notes.lines() == ['/camera/camera_info: P is used, without distortion, as the images are rectified'] * told
        )
