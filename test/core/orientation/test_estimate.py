"""OrientationEstimate: what is read in its own frame and in another one."""

from __future__ import annotations

import numpy as np
import pytest

from custom_pose_ros.core.geometry.rigid import IDENTITY, Rigid
from custom_pose_ros.core.geometry.rotations import matrix_from_roll_pitch_yaw
from custom_pose_ros.core.orientation.estimate import OrientationEstimate

QUARTER = Rigid(matrix_from_roll_pitch_yaw(np.array([0.0, 0.0, np.pi / 2])), np.array([10.0, 20.0, 30.0]))


def an_estimate() -> OrientationEstimate:
    pose = Rigid(matrix_from_roll_pitch_yaw(np.array([0.1, -0.2, 0.3])), np.array([0.5, -0.25, 2.0]))
    return OrientationEstimate(
        pose=pose, covariance=np.diag([1.0, 2, 3, 4, 5, 6]), reprojection_error_px=1.0, ambiguity=0.5,
        alternative=pose.moved(np.full(6, 0.1)), keypoints_used=4,
    )  # fmt: skip


def test_another_frame_moves_poses_covariance_and_angles_together():
    estimate = an_estimate()
    moved = estimate.in_frame('map', QUARTER)
    assert moved.frame == 'map'
    np.testing.assert_allclose(moved.pose.translation, [10.25, 20.5, 32.0], atol=1e-12)
    np.testing.assert_allclose(moved.roll_pitch_yaw, [0.1, -0.2, 0.3 + np.pi / 2], atol=1e-12)
    assert np.diag(moved.covariance).round(12).tolist() == [2.0, 1.0, 3.0, 5.0, 4.0, 6.0]  # x is now along y
    np.testing.assert_allclose(
        moved.pose.inverse().apply(moved.alternative.translation),
        estimate.pose.inverse().apply(estimate.alternative.translation),
        atol=1e-12,
    )  # how the two solutions stand to each other does not depend on the frame


def test_camera_names_are_refused_in_another_frame():
    estimate = an_estimate()
    np.testing.assert_array_equal(estimate.R_camera_object, estimate.pose.rotation)
    np.testing.assert_array_equal(estimate.t_camera_object, estimate.pose.translation)
    for name in ('R_camera_object', 't_camera_object'):
        with pytest.raises(ValueError, match="'camera_optical', got 'map'"):
            getattr(estimate.in_frame('map', IDENTITY), name)
