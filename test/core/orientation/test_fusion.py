"""Tests of custom_pose_ros.core.orientation.fusion: simulated cameras around an object whose pose is known."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest

from custom_pose_ros.core.geometry.camera import CameraIntrinsics
from custom_pose_ros.core.geometry.rigid import Rigid
from custom_pose_ros.core.geometry.rotations import matrix_from_rotation_vector, rotation_between
from custom_pose_ros.core.keypoints.poses import KeypointPose
from custom_pose_ros.core.object_model import ObjectModel
from custom_pose_ros.core.orientation.estimate import OrientationEstimate
from custom_pose_ros.core.orientation.fusion import MAX_AGE_S, PoseFusion
from custom_pose_ros.core.orientation.solver import PoseSolver

CAMERA = CameraIntrinsics(640, 480, np.array([[500.0, 0, 320.0], [0, 500.0, 240.0], [0, 0, 1]]))
FLAT = {'front': [0.5, 0, 0], 'back': [-0.5, 0, 0], 'left': [0, 0.3, 0], 'right': [0, -0.3, 0]}
NOISE_PX = 1.0


def model_of(points: dict[str, list[float]] = FLAT, symmetries: tuple = ()) -> ObjectModel:
    names = list(points)
    return ObjectModel.from_dict(
        {
            'name': 'thing',
            'keypoints': names,
            'skeleton': [[names[0], name] for name in names[1:]],
            'model_points': points,
            'symmetries': list(symmetries),
        },
        'test',
    )


def looking_at(position: np.ndarray, target: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return (R, t) of a camera in the world: z towards the target, y down."""
    z = (target - position) / np.linalg.norm(target - position)
    x = np.cross(z, [0.0, 0.0, 1.0])
    x /= np.linalg.norm(x)
    return np.stack([x, np.cross(z, x), z], axis=1), position


class Scene:
    """An object in the world and cameras around it that see its keypoints with noise."""

    def __init__(self, model: ObjectModel, seed: int = 0, azimuths_deg: tuple[float, ...] = (0.0, 70.0)):
        self.model, self.rng = model, np.random.default_rng(seed)
        self.R = matrix_from_rotation_vector(self.rng.uniform(-0.5, 0.5, 3) + [0, 0, self.rng.uniform(-3, 3)])
        self.t = np.array([0.3, -0.2, 0.1])
        angles = np.deg2rad(azimuths_deg)
        spots = [np.array([4 * np.cos(a), 4 * np.sin(a), 2.5]) for a in angles]
        self.cameras = {f'camera{i}': looking_at(spot, self.t) for i, spot in enumerate(spots)}

    def see(self, name: str, t: np.ndarray | None = None, track_id: int = 0) -> OrientationEstimate:
        """Return one camera's estimate, in the world frame."""
        R_world_camera, position = self.cameras[name]
        t = self.t if t is None else t
        points = (self.model.model_points @ self.R.T + t - position) @ R_world_camera
        count = len(points)
        pose = KeypointPose(
            keypoints=CAMERA.project(points) + self.rng.normal(0.0, NOISE_PX, (count, 2)),
            covariances=np.tile(NOISE_PX**2 * np.eye(2), (count, 1, 1)),
            scores=np.ones(count), visible=np.ones(count, bool), score=1.0,
        )  # fmt: skip
        estimate = PoseSolver(self.model, CAMERA).solve(pose).to_estimate(self.model, track_id)
        return estimate.in_frame('world', Rigid(R_world_camera, position))

    def error_rad(self, estimate: OrientationEstimate) -> float:
        return rotation_between(estimate.pose.rotation, self.R)

    def distance(self, estimate: OrientationEstimate) -> float:
        """Return the squared distance from the truth in the estimate's own covariance; 6 on average."""
        step = estimate.pose.step_to(Rigid(self.R, self.t))
        return float(step @ np.linalg.solve(estimate.covariance, step))


