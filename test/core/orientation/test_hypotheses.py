"""Hypotheses of a tracked pose: mirroring in position and motion, splitting and merging with their moments kept."""

from __future__ import annotations

import numpy as np
import pytest

from custom_pose_ros.core.geometry.rigid import Rigid
from custom_pose_ros.core.geometry.rotations import (
    matrix_from_roll_pitch_yaw,
    matrix_from_rotation_vector,
    rotation_between,
    rotation_vector_from_matrix,
)
from custom_pose_ros.core.object_model import ObjectModel
from custom_pose_ros.core.orientation.hypotheses import STATE_SIZE, TURN, Hypotheses
from custom_pose_ros.core.orientation.pnp import PointSet, mirrored_pose

SHAPE = PointSet(ObjectModel.load('submarine').model_points)
NORMAL = SHAPE.normal
R = matrix_from_roll_pitch_yaw(np.deg2rad([150.0, 25.0, 40.0]))
CENTRE = np.array([0.3, -0.4, 2.0])


def hypotheses(count: int = 1, seed: int = 0) -> Hypotheses:
    """Return some near R with random motion and covariance, equal weights."""
    rng = np.random.default_rng(seed)
    roots = rng.normal(scale=0.05, size=(count, STATE_SIZE, STATE_SIZE))
    return Hypotheses(
        matrix_from_rotation_vector(rng.normal(scale=0.02, size=(count, 3))).reshape(-1, 3, 3) @ R,
        CENTRE + rng.normal(scale=0.02, size=(count, 3)),
        rng.normal(scale=0.3, size=(count, 2, 6)),
        roots @ roots.transpose(0, 2, 1),
        np.full(count, 1.0 / count),
    )


def moments(some: Hypotheses, about: Hypotheses) -> tuple[np.ndarray, np.ndarray]:
    """Return mean (18,) and covariance (18, 18) of a mixture, as errors of the first of `about`."""
    steps = np.array([about.joined(some).difference(0, len(about) + i) for i in range(len(some))])
    mean = some.weights @ steps / some.weights.sum()
    centred = steps - mean
    covariance = np.einsum('m,mij->ij', some.weights, some.covariance) + (some.weights * centred.T) @ centred
    return mean, covariance / some.weights.sum()


def test_the_mirror_image_looks_the_same_from_afar():
    now = hypotheses()
    mirrored = now.mirrored(0, NORMAL)
    expected, _ = mirrored_pose(SHAPE, Rigid(now.R[0], now.centre[0] - now.R[0] @ SHAPE.centroid))
    np.testing.assert_allclose(mirrored.R[0], expected, atol=1e-12)
    assert np.linalg.det(mirrored.R[0]) == pytest.approx(1.0)
    sight = now.centre[0] / np.linalg.norm(now.centre[0])
    across = np.eye(3) - np.outer(sight, sight)  # what a distant camera sees
    flat = SHAPE.points - SHAPE.centroid
    np.testing.assert_allclose(flat @ mirrored.R[0].T @ across, flat @ now.R[0].T @ across, atol=1e-12)
    assert rotation_between(mirrored.R[0], now.R[0]) > 0.5


def test_the_mirrored_motion_looks_the_same_from_afar():
    now = hypotheses()
    now.rates[:, :, :3] = 0.0
    mirrored = now.mirrored(0, NORMAL)
    small = 1e-4  # s; the error is of second order in the angle
    later = Hypotheses(
        matrix_from_rotation_vector(small * now.rates[:, 0, 3:]) @ now.R, now.centre, now.rates, now.covariance,
        now.weights,
    )  # fmt: skip
    np.testing.assert_allclose(
        matrix_from_rotation_vector(small * mirrored.rates[0, 0, 3:]) @ mirrored.R[0],
        later.mirrored_rotation(0, NORMAL),
        atol=1e-8,
    )


def test_mirroring_twice_changes_nothing():
    now = hypotheses()
    again = now.mirrored(0, NORMAL).mirrored(0, NORMAL)
    for name in ('R', 'centre', 'rates', 'covariance'):
        np.testing.assert_allclose(getattr(again, name), getattr(now, name), atol=1e-12)


def test_a_mirror_image_gets_its_share_once():
    both = hypotheses().with_mirror(NORMAL, 0.01)
    np.testing.assert_allclose(both.weights, [0.99, 0.01])
    again = both.with_mirror(NORMAL, 0.01)
    np.testing.assert_allclose(again.weights, [0.9801, 0.0199])  # to the one that is there
    wide = hypotheses()
    wide.covariance = wide.covariance + np.diag(np.repeat([0.0, 10.0], [3, 15]))
    assert len(wide.with_mirror(NORMAL, 0.01)) == 1  # one within the uncertainty


