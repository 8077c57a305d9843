"""No impossible pose comes out, whatever goes in: behind the camera, no covariance, not finite, one id twice."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import simulated_tracks as simulation
from hypothesis import given, settings
from hypothesis import strategies as st

from custom_pose_ros.core.geometry.rigid import Rigid
from custom_pose_ros.core.keypoints.poses import KeypointPose
from custom_pose_ros.core.orientation.estimate import OrientationEstimate
from custom_pose_ros.core.orientation.hypotheses import STATE_SIZE, Hypotheses
from custom_pose_ros.core.orientation.orientation_estimator import OrientationEstimator

MODELS = simulation.planar_submarine(), simulation.six_point_submarine()
HARM = ('none', 'one point', 'a line', 'far outside', 'anywhere', 'not a number', 'infinite', 'no keypoints')
COVARIANCE = ('usual', 'nan', 'zero', 'negative', 'not positive', 'tiny', 'thin', 'huge', 'not symmetric')
MATRICES = {
    'nan': np.full((2, 2), np.nan), 'zero': np.zeros((2, 2)), 'negative': -np.eye(2), 'tiny': 1e-300 * np.eye(2),
    'not positive': np.array([[1.0, 5.0], [5.0, 1.0]]), 'thin': np.diag([1e12, 1e-12]), 'huge': 1e12 * np.eye(2),
    'not symmetric': np.array([[2.0, 1.0], [-1.0, 2.0]]),
}  # fmt: skip
FRAMES = st.lists(
    st.tuples(
        st.sampled_from(HARM),
        st.sampled_from(COVARIANCE),
        st.sampled_from([1e-9, 1e-6, 1 / 30, 0.2, 0.49, 3.0, 1e6, 0.0, -1.0]),
        st.sampled_from([None, 0, 0, 0, 1, -5, 2**31 - 1]),
        st.integers(1, 2),
    ),
    min_size=1,
    max_size=15,
)


def harmed(pose: KeypointPose, harm: str, covariance: str, random: np.random.Generator) -> KeypointPose:
    """Return what a damaged or hostile detector might send instead."""
    pixels, count = pose.keypoints.copy(), len(pose.keypoints)
    if harm == 'one point':
        pixels[:] = pixels[0]
    elif harm == 'a line':
        pixels = np.outer(np.arange(count), [3.0, 1.0]) + 50.0
    elif harm == 'far outside':
        pixels *= 10.0 ** random.uniform(0, 6)
    elif harm == 'anywhere':
        pixels = random.uniform(0, 640, pixels.shape)
    elif harm in ('not a number', 'infinite'):
        pixels[random.integers(count)] = np.nan if harm == 'not a number' else np.inf
    visible = np.full(count, harm != 'no keypoints')
    covariances = pose.covariances if covariance == 'usual' else np.tile(MATRICES[covariance], (count, 1, 1))
    return replace(pose, keypoints=pixels, covariances=covariances, visible=visible)


def assert_possible(estimates: list[OrientationEstimate]) -> None:
    ids = [estimate.track_id for estimate in estimates if estimate.track_id is not None]
    assert len(ids) == len(set(ids))
    for estimate in estimates:
        assert np.isfinite(estimate.pose.rotation).all()
        np.testing.assert_allclose(estimate.pose.rotation @ estimate.pose.rotation.T, np.eye(3), atol=1e-6)
        assert estimate.pose.translation[2] > 0.0
        assert np.isfinite(estimate.pose.translation).all()
        np.testing.assert_array_equal(estimate.covariance, estimate.covariance.T)
        sigma = np.sqrt(estimate.covariance.diagonal())
        np.linalg.cholesky(estimate.covariance / np.outer(sigma, sigma))  # raises where it is not positive definite
        assert estimate.coasting or estimate.reprojection_error_px >= 0.0


@settings(max_examples=40, deadline=None, derandomize=True)
@given(frames=FRAMES, model=st.sampled_from(MODELS), smoothing=st.booleans(), seed=st.integers(0, 1000))
def test_whatever_goes_in_a_pose_that_comes_out_is_possible(frames, model, smoothing, seed):
    random = np.random.default_rng(seed)
    track = simulation.simulate_track(seed, 10.0 ** random.uniform(-0.3, 1.0), len(frames))
    estimator = OrientationEstimator(model, simulation.CAMERA, smoothing=smoothing)
    stamp = 0.0
    seen = simulation.observe_track(model, track, 1.0, seed)
    for pose, (harm, covariance, step_s, track_id, copies) in zip(seen, frames):
        stamp += step_s
        assert_possible(
            estimator.update([harmed(pose, harm, covariance, random).with_track_id(track_id)] * copies, stamp)
        )


@pytest.mark.parametrize('smoothing', [False, True])
def test_of_two_poses_with_one_id_the_first_is_used_and_the_other_counted(smoothing):
    track = simulation.simulate_track(2, 2.0, 3)
    estimator = OrientationEstimator(MODELS[1], simulation.CAMERA, smoothing=smoothing)
    for pose, stamp, R in zip(simulation.observe_track(MODELS[1], track, 1.0, 2), track.stamps, track.R):
        other = replace(pose, keypoints=pose.keypoints[::-1])
        (estimate,) = estimator.update([pose, other], stamp)
        assert simulation.rotation_error(estimate, R)[0] < 10.0
        assert estimator.refusals == [(0, 'another pose in the image has the same track id')]
    assert estimator.withheld == 3


def possible(**changes) -> OrientationEstimate:
    estimate = OrientationEstimate(
        pose=Rigid(np.eye(3), np.array([0.0, 0.0, 1.0])), covariance=np.diag([1e-4] * 3 + [1e-2] * 3),
        reprojection_error_px=0.5, ambiguity=0.0, keypoints_used=6,
    )  # fmt: skip
    return replace(estimate, **changes)


@pytest.mark.parametrize(
    ('changes', 'reason'),
    [
        ({}, None),
        ({'reprojection_error_px': np.nan}, 'the pose is not finite'),
        ({'reprojection_error_px': np.nan, 'keypoints_used': 0}, None),  # predicted
        ({'pose': Rigid(np.eye(3), np.array([0.0, np.inf, 1.0]))}, 'the pose is not finite'),
        ({'alternative': Rigid(np.full((3, 3), np.nan), np.zeros(3))}, 'the pose is not finite'),
        ({'covariance': np.full((6, 6), np.nan)}, 'the pose is not finite'),
        ({'pose': Rigid(np.eye(3), np.array([0.0, 0.0, -1.0]))}, 'the object would be behind the camera'),
        ({'covariance': np.diag([1e-4] * 5 + [0.0])}, 'the covariance is not positive definite'),
        ({'covariance': np.diag([1e-4] * 5 + [-1e-9])}, 'the covariance is not positive definite'),
        ({'covariance': np.ones((6, 6))}, 'the covariance is not positive definite'),
    ],
)
def test_why_an_estimate_is_impossible(changes, reason):
    assert possible(**changes).impossibility == reason


def test_a_camera_between_the_parts_of_an_object_sees_a_possible_pose():
    """The origin is 0.1 m behind the camera, the middle of the keypoints before it; predicted so, it would be lost."""
    model = simulation.six_point_submarine()
    R = np.array([[0.0, -1.0, 0.0], [0.0, 0.0, -1.0], [1.0, 0.0, 0.0]])  # its x axis away from the camera
    pose = Rigid(R, np.array([0.0, 0.0, -0.1]))
    assert possible(pose=pose, model=model).impossibility is None
    assert possible(pose=pose, model=model, keypoints_used=0).impossibility == 'the object would be behind the camera'


def test_a_correction_leaves_a_covariance_although_its_numbers_differ_by_twelve_orders():
    """P - G S G^T came out with a negative variance here."""
    random = np.random.default_rng(0)
    root = np.diag(10.0 ** random.uniform(-3, 3, STATE_SIZE)) @ random.normal(size=(STATE_SIZE, STATE_SIZE))
    start = Hypotheses(
        np.eye(3)[None], np.array([[0.0, 0.0, 1.0]]), np.zeros((1, 2, 6)), (root @ root.T)[None], np.ones(1)
    )
    jacobian = random.normal(size=(1, 8, 6)) * 1e4
    now = start.corrected(start.correction(np.zeros((1, 8)), jacobian, np.eye(8)[None]))
    sigma = np.sqrt(now.covariance[0].diagonal())
    assert np.linalg.eigvalsh(now.covariance[0] / np.outer(sigma, sigma))[0] > -1e-10
