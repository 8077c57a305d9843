"""Orientation from one image: poses by value, refusals, honest covariance, ambiguity, outliers, angles of a face."""

from __future__ import annotations

import numpy as np
import pytest

from custom_pose_ros.core.errors import ConfigError
from custom_pose_ros.core.geometry.camera import CameraIntrinsics
from custom_pose_ros.core.geometry.rigid import Rigid
from custom_pose_ros.core.geometry.rotations import (
    R_BODY_OPTICAL,
    matrix_from_roll_pitch_yaw,
    matrix_from_rotation_vector,
    quaternion_from_matrix,
    rotation_between,
)
from custom_pose_ros.core.keypoints.poses import KeypointPose
from custom_pose_ros.core.object_model import ObjectModel
from custom_pose_ros.core.orientation.orientation_estimator import OrientationEstimator
from custom_pose_ros.core.orientation.solver import (
    OrientationEstimate,
    PoseSolution,
    PoseSolver,
    Refusal,
    chi2_quantile,
    consistent,
)

SUBMARINE = ObjectModel.load('submarine')
FACE = ObjectModel.load('face')
K = np.array([[610.0, 0.0, 322.0], [0.0, 605.0, 238.0], [0.0, 0.0, 1.0]])
CAMERAS = {
    'pinhole': CameraIntrinsics(640, 480, K),
    'plumb_bob': CameraIntrinsics(640, 480, K, [-0.28, 0.09, 0.001, -0.0007, -0.012], 'plumb_bob'),
    'rational': CameraIntrinsics(
        640, 480, K, [0.42, -0.31, 8e-4, -4e-4, 0.05, 0.71, -0.2, 0.03], 'rational_polynomial'
    ),
    'equidistant': CameraIntrinsics(640, 480, K, [-0.02, 0.008, -0.004, 9e-4], 'equidistant'),
    'field of view': CameraIntrinsics.from_fov(640, 480, np.deg2rad(60)),
    'scaled': CameraIntrinsics(1280, 960, 2 * K - np.diag([0, 0, 1]), [-0.28, 0.09, 0, 0], 'plumb_bob').scaled_to(
        640, 480
    ),
}
PINHOLE = CAMERAS['pinhole']
R_FACING = R_BODY_OPTICAL.T @ matrix_from_roll_pitch_yaw([0, 0, np.pi])  # a face that looks straight at the camera
T_FACE = np.array([0.03, -0.02, 0.5])
R_SUBMARINE = matrix_from_roll_pitch_yaw(np.deg2rad([150.0, 25.0, 40.0]))
T_SUBMARINE = np.array([0.1, -0.15, 1.2])


def observed(
    model: ObjectModel,
    R: np.ndarray,
    t: np.ndarray,
    *,
    camera: CameraIntrinsics = PINHOLE,
    hidden=(),
    noise_px=0.0,
    sigma_px: float = 1.0,
    track_id: int | None = None,
) -> KeypointPose:
    """The keypoints of an object in a known pose; noise_px : (K, 2) or 0, added to them."""
    visible = ~np.isin(np.arange(model.keypoint_count), hidden)
    pixels = camera.project(model.model_points @ R.T + t) + noise_px
    return KeypointPose(
        keypoints=np.where(visible[:, None], pixels, np.nan),
        covariances=np.where(visible[:, None, None], sigma_px**2 * np.eye(2), np.nan),
        scores=visible * 0.9,
        visible=visible,
        score=0.9,
        track_id=track_id,
    )


def solved(pose: KeypointPose, model: ObjectModel, camera: CameraIntrinsics = PINHOLE) -> OrientationEstimate:
    solution = PoseSolver(model, camera).solve(pose)
    assert isinstance(solution, PoseSolution), solution
    return solution.to_estimate(model, pose.track_id)


def reason(pose: KeypointPose, model: ObjectModel) -> str:
    refusal = PoseSolver(model, PINHOLE).solve(pose)
    assert isinstance(refusal, Refusal), refusal
    return refusal.reason


