"""Tests of custom_pose_ros.nodes.orientation.markers: geometry, frames, ids and colours."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from geometry_msgs.msg import Point, PoseWithCovariance, Quaternion
from geometry_msgs.msg import Pose as RigidPose
from std_msgs.msg import Header
from visualization_msgs.msg import Marker

from custom_pose_ros.core.geometry.rotations import (
    matrix_from_quaternion,
    matrix_from_roll_pitch_yaw,
    matrix_from_rotation_vector,
)
from custom_pose_ros.core.object_model import ObjectModel
from custom_pose_ros.nodes.orientation.markers import orientations_to_markers
from custom_pose_ros.nodes.ros.conversions import Orientation, OrientationArray

MODEL = ObjectModel.load('submarine')
HEADER = Header(frame_id='camera')
COVARIANCE = 1e-4 * np.eye(6)
POSE = RigidPose(position=Point(x=1.0, y=2.0, z=3.0), orientation=Quaternion(x=0.0, y=0.6, z=0.0, w=0.8))


def an_orientation(track_id: int = 4, ambiguity: float = 0.0, covariance: np.ndarray = COVARIANCE) -> Orientation:
    return Orientation(
        object_name='submarine', track_id=track_id, ambiguity=ambiguity,
        pose=PoseWithCovariance(pose=POSE, covariance=covariance.ravel()),
        roll=np.pi / 2, pitch=0.0, yaw=-np.pi / 4,
    )  # fmt: skip


def markers_of(*orientations: Orientation, model: ObjectModel = MODEL, optical: bool = True) -> list[Marker]:
    message = OrientationArray(header=HEADER, orientations=list(orientations))
    return orientations_to_markers(message, model, optical).markers


def xyz(points) -> np.ndarray:
    return np.array([[p.x, p.y, p.z] for p in points])


def test_an_empty_array_clears_what_was_drawn() -> None:
    (marker,) = markers_of()
    assert (marker.action, marker.header) == (Marker.DELETEALL, HEADER)


def test_every_instance_has_its_markers_at_its_pose() -> None:
    clear, *markers = markers_of(an_orientation(), an_orientation(5))
    assert clear.action == Marker.DELETEALL
    assert [(m.ns, m.id) for m in markers] == [
        (ns, i)
        for i in (0, 1)
        for ns in ('axes', 'skeleton', 'keypoints', 'position_region', 'rotation_region', 'label')
    ]
    for marker in markers:
        assert (marker.header, marker.action, marker.lifetime.sec) == (HEADER, Marker.ADD, 1)
        assert (marker.pose.position == POSE.position) == (marker.ns != 'label')
        assert (marker.pose == POSE) == (marker.ns not in ('position_region', 'label'))


def test_points_are_those_of_the_object_in_its_own_frame() -> None:
    _, axes, skeleton, keypoints, _, _, label = markers_of(an_orientation())
    np.testing.assert_allclose(xyz(keypoints.points), MODEL.model_points)
    np.testing.assert_allclose(xyz(skeleton.points), MODEL.model_points[np.array(MODEL.skeleton).ravel()])
    length = 0.6 * MODEL.size_m
    np.testing.assert_allclose(xyz(axes.points)[1::2], length * np.eye(3))
    assert [(round(c.r), round(c.g), round(c.b)) for c in axes.colors[::2]] == [(1, 0, 0), (0, 1, 0), (0, 0, 1)]
    assert label.text == 'submarine_4\nroll:90\npitch:0\nyaw:-45'  # not a blank: RViz draws each 1 m wide


def test_ambiguity_is_seen() -> None:
    _, sure_axes, *sure, _ = markers_of(an_orientation(ambiguity=0.0))
    _, axes, *unsure, label = markers_of(an_orientation(ambiguity=1.0, track_id=Orientation.TRACK_ID_NOT_TRACKED))
    assert [m.ns for m in sure] == ['skeleton', 'keypoints', 'position_region', 'rotation_region']
    assert all(m.color.g > m.color.r for m in sure)  # green
    assert all(m.color.r > m.color.g for m in unsure)  # orange
    assert (sure_axes.colors[0].a, axes.colors[0].a) == (1.0, pytest.approx(0.3, abs=1e-6))  # float32
    assert label.text.startswith('submarine\n')
    assert label.text.endswith('\nambiguous')


@pytest.mark.parametrize('optical', [True, False])
def test_the_label_is_above_the_object(optical: bool) -> None:
    """Seen by the camera in its optical frame; by anybody in a frame whose z points up."""
    *_, label = markers_of(an_orientation(), optical=optical)
    R = matrix_from_quaternion(np.array([0.0, 0.6, 0.0, 0.8]))
    corners = np.concatenate([MODEL.model_points, 0.6 * MODEL.size_m * np.eye(3)]) @ R.T + [1.0, 2.0, 3.0]
    at = np.array([label.pose.position.x, label.pose.position.y, label.pose.position.z])
    half = 0.5 * (3 * 1.75 + 1) * label.scale.z  # from its middle to its lower edge; four lines
    if optical:
        assert (at[1] + half) / at[2] < (corners[:, 1] / corners[:, 2]).min()
    else:
        assert at[2] - half > corners[:, 2].max()
    assert np.linalg.norm(at - corners.mean(0)) < MODEL.size_m  # and not far away
    assert label.scale.z == pytest.approx(0.075 * MODEL.size_m)


def test_the_cones_are_wound_outwards_and_coloured() -> None:
    """RViz lights one side of a triangle, the one its corners go around counterclockwise."""
    rng = np.random.default_rng(2)
    for _ in range(20):
        root = rng.normal(scale=0.1, size=(3, 3))
        covariance = np.zeros((6, 6))
        covariance[3:, 3:] = root @ root.T
        cones = markers_of(an_orientation(covariance=covariance))[5]
        corners = xyz(cones.points).reshape(3, -1, 3, 3)
        for axis, triangles in zip(np.eye(3), corners):
            normals = np.cross(triangles[:, 1] - triangles[:, 0], triangles[:, 2] - triangles[:, 0])
            middles = triangles.mean(1)
            outwards = middles - np.outer(middles @ axis, axis)
            assert (np.einsum('ni,ni->n', normals, outwards) > 0).all()
        assert cones.colors == [cones.color] * len(cones.points)


def test_the_ellipsoid_holds_the_position_with_95_percent() -> None:
    axes = matrix_from_roll_pitch_yaw(np.array([0.3, -0.5, 1.1]))
    sigmas = np.array([0.01, 0.02, 0.2])
    covariance = np.zeros((6, 6))
    covariance[:3, :3] = axes @ np.diag(sigmas**2) @ axes.T
    region = markers_of(an_orientation(covariance=covariance))[4]
    assert (region.ns, region.type) == ('position_region', Marker.SPHERE)
    scale = np.array([region.scale.x, region.scale.y, region.scale.z])
    q = region.pose.orientation
    R = matrix_from_quaternion(np.array([q.x, q.y, q.z, q.w]))
    np.testing.assert_allclose(R @ np.diag(scale**2) @ R.T, (2 * 2.796) ** 2 * covariance[:3, :3], atol=1e-9)
    samples = np.random.default_rng(0).normal(size=(20000, 3)) * sigmas @ axes.T @ R / (0.5 * scale)
    assert (np.linalg.norm(samples, axis=1) < 1.0).mean() == pytest.approx(0.95, abs=0.006)  # four standard errors


def test_the_cones_hold_the_axes_with_95_percent() -> None:
    rng = np.random.default_rng(1)
    root = rng.normal(scale=0.03, size=(3, 3))
    covariance = np.zeros((6, 6))
    covariance[3:, 3:] = root @ root.T
    cones = markers_of(an_orientation(covariance=covariance))[5]
    assert (cones.ns, cones.type) == ('rotation_region', Marker.TRIANGLE_LIST)
    rims = xyz(cones.points).reshape(3, -1, 3, 3)[:, :, 1]  # the first corner of each triangle is the tip
    np.testing.assert_allclose(np.linalg.norm(rims, axis=2), 0.6 * MODEL.size_m, rtol=1e-9)
    R = matrix_from_quaternion(np.array([0.0, 0.6, 0.0, 0.8]))
    turns = matrix_from_rotation_vector(rng.normal(size=(4000, 3)) @ root.T)  # about the fixed axes of the frame
    for i in range(3):
        axes = (R.T @ turns @ R)[:, :, i]  # where the true axis may be, in the object frame
        aside, rim = np.delete(axes, i, 1), np.delete(rims[i], i, 1) / (0.6 * MODEL.size_m)
        around, angles = np.arctan2(*aside.T), np.arctan2(*rim.T)
        limit = np.interp(around, *np.array(sorted(zip(angles, np.linalg.norm(rim, axis=1)))).T, period=2 * np.pi)
        # Four standard errors, and 24 corners for an ellipse.
        assert (np.linalg.norm(aside, axis=1) < limit).mean() == pytest.approx(0.95, abs=0.02)


def test_regions_of_a_rotation_that_is_unknown_stay_drawable() -> None:
    _, *markers = markers_of(an_orientation(covariance=np.diag([0.0] * 3 + [100.0] * 3)))
    position, rotation = markers[3:5]
    assert 0.0 < position.scale.x < 0.001
    rims = xyz(rotation.points).reshape(3, -1, 3, 3)[:, :, 1] / (0.6 * MODEL.size_m)
    for i in range(3):
        np.testing.assert_allclose(rims[i][:, i], np.cos(np.deg2rad(75.0)), atol=1e-9)


def test_keypoints_without_a_known_position_are_left_out() -> None:
    points = MODEL.model_points.copy()
    points[1] = np.nan
    _, _, skeleton, keypoints, *_ = markers_of(an_orientation(), model=dataclasses.replace(MODEL, model_points=points))
    assert len(keypoints.points) == 3
    assert len(skeleton.points) == 6  # three of the five edges
