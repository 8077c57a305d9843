"""Tests of orientation_node as it runs: real messages over real DDS, values, headers and frames compared."""

from __future__ import annotations

import signal
import time

import numpy as np
import pytest
import simulated_tracks as simulation
import yaml
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from geometry_msgs.msg import PoseArray as RigidPoseArray
from geometry_msgs.msg import PoseStamped, PoseWithCovarianceStamped, QuaternionStamped, Vector3Stamped
from orientation_bench import (
    ANGLE_TOLERANCE_RAD,
    CAMERA,
    POSITION_TOLERANCE_M,
    Bench,
    R,
    T,
    assert_pose,
    header,
    info_of,
    keypoints_of,
)
from rcl_interfaces.msg import Log
from rclpy.parameter import Parameter
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy, qos_profile_sensor_data
from sensor_msgs.msg import CameraInfo, Image
from visualization_msgs.msg import MarkerArray

from custom_pose_ros.core.errors import ConfigError
from custom_pose_ros.core.geometry.camera import CameraIntrinsics
from custom_pose_ros.core.geometry.rigid import Rigid
from custom_pose_ros.core.geometry.rotations import R_BODY_OPTICAL, matrix_from_quaternion, roll_pitch_yaw_from_matrix
from custom_pose_ros.core.keypoints.poses import KeypointPose
from custom_pose_ros.nodes.orientation.orientation_node import OrientationNode
from custom_pose_ros.nodes.ros.conversions import PoseArray, poses_to_message, rigid_pose_message


@pytest.mark.parametrize('camera_info_qos', [qos_profile_sensor_data, 10], ids=['sensor_data', 'reliable'])
def test_every_output_carries_the_pose_the_stamp_and_the_frame(graph, model, camera_info_qos) -> None:
    kinds = {
        'pose': PoseStamped,
        'pose_with_covariance': PoseWithCovarianceStamped,
        'quaternion': QuaternionStamped,
        'euler': Vector3Stamped,
        'object_poses': RigidPoseArray,
    }
    bench = Bench(graph, model)
    received = {topic: graph.listen(topic, kind) for topic, kind in kinds.items()}
    bench.calibrate(qos=camera_info_qos)
    answer = bench.show_one()
    outputs = {topic: messages.wait() for topic, messages in received.items()}

    for message in (answer, *outputs.values()):
        assert message.header == header()
    (orientation,) = answer.orientations
    assert (orientation.object_name, orientation.track_id, orientation.keypoints_used) == ('tiny', 3, 4)
    assert orientation.reprojection_error_px < 1e-3
    assert_pose(orientation.pose.pose, R, T)
    angles = [orientation.roll, orientation.pitch, orientation.yaw]
    np.testing.assert_allclose(angles, roll_pitch_yaw_from_matrix(R), atol=ANGLE_TOLERANCE_RAD)
    covariance = orientation.pose.covariance.reshape(6, 6)
    assert np.linalg.eigvalsh(covariance).min() > 0.0
    assert 1e-3 < np.sqrt(covariance[2, 2]) < 0.1  # 0.5 px at 3 m on an object of 0.6 m: centimetres

    assert outputs['pose'].pose == orientation.pose.pose
    assert outputs['pose_with_covariance'].pose == orientation.pose
    assert outputs['quaternion'].quaternion == orientation.pose.pose.orientation
    assert outputs['object_poses'].poses == [orientation.pose.pose]
    euler = outputs['euler'].vector
    assert [euler.x, euler.y, euler.z] == angles


def test_no_instance_gives_an_empty_array_and_no_pose(graph, model) -> None:
    bench = Bench(graph, model)
    poses, single = graph.listen('object_poses', RigidPoseArray), graph.listen('pose', PoseStamped)
    bench.calibrate()
    answer = bench.show(seconds=11)
    assert (answer.orientations, answer.header) == ([], header(11))
    assert poses.wait(lambda m: m.header == header(11)).poses == []
    bench.show_one(seconds=12)
    assert single.wait().header == header(12)  # the first one there is