def outlier(model: ObjectModel, index: int, distance_px: float = 60.0) -> np.ndarray:
    """(K, 2) errors [px] with one keypoint off by distance_px."""
    noise = np.zeros((model.keypoint_count, 2))
    noise[index] = distance_px * np.array([0.6, -0.8])
    return noise


@pytest.mark.parametrize('camera', CAMERAS.values(), ids=CAMERAS)
@pytest.mark.parametrize(
    ('model', 'R', 't'),
    [
        (SUBMARINE, R_SUBMARINE, T_SUBMARINE),
        (FACE, R_FACING @ matrix_from_roll_pitch_yaw(np.deg2rad([10, -20, 35])), T_FACE),
    ],
    ids=['planar', 'solid'],
)
def test_known_pose_is_recovered(camera, model, R, t):
    estimate = solved(observed(model, R, t, camera=camera, track_id=7), model, camera)
    # exact keypoints: what is left is the stopping rule of the refinement (chi-square 1e-5, 0.003 px)
    assert np.rad2deg(rotation_between(estimate.R_camera_object, R)) < 0.02
    np.testing.assert_allclose(estimate.t_camera_object, t, atol=2e-4)
    assert estimate.reprojection_error_px < 0.01
    assert (estimate.keypoints_used, estimate.track_id) == (model.keypoint_count, 7)
    assert (estimate.outlier_suspected, estimate.coasting) == (False, False)
    np.testing.assert_allclose(estimate.quaternion, quaternion_from_matrix(R), atol=2e-4)


def test_attitudes_all_around_are_recovered():
    rng = np.random.default_rng(0)
    for R in matrix_from_rotation_vector(rng.normal(size=(25, 3)) * 2):
        estimate = solved(observed(FACE, R, T_FACE), FACE)
        assert np.rad2deg(rotation_between(estimate.R_camera_object, R)) < 0.05


def test_reprojection_error_is_in_image_pixels():
    shift = np.tile([3.0, 0.0], (6, 1)) * [[1], [-1], [1], [-1], [1], [-1]]
    estimate = solved(observed(FACE, R_FACING, T_FACE, noise_px=shift, sigma_px=3.0), FACE)
    model_points = estimate.pose.apply(FACE.model_points)
    misses = PINHOLE.project(model_points) - observed(FACE, R_FACING, T_FACE, noise_px=shift).keypoints
    assert estimate.reprojection_error_px == pytest.approx(np.sqrt((misses**2).sum(1).mean()), rel=1e-9)
    assert 1.0 < estimate.reprojection_error_px < 3.0  # the fit takes up some of the 3 px, not all


@pytest.mark.parametrize(('hidden', 'count'), [((0, 1, 2, 3, 4, 5), 0), ((1, 2, 3, 4), 2), ((0, 1, 2), 3)])
def test_fewer_than_four_keypoints(hidden, count):
    assert (
        reason(observed(FACE, R_FACING, T_FACE, hidden=hidden), FACE)
        == f'needs at least 4 visible keypoints with a known position, got {count}'
    )


def test_keypoints_that_are_not_finite_are_not_used():
    pose = observed(FACE, R_FACING, T_FACE)
    pose.keypoints[0] = np.nan
    pose.keypoints[1, 1] = np.inf
    estimate = solved(pose, FACE)
    assert estimate.keypoints_used == 4
    assert np.rad2deg(rotation_between(estimate.R_camera_object, R_FACING)) < 0.1
    pose.keypoints[2] = np.nan
    assert reason(pose, FACE) == 'needs at least 4 visible keypoints with a known position, got 3'


def test_keypoints_on_one_line_of_the_object():
    points = np.array([[0, 0, 0], [0.1, 0, 0], [0.2, 0, 0], [0.4, 0, 0], [0, 0.2, 0]])
    stick = ObjectModel('stick', ('a', 'b', 'c', 'd', 'e'), (), np.full(5, 0.05), model_points=points)
    pose = observed(stick, R_SUBMARINE, T_SUBMARINE, hidden=(4,))
    expected = 'the visible keypoints lie on one line of the object: the rotation about it cannot be seen'
    assert reason(pose, stick) == expected
    assert solved(observed(stick, R_SUBMARINE, T_SUBMARINE), stick).keypoints_used == 5


