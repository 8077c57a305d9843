"""Bundle adjustment: derivatives, what is held, and what cannot be started."""

from __future__ import annotations

import numpy as np
import pytest
from labelled_body import FOCAL_PX, K1, POINTS, pictured, poses, shape_error

from custom_pose_ros.core.geometry.rigid import Rigid
from custom_pose_ros.core.measuring.bundle import Bundle, Priors, Views, adjust, gauge_directions, robust_noise

LENS = np.array([[np.log(FOCAL_PX), K1, 0.0, 0.0]])
WEAK = Priors(np.array([[np.log(700.0), 0.0, 0.0, 0.0]]), np.array([[1.0, 40.0, 0.006, 0.006]]))


def scene(count=12, seed=0):
    R, t = poses(count, np.random.default_rng(seed))
    views = Views(pictured(R, t), np.ones((count, len(POINTS))), np.zeros(count, int))
    return views, Bundle(POINTS, Rigid(R, t), LENS)


def disturbed(bundle, seed=1):
    rng = np.random.default_rng(seed)
    step = rng.normal(size=(len(bundle.poses.rotation), 6)) * 0.03
    points = bundle.points + rng.normal(size=bundle.points.shape) * 0.01
    return Bundle(points, bundle.poses.moved(step), bundle.lenses + [0.2, 0.1, 0.0, 0.0])


def test_shape_and_lens_come_back_from_perfect_keypoints():
    """Without noise only the weak priors pull: far less than 1 % of the focal length, 0.1 mm of the shape."""
    views, truth = scene()
    found = adjust(disturbed(truth), Views(views.pixels, 1e4 * views.weights, views.lens), WEAK)
    assert shape_error(found.bundle.points, POINTS) < 1e-4
    assert np.exp(found.bundle.lenses[0, 0]) == pytest.approx(FOCAL_PX, rel=2e-3)
    assert found.bundle.lenses[0, 1] == pytest.approx(K1, abs=2e-3)


def test_scores_are_the_gradient_of_the_cost():
    """Of the lens, with the poses free: numeric differences of the least cost agree to their own accuracy."""
    views, truth = scene(8)
    rng = np.random.default_rng(3)
    views = Views(views.pixels + rng.normal(size=views.pixels.shape), views.weights, views.lens)
    costs = []
    for sign in (1.0, -1.0):
        lens = LENS + [[sign * 1e-3, 0, 0, 0]]
        held = Priors(lens, np.full((1, 4), np.inf), POINTS, 1e12)
        costs.append(adjust(Bundle(POINTS, truth.poses, lens), views, held).cost)
    held = Priors(LENS, np.full((1, 4), np.inf), POINTS, 1e12)
    scores = adjust(truth, views, held).scores.sum(0)
    assert scores[-4] == pytest.approx(-(costs[0] - costs[1]) / 4e-3, rel=0.02)


def test_what_is_known_stays():
    views, truth = scene()
    held = Priors(LENS, np.full((1, 4), np.inf), POINTS, 1e12)
    start = Bundle(POINTS, disturbed(truth).poses, LENS)
    found = adjust(start, views, held)
    assert found.bundle.lenses == pytest.approx(LENS, abs=1e-6)
    assert found.bundle.points == pytest.approx(POINTS, abs=1e-6)
    assert found.bundle.poses.translation == pytest.approx(truth.poses.translation, abs=1e-5)


def test_a_robust_loss_leaves_a_wrong_keypoint_aside():
    views, truth = scene()
    pixels = views.pixels.copy()
    pixels[4, 2] += [60, -40]
    views = Views(pixels, 16 * views.weights, views.lens)
    assert shape_error(adjust(disturbed(truth), views, WEAK, robust_px=1.0).bundle.points, POINTS) < 5e-4
    assert shape_error(adjust(disturbed(truth), views, WEAK).bundle.points, POINTS) > 2e-3


def test_a_start_behind_the_camera_is_refused():
    views, truth = scene(3)
    behind = Rigid(truth.poses.rotation, -truth.poses.translation)
    with pytest.raises(ValueError, match='in front of its camera'):
        adjust(Bundle(POINTS, behind, LENS), views, WEAK)


def test_gauge_directions_change_no_shape():
    """All seven leave the shape what it is, up to second order."""
    for direction in gauge_directions(POINTS).T:
        moved = POINTS + 1e-4 * direction.reshape(-1, 3)
        assert shape_error(moved, POINTS) < 1e-6
    assert gauge_directions(POINTS).shape == (18, 7)


def test_the_noise_is_told_although_some_keypoints_are_far_off():
    errors = np.random.default_rng(0).normal(scale=0.7, size=(4000, 2))
    errors[:80] += 100.0
    assert robust_noise((errors**2).sum(1), 0) == pytest.approx(0.7, rel=0.05)
    assert robust_noise((errors**2).sum(1), 6000) == pytest.approx(1.4, rel=0.05)  # a quarter of the numbers are spare