def test_one_camera_alone_is_passed_through() -> None:
    scene = Scene(model_of())
    seen = scene.see('camera0')
    (fused,) = PoseFusion(scene.model).update('camera0', 1.0, [seen])
    np.testing.assert_allclose(fused.pose.rotation, seen.pose.rotation, atol=1e-12)
    np.testing.assert_allclose(fused.pose.translation, seen.pose.translation, atol=1e-12)
    np.testing.assert_allclose(fused.covariance, seen.covariance, rtol=0.05)  # but for that of the second attitude
    assert fused.ambiguity == pytest.approx(seen.ambiguity, abs=1e-6)


def test_two_cameras_are_nearer_to_the_truth_and_know_how_near() -> None:
    """Over 200 scenes: smaller errors than the better camera's, no mirrored attitude, an honest covariance."""
    errors, single, distances, ambiguities, misses = [], [], [], [], []
    for seed in range(200):
        scene = Scene(model_of(), seed)
        fusion = PoseFusion(scene.model)
        seen = [scene.see(name) for name in scene.cameras]
        fusion.update('camera0', 1.0, seen[:1])
        (fused,) = fusion.update('camera1', 1.0, seen[1:])
        errors.append(scene.error_rad(fused))
        single.append([scene.error_rad(estimate) for estimate in seen])
        distances.append(scene.distance(fused))
        ambiguities.append([fused.ambiguity, *(estimate.ambiguity for estimate in seen)])
        misses.append([np.linalg.norm(e.pose.translation - scene.t) for e in (fused, *seen)])
    median_single = np.median(np.array(single).ravel())
    wrong_single = (np.array(single) > np.deg2rad(15)).mean()
    misses = np.array(misses)
    print(
        f'median error: {np.rad2deg(np.median(errors)):.2f} deg, {1e3 * np.median(misses[:, 0]):.0f} mm; of one camera '
        f'{np.rad2deg(median_single):.2f} deg, {1e3 * np.median(misses[:, 1:]):.0f} mm, {wrong_single:.0%} mirrored'
    )
    assert np.median(misses[:, 0]) < 0.3 * np.median(misses[:, 1:])  # each tells the distance that the other cannot
    assert np.median(errors) < 0.75 * median_single  # 1/sqrt(2) where both are as good
    assert wrong_single > 0.03  # mirrored attitudes of single cameras
    assert (np.array(errors) > np.deg2rad(15)).mean() < 0.2 * wrong_single
    assert 4.0 < np.mean(distances) < 8.0  # 6 degrees of freedom
    assert np.mean(np.array(ambiguities)[:, 0] > 0.05) < 0.2 * np.mean(np.array(ambiguities)[:, 1:] > 0.05)


def undecided(estimate: OrientationEstimate, mirrored: bool) -> OrientationEstimate:
    """Return the estimate with both attitudes nearly as likely, the other one first on demand."""
    best, other = estimate.pose, estimate.alternative
    way = np.outer(*2 * [best.step_to(other)])
    alone = estimate.covariance - estimate.ambiguity / (1.0 + estimate.ambiguity) * way
    return replace(
        estimate, pose=other if mirrored else best, alternative=best if mirrored else other, ambiguity=0.9,
        covariance=alone + 0.9 / 1.9 * way,
    )  # fmt: skip


def test_of_the_attitudes_those_that_agree_are_taken() -> None:
    tried = 0
    for seed in range(200):
        scene = Scene(model_of(), seed)
        seen = [scene.see(name) for name in scene.cameras]
        if any(estimate.alternative is None or scene.error_rad(estimate) > 0.1 for estimate in seen):
            continue
        for mirrored in itertools.product([False, True], repeat=2):
            views = [undecided(estimate, swap) for estimate, swap in zip(seen, mirrored)]
            fusion = PoseFusion(scene.model)
            fusion.update('camera0', 1.0, views[:1])
            (fused,) = fusion.update('camera1', 1.0, views[1:])
            assert scene.error_rad(fused) < 0.1
            assert fused.ambiguity < 0.05
        tried += 1
    assert tried >= 5


