"""Calibration files of every tool give the same camera; those that leave something open are refused with what it is."""

from __future__ import annotations

import os
import random
import re
from pathlib import Path

import numpy as np
import pytest

from custom_pose_ros.core.errors import ConfigError
from custom_pose_ros.core.geometry.calibration_files import CameraInfoFields
from custom_pose_ros.core.geometry.camera import CameraIntrinsics
from custom_pose_ros.inference.camera_calibration import CameraCalibration

D = [-0.28, 0.07, 0.0002, -0.0003]
K = [458.6, 0.0, 367.2, 0.0, 457.3, 248.4, 0.0, 0.0, 1.0]
KALIBR = f"""
cam0:
  cam_overlaps: [1]
  camera_model: pinhole
  distortion_coeffs: {D}
  distortion_model: radtan
  intrinsics: [458.6, 457.3, 367.2, 248.4]
  resolution: [752, 480]
  rostopic: /cam0/image_raw
"""
EUROC = f"""
sensor_type: camera
rate_hz: 20
resolution: [752, 480]
camera_model: pinhole
intrinsics: [458.6, 457.3, 367.2, 248.4]
distortion_model: radial-tangential
distortion_coefficients: {D}
"""
OPENCV = f"""%YAML:1.0
---
calibration_time: "Tue 14 May"
image_width: 752
image_height: 480
camera_matrix: !!opencv-matrix
   rows: 3
   cols: 3
   dt: d
   data: [ 4.586e+02, 0., 367.2, 0., 4.573e+02, 248.4, 0., 0., 1. ]
distortion_coefficients: !!opencv-matrix
   rows: 5
   cols: 1
   dt: d
   data: {[*D, 0.0]}
"""
OPENCV_SHORT = f"""%YAML:1.0
---
imageSize: [ 752, 480 ]
K: !!opencv-matrix {{rows: 3, cols: 3, dt: d, data: {K}}}
D: !!opencv-matrix {{rows: 1, cols: 5, dt: d, data: {[*D, 0.0]}}}
"""
ECHO = f"""header:
  stamp:
    sec: 12
    nanosec: 0
  frame_id: camera
height: 480
width: 752
distortion_model: plumb_bob
d:
{''.join(f'- {value}{chr(10)}' for value in [*D, 0.0])}k:
{''.join(f'- {value}{chr(10)}' for value in K)}r: [1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0]
p: [430.0, 0.0, 367.2, 0.0, 0.0, 430.0, 248.4, 0.0, 0.0, 0.0, 1.0, 0.0]
binning_x: 0
binning_y: 0
roi:
  x_offset: 0
  y_offset: 0
  height: 0
  width: 0
  do_rectify: false
---
"""
LISTS = f"""
image_width: 752
image_height: 480
camera_matrix: [{K[:3]}, {K[3:6]}, {K[6:]}]
dist_coeffs: [{[*D, 0.0]}]
distortion_model: plumb_bob
"""


def written(folder: Path, text: str) -> Path:
    path = folder / 'camera.yaml'
    path.write_text(text, encoding='utf-8')
    return path


@pytest.mark.parametrize(
    'text',
    [
        KALIBR, EUROC, OPENCV, OPENCV_SHORT, ECHO, ECHO * 3, LISTS,
        ECHO.replace('\nd:', '\nD:').replace('\nk:', '\nK:'),
    ],
    ids=['kalibr', 'euroc', 'opencv', 'opencv_short', 'echo', 'several_documents', 'lists', 'ros1_echo'],
)  # fmt: skip
def test_every_tool_tells_the_same_camera(tmp_path, text):
    camera = CameraIntrinsics.from_yaml(written(tmp_path, text))
    assert (camera.width, camera.height, camera.distortion_model) == (752, 480, 'plumb_bob')
    np.testing.assert_array_equal(camera.K.ravel(), K)
    np.testing.assert_array_equal(camera.D[:4], D)


@pytest.mark.parametrize(
    ('text', 'model'),
    [
        (KALIBR.replace('radtan', 'equidistant'), 'equidistant'),
        (OPENCV.replace('rows: 5', 'rows: 4').replace(str([*D, 0.0]), str(D)) + 'fisheye_model: 1\n', 'equidistant'),
        (
            OPENCV.replace(str([*D, 0.0]), str([*D, 0.0, 0.1, 0.2, 0.3])).replace('rows: 5', 'rows: 8'),
            'rational_polynomial',
        ),
    ],
)
def test_the_lens_model_is_told_or_follows_from_the_coefficients(tmp_path, text, model):
    assert CameraIntrinsics.from_yaml(written(tmp_path, text)).distortion_model == model


@pytest.mark.parametrize('model', ["distortion_model: ''", 'distortion_model: none', 'distortion_model:', ''])
@pytest.mark.parametrize('d', [[], [0.0] * 5, [0] * 8])
def test_no_model_and_zeros_are_no_distortion(tmp_path, model, d):
    text = LISTS.replace('distortion_model: plumb_bob', model).replace(str([[*D, 0.0]]), str([d]))
    assert not CameraIntrinsics.from_yaml(written(tmp_path, text)).has_distortion


