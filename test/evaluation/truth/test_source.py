"""Evaluations of bags with every source of truth: another frame, a moving camera, transforms, a tag, another time."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import yaml
from bag_maker import (
    CAMERA,
    CAMERA_FRAME,
    CAMERA_INFO,
    IMAGE,
    POINTS,
    SIZE,
    TRUTH,
    Messages,
    Truth,
    draw_tag,
    tiny_bag,
    tiny_entries,
    trajectory,
    write_bag,
)
from tiny_model import draw_tiny_object

from custom_pose_ros.core.errors import ConfigError
from custom_pose_ros.core.geometry.rotations import (
    matrix_from_rotation_vector,
    roll_pitch_yaw_from_matrix,
    rotation_between,
)
from custom_pose_ros.evaluation.bags.reader import Bag
from custom_pose_ros.evaluation.evaluator import Evaluation
from custom_pose_ros.evaluation.truth.source import TruthSettings

WITH_TRUTH = {'truth': TruthSettings(topic=TRUTH)}
Evaluate = Callable[..., Evaluation]


def moved(poses: list[Truth], X: tuple, Y: tuple) -> list[Truth]:
    """The truth that a motion capture would give: world_body = X^-1 camera_object Y^-1."""
    result = []
    for pose in poses:
        R = X[0].T @ pose.R @ Y[0].T
        t = X[0].T @ (pose.t - X[1]) - R @ Y[1]
        result.append(Truth(pose.stamp_ns, R, t))
    return result


X = (matrix_from_rotation_vector(np.array([1.0, -2.0, 0.5])), np.array([0.4, -0.2, 3.0]))
Y = (matrix_from_rotation_vector(np.array([0.2, 0.3, -1.4])), np.array([0.05, 0.02, -0.1]))


def test_extrinsics_are_estimated_where_the_truth_is_in_another_frame(evaluate: Evaluate, tmp_path):
    poses = trajectory(120)
    entries = [e for e in tiny_entries(poses) if e[0] != TRUTH]
    make = Messages()
    for truth in moved(poses, X, Y):
        entries.append((TRUTH, 'geometry_msgs/msg/PoseStamped', truth.stamp_ns, make.pose_stamped(truth, 'mocap')))
    path = write_bag(tmp_path / 'bag', sorted(entries, key=lambda e: e[2]))

    evaluation = evaluate(path, **WITH_TRUTH)
    direct = evaluate(tiny_bag(tmp_path / 'direct', 120)[0], **WITH_TRUTH)

    assert evaluation.alignment.pairs > 100
    # The same estimates against the same truth: what changes is the error of the alignment, 0.06 deg; on the 3 m from
    # the origin of the world that is 3 mm.
    for name, tolerance in (('rotation_error_deg', 0.1), ('translation_error_m', 0.005)):
        for statistic in ('median', 'p90'):
            wanted = direct.metrics[name][statistic]
            assert evaluation.metrics[name][statistic] == pytest.approx(wanted, abs=tolerance), f'{name}.{statistic}'
    assert any('extrinsics are estimated' in line for line in evaluation.metrics['notes']['information'])


def test_given_extrinsics_are_used_as_they_are(evaluate: Evaluate, tmp_path):
    from custom_pose_ros.core.geometry.rigid import Rigid
    from custom_pose_ros.evaluation.truth.alignment import Alignment

    poses = trajectory(20)
    entries = [e for e in tiny_entries(poses) if e[0] != TRUTH]
    for truth in moved(poses, X, Y):
        entries.append((
            TRUTH,
            'geometry_msgs/msg/PoseStamped',
            truth.stamp_ns,
            Messages().pose_stamped(truth, 'mocap'),
        ))
    path = write_bag(tmp_path / 'bag', sorted(entries, key=lambda e: e[2]))
    file = tmp_path / 'extrinsics.yaml'
    file.write_text('\n'.join(Alignment(Rigid(*X), Rigid(*Y)).lines()))

    metrics = evaluate(path, truth=TruthSettings(topic=TRUTH, extrinsics=str(file))).metrics

    assert metrics['rotation_error_deg']['p90'] < 0.4
    assert metrics['alignment']['pairs'] == 0


def test_a_moving_camera_and_an_object_at_rest(evaluate: Evaluate, tmp_path):
    """Odometry of the camera's body; the object stands somewhere in the world."""
    poses = trajectory(120)
    entries = [e for e in tiny_entries(poses) if e[0] != TRUTH]
    for body in moved(poses, X, Y):
        world_camera = Truth(body.stamp_ns, body.R.T, -body.R.T @ body.t)
        entries.append((
            '/odom',
            'geometry_msgs/msg/PoseStamped',
            body.stamp_ns,
            Messages().pose_stamped(world_camera, 'odom'),
        ))
    path = write_bag(tmp_path / 'bag', sorted(entries, key=lambda e: e[2]))
    metrics = evaluate(path, truth=TruthSettings(topic='/odom', moves='camera')).metrics
    assert metrics['rotation_error_deg']['count'] > 100
    assert metrics['rotation_error_deg']['p90'] < 0.8  # 0.5 with the truth in the camera frame, see the test above


