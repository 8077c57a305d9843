"""Poses of other programs are scored as ours are: their errors, and the images in which they found nothing."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from bag_maker import CAMERA_FRAME, TRUTH, Messages, Truth, tiny_entries, trajectory, write_bag
from rosbags.typesys import Stores, get_types_from_msg, get_typestore

from custom_pose_ros.core.command_line import WRONG_USE
from custom_pose_ros.core.errors import UsageError
from custom_pose_ros.core.geometry.rotations import matrix_from_rotation_vector
from custom_pose_ros.evaluation.frames.recorded_frames import foreign_poses
from custom_pose_ros.evaluation.truth.source import TruthSettings
from custom_pose_ros.tools import evaluate_bag

FRAMES = 24
SHIFT_M = np.array([0.003, -0.004, 0.0])  # 5 mm
TURN_RAD = np.deg2rad(2.0)
WITH_TRUTH = {'truth': TruthSettings(topic=TRUTH)}
OTHER = '/other/pose'
# vision_msgs, with the parts that matter: since Humble, and before it.
PARTS = """
std_msgs/Header header
{results}[] results
vision_msgs/BoundingBox3D bbox
{identity}================================================================================
MSG: vision_msgs/BoundingBox3D
geometry_msgs/Pose center
geometry_msgs/Vector3 size
"""
DETECTION_4 = PARTS.format(results='vision_msgs/ObjectHypothesisWithPose', identity='string id\n')
DETECTION_3 = PARTS.format(results='vision_msgs/ObjectHypothesisWithPose', identity='')
HYPOTHESIS_4 = 'vision_msgs/ObjectHypothesis hypothesis\ngeometry_msgs/PoseWithCovariance pose\n'
HYPOTHESIS_3 = 'string id\nfloat64 score\ngeometry_msgs/PoseWithCovariance pose\n'
ARRAY = 'std_msgs/Header header\nvision_msgs/Detection3D[] detections\n'


@pytest.fixture(scope='module', params=[4, 3], ids=['vision_msgs 4', 'vision_msgs 3'])
def vision(request) -> Messages:
    store = get_typestore(Stores.LATEST)
    detection, hypothesis = (DETECTION_4, HYPOTHESIS_4) if request.param == 4 else (DETECTION_3, HYPOTHESIS_3)
    texts = {'Detection3D': detection, 'ObjectHypothesisWithPose': hypothesis, 'Detection3DArray': ARRAY}
    if request.param == 4:
        texts['ObjectHypothesis'] = 'string class_id\nfloat64 score\n'
    types: dict[str, Any] = {}
    for name, text in texts.items():
        types |= get_types_from_msg(text, f'vision_msgs/msg/{name}')
    store.register(types)
    return Messages(store)


def off(truth: Truth) -> Truth:
    """Return what another program says about it: 5 mm and 2 degrees beside it."""
    turn = matrix_from_rotation_vector(np.array([0.0, 0.0, TURN_RAD]))
    return Truth(truth.stamp_ns, turn @ truth.R, truth.t + SHIFT_M)


def detections(make: Messages, stamp_ns: int, found: list[tuple[str, float, Truth]]) -> Any:
    types = make.types
    result, pose_with = types['vision_msgs/msg/ObjectHypothesisWithPose'], types['geometry_msgs/msg/PoseWithCovariance']
    zero = Truth(0, np.eye(3), np.zeros(3))
    box = types['vision_msgs/msg/BoundingBox3D'](make.pose(zero), types['geometry_msgs/msg/Vector3'](0.0, 0.0, 0.0))
    items = []
    for label, score, truth in found:
        pose = pose_with(make.pose(truth), np.zeros(36))
        if 'vision_msgs/msg/ObjectHypothesis' in types:
            results = [result(types['vision_msgs/msg/ObjectHypothesis'](label, score), pose)]
            item = types['vision_msgs/msg/Detection3D'](make.header(stamp_ns), results, box, '')
        else:
            item = types['vision_msgs/msg/Detection3D'](make.header(stamp_ns), [result(label, score, pose)], box)
        items.append(item)
    return types['vision_msgs/msg/Detection3DArray'](make.header(stamp_ns), items)


def assert_errors(metrics: dict[str, Any]) -> None:
    assert metrics['translation_error_m']['max'] == pytest.approx(0.005, abs=2e-4)  # the truth is interpolated
    assert metrics['rotation_error_deg']['max'] == pytest.approx(2.0, abs=0.05)


def test_a_pose_topic_is_scored_with_the_images_it_is_missing_in(evaluate, tmp_path) -> None:
    make, poses = Messages(), trajectory(FRAMES)
    entries = tiny_entries(poses)
    for truth in poses[::2]:
        message = make.pose_stamped(off(truth))
        entries.append((OTHER, 'geometry_msgs/msg/PoseStamped', truth.stamp_ns + 20_000_000, message))
    path = write_bag(tmp_path / 'bag', sorted(entries, key=lambda entry: entry[2]))
    metrics = evaluate(path, recorded=OTHER, **WITH_TRUTH).metrics
    assert_errors(metrics)
    assert metrics['frames']['scored'] == FRAMES
    assert metrics['frames']['missing_results'] == FRAMES // 2
    assert metrics['detection']['rate'] == pytest.approx(0.5)
    assert metrics['latency_ms']['median'] == pytest.approx(20.0)
    assert metrics['ambiguity']['share_ambiguous'] is None  # nothing is said about it
    assert metrics['consistency']['nees_position']['count'] == 0
    assert metrics['consistency']['share_inside_99']['pose'] is None


def test_covariance_and_several_poses_are_used(evaluate, tmp_path) -> None:
    make, poses = Messages(), trajectory(FRAMES)
    entries, far = tiny_entries(poses), Truth(0, np.eye(3), np.array([1.0, 1.0, 4.0]))
    for truth in poses:
        header, pose = make.header(truth.stamp_ns), make.pose(off(truth))
        covariance = np.diag([0.005**2] * 3 + [TURN_RAD**2] * 3).ravel()
        pose_with = make.types['geometry_msgs/msg/PoseWithCovariance'](pose, covariance)
        message = make.types['geometry_msgs/msg/PoseWithCovarianceStamped'](header, pose_with)
        time_ns = truth.stamp_ns + 20_000_000
        entries.append((OTHER, 'geometry_msgs/msg/PoseWithCovarianceStamped', time_ns, message))
        several = make.types['geometry_msgs/msg/PoseArray'](header, [make.pose(far), pose])
        entries.append(('/aruco_poses', 'geometry_msgs/msg/PoseArray', time_ns, several))
    path = write_bag(tmp_path / 'bag', sorted(entries, key=lambda entry: entry[2]))
    metrics = evaluate(path, recorded=OTHER, **WITH_TRUTH).metrics
    assert_errors(metrics)
    assert metrics['consistency']['nees_position']['mean'] == pytest.approx(1.0, abs=0.1)  # one sigma away
    assert metrics['consistency']['share_inside_99']['pose'] == 1.0
    metrics = evaluate(path, recorded='aruco_poses', **WITH_TRUTH).metrics
    assert_errors(metrics)
    assert metrics['detection']['surplus_instances'] == FRAMES


def test_detections_of_the_object_are_told_by_their_class(evaluate, vision, tmp_path) -> None:
    poses = trajectory(FRAMES)
    entries = tiny_entries(poses, vision)
    for number, truth in enumerate(poses):
        found = [('mug', 0.9, Truth(0, np.eye(3), np.array([0.2, 0.0, 1.0])))]
        found += [('tiny', 0.8, off(truth))] if number % 4 else []
        message = detections(vision, truth.stamp_ns, found)
        entries.append((
            '/dope/detected_objects',
            'vision_msgs/msg/Detection3DArray',
            truth.stamp_ns + 9_000_000,
            message,
        ))
    path = write_bag(tmp_path / 'bag', sorted(entries, key=lambda entry: entry[2]), store=vision.store)
    metrics = evaluate(path, recorded='detected_objects', **WITH_TRUTH).metrics
    assert_errors(metrics)
    assert metrics['detection']['rate'] == pytest.approx(0.75)
    assert evaluate(path, recorded='detected_objects', recorded_class='mug').metrics['detection']['rate'] == 1.0
    with pytest.raises(UsageError, match=r'--recorded-class cup is no recorded class; .*: mug, tiny'):
        evaluate(path, recorded='detected_objects', recorded_class='cup')


def test_of_several_classes_none_is_guessed(evaluate, vision, tmp_path) -> None:
    (truth,) = trajectory(1)
    message = detections(vision, truth.stamp_ns, [('1', 0.9, truth), ('2', 0.9, truth)])
    entry = ('/dope', 'vision_msgs/msg/Detection3DArray', truth.stamp_ns, message)
    path = write_bag(tmp_path / 'bag', [entry], store=vision.store)
    with pytest.raises(UsageError, match=r'object tiny is no recorded class; choose with --recorded-class: 1, 2'):
        evaluate(path, recorded='/dope')


def test_a_single_class_of_any_name_is_the_object_and_a_box_is_a_pose(tiny_model, vision) -> None:
    (truth,) = trajectory(1)
    nowhere = Truth(0, np.eye(3), np.zeros(3))
    message = detections(vision, 7, [('1', 0.9, nowhere)])
    assert foreign_poses(message, tiny_model) == []  # neither the hypothesis nor the box was filled
    message.detections[0].bbox.center = vision.pose(truth)
    ((label, estimate),) = foreign_poses(message, tiny_model)
    assert label == '1'
    np.testing.assert_allclose(estimate.t_camera_object, truth.t)
    message.detections[0].results.clear()
    ((_, estimate),) = foreign_poses(message, tiny_model)
    np.testing.assert_allclose(estimate.R_camera_object, truth.R, atol=1e-12)


def test_poses_in_another_frame_and_with_stamps_of_their_own_are_said(evaluate, tmp_path) -> None:
    """The truth is in that frame as well, so that nothing has to be estimated; the image says nothing about it."""
    make, poses = Messages(), trajectory(FRAMES)
    entries = tiny_entries(poses, truth_topic='')
    for truth in trajectory(FRAMES, start_ns=poses[0].stamp_ns + 1_000_000):
        for topic, said in ((TRUTH, truth), (OTHER, off(truth))):
            message = make.pose_stamped(said, 'map')
            entries.append((topic, 'geometry_msgs/msg/PoseStamped', truth.stamp_ns + 20_000_000, message))
    stray = make.pose_stamped(off(poses[-1]), CAMERA_FRAME)
    entries.append((OTHER, 'geometry_msgs/msg/PoseStamped', poses[-1].stamp_ns + 90_000_000, stray))
    path = write_bag(tmp_path / 'bag', sorted(entries, key=lambda entry: entry[2]))
    evaluation = evaluate(path, recorded=OTHER, **WITH_TRUTH)
    assert_errors(evaluation.metrics)
    assert evaluation.metrics['frames']['scored'] == FRAMES
    notes = evaluation.metrics['notes']
    assert any('frames without one are not counted' in line for line in notes['information'])
    assert any(f'a pose in {CAMERA_FRAME!r} among those in' in line for line in notes['damage'])


def test_the_frame_of_a_tag_is_scored_from_tf(evaluate, tmp_path) -> None:
    """As apriltag_ros publishes it: nothing but /tf, with the stamp of the image, among the frames of the robot."""
    make, poses = Messages(), trajectory(FRAMES)
    entries = tiny_entries(poses)
    message_type = make.types['tf2_msgs/msg/TFMessage']
    for number, truth in enumerate(poses):
        transforms = [make.transform(truth, 'odom', 'base_link')]
        transforms += [make.transform(off(truth), CAMERA_FRAME, 'tag36h11:0')] if number % 2 else []
        entries.append(('/tf', 'tf2_msgs/msg/TFMessage', truth.stamp_ns + 9_000_000, message_type(transforms)))
    path = write_bag(tmp_path / 'bag', sorted(entries, key=lambda entry: entry[2]))
    metrics = evaluate(path, recorded='/tf', recorded_class='tag36h11:0', **WITH_TRUTH).metrics
    assert_errors(metrics)
    assert metrics['detection']['rate'] == pytest.approx(0.5)
    with pytest.raises(UsageError, match=r'--recorded /tf: name the frame of the object'):
        evaluate(path, recorded='/tf')
    with pytest.raises(UsageError, match=r'--recorded-class tag36h11:7 is no recorded class'):
        evaluate(path, recorded='/tf', recorded_class='tag36h11:7')


def test_a_class_without_a_topic_of_classes_is_wrong_use(tmp_path, capsys) -> None:
    assert evaluate_bag.main([str(tmp_path), '--recorded-class', 'mug']) == WRONG_USE
    assert '--recorded-class chooses from a topic' in capsys.readouterr().err