def test_too_few_keypoints_are_no_orientation_and_counted(graph, model) -> None:
    bench = Bench(graph, model)
    bench.calibrate()
    full = keypoints_of(model, R, T, CAMERA, 1)
    visible = np.array([True, True, False, False])
    partial = KeypointPose(
        keypoints=np.where(visible[:, None], full.keypoints, np.nan), covariances=full.covariances,
        scores=np.where(visible, 1.0, 0.0), visible=visible, score=0.5, track_id=1,
    )  # fmt: skip
    assert bench.show(partial).orientations == []
    graph.wait(lambda: bench.node._cameras[''].unsolved == 1, 'the count of unsolved instances')


def test_two_poses_with_one_id_give_one_orientation_and_are_counted(graph, model) -> None:
    bench = Bench(graph, model)
    diagnostics = graph.listen('/diagnostics', DiagnosticArray)
    bench.calibrate()
    near, far = (keypoints_of(model, R, t, CAMERA, 3) for t in (T, np.array([0.5, 0.3, 4.0])))
    (only,) = bench.show(near, far).orientations
    assert only.track_id == 3
    assert_pose(only.pose.pose, R, T)
    wanted = KeyValue(key='impossible poses withheld', value='1')
    diagnostics.wait(lambda m: any(wanted in status.values for status in m.status))


def test_tf_goes_from_the_optical_frame_to_every_instance(graph, model) -> None:
    messages = pytest.importorskip('tf2_msgs.msg', reason='tf2_msgs comes with ROS or is built by the test set-up')
    bench = Bench(graph, model, reference_frame='camera_body')
    moving = graph.listen('/tf', messages.TFMessage)
    latched = QoSProfile(depth=10, durability=DurabilityPolicy.TRANSIENT_LOCAL)
    bench.calibrate()
    stamp = 1000 + int(graph.namespace[2:])  # /tf is shared by all tests
    far = np.array([0.5, 0.3, 4.0])
    bench.show(keypoints_of(model, R, T, CAMERA, 3), keypoints_of(model, R, far, CAMERA, 8), seconds=stamp)
    transforms = moving.wait(lambda m: m.transforms[0].header == header(stamp)).transforms
    assert [t.child_frame_id for t in transforms] == ['tiny_3', 'tiny_8']
    for stamped, t in zip(transforms, (T, far)):
        assert stamped.header == header(stamp)
        pose = rigid_pose_message(Rigid(np.eye(3), t))
        pose.orientation = stamped.transform.rotation
        assert_pose(pose, R, t)
        shift = stamped.transform.translation
        np.testing.assert_allclose([shift.x, shift.y, shift.z], t, atol=POSITION_TOLERANCE_M)

    static = graph.listen('/tf_static', messages.TFMessage, latched)  # late, and still served
    (body,) = static.wait().transforms
    assert (body.header.frame_id, body.child_frame_id) == ('camera_optical_frame', 'camera_optical_frame_body')
    q = body.transform.rotation
    np.testing.assert_allclose(
        matrix_from_quaternion(np.array([q.x, q.y, q.z, q.w])), R_BODY_OPTICAL.T, atol=1e-12
    )  # exact but for rounding


@pytest.mark.parametrize('rate_hz', [0.3, 1.0])
def test_a_slow_camera_sees_one_object_in_one_frame(graph, model, rate_hz) -> None:
    """Of poses without ids; it moves by more than its size between two images."""
    messages = pytest.importorskip('tf2_msgs.msg', reason='tf2_msgs comes with ROS or is built by the test set-up')
    bench = Bench(graph, model)
    moving = graph.listen('/tf', messages.TFMessage)
    bench.calibrate()
    size_m = np.ptp(model.model_points, axis=0).max()
    for i, stamp in enumerate(simulation.irregular_stamps(0, rate_hz, 12).tolist()):
        image = header(2000 + 100 * int(graph.namespace[2:]) + int(stamp))  # /tf is shared by all tests
        image.stamp.nanosec += int(stamp % 1.0 * 1e9)
        pose = keypoints_of(model, R, T + [(-1) ** i * 0.6 * size_m, 0.0, 0.0], CAMERA, None)
        answer = bench.publish(poses_to_message([pose], model, image, 640, 480))
        assert [o.track_id for o in answer.orientations] == [0]
        (transform,) = moving.wait(lambda m, image=image: m.transforms[0].header == image).transforms
        assert transform.child_frame_id == 'tiny_0'


