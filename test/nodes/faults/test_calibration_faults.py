"""Faults of camera_info: late, wrong, not a number; the last good one stays in use."""

from __future__ import annotations

import copy
import time

import numpy as np
import pytest
from sensor_msgs.msg import CameraInfo


def spoilt(info: CameraInfo, field: str, value) -> CameraInfo:
    other = copy.deepcopy(info)
    setattr(other, field, value)
    return other


def test_camera_info_comes_late(make_rig) -> None:
    rig = make_rig(no_info=True)
    rig.assert_refused('no usable camera_info (none received) yet')
    rig.assert_no_answers()
    rig.assert_recovers(lambda: setattr(rig, 'info', rig.good_info))


@pytest.mark.parametrize(
    ('field', 'value', 'text'),
    [
        ('k', [0.0] * 9, 'wanted focal lengths above 0 px'),
        ('k', [np.nan] * 9, 'K: wanted finite numbers'),
        ('d', [np.nan] * 5, 'D: wanted finite numbers'),
        ('d', [0.1] * 3, 'wanted 4 or 5 coefficients for plumb_bob (or none), got 3'),
        ('distortion_model', 'thin_prism', 'distortion_model: wanted one of'),
        ('width', 0, 'width: wanted a whole number of pixels'),
    ],
    ids=['zeros', 'nan', 'nan_lens', 'length', 'model', 'size'],
)
def test_wrong_camera_info_is_refused_and_the_last_good_one_serves(rig, field: str, value, text: str) -> None:
    rig.info = spoilt(rig.good_info, field, value)
    rig.assert_refused(text)
    rig.assert_answers(time.monotonic())  # nothing has stopped
    rig.assert_recovers(lambda: setattr(rig, 'info', rig.good_info))


def test_camera_info_is_wrong_from_the_start(make_rig) -> None:
    rig = make_rig(no_info=True)
    rig.info = spoilt(rig.good_info, 'k', [0.0] * 9)
    rig.assert_refused('an uncalibrated camera sends zeros')
    rig.assert_no_answers()
    rig.assert_recovers(lambda: setattr(rig, 'info', rig.good_info))


def test_camera_info_of_another_camera_makes_results_that_are_refused_or_say_so(rig) -> None:
    rig.info = spoilt(rig.good_info, 'width', 640)  # 640x256: the image has another shape
    rig.assert_refused('the calibration is for 640x256 and the image has 320x256')
    rig.assert_no_answers()
    rig.assert_recovers(lambda: setattr(rig, 'info', rig.good_info))
