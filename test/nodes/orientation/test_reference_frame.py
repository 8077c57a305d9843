"""Tests of reference frames over real DDS: the camera's body, frames of tf, and what a robot does with them."""

from __future__ import annotations

import threading

import numpy as np
import pytest
import yaml
from geometry_msgs.msg import PoseStamped, TransformStamped
from orientation_bench import (
    ANGLE_TOLERANCE_RAD,
    CAMERA,
    POSITION_TOLERANCE_M,
    Bench,
    R,
    T,
    assert_pose,
    header,
    keypoints_of,
)
from rcl_interfaces.msg import Log
from rclpy.duration import Duration
from rclpy.lifecycle import TransitionCallbackReturn
from rclpy.time import Time as Instant
from std_msgs.msg import Header

from custom_pose_ros.core.errors import ConfigError
from custom_pose_ros.core.geometry.rigid import Rigid
from custom_pose_ros.core.geometry.rotations import (
    R_BODY_OPTICAL,
    matrix_from_quaternion,
    matrix_from_roll_pitch_yaw,
    roll_pitch_yaw_from_matrix,
)
from custom_pose_ros.nodes.orientation.orientation_node import OrientationNode
from custom_pose_ros.nodes.ros.conversions import rigid_pose_message, transform_from_message, transform_message


def test_the_camera_body_frame_is_named_after_the_optical_one(graph, model) -> None:
    bench = Bench(graph, model, reference_frame='camera_body')
    bench.calibrate()
    answer = bench.show_one()
    assert answer.header == Header(stamp=header().stamp, frame_id='camera_optical_frame_body')
    assert_pose(answer.orientations[0].pose.pose, R_BODY_OPTICAL @ R, R_BODY_OPTICAL @ T)
    angles = [answer.orientations[0].roll, answer.orientations[0].pitch, answer.orientations[0].yaw]
    np.testing.assert_allclose(angles, [0.2, -0.3, 2.5], atol=ANGLE_TOLERANCE_RAD)  # as R was made


def test_a_tf_reference_frame_needs_tf2_ros(graph, model) -> None:
    try:
        import tf2_ros  # noqa: F401
    except ImportError:
        with pytest.raises(
            ConfigError, match="'map' is a TF frame, which needs the ROS package tf2_ros; without it: camera_"
        ):
            graph.start(OrientationNode, object=model.source, reference_frame='map')
    else:
        pytest.skip('tf2_ros is installed here')


def test_tf_is_listened_to_only_while_a_tf_frame_is_used(graph, model, tf2) -> None:
    def listening() -> bool:
        return any(thread.name == 'tf_listener' for thread in threading.enumerate())

    graph.start(OrientationNode, object=model.source)
    assert not listening()
    node = graph.start(OrientationNode, object=model.source, reference_frame='map', autostart=False)
    assert node.trigger_configure() == TransitionCallbackReturn.SUCCESS
    assert not listening()
    assert node.trigger_activate() == TransitionCallbackReturn.SUCCESS
    assert listening()
    assert node.trigger_deactivate() == TransitionCallbackReturn.SUCCESS
    assert not listening()


def test_results_are_given_in_a_tf_frame_once_it_is_known(graph, model, tf2) -> None:
    """The frames of the robot: odom -> base_link moves, base_link -> camera_optical_frame is fixed."""
    bench = Bench(graph, model, reference_frame='odom', tf_timeout=0.05)
    bench.calibrate()
    answer = bench.show_one(seconds=1)
    assert (answer.orientations, answer.header.frame_id) == ([], 'odom')
    graph.wait_for_log(
        Log.WARN, 'orientation_node', "no transform from 'camera_optical_frame' to reference_frame 'odom': \"odom\" "
    )
    place = robot_frames(graph, tf2, 2)
    reference = bench.node._reference
    graph.wait(lambda: tf2.knows(reference, header(2)), 'the transforms')
    answer = bench.show_one(seconds=2)
    assert answer.header == Header(stamp=header(2).stamp, frame_id='odom')
    assert_pose(answer.orientations[0].pose.pose, place.rotation @ R, place.apply(T))


