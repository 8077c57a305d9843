"""The copy with results: the original byte for byte, new topics after their image, messages that are read back."""

from __future__ import annotations

import contextlib
import re
from typing import Any

import numpy as np
import pytest
from bag_maker import CAMERA, IMAGE, ROS1, ROS2, START_NS, Messages, tiny_entries, trajectory, write_bag, write_ros1_bag
from example_estimate import an_estimate
from rosbags.interfaces import Qos, QosDurability, QosHistory, QosLiveliness, QosReliability, QosTime
from rosbags.rosbag2 import Reader
from stated_camera import stated_camera

from custom_pose_ros.core.errors import MessageError, OutputError, UsageError
from custom_pose_ros.core.geometry.rigid import Rigid
from custom_pose_ros.core.keypoints.poses import KeypointPose
from custom_pose_ros.evaluation.bags.decoding import Decoder, first_pose_types, pose_types
from custom_pose_ros.evaluation.bags.reader import Bag
from custom_pose_ros.evaluation.bags.stored import StoredMessage, Topic
from custom_pose_ros.evaluation.bags.topics import ORIENTATIONS_TYPE, POSES_TYPE
from custom_pose_ros.evaluation.frames.bag_copy import header_message, message_maker
from custom_pose_ros.evaluation.frames.recorded_frames import estimates_from_message
from custom_pose_ros.evaluation.notes import Notes
from custom_pose_ros.inference.image_messages import image_to_bgr
from custom_pose_ros.inference.pose_messages import message_to_poses

BGR = np.random.default_rng(0).integers(0, 256, (6, 8, 3), np.uint8)


def test_the_copy_holds_the_original_and_the_results(evaluate, dive, tmp_path):
    evaluation = evaluate(dive[0], write_bag=tmp_path / 'copy')

    with Bag([dive[0]]) as original, Bag([tmp_path / 'copy']) as copy:

        def content(bag):
            return [(m.topic.name, m.topic.msgtype, m.time_ns, m.data) for m in bag.messages(original.topics)]

        assert content(copy) == content(original)
        new = {name: topic for name, topic in copy.topics.items() if name not in original.topics}
        assert {name: topic.msgtype for name, topic in new.items()} == {
            '/poses': 'custom_pose_msgs/msg/PoseArray',
            '/orientations': 'custom_pose_msgs/msg/OrientationArray',
            '/pose': 'geometry_msgs/msg/PoseStamped',
            '/tf': 'tf2_msgs/msg/TFMessage',
        }
        assert (new['/poses'].count, new['/orientations'].count) == (40, 40)
        score = next(s for s in evaluation.scores[3:] if s.estimate)
        at = {m.topic.name: copy.decode(m) for m in copy.messages(new, score.result.time_ns, score.result.time_ns + 1)}
    poses, (transform,) = at['/poses'], at['/tf'].transforms
    assert poses.header.frame_id == transform.header.frame_id == 'camera_optical_frame'
    assert poses.header.stamp.sec * 10**9 + poses.header.stamp.nanosec == score.result.stamp_ns
    assert (poses.image_width, poses.image_height, poses.keypoint_names[0]) == (320, 256, 'front')
    np.testing.assert_allclose(
        [(k.x, k.y) for k in poses.poses[0].keypoints], score.result.keypoints[0, :, :2], rtol=1e-6
    )
    assert transform.child_frame_id == 'tiny_0'
    position = at['/pose'].pose.position
    np.testing.assert_allclose([position.x, position.y, position.z], score.estimate.t_camera_object)
    np.testing.assert_allclose(at['/orientations'].orientations[0].pose.covariance, score.estimate.covariance.ravel())