def test_without_tf2_msgs_one_warning_says_so(graph, model, monkeypatch) -> None:
    monkeypatch.setattr('custom_pose_ros.nodes.orientation.orientation_outputs.TFMessage', None)
    bench = Bench(graph, model)
    graph.wait_for_log(Log.WARN, 'orientation_node', 'tf2_msgs is not installed: /tf is not published')
    bench.calibrate()
    assert len(bench.show_one().orientations) == 1


def test_without_camera_info_it_waits_then_guesses_and_says_so(graph, model) -> None:
    bench = Bench(graph, model, camera_info_timeout=3600.0, fallback_fov_deg=90.0)
    assert bench.show_one(seconds=1).orientations == []
    graph.wait_for_log(Log.WARN, 'orientation_node', 'no usable camera_info (none received) yet: after 3600 s 90 deg')
    assert not bench.node.set_parameters([Parameter('fallback_fov_deg', value=1.05)])[0].successful
    bench.node.set_parameters([Parameter('camera_info_timeout', value=0.0)])
    guessed = CameraIntrinsics.from_fov(640, 480, np.pi / 2)
    answer = bench.show_one(camera=guessed, seconds=2)
    assert_pose(answer.orientations[0].pose.pose, R, T)
    graph.wait_for_log(Log.WARN, 'orientation_node', 'no camera_info: a camera of 90 deg is assumed')
    bench.calibrate()
    assert_pose(bench.show_one(seconds=3).orientations[0].pose.pose, R, T)


@pytest.mark.parametrize('focal_px', [0.0, np.nan])
def test_a_bad_camera_info_is_refused_and_the_last_good_one_stays(graph, model, focal_px: float) -> None:
    bench = Bench(graph, model)
    bench.calibrate()
    bad = info_of(CAMERA)
    bad.k = np.full(9, focal_px)
    publisher = graph.advertise('camera_info', CameraInfo)
    graph.wait(lambda: publisher.publish(bad) or bench.node.health.statistics[''].counts.errors, 'the refusal', 0.02)
    graph.wait_for_log(Log.WARN, 'orientation_node', 'camera_info: camera: K: wanted')
    assert_pose(bench.show_one().orientations[0].pose.pose, R, T)


def test_another_resolution_is_scaled_and_another_shape_refused(graph, model) -> None:
    bench = Bench(graph, model)
    bench.calibrate()
    half = CAMERA.scaled_to(320, 240)
    assert_pose(bench.show_one(camera=half, seconds=1).orientations[0].pose.pose, R, T)
    wide = keypoints_of(model, R, T, CAMERA, 3)
    assert bench.show(wide, seconds=2, size=(640, 360)).orientations == []
    graph.wait_for_log(Log.WARN, 'orientation_node', 'calibration is for 640x480 and the image has 640x360')
    assert_pose(bench.show_one(seconds=3).orientations[0].pose.pose, R, T)


