"""Perspective-n-point: known poses come back, derivatives are derivatives, and both solutions of a plane are found."""

from __future__ import annotations

import numpy as np
import pytest

from custom_pose_ros.core.geometry.rigid import Rigid
from custom_pose_ros.core.geometry.rotations import (
    matrix_from_roll_pitch_yaw,
    matrix_from_rotation_vector,
    rotation_between,
)
from custom_pose_ros.core.orientation.pnp import (
    PointSet,
    initial_poses,
    linearise,
    mirrored_pose,
    refine_poses,
    whitening,
)

PLANE = np.array([[0.53, 0, 0], [0.37, 0.14, 0], [0.37, -0.14, 0], [0, 0, 0]])  # the submarine
SOLID = np.array([[0.3, 0, 0], [0, 0.2, 0], [0, -0.2, 0], [0, 0, 0.25], [-0.2, 0.1, -0.1], [0.1, 0.1, 0.2]])
R_TRUE = matrix_from_roll_pitch_yaw(np.deg2rad([150.0, 25.0, 40.0]))
T_TRUE = np.array([0.15, -0.1, 1.4])
PIXEL = 1 / 600  # of a normalised image: focal length 600 px


def seen(points, R=R_TRUE, t=T_TRUE) -> np.ndarray:
    camera = points @ R.T + t
    return np.ascontiguousarray(camera[:, :2] / camera[:, 2:])


def whiten_for(count: int, sigma: float = PIXEL) -> np.ndarray:
    return np.broadcast_to(np.eye(2) / sigma, (count, 2, 2))


def test_point_set_by_value():
    square = PointSet(np.array([[1.0, 1, 5], [3, 1, 5], [3, 2, 5], [1, 2, 5]]))
    np.testing.assert_allclose(square.centroid, [2, 1.5, 5])
    np.testing.assert_allclose(np.abs(square.normal), [0, 0, 1], atol=1e-12)
    assert square.planar
    assert square.refusal is None
    assert np.linalg.det(square.R_plane_object) == pytest.approx(1.0)
    np.testing.assert_allclose(square.in_plane @ square.R_plane_object + square.centroid, square.points, atol=1e-12)


def test_planar_means_thinner_than_a_fiftieth_of_its_length():
    assert PointSet(PLANE).planar
    assert PointSet(PLANE + [[0, 0, 0.002], [0, 0, 0], [0, 0, 0], [0, 0, 0]]).planar
    assert not PointSet(PLANE + [[0, 0, 0], [0, 0, 0.1], [0, 0, 0], [0, 0, 0]]).planar
    assert not PointSet(SOLID).planar


@pytest.mark.parametrize('count', [0, 1, 2, 3])
def test_too_few_points(count):
    refusal = PointSet(SOLID[:count]).refusal
    assert 'at least 4' in refusal
    assert f'got {count}' in refusal


def test_points_on_one_line():
    line = np.linspace(0, 1, 5)[:, None] * [1.0, 2.0, -1.0]
    assert 'on one line' in PointSet(line).refusal
    assert 'on one line' in PointSet(np.repeat(SOLID[4:5], 5, 0)).refusal  # all in one place
    bent = line.copy()
    bent[2, 0] += 0.1
    assert PointSet(bent).refusal is None


@pytest.mark.parametrize('points', [PLANE, SOLID], ids=['plane', 'solid'])
def test_one_start_is_the_pose_itself(points):
    R, t = initial_poses(PointSet(points), seen(points))
    assert len(R) == 2
    best = min(range(2), key=lambda i: rotation_between(R[i], R_TRUE))
    # exact image points: what is left is the solvers' own arithmetic, far below the basin of the refinement
    assert np.rad2deg(rotation_between(R[best], R_TRUE)) < 0.01
    np.testing.assert_allclose(t[best], T_TRUE, atol=1e-4)


def test_both_starts_of_a_plane_look_alike_from_far_away():
    t_far = np.array([0.3, 0.2, 30.0])
    directions = seen(PLANE, t=t_far)
    R, t = initial_poses(PointSet(PLANE), directions)
    assert len(R) == 2
    assert np.rad2deg(rotation_between(R[0], R[1])) > 20.0
    for i in range(2):
        assert np.abs(seen(PLANE, R[i], t[i]) - directions).max() < 0.2 * PIXEL


def test_start_for_a_plane_with_three_points_on_a_line():
    points = np.array([[0, 0, 0], [0.2, 0, 0], [0.5, 0, 0], [0.2, 0.3, 0]])  # the homography is not defined
    R, t = initial_poses(PointSet(points), seen(points))
    refined, chi2, _ = refine_poses(Rigid(R, t), points, seen(points), whiten_for(4))
    best = int(np.argmin(chi2))
    assert chi2[best] < 1e-6
    assert rotation_between(refined.rotation[best], R_TRUE) < 1e-4


@pytest.mark.parametrize('points', [PLANE, SOLID], ids=['plane', 'solid'])
def test_no_start_when_all_keypoints_coincide(points):
    R, t = initial_poses(PointSet(points), np.zeros((len(points), 2)))
    assert (R.shape, t.shape) == ((0, 3, 3), (0, 3))


