"""Which intrinsics an image size gets of a calibration, and what is said of it."""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import yaml

from custom_pose_ros.core.errors import ConfigError
from custom_pose_ros.core.geometry.camera import CameraIntrinsics
from custom_pose_ros.inference.camera_calibration import CameraCalibration, shows_rectified_images


def info(focal_px: float = 500.0, roi=(0, 0, 0, 0), binning=(0, 0), **changes) -> SimpleNamespace:
    """A camera_info as ROS 1 and 2 have it, without a header."""
    k = [focal_px, 0.0, 319.5, 0.0, focal_px, 239.5, 0.0, 0.0, 1.0]
    fields = {
        'width': 640, 'height': 480, 'binning_x': binning[0], 'binning_y': binning[1], 'distortion_model': 'plumb_bob',
        'd': [0.0] * 5, 'k': k, 'p': [*k[:3], 0.0, *k[3:6], 0.0, *k[6:], 0.0],
        'roi': SimpleNamespace(**dict(zip(('x_offset', 'y_offset', 'width', 'height'), roi))),
    }  # fmt: skip
    return SimpleNamespace(**{**fields, **changes})


def answer(message: SimpleNamespace, width: int, height: int, rectified: bool = False):
    """Return fx, fy, cx, cy for images of a size, and what was said."""
    said: list[str] = []
    calibration = CameraCalibration(rectified=rectified, report=said.append)
    calibration.accept(message)
    for _ in range(3):
        camera = calibration.for_size(width, height)
    assert said == calibration.remarks  # each once
    return camera.K[[0, 1, 0, 1], [0, 1, 2, 2]].tolist(), said


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


def test_a_matrix_that_was_computed_anew_for_each_message_is_the_same_one() -> None:
    calibration, k, d = CameraCalibration(), np.array(info().k, float), np.array([-0.3, 0.1, 0.0, 0.0, 0.0])
    assert calibration.accept(info(k=k, d=d))
    assert not calibration.accept(info(k=k * (1 + 1e-9), d=d + 1e-13))
    assert calibration.accept(info(k=k, d=d * (1 + 1e-4)))
    assert calibration.accept(info(k=k * [1 + 1e-4, 1, 1, 1, 1, 1, 1, 1, 1], d=d))
    assert calibration.accept(info(k=k, d=d[:4]))
    assert calibration.accept(info(k=k, d=d[:4], width=641))


def file_of(folder: Path, camera: CameraIntrinsics) -> Path:
    path = folder / 'camera.yaml'
    path.write_text(yaml.safe_dump(camera.to_yaml_dict()), encoding='utf-8')
    return path


def test_another_shape_is_refused_with_both_sizes(tmp_path) -> None:
    calibration = CameraCalibration(file_of(tmp_path, CameraIntrinsics.from_fov(640, 480, 1.0)))
    assert calibration.is_given
    with pytest.raises(ConfigError, match='640x480.*640x360'):
        calibration.for_size(640, 360)


# K of 640x480 is (500, 500, 319.5, 239.5). A region begins at (160, 120); pixel centres scale as (x + 0.5) * s - 0.5.
@pytest.mark.parametrize(
    ('message', 'size', 'wanted', 'remark'),
    [
        (info(), (640, 480), [500, 500, 319.5, 239.5], ''),
        (info(roi=(160, 120, 320, 240)), (320, 240), [500, 500, 159.5, 119.5], ''),
        (info(binning=(2, 2)), (320, 240), [250, 250, 159.5, 119.5], ''),
        (info(binning=(2, 4)), (320, 120), [250, 125, 159.5, 59.5], ''),
        (info(roi=(160, 120, 320, 240), binning=(2, 2)), (160, 120), [250, 250, 79.5, 59.5], ''),
        (info(roi=(161, 121, 321, 241), binning=(2, 2)), (160, 120), [250, 250, 79.0, 59.0], ''),  # a rest of one pixel
        (info(roi=(0, 0, 640, 480)), (640, 480), [500, 500, 319.5, 239.5], ''),
        # what the driver says was not done
        (info(roi=(160, 120, 320, 240)), (640, 480), [500, 500, 319.5, 239.5], 'roi of the calibration ignored: '),
        (info(binning=(2, 2)), (640, 480), [500, 500, 319.5, 239.5], 'binning of the calibration ignored: '),
        (info(roi=(160, 120, 320, 240), binning=(4, 4)), (640, 480), [500, 500, 319.5, 239.5], 'roi and binning of'),
        (info(roi=(0, 0, 320, 480), binning=(2, 2)), (320, 480), [500, 500, 319.5, 239.5], 'binning .* of its roi'),
        (info(roi=(0, 0, 320, 480), binning=(2, 2)), (320, 240), [250, 250, 159.5, 119.5], 'its roi is ignored'),
        # an offset that is in K already
        (info(roi=(80, 30, 640, 480)), (640, 480), [500, 500, 319.5, 239.5], r'roi is ignored: .* offset \(80, 30\)'),
        (info(roi=(80, 30, 0, 0)), (640, 480), [500, 500, 319.5, 239.5], r'roi is ignored: .* offset \(80, 30\)'),
        # another resolution
        (info(), (320, 240), [250, 250, 159.5, 119.5], 'is for 640x480 and is scaled to images of 320x240: right'),
        (info(roi=(0, 0, 640, 240)), (320, 120), [250, 250, 159.5, 119.5], 'the roi of the calibration, 640x240'),
    ],
)  # fmt: skip
def test_what_a_calibration_says_and_the_image_size_decide_together(message, size, wanted, remark) -> None:
    got, said = answer(message, *size)
    assert got == pytest.approx(wanted)
    assert len(said) == bool(remark)
    if remark:
        assert re.search(remark, said[0])


