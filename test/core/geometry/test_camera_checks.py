"""What a calibration is checked for: lens models by any name, matrices and lenses that cannot be, refusals by text."""

from __future__ import annotations

import numpy as np
import pytest
from known_lenses import EQUIDISTANT, PLUMB_BOB, RATIONAL, K, refusal

from custom_pose_ros.core.geometry.camera import CameraIntrinsics
from custom_pose_ros.core.limits import MAX_IMAGE_SIDE_PX


@pytest.mark.parametrize(
    ('name', 'd', 'model'),
    [
        ('none', [0.0] * 5, 'plumb_bob'),
        ('Pinhole', [], 'plumb_bob'),
        ('Plumb Bob', PLUMB_BOB, 'plumb_bob'),
        ('radtan', PLUMB_BOB[:4], 'plumb_bob'),
        ('radial-tangential', PLUMB_BOB[:4], 'plumb_bob'),
        ('rational', RATIONAL, 'rational_polynomial'),
        ('fisheye', EQUIDISTANT, 'equidistant'),
        ('KANNALA_BRANDT', EQUIDISTANT, 'equidistant'),
    ],
)
def test_other_names_of_the_lens_models(name, d, model):
    camera = CameraIntrinsics.from_camera_info_fields(width=640, height=480, distortion_model=name, d=d, k=np.ravel(K))
    assert camera.distortion_model == model


@pytest.mark.parametrize(
    ('k', 'text'),
    [
        ([2250, 0, 1908, 0, 2250, 1046, 0, 0, 1], 'inside of the 640x480 image, got (1908, 1046): it is the matrix of'),
        ([600, 0, -3, 0, 600, 240, 0, 0, 1], 'inside of the 640x480 image, got (-3, 240)'),
        ([4.2, 0, 320, 0, 4.2, 240, 0, 0, 1], 'focal lengths in pixels, 32 or more for a width of 640, got fx = 4.2'),
    ],
)
def test_matrices_of_another_image_or_unit(k, text):
    fields = {'width': 640, 'height': 480, 'distortion_model': 'plumb_bob', 'd': []}
    assert text in refusal(CameraIntrinsics.from_camera_info_fields, **fields, k=k)


def lens_of(width, fx, d, model, skew=0.0, cx=None):
    height = width * 3 // 4
    return CameraIntrinsics(
        width, height, np.array([[fx, skew, cx or width / 2], [0, fx, height / 2], [0, 0, 1.0]]), np.array(d), model
    )


@pytest.mark.parametrize(
    ('lens', 'text'),
    [
        ((640, 500, [1000.0, 0, 0, 0, 0], 'plumb_bob'), 'squeezes 320 px of the 640x480 image into 4.8 deg: poses'),
        # r (1 - 0.9 r^2) turns at r = 0.61: 203 px; 207 with k2
        ((640, 500, [-0.9, 0.1, 0, 0, 0], 'plumb_bob'), 'folds back 207 px from the principal point, inside of the'),
        ((640, 250, [-0.5, 0, 0, 0], 'equidistant'), 'folds back 136 px from the principal point'),
        ((640, 500, [], 'plumb_bob', 80.0), 'K has a skew of 80 px, which no camera has'),
        ((853, 600, [], 'plumb_bob', 0.0, 320), 'the principal point is far from the middle of the 853x639 image'),
        ((640, 500_000, [], 'plumb_bob'), 'fx = 500000 px is a field of view of less than 0.6 deg: is it in pixels?'),
    ],
)
def test_lenses_that_do_not_exist(lens, text):
    assert [text in oddity for oddity in lens_of(*lens).oddities()] == [True]


@pytest.mark.parametrize(
    'lens',
    [
        (640, 536, [-0.265, -0.0467, 0.0018, -0.0003, 0.2523], 'plumb_bob'),  # OpenCV's sample of a chessboard
        (752, 458, [-0.28340811, 0.07395907, 0.00019359, 1.76187114e-05], 'plumb_bob'),  # EuRoC
        (640, 517, [0.2624, -0.9531, -0.0054, 0.0026, 1.1633], 'plumb_bob'),  # Kinect of TUM
        (640, 2400, [0.3, -25.0, 0.001, -0.002, 0.0], 'plumb_bob'),  # a telephoto lens
        (1280, 605, [0.4523, -2.5454, 0.0008, -0.0003, 1.5035, 0.3318, -2.3719, 1.4296], 'rational_polynomial'),
        (848, 286, [-0.0078, 0.0449, -0.0424, 0.0073], 'equidistant'),  # T265, which sees more than half a sphere
        (640, 200, [0.0, 0.0, 0.0, 0.0], 'equidistant'),
    ],
)
def test_nothing_is_odd_about_real_lenses(lens):
    assert lens_of(*lens).oddities() == []


