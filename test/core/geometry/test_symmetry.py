"""Attitudes that look the same: the nearest of them, for folds, continuous axes and several at once."""

from __future__ import annotations

import numpy as np
import pytest

from custom_pose_ros.core.geometry.rotations import (
    matrix_from_roll_pitch_yaw,
    matrix_from_rotation_vector,
    rotation_between,
)
from custom_pose_ros.core.geometry.symmetry import Symmetry, SymmetryGroup

X, Z = (1.0, 0.0, 0.0), (0.0, 0.0, 1.0)
R = matrix_from_roll_pitch_yaw(np.array([0.4, -0.9, 2.2]))


def about(axis, degrees: float) -> np.ndarray:
    return matrix_from_rotation_vector(np.deg2rad(degrees) * np.array(axis))


def nearest_equivalent(R: np.ndarray, R_other: np.ndarray, symmetries: tuple[Symmetry, ...]) -> np.ndarray:
    """Return the attitude that looks like R and is nearest to R_other."""
    return R @ SymmetryGroup(symmetries).turn_towards(R, R_other)


def test_without_symmetries_nothing_is_equivalent():
    assert SymmetryGroup(()).trivial
    np.testing.assert_array_equal(nearest_equivalent(R, np.eye(3), ()), R)


@pytest.mark.parametrize(('fold', 'turn_deg', 'left_deg'), [(4, 260.0, 10.0), (4, 44.0, 44.0), (2, 91.0, 89.0)])
def test_a_fold_brings_back_to_the_nearest_position(fold, turn_deg, left_deg):
    turned = nearest_equivalent(R @ about(Z, turn_deg), R, (Symmetry(Z, fold),))
    assert rotation_between(turned, R) == pytest.approx(np.deg2rad(left_deg), abs=1e-9)


def test_a_continuous_axis_leaves_the_tilt_alone():
    tilted = R @ about(X, 20.0)
    turned = nearest_equivalent(tilted @ about(Z, 123.0), R, (Symmetry(Z, 0),))
    assert rotation_between(turned, R) == pytest.approx(np.deg2rad(20.0), abs=1e-9)
    np.testing.assert_allclose(turned[:, 2], tilted[:, 2], atol=1e-12)


def test_a_cylinder_may_also_stand_on_its_head():
    cylinder = (Symmetry(Z, 0), Symmetry(X, 2))
    upside_down = R @ about(X, 180.0) @ about(Z, 77.0)
    assert rotation_between(nearest_equivalent(upside_down, R, cylinder), R) == pytest.approx(0.0, abs=1e-6)
    bottle = (Symmetry(Z, 0),)
    assert rotation_between(nearest_equivalent(upside_down, R, bottle), R) == pytest.approx(np.pi, abs=1e-6)


def test_many_folds_are_multiplied_out_in_no_time():
    """Once quadratic in Python: 720 rotations took minutes, with the same symmetry named a thousand times an hour."""
    many = (*[Symmetry(Z, 360)] * 1000, Symmetry(X, 2))
    turned = nearest_equivalent(R @ about(X, 180.0) @ about(Z, 123.4), R, many)
    assert rotation_between(turned, R) == pytest.approx(np.deg2rad(0.4), abs=1e-6)


def test_rotations_without_end_are_refused():
    with pytest.raises(ValueError, match='at most 720 rotations together'):
        SymmetryGroup((Symmetry(Z, 5), Symmetry((0.6, 0.0, 0.8), 7)))


def test_generators_make_the_whole_group_of_a_cube():
    cube = SymmetryGroup((Symmetry(X, 4), Symmetry(Z, 4)))
    rng = np.random.default_rng(0)
    angles = []
    for vector in rng.normal(scale=2.0, size=(200, 3)):
        other = matrix_from_rotation_vector(vector)
        angles.append(rotation_between(other @ cube.turn_towards(other, R), R))
    # No attitude is farther than 62.8 deg from one of the cube's 24 (Mackenzie 1958); without one of them some are.
    assert np.rad2deg(max(angles)) < 62.8
    assert len({tuple(np.rint(s).astype(int).ravel()) for s in cube._elements}) == 24