@pytest.mark.parametrize('storage', ['mcap', 'sqlite3'])
@pytest.mark.parametrize('indexed', [True, False])
def test_the_copy_is_played_with_the_quality_of_service_of_the_original(evaluate, tmp_path, storage, indexed):
    """Static transforms are lost to whoever subscribes late unless they are offered as transient local."""
    latched = Qos(
        QosHistory.KEEP_LAST, 1, QosReliability.RELIABLE, QosDurability.TRANSIENT_LOCAL, QosTime(0, 0), QosTime(0, 0),
        QosLiveliness.AUTOMATIC, QosTime(0, 0), False,
    )  # fmt: skip
    make, kind = Messages(), 'tf2_msgs/msg/TFMessage'
    poses = trajectory(3)
    transforms = make.types[kind]([make.transform(poses[0], 'map', 'camera')])
    entries = [('/tf_static', kind, poses[0].stamp_ns, transforms), *tiny_entries(poses)]
    path = write_bag(tmp_path / 'bag', entries, storage, qos={'/tf_static': latched})
    if not indexed:
        (file,) = [p for p in path.iterdir() if p.suffix in ('.mcap', '.db3')]
        damaged = file.read_bytes()
        if storage == 'mcap':
            damaged = damaged[:-37]  # the footer
        else:
            damaged = damaged.replace(b'type_description_hash', b'type_d\xe9scription_hash')
        file.write_bytes(damaged)
    evaluation = evaluate(path, write_bag=tmp_path / 'copy')
    assert evaluation.bag.indexed is indexed
    with Reader(tmp_path / 'copy') as reader:
        (static,) = [c for c in reader.connections if c.topic == '/tf_static']
    assert static.ext.offered_qos_profiles == [latched]


def test_topics_the_bag_already_has_are_not_mixed(evaluate, dive, tmp_path):
    evaluate(dive[0], write_bag=tmp_path / 'once')
    evaluation = evaluate(tmp_path / 'once', write_bag=tmp_path / 'twice')
    with Bag([tmp_path / 'twice']) as bag:
        assert bag.topics['/evaluated/poses'].count == bag.topics['/poses'].count == 40
    assert any('under /evaluated' in line for line in evaluation.metrics['notes']['information'])


def test_what_cannot_be_written_is_refused_and_leaves_nothing(evaluate, dive, tmp_path):
    (tmp_path / 'there').mkdir()
    with pytest.raises(UsageError, match='there: exists already'):
        evaluate(dive[0], write_bag=tmp_path / 'there')
    ros1 = write_ros1_bag(tmp_path / 'old.bag', tiny_entries(trajectory(3), Messages(ROS1)))
    with pytest.raises(UsageError, match='ROS 1 bag; convert it first'):
        evaluate(ros1, write_bag=tmp_path / 'copy')
    with pytest.raises(UsageError, match='does not go together with --recorded'):
        evaluate(dive[0], write_bag=tmp_path / 'copy', recorded='/truth/pose')
    file = tmp_path / 'file'
    file.write_text('')
    with pytest.raises(OutputError, match='cannot be written'):
        evaluate(dive[0], write_bag=file / 'copy')
    assert {p.name for p in tmp_path.iterdir()} == {'there', 'old.bag', 'file'}


def test_an_interrupted_copy_leaves_nothing(tiny_folder, tmp_path):
    from custom_pose_ros.evaluation.evaluation_settings import Settings
    from custom_pose_ros.evaluation.evaluator import Evaluator

    path = write_bag(tmp_path / 'bag', tiny_entries(trajectory(5)), store=ROS2)
    evaluator = Evaluator(Settings((path,), object=str(tiny_folder), write_bag=tmp_path / 'copy', image=IMAGE))
    with Bag([path]) as bag, contextlib.closing(evaluator.read(bag).frames()) as frames:
        next(frames)
        assert len(list(tmp_path.iterdir())) == 2
    assert [p.name for p in tmp_path.iterdir()] == ['bag']


def through_a_bag(store: Any, message: Any, msgtype: str) -> Any:
    """Return what is read after a message was written."""
    if store is ROS1:
        return store.deserialize_ros1(bytes(store.serialize_ros1(message, msgtype)), msgtype)
    return store.deserialize_cdr(bytes(store.serialize_cdr(message, msgtype)), msgtype)


