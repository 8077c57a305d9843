"""Drift between two precisions: distances, lost instances and lost keypoints, each counted by value."""

from __future__ import annotations

import numpy as np
import pytest

from custom_pose_ros.core.keypoints.poses import KeypointPose
from training.pose_training.judging.drift import Drift, DriftLimits, measure_drift

IMAGE = np.zeros((960, 1280, 3), np.uint8)  # twice the reference height
SQUARE = np.array([[100.0, 100.0], [300.0, 100.0], [100.0, 300.0]])


def pose(points: np.ndarray, visible: tuple[bool, ...] = (True, True, True)) -> KeypointPose:
    shown = np.where(np.array(visible)[:, None], points, np.nan)
    covariances = np.tile(np.eye(2), (3, 1, 1))
    return KeypointPose(
        keypoints=shown, covariances=covariances, scores=np.ones(3), visible=np.array(visible), score=1.0
    )


def drift(first: list[KeypointPose], second: list[KeypointPose]) -> Drift:
    return measure_drift([IMAGE], [first], lambda image: second)


def test_distances_are_those_of_an_image_of_the_reference_height():
    result = drift([pose(SQUARE)], [pose(SQUARE + [3.0, 4.0])])
    np.testing.assert_allclose(result.moved_px, [2.5, 2.5, 2.5])  # 5 px in an image twice as high
    assert (result.keypoints, result.changed) == (3, 0)
    assert (result.mean_px, result.p99_px, result.max_px) == (2.5, 2.5, 2.5)


def test_a_keypoint_that_one_of_them_misses_is_counted():
    result = drift([pose(SQUARE)], [pose(SQUARE, (True, True, False))])
    assert (len(result.moved_px), result.keypoints, result.changed) == (2, 3, 1)


def test_instances_are_matched_whatever_their_order_and_lost_ones_counted():
    first = [pose(SQUARE), pose(SQUARE + 500)]
    result = drift(first, [pose(SQUARE + 501), pose(SQUARE)])
    assert sorted(result.moved_px) == pytest.approx([0, 0, 0, *[np.sqrt(0.5)] * 3])
    assert result.changed == 0
    assert drift(first, [pose(SQUARE)]).changed == 3
    assert drift([pose(SQUARE)], first).changed == 3
    assert drift([pose(SQUARE)], [pose(SQUARE + 60)]).changed == 6  # too far off to be the same


def test_nothing_in_both_is_no_drift():
    result = drift([], [])
    assert (result.mean_px, result.keypoints, DriftLimits().complaint(result)) == (0.0, 0, '')


@pytest.mark.parametrize(
    ('moved', 'changed', 'words'),
    [
        ([0.2] * 300, 0, ''),
        ([0.4] * 300, 0, 'keypoints move by 0.40 px on average (limit 0.3)'),
        ([0.1] * 294 + [1.5] * 6, 0, 'one in a hundred by 1.50 px or more (limit 1)'),
        ([0.1] * 300, 3, ''),
        ([0.1] * 300, 4, '4 of 300 keypoints are found by one only (limit 1%)'),
    ],
)
def test_the_limits(moved, changed, words):
    assert DriftLimits().complaint(Drift(np.array(moved), 300, changed)) == words