def test_a_listener_to_tf_finds_the_object_in_any_frame_of_the_robot(graph, model, tf2) -> None:
    """What somebody gets who knows nothing of this package: the object is one more frame of the tree."""
    bench = Bench(graph, model, reference_frame='camera_body')
    buffer = tf2.Buffer()
    listener = tf2.TransformListener(buffer, graph.tester)
    bench.calibrate()
    seconds = 2000 + int(graph.namespace[2:])  # /tf is shared by all tests
    place = robot_frames(graph, tf2, seconds)
    far = np.array([0.5, 0.3, 4.0])
    bench.show(keypoints_of(model, R, T, CAMERA, 3), keypoints_of(model, R, far, CAMERA, 8), seconds=seconds)

    def looked_up(target: str, source: str) -> Rigid:
        stamped = buffer.lookup_transform(target, source, Instant.from_msg(header(seconds).stamp), Duration(seconds=10))
        return transform_from_message(stamped.transform)

    for name, t in (('tiny_3', T), ('tiny_8', far)):
        assert_pose(rigid_pose_message(looked_up('odom', name)), place.rotation @ R, place.apply(t))
    body = looked_up('camera_optical_frame_body', 'tiny_3')  # forward, left, up of the camera
    assert_pose(rigid_pose_message(body), R_BODY_OPTICAL @ R, R_BODY_OPTICAL @ T)
    between = looked_up('tiny_8', 'tiny_3')
    np.testing.assert_allclose(between.translation, R.T @ (T - far), atol=2 * POSITION_TOLERANCE_M)
    listener.unregister()


def robot_frames(graph, tf2, seconds: int) -> Rigid:
    """Publish where the robot is and where its camera is on it; return what maps the optical frame to odom."""
    base = Rigid(matrix_from_roll_pitch_yaw(np.array([0.0, 0.0, np.pi / 2])), np.array([5.0, 6.0, 0.0]))
    optical = Rigid(R_BODY_OPTICAL, np.array([0.3, 0.0, 0.8]))
    stamp = header(seconds).stamp
    moving, fixed = (
        tf2.TFMessage(transforms=[
            TransformStamped(
                header=Header(stamp=stamp, frame_id=parent), child_frame_id=child, transform=transform_message(place)
            )
        ])
        for parent, child, place in (('odom', 'base_link', base), ('base_link', 'camera_optical_frame', optical))
    )  # fmt: skip
    graph.advertise('/tf_static', tf2.TFMessage, tf2.latched).publish(fixed)
    graph.advertise('/tf', tf2.TFMessage).publish(moving)
    return base @ optical


def test_the_pose_docks_a_robot_by_the_recipe_of_the_docs(graph, model, root) -> None:
    """
    Nav2's SimpleChargingDock turns detected_dock_pose into where the robot will stand; its rule is computed here.

    The dock is ahead of the robot and turned by 0.3 rad, the camera on the robot, base_link 0.35 m behind the contacts
    of the dock when it is docked. The numbers are those of the page.
    """
    page = (root / 'docs/robot_recipes.md').read_text(encoding='utf-8')
    settings = yaml.safe_load(page.split('```yaml')[1].split('```')[0])['docking_server']['ros__parameters']['my_dock']
    yaw = 0.3
    base_dock = Rigid(matrix_from_roll_pitch_yaw(np.array([0.0, 0.0, yaw])), np.array([2.5, 0.4, 0.3]))
    base_camera = Rigid(R_BODY_OPTICAL, np.array([0.2, 0.0, 0.5]))  # looks ahead
    camera_dock = base_camera.inverse() @ base_dock
    bench = Bench(graph, model, '-r', 'pose:=detected_dock_pose')
    docked = graph.listen('detected_dock_pose', PoseStamped)
    bench.calibrate()
    bench.show(keypoints_of(model, camera_dock.rotation, camera_dock.translation, CAMERA, 1))
    pose = docked.wait().pose
    assert docked[0].header == header()  # with the stamp of the image, and a frame that Nav2 finds in TF
    q, p = pose.orientation, pose.position
    seen = base_camera @ Rigid(matrix_from_quaternion(np.array([q.x, q.y, q.z, q.w])), np.array([p.x, p.y, p.z]))
    turn = np.array([settings[f'external_detection_rotation_{axis}'] for axis in ('roll', 'pitch', 'yaw')])
    heading = roll_pitch_yaw_from_matrix(seen.rotation @ matrix_from_roll_pitch_yaw(turn))[2]
    shift = np.array([settings[f'external_detection_translation_{axis}'] for axis in 'xy'])
    target = seen.translation[:2] + [[np.cos(heading), -np.sin(heading)], [np.sin(heading), np.cos(heading)]] @ shift
    assert heading == pytest.approx(yaw, abs=ANGLE_TOLERANCE_RAD)  # the robot looks into the dock
    wanted = [2.5 - 0.35 * np.cos(yaw), 0.4 - 0.35 * np.sin(yaw)]
    np.testing.assert_allclose(target, wanted, atol=POSITION_TOLERANCE_M)
