"""Rotations: every representation by value, over the full range, and back."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from custom_pose_ros.core.geometry.rotations import (
    R_BODY_OPTICAL,
    matrix_from_quaternion,
    matrix_from_roll_pitch_yaw,
    matrix_from_rotation_vector,
    nearest_rotation,
    quaternion_from_matrix,
    roll_pitch_yaw_from_matrix,
    rotation_between,
    rotation_vector_from_matrix,
    skew_matrix,
)

PI = np.pi
EXACT = 1e-12  # a few products of numbers up to 1 in double precision
ANGLES = np.deg2rad([-180, -135, -90, -45, -1, 0, 1, 45, 90, 135, 180])

angle = st.floats(-PI, PI)
vectors = st.tuples(*[st.floats(-1, 1)] * 3).map(np.array).filter(lambda v: np.linalg.norm(v) > 1e-3)


def about(axis: str, degrees: float) -> np.ndarray:
    """The elementary rotation, written out."""
    c, s = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
    return {
        'x': np.array([[1, 0, 0], [0, c, -s], [0, s, c]]),
        'y': np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]]),
        'z': np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]]),
    }[axis]


def assert_rotation(R):
    np.testing.assert_allclose(R @ R.T, np.eye(3), atol=EXACT)
    assert np.linalg.det(R) == pytest.approx(1.0, abs=EXACT)


def test_optical_axes_become_body_axes():
    # REP 103: optical x right, y down, z forward; body x forward, y left, z up
    np.testing.assert_array_equal(R_BODY_OPTICAL @ [0, 0, 1], [1, 0, 0])
    np.testing.assert_array_equal(R_BODY_OPTICAL @ [1, 0, 0], [0, -1, 0])
    np.testing.assert_array_equal(R_BODY_OPTICAL @ [0, 1, 0], [0, 0, -1])
    assert_rotation(R_BODY_OPTICAL)


def test_roll_pitch_yaw_is_about_fixed_x_y_z_in_that_order():
    R = matrix_from_roll_pitch_yaw(np.deg2rad([10.0, 20.0, 30.0]))
    np.testing.assert_allclose(R, about('z', 30) @ about('y', 20) @ about('x', 10), atol=EXACT)


@pytest.mark.parametrize(
    ('roll_pitch_yaw', 'direction', 'goes_to'),
    [
        ([90, 0, 0], [0, 1, 0], [0, 0, 1]),  # roll: left side up
        ([0, 90, 0], [1, 0, 0], [0, 0, -1]),  # pitch: nose down
        ([0, 0, 90], [1, 0, 0], [0, 1, 0]),  # yaw: nose to the left
    ],
)
def test_signs_of_roll_pitch_and_yaw(roll_pitch_yaw, direction, goes_to):
    R = matrix_from_roll_pitch_yaw(np.deg2rad(roll_pitch_yaw))
    np.testing.assert_allclose(R @ direction, goes_to, atol=EXACT)


@pytest.mark.parametrize('pitch', np.deg2rad([-89.9, -60, 0, 1, 45, 89.9]))
def test_roll_and_yaw_are_recovered_over_the_full_turn(pitch):
    for roll in ANGLES:
        for yaw in ANGLES:
            R = matrix_from_roll_pitch_yaw([roll, pitch, yaw])
            got = roll_pitch_yaw_from_matrix(R)
            difference = np.angle(np.exp(1j * (got - [roll, pitch, yaw])))  # -180 and 180 degrees are one angle
            # cos(89.9 degrees) = 0.0017 magnifies the rounding of R's elements by 600
            np.testing.assert_allclose(difference, 0.0, atol=1e-11)


def test_pitch_beyond_a_right_angle_is_folded_into_roll_and_yaw():
    R = matrix_from_roll_pitch_yaw(np.deg2rad([0.0, 100.0, 0.0]))
    np.testing.assert_allclose(np.abs(np.rad2deg(roll_pitch_yaw_from_matrix(R))), [180, 80, 180], atol=1e-9)


@pytest.mark.parametrize('sign', [1, -1])
@pytest.mark.parametrize(('roll', 'yaw'), [(0, 0), (30, 0), (0, 50), (-120, 75), (170, -170)])
def test_gimbal_lock_gives_roll_zero_and_the_same_rotation(sign, roll, yaw):
    R = matrix_from_roll_pitch_yaw(np.deg2rad([roll, sign * 90.0, yaw]))
    got = roll_pitch_yaw_from_matrix(R)
    assert got[0] == 0.0
    assert got[1] == pytest.approx(sign * PI / 2, abs=1e-7)
    defined = np.deg2rad(yaw - sign * roll)  # only this combination can be seen
    assert np.angle(np.exp(1j * (got[2] - defined))) == pytest.approx(0.0, abs=1e-9)
    np.testing.assert_allclose(matrix_from_roll_pitch_yaw(got), R, atol=1e-7)  # the threshold that calls it a lock


@settings(max_examples=200, deadline=None)
@given(roll=angle, pitch=angle, yaw=angle)
def test_angles_give_back_the_rotation_and_stay_in_range(roll, pitch, yaw):
    R = matrix_from_roll_pitch_yaw([roll, pitch, yaw])
    assert_rotation(R)
    got = roll_pitch_yaw_from_matrix(R)
    assert np.abs(got[[0, 2]]).max() <= PI
    assert abs(got[1]) <= PI / 2
    np.testing.assert_allclose(matrix_from_roll_pitch_yaw(got), R, atol=2e-7)  # 1e-7: cosine called gimbal lock


@pytest.mark.parametrize(
    ('quaternion', 'R'),
    [
        ([0, 0, 0, 1], np.eye(3)),
        ([1, 0, 0, 0], about('x', 180)),
        ([0, 1, 0, 0], about('y', 180)),
        ([0, 0, 1, 0], about('z', 180)),
        ([np.sqrt(0.5), 0, 0, np.sqrt(0.5)], about('x', 90)),
        ([0, 0, -np.sqrt(0.5), np.sqrt(0.5)], about('z', -90)),
        ([0.5, 0.5, 0.5, 0.5], np.array([[0, 0, 1], [1, 0, 0], [0, 1, 0]])),
    ],
)
def test_quaternions_are_x_y_z_w(quaternion, R):
    np.testing.assert_allclose(matrix_from_quaternion(quaternion), R, atol=EXACT)
    np.testing.assert_allclose(quaternion_from_matrix(R), quaternion, atol=EXACT)


def test_quaternion_of_any_length_is_normalised():
    np.testing.assert_allclose(matrix_from_quaternion([0, 0, 3, 3]), about('z', 90), atol=EXACT)


@pytest.mark.parametrize('quaternion', [[0, 0, 0, 0], [np.nan, 0, 0, 1], [np.inf, 0, 0, 1], [0, 0, 1]])
def test_quaternion_without_a_direction_is_refused(quaternion):
    with pytest.raises(
        ValueError, match=r'quaternion must be four finite numbers \(x, y, z, w\) that are not all zero, got'
    ):
        matrix_from_quaternion(quaternion)


@settings(max_examples=200, deadline=None)
@given(axis=vectors, turn=st.floats(0, PI))
def test_quaternion_and_rotation_vector_round_trips(axis, turn):
    vector = axis / np.linalg.norm(axis) * turn
    R = matrix_from_rotation_vector(vector)
    assert_rotation(R)
    quaternion = quaternion_from_matrix(R)
    assert np.linalg.norm(quaternion) == pytest.approx(1.0, abs=EXACT)
    assert quaternion[3] >= 0.0
    np.testing.assert_allclose(matrix_from_quaternion(quaternion), R, atol=EXACT)
    back = rotation_vector_from_matrix(R)
    assert np.linalg.norm(back) == pytest.approx(turn, abs=1e-8)  # 1e-9: sine taken as zero
    np.testing.assert_allclose(matrix_from_rotation_vector(back), R, atol=1e-8)


@pytest.mark.parametrize('turn', [0.0, 1e-12, 1e-6, 0.99e-4, 1.01e-4, 1e-3, 1.0, PI - 1e-9, PI])
def test_rotation_vectors_are_exact_near_zero_and_near_half_a_turn(turn):
    vector = turn * np.array([1.0, 2.0, -2.0]) / 3.0
    R = matrix_from_rotation_vector(vector)
    c, s = np.cos(turn), np.sin(turn)
    K = np.array([[0, 2, 2], [-2, 0, -1], [-2, 1, 0]]) / 3.0
    np.testing.assert_allclose(R, np.eye(3) + s * K + (1 - c) * K @ K, atol=1e-15 + 1e-12 * turn)
    np.testing.assert_allclose(rotation_vector_from_matrix(R), vector, atol=1e-9)


def test_rotation_vectors_in_batches():
    got = matrix_from_rotation_vector(np.deg2rad([[[90.0, 0, 0], [0, 0, 30.0]]]))
    assert got.shape == (1, 2, 3, 3)
    np.testing.assert_allclose(got[0], [about('x', 90), about('z', 30)], atol=EXACT)


def test_skew_matrix_is_the_cross_product():
    a, b = np.array([[1.0, -2.0, 3.0], [0.5, 0.0, 4.0]]), np.array([0.3, 5.0, -1.0])
    np.testing.assert_allclose(skew_matrix(a) @ b, np.cross(a, b), atol=EXACT)


@pytest.mark.parametrize('degrees', [0.0, 1e-4, 45.0, 179.9, 180.0])
def test_rotation_between_is_the_geodesic_angle(degrees):
    R = about('x', 33) @ about('z', -71)
    assert np.rad2deg(rotation_between(R, about('y', degrees) @ R)) == pytest.approx(degrees, abs=1e-7)
    assert np.rad2deg(rotation_between(about('y', degrees) @ R, R)) == pytest.approx(degrees, abs=1e-7)


def test_nearest_rotation_undoes_scale_and_noise_and_never_mirrors():
    R = about('z', 40) @ about('x', 70)
    np.testing.assert_allclose(nearest_rotation(3.7 * R), R, atol=EXACT)
    noise = 1e-3 * np.random.default_rng(1).standard_normal((3, 3))
    near = nearest_rotation(R + noise)
    assert_rotation(near)
    assert rotation_between(near, R) < 3e-3  # 3 elements' worth of the noise
    assert_rotation(nearest_rotation(np.diag([1.0, 1.0, -1.0])))
