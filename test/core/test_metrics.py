"""Metrics, by value."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from custom_pose_ros.core.metrics import (
    add_m,
    geodesic_angle_rad,
    keypoint_errors_px,
    mean_error_px,
    oks,
    pck,
    rms_error_px,
)

TRUTH = np.array([[0, 0], [10, 0], [20, 0], [30, 0.0]])
FOUND = np.array([[3, 4], [10, 1], [np.nan, np.nan], [99, 99.0]])  # 5 px, 1 px, not found, not labelled
VISIBLE = np.array([True, True, True, False])


def about(axis: int, angle_rad: float) -> np.ndarray:
    turn = np.eye(3)
    a, b = [i for i in range(3) if i != axis]
    turn[a, a] = turn[b, b] = np.cos(angle_rad)
    turn[b, a] = np.sin(angle_rad)
    turn[a, b] = -turn[b, a]
    return turn


def test_keypoint_errors():
    np.testing.assert_allclose(keypoint_errors_px(FOUND, TRUTH, VISIBLE), [5, 1, np.nan, np.nan])
    batch = keypoint_errors_px(np.stack([FOUND, TRUTH]), np.stack([TRUTH, TRUTH]), np.stack([VISIBLE, VISIBLE]))
    np.testing.assert_allclose(batch, [[5, 1, np.nan, np.nan], [0, 0, 0, np.nan]])


def test_mean_and_rms():
    assert mean_error_px(FOUND, TRUTH, VISIBLE) == pytest.approx(3)
    assert rms_error_px(FOUND, TRUTH, VISIBLE) == pytest.approx(np.sqrt(13))  # (25 + 1) / 2
    assert np.isnan(mean_error_px(FOUND, TRUTH, np.zeros(4, bool)))
    assert np.isnan(rms_error_px(FOUND, TRUTH, np.zeros(4, bool)))


def test_pck_counts_what_was_not_found_as_wrong():
    assert pck(FOUND, TRUTH, VISIBLE, 5) == pytest.approx(2 / 3)
    assert pck(FOUND, TRUTH, VISIBLE, 4.9) == pytest.approx(1 / 3)
    assert pck(TRUTH, TRUTH, VISIBLE, 0) == 1
    assert np.isnan(pck(FOUND, TRUTH, np.zeros(4, bool), 5))
    two = np.stack([FOUND, FOUND]), np.stack([TRUTH, TRUTH]), np.stack([VISIBLE, VISIBLE])
    assert pck(*two, np.array([[5], [0.5]])) == pytest.approx(2 / 6)


def test_oks_by_hand():
    # sigma 0.05: kappa = 0.1; area 100^2: d^2 / (2 * 10^4 * 0.01) = d^2 / 200
    sigmas = np.full(4, 0.05)
    wanted = (np.exp(-25 / 200) + np.exp(-1 / 200) + 0) / 3
    assert oks(FOUND, TRUTH, VISIBLE, sigmas, 100**2) == pytest.approx(wanted)
    assert oks(TRUTH, TRUTH, VISIBLE, sigmas, 1) == 1
    assert np.isnan(oks(TRUTH, TRUTH, np.zeros(4, bool), sigmas, 1))


def test_oks_of_a_batch_with_its_own_areas():
    sigmas, visible = np.array([0.05, 0.05, 0.1, 0.1]), np.ones((2, 4), bool)
    off = TRUTH + [6, 8]
    values = oks(np.stack([off, off]), np.stack([TRUTH, TRUTH]), visible, sigmas, np.array([100.0**2, 1000.0**2]))
    for value, area in zip(values, (1e4, 1e6)):
        assert value == pytest.approx(np.exp(-100 / (2 * area * (2 * sigmas) ** 2)).mean())


@settings(max_examples=100, deadline=None, derandomize=True)
@given(axis=st.integers(0, 2), angle=st.floats(-np.pi, np.pi), start=st.floats(-3, 3))
def test_angle_between_rotations(axis, angle, start):
    R = about((axis + 1) % 3, start)
    # 1e-12 rad: atan2 keeps full precision near 0 and near pi, where an arc cosine would lose half the digits.
    assert geodesic_angle_rad(R, R @ about(axis, angle)) == pytest.approx(abs(angle), abs=1e-12)
    assert geodesic_angle_rad(about(axis, angle) @ R, R) == pytest.approx(abs(angle), abs=1e-12)


def test_tiny_and_half_turns_and_batches():
    assert geodesic_angle_rad(np.eye(3), about(2, 1e-9)) == pytest.approx(1e-9, rel=1e-6)
    assert geodesic_angle_rad(np.eye(3), np.diag([1.0, -1, -1])) == pytest.approx(np.pi)
    many = geodesic_angle_rad(np.eye(3), np.stack([about(0, a) for a in (0, 0.5, 3)]))
    np.testing.assert_allclose(many, [0, 0.5, 3])


def test_add_by_hand():
    points = np.array([[1, 0, 0], [-1, 0, 0], [np.nan] * 3])
    # Moved only: every point by the same 0.5 m. Half a turn about z: each point 2 m. Unknown points do not count.
    assert add_m(points, np.eye(3), [0, 0.3, 0.4], np.eye(3), [0, 0, 0]) == pytest.approx(0.5)
    assert add_m(points, about(2, np.pi), [0, 0, 0], np.eye(3), [0, 0, 0]) == pytest.approx(2)
    batch = add_m(points, np.stack([np.eye(3)] * 2), [[0, 0, 0], [0, 0, 1]], np.eye(3), np.zeros(3))
    np.testing.assert_allclose(batch, [0, 1])


@pytest.mark.parametrize(
    ('call', 'text'),
    [
        (lambda: mean_error_px(TRUTH, TRUTH[:, :1], VISIBLE), 'truth must have shape (..., K, 2), got (4, 1)'),
        (lambda: rms_error_px(TRUTH[:3], TRUTH, VISIBLE), 'predicted must have shape (4, 2), got (3, 2)'),
        (lambda: pck(TRUTH, TRUTH, VISIBLE[:3], 1), 'visible must have shape (4,), got (3,)'),
        (lambda: oks(TRUTH, TRUTH, VISIBLE, np.ones(3), 1), 'sigmas must have shape (4,), got (3,)'),
        (lambda: oks(TRUTH, TRUTH, VISIBLE, np.ones(4), 0), 'area must be positive, got 0.0'),
        (lambda: geodesic_angle_rad(np.eye(2), np.eye(3)), 'R_a must have shape (..., 3, 3), got (2, 2)'),
        (lambda: geodesic_angle_rad(np.eye(3), np.eye(4)), 'R_b must have shape (..., 3, 3), got (4, 4)'),
        (lambda: add_m(np.zeros((2, 2)), np.eye(3), np.zeros(3), np.eye(3), np.zeros(3)),
         'model_points must have shape (N, 3), got (2, 2)'),
        (lambda: add_m(np.full((2, 3), np.nan), np.eye(3), np.zeros(3), np.eye(3), np.zeros(3)),
         'model_points must have at least one known point, got none'),
        (lambda: add_m(np.zeros((2, 3)), np.eye(3), np.zeros(2), np.eye(3), np.zeros(3)),
         't_estimated must have shape (..., 3), got (2,)'),
        (lambda: add_m(np.zeros((2, 3)), np.eye(3), np.zeros(3), np.eye(2), np.zeros(3)),
         'R_true must have shape (..., 3, 3), got (2, 2)'),
    ],
)  # fmt: skip
def test_refusals(call, text):
    with pytest.raises(ValueError) as error:
        call()
    assert str(error.value) == text
