"""The copy with results: everything of the original byte for byte, new topics after their image, refusals."""

from __future__ import annotations

import contextlib

import numpy as np
import pytest
from bag_maker import IMAGE, ROS1, ROS2, Messages, tiny_entries, trajectory, write_bag, write_ros1_bag
from rosbags.interfaces import Qos, QosDurability, QosHistory, QosLiveliness, QosReliability, QosTime
from rosbags.rosbag2 import Reader

from custom_pose_ros.core.errors import OutputError, UsageError
from custom_pose_ros.evaluation.bags.reader import Bag


def test_the_copy_holds_the_original_and_the_results(evaluate, dive, tmp_path):
    evaluation = evaluate(dive[0], write_bag=tmp_path / 'copy')

    with Bag([dive[0]]) as original, Bag([tmp_path / 'copy']) as copy:

        def content(bag):
            return [(m.topic, m.msgtype, m.time_ns, m.stored.data) for m in bag.messages(original.topics)]

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
        at = {m.topic: m.decode() for m in copy.messages(new, score.result.time_ns, score.result.time_ns + 1)}
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