@pytest.mark.parametrize('store', [ROS1, ROS2])
def test_pictures_of_a_bag_are_read(store):
    make = Messages(store)
    raw = through_a_bag(store, make.image(START_NS, BGR), 'sensor_msgs/msg/Image')
    np.testing.assert_array_equal(image_to_bgr(raw), BGR)
    packed = through_a_bag(store, make.compressed(START_NS, BGR), 'sensor_msgs/msg/CompressedImage')
    np.testing.assert_array_equal(image_to_bgr(packed), BGR)
    raw.encoding = 'rgb8'
    np.testing.assert_array_equal(image_to_bgr(raw), BGR[..., ::-1])


@pytest.mark.parametrize('store', [ROS1, ROS2])
def test_calibrations_of_a_bag_are_read(store):
    """ROS 1 spells K, D, P in capitals."""
    message = through_a_bag(store, Messages(store).camera_info(START_NS), 'sensor_msgs/msg/CameraInfo')
    for rectified in (False, True):
        camera = stated_camera(message, rectified)
        assert (camera.width, camera.height) == (CAMERA.width, CAMERA.height)
        np.testing.assert_array_equal(camera.K, CAMERA.K)


@pytest.fixture
def make():
    return message_maker(pose_types())


def a_header(types=None):
    return header_message(types or pose_types(), START_NS, 'camera')


def a_pose(**changes: Any) -> KeypointPose:
    fields = {
        'keypoints': np.array([[10.5, 20.25], [30.0, 40.0], [np.nan, np.nan], [5.0, 60.0]]),
        'covariances': np.array([[[1.0, 0.25], [0.25, 2.0]], np.eye(2), np.full((2, 2), np.nan), 4 * np.eye(2)]),
        'scores': np.array([0.5, 0.75, 0.0, 1.0]),
        'visible': np.array([True, True, False, True]),
        'score': 0.625,
        'track_id': 7,
    }
    return KeypointPose(**{**fields, **changes})


def test_recorded_poses_are_those_that_were_written(make, tiny_model):
    poses = [a_pose(), a_pose(track_id=None)]
    message = make.poses(poses, tiny_model, a_header(), 320, 256)
    read = message_to_poses(through_a_bag(pose_types(), message, 'custom_pose_msgs/msg/PoseArray'), tiny_model)
    for before, after in zip(poses, read, strict=True):
        for name in ('keypoints', 'covariances', 'scores', 'visible', 'score', 'track_id'):
            np.testing.assert_array_equal(getattr(after, name), getattr(before, name), name)


def test_alternatives_of_poses_and_orientations_are_recorded_and_read(make, tiny_model):
    other = a_pose(keypoints=a_pose().keypoints + 1.0, score=0.6, track_id=None)
    poses = [a_pose(alternative=other, ambiguity=0.96), a_pose()]
    message = make.poses(poses, tiny_model, a_header(), 320, 256)
    first, second = message_to_poses(through_a_bag(pose_types(), message, POSES_TYPE), tiny_model)
    assert (first.ambiguity, first.alternative.score) == (pytest.approx(0.96), pytest.approx(0.6))  # float32
    np.testing.assert_array_equal(first.alternative.keypoints, other.keypoints)
    assert (second.alternative, second.ambiguity) == (None, 0.0)
    turned = Rigid(np.diag([-1.0, -1.0, 1.0]), np.array([0.5, -0.25, 2.0]))
    estimates = [an_estimate(alternative=turned), an_estimate()]
    message = make.orientations(estimates, 'tiny', a_header())
    first, second = estimates_from_message(through_a_bag(pose_types(), message, ORIENTATIONS_TYPE), tiny_model)
    np.testing.assert_allclose(first.alternative.rotation, turned.rotation, atol=1e-15)
    assert second.alternative is None


