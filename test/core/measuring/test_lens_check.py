"""What a tracked object tells of the calibration: errors are found, right ones left alone; or that it cannot tell."""

from __future__ import annotations

import os
from dataclasses import replace

import numpy as np
import pytest
from tracked_block import BLOCK, FOCAL_PX, block_model, camera, found, track

from custom_pose_ros.core.measuring.lens_check import LensCheck

RUNS = int(os.environ.get('LENS_RUNS', '3'))  # 200 for the figures in the docs
FLAT = np.array([[x, y, 0] for x in (-0.2, 0.0, 0.2) for y in (-0.15, 0.15)])


def checked(assumed_px, seed=0, points=BLOCK, **motion):
    check = LensCheck(block_model(points), camera(assumed_px))
    for stamp_s, pixels, pose in track(seed, assumed_px, points, **motion):
        check.add(stamp_s, *found(pixels, pose))
    return check.verdict()


def test_an_error_of_two_per_cent_is_found():
    """In 95 % of the runs and more; the true focal length lies inside of the interval (of 200: in 199)."""
    verdicts = [checked(1.02 * FOCAL_PX, seed) for seed in range(RUNS)]
    assert np.mean([verdict.fits is False for verdict in verdicts]) >= 0.95
    assert np.mean([verdict.focal_px[1] < FOCAL_PX < verdict.focal_px[2] for verdict in verdicts]) > 0.98
    assert 'too long; calibrate at the resolution' in verdicts[0].text


@pytest.mark.parametrize('lasting', [0.0, 0.9])
def test_a_right_calibration_raises_no_alarm(lasting):
    """Also where the errors of keypoints last for a second."""
    verdicts = [checked(FOCAL_PX, 1000 + seed, lasting=lasting) for seed in range(RUNS)]
    assert np.mean([verdict.fits is False for verdict in verdicts]) < 0.01
    assert all(verdict.text.startswith('the focal length of the calibration of 600 px fits') for verdict in verdicts)


@pytest.mark.parametrize(
    ('factor', 'words'), [(0.75, 'through a flat port into water'), (1.33, 'in water and is in air')]
)
def test_water_behind_a_flat_port_is_named(factor, words):
    verdict = checked(factor * FOCAL_PX)
    assert words in verdict.text
    assert verdict.focal_px[0] == pytest.approx(FOCAL_PX, rel=0.02)


def test_an_object_far_away_tells_nothing():
    verdict = checked(1.02 * FOCAL_PX, distances_m=(8.0, 14.0))
    assert (verdict.fits, verdict.focal_px) == (None, None)
    assert 'cannot be told by the object: the object is far away' in verdict.text


def test_a_flat_object_raises_no_alarm():
    assert checked(FOCAL_PX, points=FLAT).fits is not False


def test_a_short_track_gives_no_answer():
    assert checked(FOCAL_PX, length_s=20.0) is None


def test_poses_of_a_twin_are_passed_over():
    """As a symmetric object has them: the keypoints are those of the object turned by half a turn."""
    check, half_turn = LensCheck(block_model(), camera(FOCAL_PX)), np.diag([-1.0, -1.0, 1.0])
    for stamp_s, pixels, pose in track(0, FOCAL_PX):
        check.add(stamp_s, *found(pixels, pose._replace(rotation=pose.rotation @ half_turn)))
    assert check.verdict() is None


def test_time_set_back_begins_anew():
    check = LensCheck(block_model(), camera(FOCAL_PX))
    for stamp_s, pixels, pose in track(0, FOCAL_PX):
        check.add(stamp_s, *found(pixels, pose))
    check.add(0.0, *found(pixels, pose))
    assert check.duration_s == 0.0


def test_ambiguous_and_doubtful_poses_and_predictions_are_passed_over():
    for wrong in ({'ambiguity': 0.5}, {'outlier_suspected': True}, {'keypoints_used': 0}):
        check = LensCheck(block_model(), camera(FOCAL_PX))
        for stamp_s, pixels, pose in track(0, FOCAL_PX, length_s=2.0):
            keypoints, estimate = found(pixels, pose)
            check.add(stamp_s, keypoints, replace(estimate, **wrong))
        assert check.duration_s == 0.0