def test_splitting_keeps_the_moments_and_narrows_one_direction():
    now = hypotheses(2)
    direction = np.linalg.cholesky(now.covariance[1])[:, 0]  # one standard deviation of a possible error
    direction = direction * 0.05 / np.linalg.norm(direction[TURN])  # small enough for rotations to add
    whole = now.select([1])
    whole.covariance = whole.covariance + np.outer(direction, direction)
    now.covariance[1] = whole.covariance[0]
    split = now.split(1, direction)
    assert len(split) == 4
    np.testing.assert_allclose(split.R[0], now.R[0])
    three = split.select([1, 2, 3])
    assert three.weights.sum() == pytest.approx(0.5)
    mean, covariance = moments(three, whole)
    np.testing.assert_allclose(mean, 0.0, atol=1e-6)
    # The three that are nearest to a Gaussian in the integral square have 4.5 % less variance.
    expected = whole.covariance[0] - 0.0454 * np.outer(direction, direction)
    np.testing.assert_allclose(covariance, expected, atol=1e-3 * direction.max() ** 2)
    assert np.linalg.eigvalsh(three.covariance).min() > -1e-12


def test_the_second_order_of_a_turn_is_that_after_the_measurement():
    """One turn w is measured as w + w^2: that of the linear update is too short by what the mean of w^2 has lost."""
    prior = hypotheses()
    prior.covariance = 0.01 * np.eye(STATE_SIZE)[None]
    jacobian, curvature = np.zeros((1, 1, 6)), np.zeros((1, 1, 9))
    jacobian[..., 3] = curvature[..., 0] = 1.0
    noise, measured = np.full((1, 1, 1), 0.01), 0.1
    residual = np.full((1, 1), measured - 0.01)  # the mean of w^2 before
    step = prior.correction(residual, jacobian, noise, curvature).step[0, 3]
    plain = 0.5 * (measured - 0.01)  # half way, since prior and noise are equal; the variance halves as well
    assert step == pytest.approx(plain + 0.5 * (0.01 - 0.005 - plain**2))


def test_the_weight_is_multiplied_by_the_density_of_the_measurement():
    prior, rng = hypotheses(3, seed=1), np.random.default_rng(0)
    residual, jacobian = rng.normal(size=(3, 8)), rng.normal(size=(3, 8, 6))
    correction = prior.correction(residual, jacobian, np.tile(np.eye(8), (3, 1, 1)))
    density = [
        np.exp(-0.5 * e @ np.linalg.solve(S, e)) / np.sqrt(np.linalg.det(S))
        for e, S in zip(residual, correction.spread)
    ]
    np.testing.assert_allclose(prior.corrected(correction).weights, density / np.sum(density), rtol=1e-9)


def test_an_image_that_teaches_nothing_costs_no_hypothesis_its_weight():
    """
    The second order of an uncertain tilt was paid for as a new error of each image.

    At 15 Hz the true one of two attitudes lost 19 of 20 parts of its odds within 0.8 s to a narrower one that explained
    the keypoints no better.
    """
    prior = hypotheses(2)
    noise = np.stack([np.eye(8), 1.3 * np.eye(8)])  # the second one's tilt is uncertain
    correction = prior.correction(np.zeros((2, 8)), np.zeros((2, 8, 6)), noise)
    np.testing.assert_allclose(prior.corrected(correction).weights, [0.5, 0.5])


def test_merging_keeps_the_moments():
    now = hypotheses(2, seed=3)
    now.weights = np.array([0.7, 0.3])
    mean, covariance = moments(now, now)
    merged = now.select([0, 1]).pruned(5, 1e-6, np.inf)
    assert len(merged) == 1
    at = now.select([0]).joined(merged).difference(0, 1)
    np.testing.assert_allclose(at, mean, atol=1e-9)
    np.testing.assert_allclose(merged.covariance[0], covariance, atol=1e-4)  # 0.03 rad squared, to the second order
    np.testing.assert_allclose(merged.weights, [1.0])


def test_pruning_keeps_the_likeliest_in_order():
    now = hypotheses(5)
    now.R = np.array([matrix_from_rotation_vector(np.array([0.0, 0.0, 0.5 * i])) for i in range(5)])
    now.covariance = np.tile(1e-4 * np.eye(STATE_SIZE), (5, 1, 1))
    now.weights = np.array([0.2, 1e-8, 0.5, 0.05, 0.25 - 1e-8])
    kept = now.pruned(3, 1e-6, 0.3)
    angles = [round(float(rotation_vector_from_matrix(turned)[2]), 6) for turned in kept.R]
    assert angles == [1.0, 2.0, 0.0]
    np.testing.assert_allclose(kept.weights, np.array([0.5, 0.25, 0.2]) / 0.95, rtol=1e-6)