@pytest.mark.parametrize('told_by', ['parameter', 'remapping', 'publisher', 'nothing'])
def test_of_rectified_images_p_is_used(graph, model, told_by: str) -> None:
    raw = CameraIntrinsics(640, 480, CAMERA.K, [-0.35, 0.12, 0, 0, 0])
    rectified = CameraIntrinsics(640, 480, np.array([[450.0, 0, 310.0], [0, 450.0, 245.0], [0, 0, 1]]))
    if told_by == 'publisher':  # the tester, which publishes the poses, stands for pose_node
        graph.tester.create_subscription(Image, 'front/image_rect_color', lambda message: None, 1)
    arguments = ['-r', 'image:=front/image_rect'] if told_by == 'remapping' else []
    bench = Bench(graph, model, *arguments, **({'image_rectified': True} if told_by == 'parameter' else {}))
    info = info_of(raw)
    info.p = [450.0, 0, 310.0, 0, 0, 450.0, 245.0, 0, 0, 0, 1, 0]
    bench.calibrate(info)
    seen_by = raw if told_by == 'nothing' else rectified
    assert_pose(bench.show_one(camera=seen_by).orientations[0].pose.pose, R, T)
    assert bench.node._cameras[''].source.rectified == (told_by != 'nothing')


def test_a_calibration_file_needs_no_camera_info(graph, model, tmp_path) -> None:
    path = tmp_path / 'camera.yaml'
    path.write_text(yaml.safe_dump(CAMERA.to_yaml_dict()), encoding='utf-8')
    bench = Bench(graph, model, camera_calibration=str(path))
    assert_pose(bench.show_one().orientations[0].pose.pose, R, T)
    assert graph.tester.count_subscribers('camera_info') == 0


def test_poses_of_another_object_are_refused_with_both_names(graph, model) -> None:
    bench = Bench(graph, model)
    bench.calibrate()
    other = PoseArray(header=header(1), image_width=640, image_height=480, keypoint_names=['nose', 'tail'])
    answer = bench.publish(other)
    assert (answer.orientations, answer.header) == ([], header(1))
    graph.wait_for_log(Log.WARN, 'orientation_node', "poses with keypoints 'nose, tail': wanted those of tiny: [front,")
    assert_pose(bench.show_one(seconds=2).orientations[0].pose.pose, R, T)


def test_the_chosen_instance_is_the_best_or_the_one_of_a_track(graph, model) -> None:
    bench = Bench(graph, model)
    single = graph.listen('pose', PoseStamped)
    bench.calibrate()
    far = np.array([0.5, 0.3, 4.0])
    both = keypoints_of(model, R, T, CAMERA, 3), keypoints_of(model, R, far, CAMERA, 8)
    bench.show(*both, seconds=1)
    assert_pose(single.wait(lambda m: m.header == header(1)).pose, R, T)
    bench.node.set_parameters([Parameter('track_id', value=8)])
    bench.show(*both, seconds=2)
    assert_pose(single.wait(lambda m: m.header == header(2)).pose, R, far)


def test_markers_are_published_while_somebody_listens(graph, model) -> None:
    bench = Bench(graph, model)
    bench.calibrate()
    markers = graph.listen('orientation_node/markers', MarkerArray)
    answer = bench.show_one()
    message = markers.wait()
    assert [m.ns for m in message.markers] == [
        '', 'axes', 'skeleton', 'keypoints', 'position_region', 'rotation_region', 'label',
    ]  # fmt: skip
    assert {m.header.frame_id for m in message.markers} == {'camera_optical_frame'}
    assert message.markers[1].pose == answer.orientations[0].pose.pose


def test_the_filter_follows_its_parameters_also_live(graph, model) -> None:
    bench = Bench(graph, model, filter__max_gap_s=30.0)
    bench.calibrate()
    bench.show_one(seconds=1)
    (coasting,) = bench.show(seconds=20).orientations
    assert (coasting.track_id, coasting.keypoints_used) == (3, 0)  # predicted
    assert np.isnan(coasting.reprojection_error_px)
    bench.node.set_parameters([Parameter('filter.max_gap_s', value=5.0)])
    bench.show_one(seconds=21)
    assert len(bench.show(seconds=25).orientations) == 1
    assert bench.show(seconds=60).orientations == []  # lost: these images come 5 s apart at most, 20 s would be a gap