def test_a_camera_that_contradicts_is_not_mixed_in() -> None:
    points = {**FLAT, 'mast': [0.0, 0.0, 0.4]}
    scene = Scene(model_of(points))
    good, bad = scene.see('camera0'), scene.see('camera1')
    bad = replace(bad, pose=bad.pose.moved(np.array([0, 0, 0, 0, 0, 1.0])))
    bad = replace(bad, covariance=2.0 * bad.covariance, alternative=None, ambiguity=0.0)
    fusion = PoseFusion(scene.model)
    fusion.update('camera0', 1.0, [good])
    (fused,) = fusion.update('camera1', 1.0, [bad])
    assert fused.outlier_suspected
    np.testing.assert_allclose(fused.pose.rotation, good.pose.rotation)


def test_instances_are_told_apart_and_keep_their_ids() -> None:
    scene = Scene(model_of({**FLAT, 'mast': [0.0, 0.0, 0.4]}))
    near, far = scene.t, scene.t + [0.0, 1.5, 0.0]
    fusion = PoseFusion(scene.model)
    fusion.update('camera0', 1.0, [scene.see('camera0', near, 3), scene.see('camera0', far, 5)])
    both = fusion.update('camera1', 1.01, [scene.see('camera1', far, 0), scene.see('camera1', near, 1)])
    places = {estimate.track_id: estimate.pose.translation for estimate in both}
    assert len(places) == 2
    near_id = min(places, key=lambda i: np.linalg.norm(places[i] - near))
    (far_id,) = set(places) - {near_id}
    np.testing.assert_allclose(places[near_id], near, atol=0.05)
    np.testing.assert_allclose(places[far_id], far, atol=0.05)
    only = fusion.update('camera0', 1.5, [scene.see('camera0', far, 5)])  # the other camera's are too old
    assert [estimate.track_id for estimate in only] == [far_id]


def test_what_was_seen_too_long_ago_or_in_another_time_is_left_out() -> None:
    scene = Scene(model_of({**FLAT, 'mast': [0.0, 0.0, 0.4]}))
    fusion = PoseFusion(scene.model)
    fusion.update('camera0', 10.0, [scene.see('camera0')])
    late = scene.see('camera1')
    (fused,) = fusion.update('camera1', 10.0 + 1.1 * MAX_AGE_S, [late])
    np.testing.assert_allclose(fused.pose.rotation, late.pose.rotation, atol=1e-9)
    again = scene.see('camera0')
    (fused,) = fusion.update('camera0', 1.0, [again])  # a bag played again
    np.testing.assert_allclose(fused.pose.rotation, again.pose.rotation, atol=1e-9)
    assert fusion.update('camera0', 1.1, []) == []


def test_an_older_view_counts_less() -> None:
    scene = Scene(model_of({**FLAT, 'mast': [0.0, 0.0, 0.4]}))
    seen = [scene.see(name) for name in scene.cameras]
    traces = []
    for age_s in (0.0, 0.05, 0.15):
        fusion = PoseFusion(scene.model)
        fusion.update('camera0', 1.0 - age_s, seen[:1])
        (fused,) = fusion.update('camera1', 1.0, seen[1:])
        traces.append(np.trace(fused.covariance))
    assert traces[0] < traces[1] < traces[2] < np.trace(seen[1].covariance)


def test_attitudes_of_a_symmetric_object_are_one() -> None:
    points = {
        'east': [0.4, 0, 0],
        'north': [0, 0.4, 0],
        'west': [-0.4, 0, 0],
        'south': [0, -0.4, 0],
        'top': [0, 0, 0.4],
    }
    model = model_of(points, ({'axis': [0, 0, 1], 'fold': 4},))
    scene = Scene(model)
    first, second = (scene.see(name) for name in scene.cameras)
    quarter = matrix_from_rotation_vector(np.array([0, 0, math.pi / 2]))
    second = replace(second, pose=second.pose @ Rigid(quarter, np.zeros(3)))
    fusion = PoseFusion(model)
    fusion.update('camera0', 1.0, [first])
    (fused,) = fusion.update('camera1', 1.0, [second])
    assert not fused.outlier_suspected
    assert rotation_between(fused.pose.rotation, first.pose.rotation) < 0.1