def test_keypoints_that_coincide():
    pose = observed(SUBMARINE, R_SUBMARINE, T_SUBMARINE)
    pose.keypoints[:] = [322.0, 238.0]
    assert reason(pose, SUBMARINE) == 'no pose with every keypoint in front of the camera explains the image'


def test_an_object_that_reaches_behind_the_camera():
    """The pinhole formula gives such points pixels, on the wrong side; no pose in front explains them."""
    rng, pose, tried = np.random.default_rng(0), observed(FACE, R_FACING, T_FACE), 0
    for R in matrix_from_rotation_vector(rng.normal(size=(20, 3)) * 2):
        points = FACE.model_points @ R.T + [0.05, 0.02, 0.02]
        if points[:, 2].min() < 0.0:
            pose.keypoints[:] = ((points / points[:, 2:]) @ K.T)[:, :2]
            assert reason(pose, FACE) == 'no pose with every keypoint in front of the camera explains the image'
            tried += 1
    assert tried > 10


def test_pixels_out_of_reach_of_the_lens_are_left_out():
    camera = CameraIntrinsics(640, 480, K, [-0.28, 0, 0, 0], 'plumb_bob')
    pose = observed(FACE, R_FACING, T_FACE, camera=camera)
    pose.keypoints[1] = [3000.0, 238.0]
    estimate = solved(pose, FACE, camera)
    assert estimate.keypoints_used == 5
    assert np.rad2deg(rotation_between(estimate.R_camera_object, R_FACING)) < 0.1


def test_another_number_of_keypoints_is_a_programming_error():
    with pytest.raises(ValueError, match='pose must have the 6 keypoints of face, got 4'):
        PoseSolver(FACE, PINHOLE).solve(observed(SUBMARINE, R_SUBMARINE, T_SUBMARINE))


def test_objects_without_geometry():
    with pytest.raises(ConfigError, match=r"object 'human18' has no model_points: add them to its object.yaml"):
        PoseSolver(ObjectModel.load('human18'), PINHOLE)
    flat = ObjectModel('bar', tuple('abcd'), (), np.full(4, 0.05), model_points=np.outer(np.arange(4), [0.1, 0, 0]))
    with pytest.raises(ConfigError, match="object 'bar': model_points: the visible keypoints lie on one line"):
        PoseSolver(flat, PINHOLE)


def test_points_without_a_known_position_are_not_used():
    points = np.vstack([FACE.model_points, [[np.nan] * 3]])
    model = ObjectModel('f', tuple('abcdefg'), (), np.full(7, 0.05), model_points=points)
    pose = observed(model, R_FACING, T_FACE)
    pose.keypoints[6] = [5.0, 5.0]
    estimate = solved(pose, model)
    assert estimate.keypoints_used == 6
    assert not estimate.outlier_suspected


def test_unusable_covariances_count_as_one_pixel():
    good = solved(observed(FACE, R_FACING, T_FACE, sigma_px=1.0), FACE)
    for bad in (np.full((2, 2), np.nan), np.zeros((2, 2)), -np.eye(2), np.ones((2, 2))):
        pose = observed(FACE, R_FACING, T_FACE)
        pose.covariances[:] = bad
        np.testing.assert_allclose(solved(pose, FACE).covariance, good.covariance, rtol=1e-6)


def test_a_keypoint_counts_by_its_covariance():
    noise = outlier(FACE, 1, 4.0)
    sure = observed(FACE, R_FACING, T_FACE, noise_px=noise)
    doubtful = observed(FACE, R_FACING, T_FACE, noise_px=noise)
    doubtful.covariances[1] = 400.0 * np.eye(2)
    errors = [rotation_between(solved(pose, FACE).R_camera_object, R_FACING) for pose in (sure, doubtful)]
    assert errors[1] < 0.1 * errors[0]