@pytest.mark.filterwarnings('error')
def test_huge_coefficients_are_odd_without_numerical_noise():
    for d in ([0.001, 1e300, 0, 0, -1e308], [0, 0, 1e308, 0, 0], [1e300, 0, 0, 0, 0]):
        assert len(lens_of(640, 500, d, 'plumb_bob').oddities()) == 1


def test_uncalibrated_camera_info():
    text = refusal(
        CameraIntrinsics.from_camera_info_fields, width=640, height=480, distortion_model='plumb_bob', d=[], k=[0.0] * 9
    )
    assert (
        'wanted focal lengths above 0 px, got fx = 0, fy = 0; an uncalibrated camera sends zeros: calibrate it' in text
    )


def matrix_like(**changes) -> list[list[float]]:
    names = [['fx', 's', 'cx'], ['m', 'fy', 'cy'], ['a', 'b', 'one']]
    return [[changes.get(name, value) for name, value in zip(*rows)] for rows in zip(names, K)]


@pytest.mark.parametrize(
    ('changes', 'text'),
    [
        ({'width': 0}, f'camera: width: wanted a whole number of pixels from 1 to {MAX_IMAGE_SIDE_PX}, got 0'),
        ({'height': -480}, 'camera: height: wanted a whole number of pixels'),
        ({'width': MAX_IMAGE_SIDE_PX + 1}, f'from 1 to {MAX_IMAGE_SIDE_PX}, got {MAX_IMAGE_SIDE_PX + 1}'),
        ({'width': 640.5}, 'camera: width: wanted a whole number of pixels'),
        ({'width': True}, 'camera: width: wanted a whole number of pixels'),
        ({'height': '480'}, "got '480'"),
        ({'K': [1.0, 2.0]}, 'camera: K: wanted 9 numbers (3x3 camera matrix), got [1.0, 2.0]'),
        ({'K': 'none'}, "camera: K: wanted 9 numbers (3x3 camera matrix), got 'none'"),
        ({'K': [10**400] * 9}, 'camera: K: wanted 9 numbers'),
        ({'K': matrix_like(cx=np.nan)}, 'camera: K: wanted finite numbers, got [610.0, 0.0, nan'),
        ({'K': matrix_like(fx=0.0)}, 'wanted focal lengths above 0 px, got fx = 0, fy = 605'),
        ({'K': matrix_like(fy=-605.0)}, 'wanted focal lengths above 0 px, got fx = 610, fy = -605'),
        ({'K': matrix_like(one=2.0)}, 'camera: K: wanted [fx, s, cx; 0, fy, cy; 0, 0, 1], got'),
        ({'K': matrix_like(m=1.0)}, 'camera: K: wanted [fx, s, cx; 0, fy, cy; 0, 0, 1], got'),
        ({'distortion_model': 'fov'}, "wanted one of plumb_bob, rational_polynomial, equidistant, got 'fov'"),
        (
            {'distortion_model': ['plumb_bob']},
            "wanted one of plumb_bob, rational_polynomial, equidistant, got ['plumb_bob']",
        ),
        ({'D': [0.1]}, 'camera: D: wanted 4 or 5 coefficients for plumb_bob (or none), got 1'),
        ({'D': PLUMB_BOB, 'distortion_model': 'equidistant'}, 'wanted 4 coefficients for equidistant, got 5'),
        (
            {'D': PLUMB_BOB, 'distortion_model': 'rational_polynomial'},
            '8 or 12 or 14 coefficients for rational_polynomial',
        ),
        ({'D': [], 'distortion_model': 'equidistant'}, 'wanted 4 coefficients for equidistant, got 0'),
        ({'D': RATIONAL}, 'for plumb_bob (or none), got 8; with more the model is rational_polynomial'),
        ({'D': [np.inf, 0, 0, 0]}, 'camera: D: wanted finite numbers, got [inf, 0.0, 0.0, 0.0]'),
        ({'D': ['a', 0, 0, 0]}, "camera: D: wanted numbers, got ['a', 0, 0, 0]"),
    ],
)
def test_impossible_calibrations(changes, text):
    assert text in refusal(CameraIntrinsics, **{'width': 640, 'height': 480, 'K': K, **changes})
