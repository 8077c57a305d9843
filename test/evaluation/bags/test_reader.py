"""Every format gives the same messages; damage is said and the rest is read."""

from __future__ import annotations

import shutil
from pathlib import Path

import bag_maker
import numpy as np
import pytest
import yaml
from bag_maker import (
    CAMERA_INFO,
    IMAGE,
    ROS1,
    TRUTH,
    Messages,
    tiny_bag,
    tiny_entries,
    trajectory,
    write_bag,
    write_ros1_bag,
)

from custom_pose_ros.core.errors import DatasetError
from custom_pose_ros.evaluation.bags.reader import Bag

FRAMES = 12
FORMATS = [
    ('mcap', 'none'), ('mcap', 'storage'), ('mcap', 'message'), ('mcap', 'file'),
    ('sqlite3', 'none'), ('sqlite3', 'message'), ('sqlite3', 'file'),
]  # fmt: skip


def read_all(*paths: Path) -> tuple[list[tuple[str, int, object]], Bag]:
    with Bag(paths) as bag:
        return [(m.topic.name, m.time_ns, bag.decode(m)) for m in bag.messages()], bag


def stamps(messages: list, topic: str) -> list[int]:
    return [time_ns for name, time_ns, _ in messages if name == topic]


@pytest.mark.parametrize(('storage', 'compression'), FORMATS)
def test_every_rosbag2_format_gives_the_messages_that_were_written(tmp_path, storage, compression):
    entries = tiny_entries(trajectory(FRAMES))
    bag_path = write_bag(tmp_path / 'bag', entries, storage, compression)

    messages, bag = read_all(bag_path)

    assert [(topic, time_ns) for topic, time_ns, _ in messages] == [
        (topic, time_ns) for topic, _, time_ns, _ in entries
    ]
    wanted = [m for topic, _, _, m in entries if topic == IMAGE][3]
    got = [m for topic, _, m in messages if topic == IMAGE][3]
    np.testing.assert_array_equal(got.data, wanted.data)
    assert (got.encoding, got.width, got.header.stamp.nanosec) == ('bgr8', 320, wanted.header.stamp.nanosec)
    assert bag.topics[IMAGE].count == FRAMES
    assert bag.start_ns == entries[0][2]
    assert not bag.notes.lines()


@pytest.mark.parametrize('compressed', [False, True])
def test_ros1_bags_are_read_with_ros2_field_names(tmp_path, compressed):
    entries = tiny_entries(trajectory(FRAMES), Messages(ROS1))
    path = write_ros1_bag(tmp_path / 'dive.bag', entries, compressed)

    messages, bag = read_all(path)

    read = [(time_ns, topic) for topic, time_ns, _ in messages]
    assert sorted(read) == sorted((time_ns, topic) for topic, _, time_ns, _ in entries)
    assert [time_ns for time_ns, _ in read] == sorted(time_ns for time_ns, _ in read)
    assert bag.topics[IMAGE].msgtype == 'sensor_msgs/msg/Image'
    info = next(m for topic, _, m in messages if topic == CAMERA_INFO)
    np.testing.assert_allclose(info.K, bag_maker.CAMERA.K.ravel())


def split_bag(folder: Path, storage: str = 'mcap') -> Path:
    """A bag of three files, numbered so that their names sort wrongly as text: 9, 10, 11."""
    poses, suffix = trajectory(3 * FRAMES), '.mcap' if storage == 'mcap' else '.db3'
    folder.mkdir()
    names = []
    for i, number in enumerate((9, 10, 11)):
        part = poses[i * FRAMES : (i + 1) * FRAMES]
        written = write_bag(folder.parent / f'part{number}', tiny_entries(part, truth_topic=''), storage)
        names.append(f'dive_{number}{suffix}')
        shutil.move(written / f'part{number}{suffix}', folder / names[-1])
    information = yaml.safe_load((written / 'metadata.yaml').read_text())
    information['rosbag2_bagfile_information']['relative_file_paths'] = names
    (folder / 'metadata.yaml').write_text(yaml.safe_dump(information))
    return folder


@pytest.mark.parametrize('storage', ['mcap', 'sqlite3'])
def test_split_bags_are_read_in_the_order_of_their_files(tmp_path, storage):
    messages, bag = read_all(split_bag(tmp_path / 'dive', storage))

    times = stamps(messages, IMAGE)
    assert len(times) == 3 * FRAMES
    assert times == sorted(times)
    assert bag.topics[IMAGE].count == 3 * FRAMES


def test_without_metadata_the_numbers_in_the_names_give_the_order(tmp_path):
    folder = split_bag(tmp_path / 'dive')
    (folder / 'metadata.yaml').unlink()

    messages, bag = read_all(folder)

    times = stamps(messages, IMAGE)
    assert times == sorted(times) and len(times) == 3 * FRAMES
    assert bag.notes.damaged
    assert 'dive: has no metadata.yaml' in bag.notes.lines()[0]