@pytest.mark.parametrize('lens', ['pinhole', 'plumb_bob', 'equidistant'])
def test_covariance_is_honest(lens):
    """Normalised estimation error squared over its 6 degrees of freedom is 1 when the covariance is true."""
    rng, camera = np.random.default_rng(2), CAMERAS[lens]
    solver = PoseSolver(FACE, camera)
    R = R_FACING @ matrix_from_roll_pitch_yaw(np.deg2rad([5, 10, -25]))
    sigma = np.array([[1.2, 0.4], [0.4, 0.6]])  # px^2
    factor, values = np.linalg.cholesky(sigma), []
    for _ in range(120):
        pose = observed(FACE, R, T_FACE, camera=camera, noise_px=rng.normal(size=(6, 2)) @ factor.T)
        pose.covariances[:] = sigma
        estimate = solver.solve(pose).to_estimate(solver.model)
        error = estimate.pose.step_to(Rigid(R, T_FACE))
        values.append(error @ np.linalg.solve(estimate.covariance, error))
    # the mean of 120 has a standard deviation of 0.05; the inflation by misfit, never below 1, pulls it under 1
    assert 0.7 < np.mean(values) / 6 < 1.5


def test_covariance_grows_with_the_misfit():
    pose = observed(FACE, R_FACING, T_FACE, noise_px=np.random.default_rng(5).normal(size=(6, 2)), sigma_px=0.5)
    solution = PoseSolver(FACE, PINHOLE).solve(pose)
    freedom = 2 * 6 - 6
    assert solution.misfit == pytest.approx((4 + solution.chi2[0]) / (4 + freedom))
    assert solution.misfit > 1.3  # the noise is twice what the covariances say
    np.testing.assert_allclose(solution.covariance @ solution.information[0] / solution.misfit, np.eye(6), atol=1e-6)


def test_far_plane_is_ambiguous_and_says_both():
    t_far = np.array([0.5, 0.3, 15.0])
    estimate = solved(observed(SUBMARINE, R_SUBMARINE, t_far), SUBMARINE)
    assert estimate.ambiguity > 0.95
    candidates = [estimate.pose.rotation, estimate.alternative.rotation]
    assert min(np.rad2deg(rotation_between(R, R_SUBMARINE)) for R in candidates) < 3.0  # 0.003 px of 22 px
    assert np.rad2deg(apart := rotation_between(*candidates)) > 30.0
    other = PINHOLE.project(estimate.alternative.apply(SUBMARINE.model_points))
    seen = observed(SUBMARINE, R_SUBMARINE, t_far).keypoints
    assert np.abs(other - seen).max() < 0.5  # px, of covariances of 1 px^2
    # half the probability is that far away, so the covariance over both has to reach it
    assert np.sqrt(np.trace(estimate.covariance[3:, 3:])) > 0.6 * apart


def test_near_plane_is_hardly_ambiguous():
    estimate = solved(observed(SUBMARINE, R_SUBMARINE, T_SUBMARINE, sigma_px=0.5), SUBMARINE)
    assert estimate.ambiguity < 1e-3


@pytest.mark.parametrize('distance_m', [0.4, 1.0])
def test_solid_object_is_not_ambiguous(distance_m):
    estimate = solved(observed(FACE, R_FACING, [0.0, 0.0, distance_m]), FACE)
    assert estimate.ambiguity == 0.0
    assert estimate.alternative is None


@pytest.mark.parametrize('index', range(6))
def test_one_wrong_keypoint_of_six_is_rejected_and_flagged(index):
    rng = np.random.default_rng(10 + index)
    noise = outlier(FACE, index) + 0.3 * rng.normal(size=(6, 2))
    solution = PoseSolver(FACE, PINHOLE).solve(observed(FACE, R_FACING, T_FACE, noise_px=noise, sigma_px=0.5))
    assert solution.outlier_suspected
    assert np.flatnonzero(~solution.used).tolist() == [index]
    estimate = solution.to_estimate(FACE)
    assert (estimate.keypoints_used, estimate.outlier_suspected) == (5, True)
    error = estimate.pose.step_to(Rigid(R_FACING, T_FACE))
    assert np.sqrt(error @ np.linalg.solve(estimate.covariance, error)) < 4.1  # 99 % of 6 degrees of freedom