def test_diagnostics_tell_rate_camera_and_errors(graph, model) -> None:
    diagnostics = graph.listen('/diagnostics', DiagnosticArray)
    bench = Bench(graph, model, camera_info_timeout=3600.0)
    name = f'{graph.namespace[1:]}/orientation_node: orientation'

    def rows(wanted) -> dict[str, str]:
        message = diagnostics.wait(lambda m: m.status[0].name == name and wanted(m.status[0]))
        return {'level': message.status[0].level, **{v.key: v.value for v in message.status[0].values}}

    assert rows(lambda s: s.message.startswith('no input yet'))['camera'] == 'waiting for camera_info'
    bench.show_one()
    refused = rows(lambda s: 'messages refused' in s.message)
    assert refused['level'] in (DiagnosticStatus.WARN, DiagnosticStatus.ERROR)
    assert refused['last error'].startswith('no usable camera_info')
    bench.calibrate()
    bench.show_one(seconds=11)
    good = rows(lambda s: any(v.key == 'camera' and v.value == 'camera_info' for v in s.values))
    assert (good['object'], good['reference frame'], good['errors']) == ('tiny', 'camera_optical', '1')


def test_quality_of_service_can_be_overridden(graph, model) -> None:
    topic = f'{graph.namespace}/camera_info'
    override = {f'qos_overrides.{topic}.subscription.reliability': 'reliable'}
    graph.start(OrientationNode, object=model.source, **override)
    graph.wait(lambda: graph.tester.get_subscriptions_info_by_topic(topic), 'the subscription')
    (found,) = graph.tester.get_subscriptions_info_by_topic(topic)
    assert found.qos_profile.reliability == ReliabilityPolicy.RELIABLE


@pytest.mark.parametrize(
    ('parameters', 'text'),
    [
        ({'object': 'nothing_like_it'}, "object 'nothing_like_it' not found: wanted a folder"),
        ({'camera_calibration': 'nowhere.yaml'}, r'nowhere\.yaml: cannot be read'),
        ({'reference_frame': ''}, 'reference_frame: wanted camera_optical, camera_body or a TF frame, got nothing'),
        ({'filter__max_speed': -1.0}, 'filter.max_speed: wanted a number from 0.001 to 100, got -1.0'),
        ({'fallback_fov_deg': 500.0}, 'fallback_fov_deg: wanted a number from 0 to 170, got 500.0'),
        ({'fallback_fov_deg': 1.05}, 'fallback_fov_deg: wanted degrees, not radians, at least 4, .*, got 1.05'),
    ],
)
def test_it_refuses_to_start_with_one_line(graph, model, parameters: dict, text: str) -> None:
    with pytest.raises(ConfigError, match=text):
        graph.start(OrientationNode, **{'object': model.source, **parameters})


def test_an_object_without_model_points_has_no_orientation(graph, tiny, tmp_path) -> None:
    text = tiny.TINY_OBJECT_YAML
    start, end = text.index('model_points:'), text.index('input_height:')
    (tmp_path / 'object.yaml').write_text(text[:start] + text[end:], encoding='utf-8')
    with pytest.raises(ConfigError, match='model_points'):
        graph.start(OrientationNode, object=str(tmp_path))


def test_the_process_ends_with_0_on_interrupt_and_with_1_and_one_line_on_bad_input(start_process, graph, model) -> None:
    module, ros = 'custom_pose_ros.nodes.orientation.orientation_node', '--ros-args'
    bad = start_process(module, ros, '-p', f'object:={model.source}', '-p', 'fallback_fov_deg:=500.0')
    good = start_process(module, ros, '-p', f'object:={model.source}', '-r', f'__ns:={graph.namespace}')
    graph.wait_for_publisher('orientations')
    good.send_signal(signal.SIGINT)
    time.sleep(0.05)
    good.send_signal(signal.SIGINT)  # as from a terminal and from ros2 launch
    out, err = good.communicate(timeout=60)
    assert (good.returncode, 'Traceback' in err) == (0, False), out + err
    out, err = bad.communicate(timeout=60)
    assert bad.returncode == 1, out + err
    (line,) = (text for text in err.splitlines() if '[INFO]' not in text)  # it may tell of remains of killed processes
    assert line.startswith('error: parameter fallback_fov_deg: ')
