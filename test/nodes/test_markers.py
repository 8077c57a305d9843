"""Tests of custom_pose_ros.nodes.markers: geometry, frames, ids and colours."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from geometry_msgs.msg import Point, PoseWithCovariance, Quaternion
from geometry_msgs.msg import Pose as RigidPose
from std_msgs.msg import Header
from visualization_msgs.msg import Marker

from custom_pose_ros.core.object_model import ObjectModel
from custom_pose_ros.nodes.markers import object_size, orientations_to_markers
from custom_pose_ros.nodes.messages import Orientation, OrientationArray

MODEL = ObjectModel.load('submarine')
HEADER = Header(frame_id='camera')
POSE = RigidPose(position=Point(x=1.0, y=2.0, z=3.0), orientation=Quaternion(x=0.0, y=0.6, z=0.0, w=0.8))


def an_orientation(track_id: int = 4, ambiguity: float = 0.0) -> Orientation:
    return Orientation(
        object_name='submarine', track_id=track_id, pose=PoseWithCovariance(pose=POSE), ambiguity=ambiguity,
        roll=np.pi / 2, pitch=0.0, yaw=-np.pi / 4,
    )  # fmt: skip


def markers_of(*orientations: Orientation, model: ObjectModel = MODEL) -> list[Marker]:
    return orientations_to_markers(OrientationArray(header=HEADER, orientations=list(orientations)), model).markers


def xyz(points) -> np.ndarray:
    return np.array([[p.x, p.y, p.z] for p in points])


def test_an_empty_array_clears_what_was_drawn() -> None:
    (marker,) = markers_of()
    assert (marker.action, marker.header) == (Marker.DELETEALL, HEADER)


def test_every_instance_has_its_markers_at_its_pose() -> None:
    clear, *markers = markers_of(an_orientation(), an_orientation(5))
    assert clear.action == Marker.DELETEALL
    assert [(m.ns, m.id) for m in markers] == [
        (ns, i) for i in (0, 1) for ns in ('axes', 'skeleton', 'keypoints', 'label')
    ]
    for marker in markers:
        assert (marker.header, marker.pose, marker.action, marker.lifetime.sec) == (HEADER, POSE, Marker.ADD, 1)


def test_points_are_those_of_the_object_in_its_own_frame() -> None:
    _, axes, skeleton, keypoints, label = markers_of(an_orientation())
    np.testing.assert_allclose(xyz(keypoints.points), MODEL.model_points)
    np.testing.assert_allclose(xyz(skeleton.points), MODEL.model_points[np.array(MODEL.skeleton).ravel()])
    length = 0.6 * object_size(MODEL)
    np.testing.assert_allclose(xyz(axes.points)[1::2], length * np.eye(3))
    assert [(round(c.r), round(c.g), round(c.b)) for c in axes.colors[::2]] == [(1, 0, 0), (0, 1, 0), (0, 0, 1)]
    assert label.text == 'submarine 4\nroll 90 pitch 0 yaw -45 deg'


def test_ambiguity_is_seen() -> None:
    _, sure_axes, sure, *_ = markers_of(an_orientation(ambiguity=0.0))
    _, axes, unsure, _, label = markers_of(an_orientation(ambiguity=1.0, track_id=Orientation.TRACK_ID_NOT_TRACKED))
    assert (sure.color.g > sure.color.r, unsure.color.r > unsure.color.g) == (True, True)  # green, orange
    assert (sure_axes.colors[0].a, axes.colors[0].a) == (1.0, pytest.approx(0.3, abs=1e-6))  # float32
    assert label.text.startswith('submarine\n')
    assert label.text.endswith('\nambiguous')


def test_keypoints_without_a_known_position_are_left_out() -> None:
    points = MODEL.model_points.copy()
    points[1] = np.nan
    _, _, skeleton, keypoints, _ = markers_of(an_orientation(), model=dataclasses.replace(MODEL, model_points=points))
    assert len(keypoints.points) == 3
    assert len(skeleton.points) == 6  # three of the five edges


def test_the_size_is_that_of_the_model_points() -> None:
    assert object_size(MODEL) == pytest.approx(np.hypot(0.53, 0.28))
    assert object_size(dataclasses.replace(MODEL, model_points=None)) == 0.1
