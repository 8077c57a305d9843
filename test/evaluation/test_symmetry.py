"""Attitudes of symmetric objects: the nearest that looks the same."""

from __future__ import annotations

import numpy as np
import pytest

from custom_pose_ros.core.object_model import Symmetry
from custom_pose_ros.core.rotations import matrix_from_rotation_vector, rotation_between
from custom_pose_ros.evaluation.symmetry import discrete_group, nearest_equivalent

X, Y, Z = np.eye(3)


def about(axis: np.ndarray, degrees: float) -> np.ndarray:
    return matrix_from_rotation_vector(axis * np.deg2rad(degrees))


def test_without_symmetry_the_truth_stays():
    R = about(X, 40)
    assert nearest_equivalent(R, about(Z, 170), ()) is R


@pytest.mark.parametrize(('fold', 'turn', 'left'), [(2, 180, 0), (2, 170, 10), (4, 100, 10), (4, 45, 45), (3, 240, 0)])
def test_turns_of_a_finite_symmetry_do_not_count(fold, turn, left):
    R = matrix_from_rotation_vector(np.array([0.3, -0.8, 1.1]))
    nearest = nearest_equivalent(R, R @ about(Z, turn), (Symmetry((0.0, 0.0, 1.0), fold),))
    assert np.rad2deg(rotation_between(nearest, R @ about(Z, turn))) == pytest.approx(left, abs=1e-6)


def test_turns_about_a_continuous_axis_do_not_count_at_all():
    R = matrix_from_rotation_vector(np.array([0.3, -0.8, 1.1]))
    other = R @ about(Z, 123.4) @ about(X, 7.0)
    nearest = nearest_equivalent(R, other, (Symmetry((0.0, 0.0, 1.0), 0),))
    assert np.rad2deg(rotation_between(nearest, other)) == pytest.approx(7.0, abs=1e-6)
    np.testing.assert_allclose(nearest[:, 2], R[:, 2], atol=1e-12)


def test_a_cylinder_may_also_stand_on_its_head():
    symmetries = (Symmetry((0.0, 0.0, 1.0), 0), Symmetry((1.0, 0.0, 0.0), 2))
    other = about(X, 180) @ about(Z, 77)
    assert rotation_between(nearest_equivalent(np.eye(3), other, symmetries), other) < 1e-6


def test_two_axes_make_the_whole_group():
    assert len(discrete_group((Symmetry((0.0, 0.0, 1.0), 4), Symmetry((1.0, 0.0, 0.0), 4)))) == 24  # a cube
    assert len(discrete_group((Symmetry((0.0, 0.0, 1.0), 2), Symmetry((1.0, 0.0, 0.0), 2)))) == 4  # a brick