@pytest.mark.parametrize('points', [PLANE, SOLID], ids=['plane', 'solid'])
def test_mirrored_pose_keeps_the_centre_and_undoes_itself(points):
    points = PointSet(points)
    R, t = mirrored_pose(points, Rigid(R_TRUE, T_TRUE))
    assert np.linalg.det(R) == pytest.approx(1.0)
    np.testing.assert_allclose(R @ points.centroid + t, R_TRUE @ points.centroid + T_TRUE, atol=1e-12)
    back = mirrored_pose(points, Rigid(R, t))
    np.testing.assert_allclose(back.rotation, R_TRUE, atol=1e-12)
    np.testing.assert_allclose(back.translation, T_TRUE, atol=1e-12)


def test_mirrored_pose_of_a_plane_looks_the_same_from_far_away():
    t_far = np.array([0.0, 0.0, 100.0])
    mirrored = mirrored_pose(PointSet(PLANE), Rigid(R_TRUE, t_far))
    assert rotation_between(mirrored.rotation, R_TRUE) > 0.3
    # perspective is all that differs: size^2 / distance^2 = 0.5^2 / 100^2
    np.testing.assert_allclose(seen(PLANE, *mirrored), seen(PLANE, t=t_far), atol=5e-5)


def test_whitening_makes_covariances_the_identity():
    covariances = np.array([[[4.0, 0], [0, 9]], [[2, 1.2], [1.2, 1]], [[1e-6, -4e-7], [-4e-7, 3e-6]]])
    W = whitening(covariances)
    got = W @ covariances @ W.transpose(0, 2, 1)
    np.testing.assert_allclose(got, np.broadcast_to(np.eye(2), (3, 2, 2)), atol=1e-12)
    np.testing.assert_allclose(W[0], [[1 / 2, 0], [0, 1 / 3]])


def test_residual_is_observed_minus_projected_in_sigmas():
    directions = seen(SOLID) + [2 * PIXEL, -3 * PIXEL]
    residual, _, depth = linearise(Rigid(R_TRUE[None], T_TRUE[None]), SOLID, directions, whiten_for(6))
    np.testing.assert_allclose(residual.reshape(6, 2), np.tile([2.0, -3.0], (6, 1)), atol=1e-9)
    assert depth[0] == pytest.approx((SOLID @ R_TRUE.T + T_TRUE)[:, 2].min())


def test_jacobian_is_the_derivative_of_the_projection():
    rng = np.random.default_rng(3)
    R = matrix_from_rotation_vector(rng.normal(size=(3, 3)))
    t = T_TRUE + rng.normal(size=(3, 3)) * 0.1
    W = whitening(np.broadcast_to(np.array([[2.0, 0.5], [0.5, 1.0]]) * PIXEL**2, (6, 2, 2)))
    poses = Rigid(R, t)
    _, jacobian, _ = linearise(poses, SOLID, seen(SOLID), W)
    h = 1e-6
    for axis in range(6):
        step = np.tile(h * np.eye(6)[axis], (3, 1))
        plus = linearise(poses.moved(step), SOLID, seen(SOLID), W)[0]
        minus = linearise(poses.moved(-step), SOLID, seen(SOLID), W)[0]
        # elements are up to 1e3 sigmas per unit; central differences are good to h^2 and rounding / h = 1e-7
        np.testing.assert_allclose(jacobian[..., axis], (minus - plus) / (2 * h), atol=1e-4)


def test_refinement_recovers_the_pose_from_far_off_for_several_at_once():
    rng = np.random.default_rng(4)
    step = np.concatenate([rng.normal(size=(5, 3)) * 0.05, rng.normal(size=(5, 3)) * 0.1], 1)
    starts = Rigid(np.tile(R_TRUE, (5, 1, 1)), np.tile(T_TRUE, (5, 1))).moved(step)
    (R, t), chi2, information = refine_poses(starts, SOLID, seen(SOLID), whiten_for(6))
    # it stops when a step gains less than 1e-5 of chi-square: 0.003 sigmas of a pixel at the most
    assert chi2.max() < 1e-4
    for i in range(5):
        assert rotation_between(R[i], R_TRUE) < 1e-4
        np.testing.assert_allclose(t[i], T_TRUE, atol=1e-4)
    assert np.linalg.eigvalsh(information).min() > 0.0


def test_information_counts_every_measurement_once():
    """Halving all sigmas gives four times the information; sigma of the depth by hand for a flat square face-on."""
    half, z = 0.1, 2.0
    square = np.array([[half, half, 0], [half, -half, 0], [-half, half, 0], [-half, -half, 0]])
    poses = Rigid(np.eye(3)[None], np.array([[0, 0, z]]))
    directions = seen(square, *poses.at(0))
    full = refine_poses(poses, square, directions, whiten_for(4))[2][0]
    fine = refine_poses(poses, square, directions, whiten_for(4, PIXEL / 2))[2][0]
    np.testing.assert_allclose(fine, 4 * full, rtol=1e-9)
    # x / z moves by half / z^2 per metre of depth, in 8 coordinates: information 8 (half / z^2)^2 / sigma^2
    assert full[2, 2] == pytest.approx(8 * (half / z**2 / PIXEL) ** 2)
    assert full[0, 0] == pytest.approx(4 * (1 / z / PIXEL) ** 2)
    assert full[5, 5] == pytest.approx(8 * (half / z / PIXEL) ** 2)  # rotation about the line of sight


def test_poses_behind_the_camera_are_infinitely_bad():
    R, t = np.stack([R_TRUE, R_TRUE]), np.array([[0.1, 0.0, -2.0], T_TRUE])
    _, chi2, _ = refine_poses(Rigid(R, t), SOLID, seen(SOLID), whiten_for(6))
    assert chi2[1] < 1e-4
    assert chi2[0] == np.inf