def test_the_wrong_one_of_sixty_keypoints_is_found_without_trying_all():
    random = np.random.default_rng(0)
    points = {f'k{i}': [float(v) for v in point] for i, point in enumerate(0.3 * random.normal(size=(60, 3)))}
    model = ObjectModel.from_dict({'name': 'many', 'keypoints': [*points], 'skeleton': [], 'model_points': points})
    solver, tried = PoseSolver(model, PINHOLE), []
    solve_observation = solver.solve_observation
    solver.solve_observation = lambda observation: tried.append(1) or solve_observation(observation)  # type: ignore
    for index in range(0, 60, 12):
        noise = outlier(model, index) + random.normal(size=(60, 2))
        solution = solver.solve(observed(model, R_SUBMARINE, T_SUBMARINE * 3, noise_px=noise))
        np.testing.assert_array_equal(solution.used, np.arange(60) != index)
    assert len(tried) == 5 * 7  # all of them first, then six; each of the sixty took 0.1 to 0.2 s


def test_one_wrong_keypoint_of_four_can_only_be_flagged():
    solution = PoseSolver(SUBMARINE, PINHOLE).solve(
        observed(SUBMARINE, R_SUBMARINE, T_SUBMARINE, noise_px=outlier(SUBMARINE, 1))
    )
    assert solution.outlier_suspected
    assert solution.used.all()
    exact = PoseSolver(SUBMARINE, PINHOLE).solve(observed(SUBMARINE, R_SUBMARINE, T_SUBMARINE))
    assert not exact.outlier_suspected
    assert solution.misfit > 10.0 * exact.misfit  # and the covariance says so


def test_two_wrong_keypoints_are_flagged_and_none_is_blamed():
    noise = outlier(FACE, 2) - 1.3 * outlier(FACE, 5)
    solution = PoseSolver(FACE, PINHOLE).solve(observed(FACE, R_FACING, T_FACE, noise_px=noise, sigma_px=0.5))
    assert solution.outlier_suspected
    assert solution.used.all()


def test_noise_as_announced_is_no_outlier():
    rng, solver = np.random.default_rng(11), PoseSolver(FACE, PINHOLE)
    for _ in range(50):
        assert not solver.solve(observed(FACE, R_FACING, T_FACE, noise_px=rng.normal(size=(6, 2)))).outlier_suspected


@pytest.mark.parametrize(('freedom', 'exact'), [(2, 13.81), (4, 18.46), (6, 22.45), (30, 59.68)])
def test_chi_square_quantiles(freedom, exact):
    assert chi2_quantile(freedom) == pytest.approx(exact, rel=0.025)  # of the approximation at its worst, 2 degrees
    keypoints = freedom // 2 + 3
    assert consistent(4.0 * exact * 0.97, keypoints)
    assert not consistent(4.0 * exact * 1.03, keypoints)


def test_estimator_gives_one_estimate_for_each_pose_and_keeps_the_reasons():
    estimator = OrientationEstimator(FACE, PINHOLE, smoothing=False)
    poses = [
        observed(FACE, R_FACING, T_FACE, track_id=3),
        observed(FACE, R_FACING, T_FACE, hidden=(0, 1, 2), track_id=4),
        observed(FACE, R_FACING, T_FACE + [0.1, 0, 0.3], track_id=5),
    ]
    estimates = estimator.update(poses, 0.0)
    assert [estimate.track_id for estimate in estimates] == [3, 5]
    np.testing.assert_allclose(estimates[1].t_camera_object, T_FACE + [0.1, 0, 0.3], atol=2e-4)
    assert estimator.refusals == [(4, 'needs at least 4 visible keypoints with a known position, got 3')]
    assert estimator.update([], 0.1) == []
    assert estimator.refusals == []