@pytest.mark.parametrize(('name', 'value', 'fact'), [
    ('ambiguity', 1.5, 'ambiguity 1.5: wanted 0 to 1'),
    ('ambiguity', float('nan'), 'ambiguity nan: wanted 0 to 1'),
    ('alternative', [None], 'the alternative of poses[0] has 1 keypoints: wanted 4'),
])  # fmt: skip
def test_an_alternative_that_is_none_is_refused(make, tiny_model, name, value, fact):
    pose = a_pose(alternative=a_pose(), ambiguity=0.5)
    message = make.poses([pose], tiny_model, a_header(), 320, 256)
    setattr(message.poses[0], name, value)
    with pytest.raises(MessageError, match=re.escape(fact)):
        message_to_poses(message, tiny_model)


@pytest.mark.parametrize('definition_in_the_bag', [True, False])
def test_recordings_from_before_the_alternatives_are_read(tmp_path, tiny_model, definition_in_the_bag):
    """With the definition that is recorded in the bag, and, as in bags of Humble, without any."""
    types = first_pose_types()
    fields = types.fielddefs['custom_pose_msgs/msg/Pose'][1]
    assert [name for name, _ in fields][-1] == 'keypoints'
    header = a_header(types)
    keypoint = types.types['custom_pose_msgs/msg/Keypoint']
    pose = types.types['custom_pose_msgs/msg/Pose'](
        object_name='tiny', track_id=7, score=0.5, box_x=1.0, box_y=2.0, box_width=3.0, box_height=4.0,
        keypoints=[keypoint(1.5 + k, 2.5, np.array([1.0, 0.0, 1.0]), 0.5, True) for k in range(4)],
    )  # fmt: skip
    names = list(tiny_model.keypoint_names)
    array = types.types[POSES_TYPE](header, 320, 256, names, np.zeros(0, np.uint16), [pose, pose])
    data = types.serialize_cdr(array, POSES_TYPE)
    definition = types.generate_msgdef(POSES_TYPE, ros_version=2)[0] if definition_in_the_bag else ''
    notes = Notes()
    topic = Topic('/poses', POSES_TYPE, definition)
    message = Decoder(notes).decode(StoredMessage(topic, START_NS, bytes(data)))
    assert notes.lines() == []
    read = message_to_poses(message, tiny_model)
    assert [pose.track_id for pose in read] == [7, 7]
    np.testing.assert_array_equal(read[1].keypoints[:, 0], [1.5, 2.5, 3.5, 4.5])
    assert read[0].alternative is None


def test_recorded_poses_of_another_object_are_refused(make, tiny_model):
    message = make.poses([a_pose()], tiny_model, a_header(), 320, 256)
    message.keypoint_names = ['nose', 'tail']
    with pytest.raises(MessageError, match=r"keypoints 'nose, tail': wanted those of tiny: \[front, left"):
        message_to_poses(message, tiny_model)


def test_recorded_orientations_are_those_that_were_written_and_bad_ones_are_left_out(make, tiny_model):
    coasting = an_estimate(track_id=None, outlier_suspected=True, keypoints_used=0)
    estimates = [an_estimate(), an_estimate(outline_agreement=0.75, keypoints_used=0), coasting]
    message = make.orientations([*estimates, an_estimate()], 'tiny', a_header())
    message.orientations[3].pose.pose.position.x = np.nan
    message = through_a_bag(pose_types(), message, 'custom_pose_msgs/msg/OrientationArray')
    assert [round(o.roll, 12) for o in message.orientations] == [0.1] * 4
    for before, after in zip(estimates, estimates_from_message(message, tiny_model), strict=True):
        np.testing.assert_allclose(after.R_camera_object, before.R_camera_object, atol=1e-15)
        for name in ('t_camera_object', 'covariance', 'reprojection_error_px', 'ambiguity', 'track_id', 'coasting'):
            np.testing.assert_array_equal(getattr(after, name), getattr(before, name), name)
        assert after.outlier_suspected == before.outlier_suspected
        np.testing.assert_array_equal(after.outline_agreement, before.outline_agreement)
