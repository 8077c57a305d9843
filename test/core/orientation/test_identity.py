"""Two identities of one board: a turned board is ambiguous, not wrong, in one image and over time."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from printed_board import CAMERA, MODEL, board, found, truth

from custom_pose_ros.core.geometry.rigid import Rigid
from custom_pose_ros.core.geometry.rotations import rotation_between
from custom_pose_ros.core.keypoints.poses import KeypointPose
from custom_pose_ros.core.keypoints.tracking import PoseTracker
from custom_pose_ros.core.orientation.estimate import AMBIGUOUS, OrientationEstimate
from custom_pose_ros.core.orientation.orientation_estimator import OrientationEstimator

CHI2_95_OF_6 = 12.59  # 95 % quantile of chi-square with 6 degrees of freedom


def off_deg(pose: Rigid, at: Rigid) -> float:
    return float(np.rad2deg(rotation_between(pose.rotation, at.rotation)))


def inside(estimate: OrientationEstimate, at: Rigid) -> bool:
    error = estimate.pose.step_to(at)
    return bool(error @ np.linalg.solve(estimate.covariance, error) < CHI2_95_OF_6)


@pytest.mark.parametrize(('right', 'turned'), [(0.49, 0.47), (0.47, 0.49)])
@pytest.mark.parametrize('stamp_s', [None, 1.0])
def test_a_board_that_may_be_turned_is_ambiguous_and_the_truth_in_the_region(right, turned, stamp_s):
    at = truth()
    (estimate,) = OrientationEstimator(MODEL, CAMERA).update(found(at, right, turned), stamp_s)
    assert estimate.ambiguity == pytest.approx(0.96, abs=0.1)
    assert estimate.ambiguity >= AMBIGUOUS
    # Decoding errors of 0.1 px: below a degree. One of the two is the truth, and the covariance holds it.
    assert min(off_deg(estimate.pose, at), off_deg(estimate.alternative, at)) < 1.0
    assert off_deg(estimate.pose, Rigid(estimate.alternative.rotation, at.translation)) > 170.0
    assert inside(estimate, at)


@pytest.mark.parametrize('seed', range(5))
def test_noise_of_the_keypoints_does_not_name_them(seed):
    """Of two sets of corners, one with errors of 2 px and one without, either may be the right one."""
    (pose,) = found(truth(), 0.52, 0.48)
    noise = np.random.default_rng(seed).normal(0.0, 2.0, pose.keypoints.shape)
    pose = replace(pose, keypoints=pose.keypoints + noise)
    (estimate,) = OrientationEstimator(MODEL, CAMERA).update([pose], None)
    assert off_deg(estimate.pose, truth()) < 15.0  # 2 px on a board of some 100 px: a few degrees
    assert estimate.ambiguity == pytest.approx(0.92, abs=0.1)


def test_keypoints_that_no_attitude_explains_are_not_named_by_their_scores():
    (pose,) = found(truth(), 0.52, 0.48)
    scattered = pose.keypoints + np.random.default_rng(0).normal(0.0, 15.0, pose.keypoints.shape)
    (estimate,) = OrientationEstimator(MODEL, CAMERA).update([replace(pose, keypoints=scattered)], None)
    assert off_deg(estimate.pose, truth()) > 170.0
    assert estimate.ambiguity < AMBIGUOUS


def test_a_sure_board_is_not_ambiguous():
    (estimate,) = OrientationEstimator(MODEL, CAMERA).update(found(truth(), 0.97, 0.0), 1.0)
    assert estimate.ambiguity < AMBIGUOUS
    assert off_deg(estimate.pose, truth()) < 1.0


def test_a_declared_symmetry_makes_both_identities_one_pose():
    model = board(symmetries=[{'axis': [0, 0, 1], 'fold': 2}])
    poses = found(truth(), 0.49, 0.47, model)
    assert poses[0].alternative is not None
    for stamp_s in (None, 1.0):
        (estimate,) = OrientationEstimator(model, CAMERA).update(poses, stamp_s)
        assert estimate.ambiguity < AMBIGUOUS


def followed(heights, rate_hz: float = 10.0) -> list[tuple[OrientationEstimate, Rigid]]:
    """Estimates of a slowly turning board whose identities have these heights in successive images, and the truth."""
    tracker, orienter = PoseTracker(MODEL), OrientationEstimator(MODEL, CAMERA)
    results = []
    for i, (right, turned) in enumerate(heights):
        at = truth(20.0 + i)
        (estimate,) = orienter.update(tracker.update(found(at, right, turned), 1.0 + i / rate_hz), 1.0 + i / rate_hz)
        results.append((estimate, at))
    return results


def test_identities_that_take_turns_do_not_flip_the_track():
    """0.49 against 0.47, the other way round in every second image: one id, one attitude, ambiguous all the time."""
    results = followed([(0.49, 0.47), (0.47, 0.49)] * 15)
    assert {estimate.track_id for estimate, _ in results} == {0}
    sides = [off_deg(estimate.pose, at) < 90.0 for estimate, at in results]
    assert len(set(sides)) == 1
    assert all(estimate.ambiguity > 0.5 and inside(estimate, at) for estimate, at in results)


def test_images_that_tell_decide_and_the_track_remembers():
    """Wrong at first by a little; clear images settle it within two seconds, and doubtful ones do not undo it."""
    clear = [(0.95, 0.02)] * 20
    results = followed([(0.47, 0.49)] * 3 + clear + [(0.47, 0.49)] * 10)
    for estimate, at in results[:3]:
        assert estimate.ambiguity > 0.5
        assert inside(estimate, at)
    for estimate, at in results[20:]:
        assert off_deg(estimate.pose, at) < 3.0
    assert results[22][0].ambiguity < AMBIGUOUS
    assert {estimate.track_id for estimate, _ in results} == {0}


def test_a_single_image_of_the_other_identity_is_no_proof():
    results = followed([(0.95, 0.02)] * 10 + [(0.4, 0.55)] * 2 + [(0.95, 0.02)] * 5)
    assert all(off_deg(estimate.pose, at) < 3.0 for estimate, at in results)
    assert {estimate.track_id for estimate, _ in results} == {0}


def test_an_identity_with_too_few_keypoints_for_a_pose_makes_the_other_ambiguous():
    (pose,) = found(truth(), 0.6, 0.4)
    few = np.isin(np.arange(8), [0, 1, 4])
    other = KeypointPose(
        keypoints=np.where(few[:, None], pose.alternative.keypoints, np.nan),
        covariances=np.where(few[:, None, None], pose.alternative.covariances, np.nan),
        scores=pose.alternative.scores * few, visible=few, score=0.4,
    )  # fmt: skip
    pose = KeypointPose(**{**vars(pose), 'alternative': other, 'ambiguity': 0.6})
    orienter = OrientationEstimator(MODEL, CAMERA)
    for stamp_s in (None, 1.0, 1.1):
        (estimate,) = orienter.update([pose], stamp_s)
        assert estimate.ambiguity == pytest.approx(0.6, abs=0.05)
        assert estimate.alternative is None
    (coasting,) = orienter.update([], 1.2)
    assert coasting.coasting and coasting.ambiguity > AMBIGUOUS