def test_a_missing_file_of_a_split_bag_is_named_and_the_others_read(tmp_path):
    folder = split_bag(tmp_path / 'dive')
    (folder / 'dive_10.mcap').unlink()

    messages, bag = read_all(folder)

    assert len(stamps(messages, IMAGE)) == 2 * FRAMES
    (line,) = bag.notes.lines(damaged=True)
    assert 'dive_10.mcap' in line and 'missing' in line


def test_damaged_metadata_is_said_and_not_needed(tmp_path):
    path, _ = tiny_bag(tmp_path / 'dive', FRAMES)
    (path / 'metadata.yaml').write_bytes(b'rosbag2_bagfile_information: {\xff')

    messages, bag = read_all(path)

    assert len(stamps(messages, IMAGE)) == FRAMES
    assert 'its metadata.yaml is damaged' in bag.notes.lines(damaged=True)[0]


def test_two_bags_are_merged_by_time(tmp_path):
    poses = trajectory(FRAMES)
    entries = tiny_entries(poses)
    images = write_bag(tmp_path / 'images', [e for e in entries if e[0] == IMAGE])
    truth = write_bag(tmp_path / 'truth', [e for e in entries if e[0] == TRUTH], 'sqlite3')

    messages, bag = read_all(images, truth)

    times = [time_ns for _, time_ns, _ in messages]
    assert times == sorted(times)
    assert set(bag.topics) == {IMAGE, TRUTH}
    assert bag.name == 'images and 1 more'


def test_a_part_of_the_time_can_be_read(dive):
    path, poses = dive
    with Bag([path]) as bag:
        start, stop = poses[10].stamp_ns, poses[20].stamp_ns
        times = [m.time_ns for m in bag.messages([IMAGE], start, stop)]
    assert times == [p.stamp_ns + 5_000_000 for p in poses[10:20]]


def test_reading_can_be_given_up_in_the_middle(dive):
    with Bag([dive[0]]) as bag:
        messages = bag.messages()
        assert next(messages) is not None
        messages.close()
        assert len(list(bag.messages([IMAGE]))) == 40


def test_unknown_message_types_are_named_and_left_out(tmp_path):
    from rosbags.typesys import Stores, get_types_from_msg, get_typestore

    store = get_typestore(Stores.ROS2_HUMBLE)
    store.register(get_types_from_msg('int32 depth', 'robot_msgs/msg/Depth'))
    depth = ('/depth', 'robot_msgs/msg/Depth', bag_maker.START_NS, store.types['robot_msgs/msg/Depth'](7))
    path = write_bag(tmp_path / 'bag', [depth, *tiny_entries(trajectory(3))], store=store)
    for file in (path / 'bag.mcap', path / 'metadata.yaml'):  # a definition nobody can read, of the same length
        file.write_bytes(file.read_bytes().replace(b'int32 depth', b'int3! depth'))

    messages, bag = read_all(path)

    assert [m for topic, _, m in messages if topic == '/depth'] == [None]
    line = bag.notes.lines(damaged=True)[-1]
    assert '/depth' in line and 'robot_msgs/msg/Depth is unknown' in line
    assert len(stamps(messages, IMAGE)) == 3


@pytest.mark.parametrize(
    ('make', 'text'),
    [
        (lambda p: p / 'nothing', 'no such bag'),
        (lambda p: p, 'has no .mcap, .db3 or .bag file, so it is not a bag'),
        (lambda p: [f := p / 'notes.txt', f.write_text('x')][0], 'is not a bag'),
    ],
)
def test_what_is_no_bag_is_refused(tmp_path, make, text):
    with pytest.raises(DatasetError, match=text):
        Bag([make(tmp_path)])


def test_a_field_whose_name_is_damaged_in_the_recorded_definition_is_read_by_its_known_name(tmp_path):
    file = write_bag(tmp_path / 'bag', tiny_entries(trajectory(3)), 'sqlite3') / 'bag.db3'
    data = file.read_bytes()
    assert data.count(b'Quaternion orientation')
    file.write_bytes(data.replace(b'Quaternion orientation', b'Quaternion orientat9on'))
    messages, bag = read_all(file)
    assert all(hasattr(message.pose, 'orientation') for topic, _, message in messages if topic == TRUTH)
    (line,) = bag.notes.lines(damaged=True)
    assert TRUTH in line and 'definition of geometry_msgs/msg/PoseStamped is not the known one' in line


def test_the_rate_of_the_recording(dive, tmp_path):
    with Bag([dive[0]]) as bag:
        assert bag.frame_rate(IMAGE) == pytest.approx(1e9 / bag_maker.FRAME_NS)
    one = Messages().image(1, np.zeros((8, 8, 3), np.uint8))
    single = write_bag(tmp_path / 'bag', [(IMAGE, 'sensor_msgs/msg/Image', trajectory(1)[0].stamp_ns, one)])
    with Bag([single]) as bag:
        assert bag.frame_rate(IMAGE) == 30.0
