"""The Gaussian-sum filter of one instance: choice between mirrored poses, smoothing, outliers, noise."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import simulated_tracks as simulation

from custom_pose_ros.core.geometry.rigid import Rigid
from custom_pose_ros.core.geometry.rotations import (
    matrix_from_roll_pitch_yaw,
    matrix_from_rotation_vector,
    rotation_between,
    rotation_vector_from_matrix,
)
from custom_pose_ros.core.orientation.filter import FilteredPose, PoseFilter
from custom_pose_ros.core.orientation.filter_models import FilterParameters, KeypointNoise
from custom_pose_ros.core.orientation.solver import Observation, PoseSolution, PoseSolver

PLANAR = PoseSolver(simulation.planar_submarine(), simulation.CAMERA)
SOLID = PoseSolver(simulation.six_point_submarine(), simulation.CAMERA)
R = simulation.R_FROM_ABOVE @ matrix_from_roll_pitch_yaw(np.deg2rad([20.0, 10.0, 50.0]))
STEP_S = 1.0 / simulation.RATE_HZ


def still(distance_m: float, frames: int = 1) -> simulation.Track:
    """Return a track that does not move."""
    stamps = np.arange(frames) * STEP_S
    return simulation.Track(stamps, np.tile(R, (frames, 1, 1)), np.tile([0.1, -0.1, distance_m], (frames, 1)))


def observed(solver: PoseSolver, track: simulation.Track, noise_px: float, seed: int = 0) -> list[Observation]:
    poses = simulation.observe_track(solver.model, track, noise_px, seed)
    observations = [solver.observe(pose) for pose in poses]
    assert all(isinstance(observation, Observation) for observation in observations)
    return observations


def started(solver: PoseSolver, observation: Observation, **parameters: float) -> PoseFilter:
    solution = solver.solve_observation(observation)
    assert isinstance(solution, PoseSolution)
    pose_filter = PoseFilter(solver.shape, solver.model.keypoint_count, FilterParameters(**parameters))
    pose_filter.start(solution)
    return pose_filter


def nees(pose: FilteredPose, R: np.ndarray, t: np.ndarray) -> float:
    """Return the normalised estimation error squared, 6 degrees of freedom."""
    error = pose.pose.step_to(Rigid(R, t))
    return float(error @ np.linalg.solve(pose.covariance, error))


def test_the_first_estimate_is_the_solution_of_the_image():
    track = still(1.5)
    (observation,) = observed(SOLID, track, 0.5)
    solution = SOLID.solve_observation(observation)
    pose = started(SOLID, observation).result()
    assert rotation_between(pose.pose.rotation, solution.poses.rotation[0]) < 1e-9
    np.testing.assert_allclose(pose.pose.translation, solution.poses.translation[0], atol=1e-9)
    np.testing.assert_allclose(pose.covariance, solution.covariance, rtol=1e-6, atol=1e-12)
    assert (pose.ambiguity, pose.alternative) == (0.0, None)


def test_one_image_of_a_far_plane_leaves_it_open_and_the_covariance_covers_both():
    track = still(6.0)
    ambiguities, covered, nearest = [], [], []
    for seed in range(60):
        (observation,) = observed(PLANAR, track, 1.0, seed)
        pose = started(PLANAR, observation).result()
        ambiguities.append(pose.ambiguity)
        if pose.alternative is None:
            continue
        nearest.append(min(rotation_between(pose.pose.rotation, R), rotation_between(pose.alternative.rotation, R)))
        error = rotation_vector_from_matrix(R @ pose.pose.rotation.T)
        covered.append(error @ np.linalg.solve(pose.covariance[3:, 3:], error) < simulation.CHI2_99)
    assert np.median(ambiguities) > 0.5
    assert len(covered) > 50
    assert np.median(nearest) < np.deg2rad(10.0)
    assert np.mean(covered) >= 0.9  # two curved modes are not one Gaussian: not the full 99 %


def test_motion_tells_which_of_the_two_is_true():
    track = simulation.simulate_track(0, 3.0, 90)
    observations = observed(PLANAR, track, 1.0)
    pose_filter = started(PLANAR, observations[0])
    for observation in observations[1:]:
        pose_filter.predict(STEP_S)
        pose_filter.correct(observation)
    pose = pose_filter.result()
    assert rotation_between(pose.pose.rotation, track.R[-1]) < np.deg2rad(5.0)
    assert pose.ambiguity < 0.01


def test_the_likelier_attitude_is_published_where_a_light_hypothesis_lies_between_both():
    """It had the best support, as both are its neighbours, and the one that is not its mirror image was published."""
    pose_filter = started(PLANAR, *observed(PLANAR, still(1.5), 0.5))
    now = pose_filter.hypotheses.select([0, 0, 0])
    tilts = matrix_from_rotation_vector(np.deg2rad([[16.0, 0.0, 0.0], [-16.0, 0.0, 0.0], [-1.0, 0.0, 0.0]]))
    now.R, now.centre = tilts @ simulation.R_FROM_ABOVE, np.tile([0.0, 0.0, 1.5], (3, 1))
    now.weights = np.array([0.55, 0.44, 0.01])
    pose_filter.hypotheses = now
    pose = pose_filter.result()
    assert rotation_between(pose.pose.rotation, now.R[0]) < np.deg2rad(1.0)
    assert rotation_between(pose.alternative.rotation, now.R[1]) < np.deg2rad(1.0)
    assert pose.ambiguity == pytest.approx(0.45 / 0.55)


def test_what_does_not_move_is_averaged():
    track = still(2.0, 60)
    observations = observed(SOLID, track, 1.0)
    pose_filter = started(SOLID, observations[0])
    first = pose_filter.result()
    for observation in observations[1:]:
        pose_filter.predict(STEP_S)
        pose_filter.correct(observation)
    last = pose_filter.result()
    gain = np.linalg.det(last.covariance) / np.linalg.det(first.covariance)
    assert gain < 0.5**6  # about a third of the standard deviation, six times
    assert nees(last, R, track.t[0]) < 16.8  # 99 % of chi-square with 6 degrees of freedom


def test_uncertainty_grows_while_time_passes_and_the_pose_goes_on():
    track = simulation.simulate_track(2, 2.0, 60)
    observations = observed(SOLID, track, 0.5)
    pose_filter = started(SOLID, observations[0])
    for observation in observations[1:40]:
        pose_filter.predict(STEP_S)
        pose_filter.correct(observation)
    volumes = []
    for i in range(40, 50):  # a third of a second unseen
        pose_filter.predict(STEP_S)
        pose = pose_filter.result()
        volumes.append(np.linalg.slogdet(pose.covariance)[1])
        assert nees(pose, track.R[i], track.t[i]) < 16.8
    assert (np.diff(volumes) > 0.1).all()
    turned = rotation_between(track.R[39], track.R[49])
    assert turned > np.deg2rad(8.0)  # standing still would have been wrong
    assert rotation_between(pose.pose.rotation, track.R[49]) < 0.3 * turned


@pytest.mark.parametrize('index', range(6))
def test_a_wrong_keypoint_is_named_and_nothing_is_taken_in(index):
    track = still(2.0, 20)
    observations = observed(SOLID, track, 1.0)
    pose_filter = started(SOLID, observations[0])
    for observation in observations[1:-1]:
        pose_filter.predict(STEP_S)
        assert not pose_filter.correct(observation).any()
    pose_filter.predict(STEP_S)
    before = pose_filter.result()
    directions = observations[-1].directions.copy()
    directions[index, 0] += 60.0 / 554.0
    wrong = pose_filter.correct(dataclasses.replace(observations[-1], directions=directions))
    np.testing.assert_array_equal(wrong, np.arange(6) == index)
    np.testing.assert_array_equal(pose_filter.result().pose.rotation, before.pose.rotation)
    np.testing.assert_array_equal(pose_filter.result().covariance, before.covariance)


@pytest.mark.parametrize('factor', [0.5, 2.0])
def test_the_noise_is_learnt_from_what_the_keypoints_do(factor):
    track = still(2.0, 150)
    observations = observed(SOLID, track, 1.0)
    claimed = [dataclasses.replace(o, whiten=o.whiten * factor) for o in observations]
    pose_filter = started(SOLID, claimed[0])
    for observation in claimed[1:]:
        pose_filter.predict(STEP_S)
        pose_filter.correct(observation)
    # The memory is 200 degrees of freedom: a standard deviation of 10 % of the variance.
    assert pose_filter.noise.scale == pytest.approx(factor**2, rel=0.3)


def test_a_new_error_is_noticed_although_errors_are_repeated():
    track = still(2.0, 90)
    poses = simulation.observe_track(SOLID.model, track, 1.0, 0, lasts_s=1.0)
    observations = [SOLID.observe(pose) for pose in poses]
    pose_filter = started(SOLID, observations[0])
    for observation in observations[1:-1]:
        pose_filter.predict(STEP_S)
        assert not pose_filter.correct(observation).any()
    assert pose_filter.noise.persistence > 5.0
    pose_filter.predict(STEP_S)
    directions = observations[-1].directions.copy()
    directions[3, 1] += 15.0 / 554.0  # it would pass where single errors were taken to be as large as repeated ones
    wrong = pose_filter.correct(dataclasses.replace(observations[-1], directions=directions))
    assert wrong[3]


def test_where_errors_last_the_newest_image_counts_like_the_first():
    """
    The best weights for a mean of errors whose correlation fades by a share r from each image to the next.

    They are 1 for the first and the last, 1 - r for those between; the state has taken in 1 - r of the last one.
    """
    observations = observed(SOLID, still(2.0, 90), 0.05)  # the first is forgotten
    pose_filter = started(SOLID, observations[0])
    for observation in observations[1:]:
        pose_filter.noise = KeypointNoise(SOLID.model.keypoint_count)
        pose_filter.noise.begin(STEP_S)
        pose_filter.predict(STEP_S)
        assert not pose_filter.correct(observation).any()
    taken_in, published = (
        np.linalg.inv(pose_filter._covariance_about(now, pose_filter.result().pose))
        for now in (pose_filter.hypotheses, pose_filter._published)
    )
    solution = SOLID.solve_observation(observations[-1])
    repeated = np.exp(-STEP_S / 0.1) * np.exp(-STEP_S / 0.5)  # what is expected at first, faded with the horizon
    whole = solution.information[0] / (1.0 + repeated)
    share = np.trace(np.linalg.solve(whole, published - taken_in)) / 6.0
    assert share == pytest.approx(repeated, rel=0.02)  # the pose of the image is not quite that of the state


def test_no_more_hypotheses_than_allowed():
    observations = observed(PLANAR, simulation.simulate_track(1, 4.0, 40), 2.0)
    for most in (2, 4, 6):
        pose_filter = started(PLANAR, observations[0], max_hypotheses=most)
        counts = []
        for observation in observations[1:]:
            pose_filter.predict(STEP_S)
            pose_filter.correct(observation)
            counts.append(len(pose_filter.hypotheses))
            assert pose_filter.hypotheses.weights.sum() == pytest.approx(1.0)
        assert 2 <= max(counts) <= most


def test_covariances_stay_symmetric_and_positive():
    observations = observed(PLANAR, simulation.simulate_track(3, 4.0, 120), 1.0)
    pose_filter = started(PLANAR, observations[0])
    for observation in observations[1:]:
        pose_filter.predict(STEP_S)
        pose_filter.correct(observation)
        covariance = pose_filter.hypotheses.covariance
        np.testing.assert_allclose(covariance, covariance.transpose(0, 2, 1), atol=1e-15)
        scale = np.sqrt(covariance.diagonal(0, 1, 2))
        assert np.linalg.eigvalsh(covariance / (scale[:, :, None] * scale[:, None])).min() > 0.0
