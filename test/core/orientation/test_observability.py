"""Expected errors of an object against what the solver does on noisy keypoints, and the keypoints that would help."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import simulated_tracks as simulation

from custom_pose_ros.core.errors import ConfigError
from custom_pose_ros.core.geometry.rotations import rotation_between
from custom_pose_ros.core.geometry.symmetry import Symmetry
from custom_pose_ros.core.object_model import ObjectModel
from custom_pose_ros.core.orientation.observability import Observability, random_attitudes, tilted_at_most
from custom_pose_ros.core.orientation.solver import PoseSolver

PLANAR = simulation.planar_submarine()
SOLID = simulation.six_point_submarine()


def single_images(model: ObjectModel, attitudes: np.ndarray, distance_m: float) -> tuple[np.ndarray, np.ndarray]:
    """Return rotation [rad] and position [m] errors of the solver on one noisy image (1 px) of each attitude."""
    solver = PoseSolver(model, simulation.CAMERA)
    t = np.array([0.0, 0.0, distance_m]) - attitudes @ solver.shape.centroid
    track = simulation.Track(np.zeros(len(attitudes)), attitudes, t)
    errors = []
    for seen, R, position in zip(simulation.observe_track(model, track, 1.0, 0), attitudes, t):
        solution = solver.solve(seen)
        pose = solution.poses.at(0)
        errors.append((rotation_between(pose.rotation, R), np.linalg.norm(pose.translation - position)))
    return np.array(errors).T


@pytest.mark.parametrize(('model', 'distance_m'), [(SOLID, 2.0), (PLANAR, 1.0), (PLANAR, 4.0)])
def test_what_is_expected_is_what_the_solver_does(model, distance_m):
    attitudes = tilted_at_most(random_attitudes(400), np.array([0.0, 0.0, 1.0]), np.deg2rad(60.0))
    expected = Observability(model, simulation.CAMERA, 1.0, attitudes).errors(distance_m)
    assert expected.fitting == 1.0
    rotation, position = single_images(model, attitudes, distance_m)
    # About 200 views: 7 % of a standard deviation, more where few wrong choices make it; the rest is second order.
    assert np.sqrt((rotation**2).mean()) == pytest.approx(np.sqrt((expected.rotation_rad**2).mean()), rel=0.25)
    assert np.sqrt((position**2).mean()) == pytest.approx(np.sqrt((expected.position_m**2).mean()), rel=0.25)
    wrong = (rotation > 0.5 * np.maximum(expected.rotation_rad, 0.35)).mean()
    if distance_m == 4.0:
        assert wrong == pytest.approx(expected.wrong_choice.mean(), abs=0.1)
        assert expected.ambiguous.mean() > 0.5
    else:
        assert expected.wrong_choice.mean() < 0.01


def test_errors_grow_with_distance_and_noise():
    some = random_attitudes(100)
    one = Observability(SOLID, simulation.CAMERA, 1.0, some)
    two = Observability(SOLID, simulation.CAMERA, 2.0, some)
    near, far = one.errors(1.5), one.errors(3.0)
    assert (far.sure_rotation_rad > near.sure_rotation_rad).mean() > 0.95
    np.testing.assert_allclose(two.errors(1.5).sure_rotation_rad, 2.0 * near.sure_rotation_rad, rtol=0.02)
    assert (far.rotation_rad >= far.sure_rotation_rad).all()


def test_what_does_not_fit_into_the_image_is_left_out():
    errors = Observability(PLANAR, simulation.CAMERA, 1.0).errors(0.1)
    assert (errors.fitting, len(errors.rotation_rad)) == (0.0, 0)
    assert np.isnan(errors.median_rotation_rad)
    assert 0.0 < Observability(PLANAR, simulation.CAMERA, 1.0).errors(0.5).fitting < 1.0


@pytest.mark.parametrize('added', [True, False])
def test_the_keypoint_that_halves_the_error_of_a_plane_stands_out_of_it(added):
    observability = Observability(PLANAR, simulation.CAMERA, 1.0, random_attitudes(100))
    now = observability.errors(4.0)
    change = observability.best_change(4.0, added)
    assert change.added == added
    assert len(change.points) == 4 + added
    assert 0.01 < abs(change.point[2]) < 0.2  # out of the plane z = 0, less than the object is long
    assert abs(change.point[2]) == pytest.approx(change.lift_m)
    then = observability.errors(4.0, change.points)
    assert then.median_rotation_rad == change.median_rotation_rad <= 0.5 * now.median_rotation_rad
    assert then.ambiguous.mean() < 0.5 * now.ambiguous.mean()


@pytest.mark.parametrize('added', [True, False])
def test_with_known_places_nothing_in_the_air_is_advised(added):
    observability = Observability(PLANAR, simulation.CAMERA, 1.0, random_attitudes(50))
    places = np.array([[0.3, 0.0, 0.1], [0.1, 0.05, 0.0], PLANAR.model_points[0] + 0.001])
    change = observability.best_change(4.0, added, places)
    assert change.point.tolist() == [0.3, 0.0, 0.1]  # the one out of the plane
    assert (change.either_side, len(change.points)) == (False, 4 + added)
    assert observability.best_change(4.0, added, places[:0]) is None


def test_turning_about_a_continuous_axis_does_not_count():
    turned = replace(SOLID, symmetries=(Symmetry((1.0, 0.0, 0.0), 0),))
    some = random_attitudes(50)
    free = Observability(turned, simulation.CAMERA, 1.0, some).errors(2.0)
    full = Observability(SOLID, simulation.CAMERA, 1.0, some).errors(2.0)
    assert (free.sure_rotation_rad < full.sure_rotation_rad).all()


@pytest.mark.parametrize('noise_px', [0.0, -1.0, np.nan])
def test_noise_that_is_none(noise_px):
    with pytest.raises(ConfigError, match='noise: wanted pixels above 0, got'):
        Observability(PLANAR, simulation.CAMERA, noise_px)


def test_objects_without_geometry():
    with pytest.raises(ConfigError, match="object 'human18' has no model_points"):
        Observability(ObjectModel.load('human18'), simulation.CAMERA, 1.0)


def test_hidden_keypoints_tell_nothing():
    square = {f's{i}': [x, y, 0.0] for i, (x, y) in enumerate([(0.2, 0.1), (0.2, -0.1), (-0.2, 0.1), (-0.2, -0.1)])}
    solid = {**square, 'top': [0.0, 0.0, 0.1], 'bottom': [0.0, 0.0, -0.1]}  # about the same middle
    models = [
        ObjectModel.from_dict({'name': 'box', 'keypoints': list(points), 'skeleton': [], 'model_points': points})
        for points in (square, solid)
    ]
    attitudes = random_attitudes(100)
    seen = np.tile([True] * 4 + [False] * 2, (100, 1))
    flat = Observability(models[0], simulation.CAMERA, 1.0, attitudes).errors(5.0)
    hidden = Observability(models[1], simulation.CAMERA, 1.0, attitudes, seen).errors(5.0)
    assert Observability(models[1], simulation.CAMERA, 1.0, attitudes).errors(5.0).ambiguous.mean() < 0.1
    assert flat.ambiguous.mean() > 0.2  # of the plane of what is seen
    for name in ('rotation_rad', 'sure_rotation_rad', 'position_m', 'wrong_choice', 'ambiguous'):
        np.testing.assert_allclose(getattr(hidden, name), getattr(flat, name), rtol=1e-6, atol=1e-9)
    few = Observability(models[1], simulation.CAMERA, 1.0, attitudes, seen & (np.arange(6) > 0)).errors(5.0)
    assert few.ambiguous.all()
    assert few.median_rotation_rad > np.deg2rad(90.0)  # three keypoints: as if nothing was known