@pytest.mark.parametrize(
    ('message', 'size', 'text'),
    [
        (info(roi=(160, 120, 320, 240)), (160, 120), 'may show all 640x480 of the calibration or its roi, 320x240 at'),
        (info(roi=(160, 120, 320, 240), binning=(2, 2)), (320, 240), 'nobody can tell'),
        (info(roi=(0, 0, 640, 240)), (600, 480), 'calibration is for 640x480 and the image has 600x480'),
        (info(width=1280, height=960), (640, 480), '1280x960 and the image has 640x480, of which its matrix has'),
        (info(width=330, height=248), (640, 480), '330x248 and the image has 640x480, of which its matrix has'),
    ],
)
def test_images_that_may_show_two_things_are_refused(message, size, text) -> None:
    calibration = CameraCalibration()
    calibration.accept(message)
    with pytest.raises(ConfigError, match=text):
        calibration.for_size(*size)


@pytest.mark.parametrize(
    ('changes', 'remark'),
    [
        (
            {'width': 2560, 'height': 1920, 'binning': (4, 4)},
            'principal point is far .* by 38 % of its width: the matrix',
        ),
        ({'width': 1280, 'height': 960, 'roi': (320, 240, 640, 480)}, 'by 25 % of its width: the matrix'),
        ({'k': [500, 0, 319.5, 0, 375, 239.5, 0, 0, 1]}, 'the focal lengths differ by 33 %: the matrix may'),
    ],
)
def test_a_matrix_of_another_image_is_noticed(changes, remark) -> None:
    (said,) = answer(info(**changes), 640, 480)[1]
    assert re.search(remark, said)


STEREO = {'d': [-0.3, 0.1, 0, 0, 0], 'p': [450, 0, 330, 0, 0, 450, 240, 0, 0, 0, 1, 0]}


def test_rectified_images_have_p_without_distortion() -> None:
    raw, said = answer(info(**STEREO), 640, 480)
    assert (raw, said) == ([500, 500, 319.5, 239.5], [])
    rectified, said = answer(info(**STEREO), 640, 480, rectified=True)
    assert (rectified, said) == ([450, 450, 330, 240], [])
    half, _ = answer(info(**STEREO, roi=(320, 240, 320, 240)), 320, 240, rectified=True)
    assert half == [450, 450, 10, 0]
    second = {**STEREO, 'p': [450, 0, 330, -54, *STEREO['p'][4:]]}
    assert 'second camera of a stereo pair' in answer(info(**second), 640, 480, rectified=True)[1][0]
    assert 'P is empty' in answer(info(p=[0.0] * 12), 640, 480, rectified=True)[1][0]
    with pytest.raises(ConfigError, match='P: is missing, and the images are rectified'):
        answer(info(d=STEREO['d'], p=[0.0] * 12), 640, 480, rectified=True)
    with pytest.raises(ConfigError, match=r'camera: P: wanted a principal point inside of the 640x480 image'):
        answer(info(p=[450, 0, 1330, 0, 0, 450, 240, 0, 0, 0, 1, 0]), 640, 480, rectified=True)


def test_images_that_turn_out_to_be_rectified_get_p_at_once() -> None:
    calibration = CameraCalibration()
    calibration.accept(info(**STEREO))
    calibration.rectified = True
    assert calibration.rectifies
    assert calibration.for_size(640, 480).K[0, 0] == 450
    assert not calibration.accept(info(**STEREO))


@pytest.mark.parametrize(
    ('topic', 'rectified'),
    [
        ('/cam/image_rect', True), ('/cam/image_rect_color/compressed', True), ('/camera/infra1/image_rect_raw', True),
        ('/zed/rgb/rect/image', True), ('/left/undistorted/image', True),
        ('/left/image_rectified', True), ('image_rect', True), ('/cam/image_raw', False),
        ('/cam/image_color', False), ('/image_unrectified', False), ('/rectangle/image', False), ('', False),
        ('/cam_rect/image_raw/compressed', False),
    ],
)  # fmt: skip
def test_the_name_of_a_topic_tells_rectified_images(topic, rectified) -> None:
    assert shows_rectified_images(topic) == rectified


def test_a_file_is_as_much_as_a_message(tmp_path) -> None:
    camera = CameraIntrinsics(640, 480, np.array([[500, 0, 319.5], [0, 500, 239.5], [0, 0, 1]]), [-0.3, 0.1, 0, 0])
    content = camera.to_yaml_dict()
    content['projection_matrix']['data'] = STEREO['p']
    content['roi'] = {'x_offset': 160, 'y_offset': 120, 'width': 320, 'height': 240}
    path = tmp_path / 'camera.yaml'
    path.write_text(yaml.safe_dump(content), encoding='utf-8')
    said: list[str] = []
    calibration = CameraCalibration(path, report=said.append)
    assert calibration.for_size(320, 240).K[0, 2] == 159.5
    assert calibration.for_size(640, 480).K[0, 2] == 319.5
    assert len(said) == 1
    assert CameraCalibration(path, rectified=True).for_size(640, 480).K[0, 0] == 450
    content['camera_matrix']['data'][2] = 1908.0
    path.write_text(yaml.safe_dump(content), encoding='utf-8')
    with pytest.raises(ConfigError, match=f'^{path}: camera: K: wanted a principal point inside'):
        CameraCalibration(path)