@pytest.mark.parametrize(
    ('text', 'reason'),
    [
        (KALIBR + KALIBR.replace('cam0', 'cam1'), 'has the cameras cam0, cam1: give a file with one'),
        (KALIBR.replace('camera_model: pinhole', 'camera_model: omni'), "camera_model: wanted pinhole, got 'omni'"),
        (KALIBR.replace('radtan', 'fov'), 'distortion_model: wanted one of plumb_bob, rational_polynomial'),
        (KALIBR.replace('[458.6, ', '['), 'intrinsics: wanted fx, fy, cx, cy, got [457.3, 367.2, 248.4]'),
        (KALIBR.replace('[752, 480]', '[752]'), 'camera: width: wanted a whole number of pixels'),
        (
            OPENCV.replace(str([*D, 0.0]), str(D)).replace('rows: 5', 'rows: 4'),
            'distortion_model: is missing, and 4 coefficients may be of',
        ),
        (OPENCV.replace('image_width: 752\n', ''), 'image_width: is missing'),
        (ECHO + ECHO.replace('367.2', '300.0'), 'its 2 documents are different calibrations; keep one'),
        (ECHO.replace('  width: 0', '  width: -4'), 'width: wanted a whole number from 0 up, got -4'),
        (ECHO.replace('binning_x: 0', 'binning_x: 2'), 'roi, binning: the images are a part of the 752x480'),
        (KALIBR + '  resolution: [640, 480]\n', "the key 'resolution' stands twice"),
        (OPENCV.replace('rows: 5', 'rows: 14'), 'distortion_coefficients: wanted 14x1 numbers, as it says, got 5'),
        ('# Camera intrinsics\n\n[image]\n\nwidth\n640\n', 'is not valid YAML: it is an INI file'),
        ('[LEFT_CAM_HD]\nfx=700.8\nfy=700.8\n', 'is not valid YAML: it is an INI file'),
        ('---\n---\n', 'wanted a camera_calibration YAML with image_width, image_height, ..., got an empty file'),
        ('name: cup\nkeypoints: [a, b]\n', 'image_width, image_height, ..., got an object file'),
        ('image_width: 3\nimage_height: 4\ncamera_matrix: [[{}], 3]\n', 'wanted'),
    ],
)
def test_what_is_open_is_refused_with_the_file(tmp_path, text, reason):
    path = written(tmp_path, text)
    with pytest.raises(ConfigError) as error:
        CameraIntrinsics.from_yaml(path)
    assert str(error.value).startswith(f'{path}: ')
    assert reason in str(error.value)
    assert '\n' not in str(error.value)


def test_a_matrix_that_looks_like_that_of_other_images_is_warned_of(tmp_path):
    path = written(tmp_path, EUROC.replace('367.2', '183.6'))
    with pytest.warns(UserWarning, match=f'^{path}: the principal point is far from the middle of the 752x480 image'):
        CameraIntrinsics.from_yaml(path)


def test_a_printed_message_keeps_what_the_message_says(tmp_path):
    text = ECHO.replace('binning_x: 0', 'binning_x: 2').replace('  x_offset: 0', '  x_offset: 40')
    fields = CameraInfoFields.from_yaml(written(tmp_path, text.replace('  width: 0', '  width: 600')))
    assert (fields.binning, fields.offset, fields.region) == ((2, 1), (40, 0), (600, 480))
    assert fields.p[:3] == (430.0, 0.0, 367.2)
    assert fields.changes_when_rectified


TOKENS = [
    '0', '-1', '1e400', '.nan', '-.inf', 'null', 'true', "''", '[]', '{}', '[[1], 2]', '2020-01-01', '1e-3', '---',
    '&a', '*a', '!!opencv-matrix', '!!binary aGk=', '65537', '9' * 400, 'equidistant', 'roi: 5', 'width: {}', '? [a]',
    ': ', '\t',
]  # fmt: skip


def mutated(text: str, rng: random.Random) -> str:
    """Return a file with some of its words, lines or characters replaced, dropped or repeated."""
    for _ in range(rng.randint(1, 4)):
        pieces = re.split(r'(\s+|[,\[\]{}:])', text) if rng.random() < 0.6 else list(text)
        at = rng.randrange(len(pieces))
        choice = rng.randrange(4)
        if choice == 0:
            pieces[at] = rng.choice(TOKENS)
        elif choice == 1:
            del pieces[at]
        elif choice == 2:
            pieces.insert(at, rng.choice(pieces))
        else:
            other = rng.randrange(len(pieces))
            pieces[at], pieces[other] = pieces[other], pieces[at]
        text = ''.join(pieces)
    return text


@pytest.mark.filterwarnings('ignore::UserWarning')
@pytest.mark.parametrize('seed', range(int(os.environ.get('MALFORMED_CASES', '200'))))
def test_any_file_gives_a_camera_or_one_line(tmp_path, seed):
    rng = random.Random(seed)
    path = tmp_path / 'camera.yaml'
    path.write_text(mutated(rng.choice([KALIBR, EUROC, OPENCV, OPENCV_SHORT, ECHO, LISTS]), rng), encoding='utf-8')
    for read in (CameraIntrinsics.from_yaml, CameraCalibration, lambda file: CameraCalibration(file, rectified=True)):
        try:
            camera = read(path)
        except ConfigError as error:
            assert '\n' not in str(error)
            assert str(error).startswith(str(path))
            assert len(str(error)) < len(str(path)) + 400
        else:
            if isinstance(camera, CameraCalibration):
                camera = camera.for_size(*camera.size)
            assert np.isfinite(camera.K).all() and np.isfinite(camera.D).all()