def tf_entries(poses: list[Truth]) -> list:
    make, types = Messages(), Messages().types
    static = Truth(poses[0].stamp_ns, *X)
    entries = [e for e in tiny_entries(poses) if e[0] != TRUTH]
    message = types['tf2_msgs/msg/TFMessage']
    fixed = make.transform(static, CAMERA_FRAME, 'world')
    entries.append(('/tf_static', 'tf2_msgs/msg/TFMessage', poses[0].stamp_ns - 1, message([fixed])))
    for truth in moved(poses, X, (np.eye(3), np.zeros(3))):
        moving = make.transform(truth, 'world', 'submarine_mocap')
        entries.append(('/tf', 'tf2_msgs/msg/TFMessage', truth.stamp_ns, message([moving])))
    return sorted(entries, key=lambda e: e[2])


def test_truth_from_a_chain_of_transforms(evaluate: Evaluate, tmp_path):
    poses = trajectory(20)
    path = write_bag(tmp_path / 'bag', tf_entries(poses))
    direct = evaluate(tiny_bag(tmp_path / 'direct', 20)[0], **WITH_TRUTH).metrics
    for frames in (('submarine_mocap',), (CAMERA_FRAME, 'submarine_mocap')):
        metrics = evaluate(path, truth=TruthSettings(tf=frames)).metrics
        assert metrics['rotation_error_deg']['mean'] == pytest.approx(direct['rotation_error_deg']['mean'], rel=1e-3)
    with pytest.raises(
        ConfigError, match="'camera_optical_frame' and 'sub' are not connected; frames in the bag: .*submarine_mocap"
    ):
        evaluate(path, truth=TruthSettings(tf=('sub',)))


def test_static_transforms_hold_for_a_later_part_of_the_bag(evaluate: Evaluate, tmp_path):
    """They are recorded once, before the part that is evaluated."""
    path = write_bag(tmp_path / 'bag', tf_entries(trajectory(20)))
    truth = TruthSettings(tf=('submarine_mocap',))
    metrics = evaluate(path, truth=truth, start_s=0.3, write_bag=tmp_path / 'copy').metrics
    assert (metrics['frames']['scored'], metrics['frames']['with_truth']) == (11, 10)  # one lies before the first /tf
    with Bag([tmp_path / 'copy']) as copy:
        assert copy.topics['/tf_static'].count == 1
        assert copy.start_ns == next(copy.messages(['/tf_static'])).time_ns


def test_truth_from_a_tag_on_the_object(evaluate: Evaluate, tmp_path):
    """A tag in the pictures themselves, 0.4 m beside the object; no other truth is in the bag."""
    camera = CAMERA.scaled_to(2 * SIZE[0], 2 * SIZE[1])
    object_tag = (matrix_from_rotation_vector(np.array([-1.2, 0.1, 0.4])), np.array([0.1, 0.45, 0.1]))
    make, entries, poses = Messages(), [], trajectory(20)
    for pose in poses:
        picture = draw_tiny_object(camera.project(POINTS @ pose.R.T + pose.t), (camera.width, camera.height))
        picture = draw_tag(picture, camera, pose.R @ object_tag[0], pose.R @ object_tag[1] + pose.t, 0.3)
        entries.append((
            CAMERA_INFO,
            'sensor_msgs/msg/CameraInfo',
            pose.stamp_ns,
            make.camera_info(pose.stamp_ns, camera),
        ))
        entries.append((IMAGE, 'sensor_msgs/msg/Image', pose.stamp_ns + 1, make.image(pose.stamp_ns, picture)))
    file = tmp_path / 'tags.yaml'
    degrees = np.rad2deg(roll_pitch_yaw_from_matrix(object_tag[0])).tolist()
    tag = {'id': 0, 'size_m': 0.3, 'object_from_tag': {'xyz_m': object_tag[1].tolist(), 'rpy_deg': degrees}}
    file.write_text(yaml.safe_dump({'tags': [tag]}))

    evaluation = evaluate(write_bag(tmp_path / 'bag', entries), truth=TruthSettings(tags=file))

    assert evaluation.metrics['frames']['with_truth'] >= 15
    for score, pose in zip(evaluation.scores, poses):
        if score.truth is not None:  # corners to 0.1 px of a tag of 70 px
            assert np.rad2deg(rotation_between(score.truth.rotation, pose.R)) < 1.5
    assert evaluation.metrics['rotation_error_deg']['median'] < 1.5  # most of it is that of the tag
    assert evaluation.metrics['bag']['truth'] == 'AprilTags on the object'


def test_truth_at_another_time_is_refused_and_an_offset_cures_it(evaluate: Evaluate, tmp_path):
    poses = trajectory(12)
    entries = [e for e in tiny_entries(poses) if e[0] != TRUTH]
    for pose in poses:
        late = Truth(pose.stamp_ns + 90 * 10**9, pose.R, pose.t)
        entries.append((TRUTH, 'geometry_msgs/msg/PoseStamped', pose.stamp_ns, Messages().pose_stamped(late)))
    path = write_bag(tmp_path / 'bag', sorted(entries, key=lambda e: e[2]))
    with pytest.raises(ConfigError, match='do not overlap; check --truth-offset'):
        evaluate(path, **WITH_TRUTH)
    assert evaluate(path, truth=TruthSettings(topic=TRUTH, offset_s=-90.0)).metrics['rotation_error_deg']['count'] > 8
