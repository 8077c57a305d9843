"""Interpolated truth by value; holes, ends and broken chains give nothing."""

from __future__ import annotations

import numpy as np
import pytest
from bag_maker import ROS2, Messages, Truth

from custom_pose_ros.core.geometry.rigid import Rigid
from custom_pose_ros.core.geometry.rotations import matrix_from_rotation_vector, rotation_between
from custom_pose_ros.evaluation.truth.tracks import Trajectory, TransformTree, interpolate, read_poses

SECOND = 10**9


def turned(x: float, y: float, z: float, *t: float) -> Rigid:
    return Rigid(matrix_from_rotation_vector(np.array([x, y, z])), np.array(t or (0.0, 0.0, 0.0)))


def assert_same(a: Rigid, b: Rigid) -> None:
    assert rotation_between(a.rotation, b.rotation) < 1e-9
    np.testing.assert_allclose(a.translation, b.translation, atol=1e-12)


def test_half_way_is_half_the_turn_and_half_the_path():
    assert_same(interpolate(turned(0, 0, 0.2, 1, 0, 0), turned(0, 0, 1.0, 3, 2, 0), 0.5), turned(0, 0, 0.6, 2, 1, 0))


def test_the_short_way_round_is_taken():
    assert_same(interpolate(turned(0, 0, 3.0), turned(0, 0, -3.0), 0.5), turned(0, 0, np.pi))


def test_samples_in_any_order_are_interpolated_between_neighbours():
    track = Trajectory(max_gap_s=2.0)
    for seconds in (4, 0, 2):
        track.add(seconds * SECOND, turned(0, 0, 0.1 * seconds, seconds, 0, 0))
    assert_same(track.at(3 * SECOND), turned(0, 0, 0.3, 3, 0, 0))
    assert_same(track.at(2 * SECOND), turned(0, 0, 0.2, 2, 0, 0))


def test_nothing_before_after_and_in_holes():
    track = Trajectory(max_gap_s=0.5)
    assert track.at(0) is None
    for seconds in (1, 2):
        track.add(seconds * SECOND, turned(0, 0, 0))
    assert track.at(SECOND - 1) is None
    assert track.at(2 * SECOND + 1) is None
    assert track.at(SECOND + SECOND // 2) is None
    assert track.at(2 * SECOND) is not None


def test_of_two_samples_with_one_stamp_the_later_counts():
    track = Trajectory()
    track.add(SECOND, turned(0, 0, 0.1))
    track.add(SECOND, turned(0, 0, 0.7))
    assert_same(track.at(SECOND), turned(0, 0, 0.7))


def tree() -> TransformTree:
    """world -> robot (moving) -> camera (fixed); world -> object (moving)."""
    result = TransformTree(max_gap_s=2.0)
    result.add(0, 'robot', 'camera', turned(0.5, 0, 0, 0, 0, 0.3), static=True)
    for seconds in (0, 1, 2):
        result.add(seconds * SECOND, 'world', 'robot', turned(0, 0, 0.2 * seconds, seconds, 0, 0), static=False)
        result.add(seconds * SECOND, 'world', 'object', turned(0, 0.1 * seconds, 0, 0, 5, 0), static=False)
    return result


def test_a_chain_of_transforms_is_followed_up_and_down():
    world_camera = turned(0, 0, 0.1, 0.5, 0, 0) @ turned(0.5, 0, 0, 0, 0, 0.3)
    world_object = turned(0, 0.05, 0, 0, 5, 0)
    assert_same(tree().at('camera', 'object', SECOND // 2), world_camera.inverse() @ world_object)
    assert_same(tree().at('object', 'object', 0), turned(0, 0, 0))


def test_frames_without_a_chain_or_a_transform_at_that_time_give_nothing():
    transforms = tree()
    transforms.add(0, 'attic', 'ghost', turned(0, 0, 0), static=True)
    assert transforms.at('camera', 'ghost', 0) is None
    assert not transforms.connected('camera', 'ghost') and transforms.connected('camera', 'object')
    assert transforms.at('camera', 'object', 9 * SECOND) is None
    assert transforms.frames == ['attic', 'camera', 'ghost', 'object', 'robot', 'world']


def test_a_loop_in_the_tree_ends():
    transforms = TransformTree()
    transforms.add(0, 'a', 'b', turned(0, 0, 0), static=True)
    transforms.add(0, 'b', 'a', turned(0, 0, 0), static=True)
    assert transforms.at('a', 'b', 0) is not None or transforms.at('a', 'b', 0) is None  # only that it returns
    assert transforms.connected('a', 'b') in (True, False)


def test_poses_of_every_message_are_read():
    make, types = Messages(), ROS2.types
    truth = Truth(5 * SECOND + 7, matrix_from_rotation_vector(np.array([0.1, 0.2, 0.3])), np.array([1.0, 2.0, 3.0]))
    header, pose = make.header(truth.stamp_ns, '/world'), make.pose(truth)
    with_covariance = types['geometry_msgs/msg/PoseWithCovariance'](pose, np.zeros(36))
    zero = types['geometry_msgs/msg/Vector3'](0.0, 0.0, 0.0)
    twist = types['geometry_msgs/msg/TwistWithCovariance'](types['geometry_msgs/msg/Twist'](zero, zero), np.zeros(36))
    transform = make.transform(truth, '/world', '/body')
    messages = [
        make.pose_stamped(truth, '/world'),
        types['geometry_msgs/msg/PoseWithCovarianceStamped'](header, with_covariance),
        types['nav_msgs/msg/Odometry'](header, '/body', with_covariance, twist),
        transform,
        types['tf2_msgs/msg/TFMessage']([transform]),
    ]
    for message in messages:
        (stamped,) = read_poses(message)
        assert (stamped.stamp_ns, stamped.frame) == (truth.stamp_ns, 'world')
        assert_same(stamped.pose, Rigid(truth.R, truth.t))
    assert [p.child for m in messages[2:] for p in read_poses(m)] == ['body'] * 3


@pytest.mark.parametrize('value', [np.nan, np.inf, 0.0])
def test_poses_that_are_none_are_left_out(value):
    message = Messages().pose_stamped(Truth(1, np.eye(3), np.zeros(3)))
    message.pose.orientation.w = value
    assert list(read_poses(message)) == []