@pytest.mark.parametrize('frame', ['map', np.eye(2), np.diag([1.0, 1.0, -1.0]), 2 * np.eye(3)])
def test_unknown_reference_frames(frame):
    with pytest.raises(ConfigError, match='reference_frame: wanted '):
        OrientationEstimator(FACE, PINHOLE, reference_frame=frame)


def face_angles_deg(R_body_face: np.ndarray) -> np.ndarray:
    """Roll, pitch, yaw [deg] that are read for a face with this attitude in the camera body frame."""
    pose = observed(FACE, R_BODY_OPTICAL.T @ R_body_face, T_FACE)
    (estimate,) = OrientationEstimator(FACE, PINHOLE, smoothing=False, reference_frame='camera_body').update(
        [pose], 0.0
    )
    return np.rad2deg(estimate.roll_pitch_yaw)


# Columns are the face's axes (out of the face, its own left, up) in camera body axes (forward, left, up).
STRAIGHT = np.array([[-1.0, 0, 0], [0, -1, 0], [0, 0, 1]])


def test_a_face_that_looks_straight_at_the_camera_reads_zero():
    np.testing.assert_allclose(face_angles_deg(STRAIGHT), 0.0, atol=0.05)  # deg, the refinement's stopping rule


@pytest.mark.parametrize(
    ('gaze', 'top', 'expected'),
    [
        # camera body axes: x away from the camera, y to the left of the image, z up
        ([-np.cos(0.5), -np.sin(0.5), 0], [0, 0, 1], [0, 0, 0.5]),  # to its own left, the right of the image
        ([-np.cos(0.5), np.sin(0.5), 0], [0, 0, 1], [0, 0, -0.5]),
        ([-np.cos(0.3), 0, np.sin(0.3)], [np.sin(0.3), 0, np.cos(0.3)], [0, 0.3, 0]),  # up
        ([-np.cos(0.3), 0, -np.sin(0.3)], [-np.sin(0.3), 0, np.cos(0.3)], [0, -0.3, 0]),
        ([-1, 0, 0], [0, -np.sin(0.4), np.cos(0.4)], [0.4, 0, 0]),  # leaning to its own left shoulder
        ([-1, 0, 0], [0, np.sin(0.4), np.cos(0.4)], [-0.4, 0, 0]),
    ],
    ids=['own left', 'own right', 'up', 'down', 'left shoulder', 'right shoulder'],
)
def test_signs_of_a_face_as_its_object_file_says(gaze, top, expected):
    R_body_face = np.column_stack([gaze, np.cross(top, gaze), top])
    np.testing.assert_allclose(face_angles_deg(R_body_face), np.rad2deg(expected), atol=0.05)


def test_a_facing_head_looks_as_expected_in_the_image():
    nose, chin, left_eye, right_eye, left_mouth, _ = observed(FACE, R_FACING, [0, 0, 0.5]).keypoints
    assert left_eye[0] > nose[0] > right_eye[0]  # not mirrored
    assert left_eye[1] < nose[1] < left_mouth[1] < chin[1]
    R = R_FACING @ matrix_from_roll_pitch_yaw([0, 0, np.deg2rad(30)])  # turned to its own left
    nose, _, left_eye, right_eye, _, _ = observed(FACE, R, [0, 0, 0.5]).keypoints
    assert nose[0] > (left_eye[0] + right_eye[0]) / 2 + 5.0  # the nose points to the right of the image


def test_face_is_an_adult_in_metres_and_mirrors_itself():
    eyes = FACE.model_points[[2, 3]]
    assert 0.08 < np.linalg.norm(eyes[0] - eyes[1]) < 0.1  # between the outer corners
    np.testing.assert_array_equal(
        FACE.model_points[FACE.flip_order], FACE.model_points * [1, -1, 1]
    )  # swaps are mirror images
    joined = {frozenset(edge) for edge in FACE.skeleton}
    assert {frozenset(FACE.flip_order[list(edge)].tolist()) for edge in FACE.skeleton} == joined
