"""Films from bags: raw, compressed, of ROS 1, cut off or damaged; each remark once, each refusal with the file."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from bag_maker import ROS1, Messages, tiny_entries, trajectory, write_bag, write_ros1_bag

from custom_pose_ros.core.errors import UsageError
from training.pose_training.labels.film import Film

COUNT = 8


def numbers(film: Film) -> list[int]:
    return [frame.number for frame in film.frames()]


def test_bags_of_all_kinds_give_the_same_frames(tmp_path):
    poses = trajectory(COUNT)
    raw = Film(write_bag(tmp_path / 'raw', tiny_entries(poses)))
    png = Film(write_bag(tmp_path / 'png', tiny_entries(poses, compressed='.png'), storage='sqlite3'))
    old = Film(write_ros1_bag(tmp_path / 'old.bag', tiny_entries(poses, Messages(ROS1), compressed='.png')))
    assert raw.count == png.count == old.count == COUNT
    for frames in zip(raw.frames(), png.frames(), old.frames(), strict=True):
        for frame in frames[1:]:
            assert frame.number == frames[0].number
            np.testing.assert_array_equal(frame.image, frames[0].image)


def test_a_bag_that_is_cut_off_gives_its_beginning_and_a_word(tmp_path, capsys):
    (whole,) = write_bag(tmp_path / 'whole', tiny_entries(trajectory(COUNT))).glob('*.mcap')
    cut = tmp_path / 'cut.mcap'
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    film = Film(cut)
    found = numbers(film)
    assert found == list(range(len(found))) and 0 < len(found) < COUNT
    assert numbers(film) == found  # read again, as adapt.py does
    errors = capsys.readouterr().err
    assert errors.startswith('warning: cut.mcap: ') and errors.count('\n') == len(set(errors.splitlines()))


def test_damaged_pictures_are_left_out_with_a_word(tmp_path, capsys):
    entries = tiny_entries(trajectory(COUNT), compressed='.png', truth_topic='')
    at = [i for i, entry in enumerate(entries) if entry[1].endswith('CompressedImage')][3]
    topic, kind, time_ns, message = entries[at]
    entries[at] = topic, kind, time_ns, replace(message, data=message.data[:40])
    assert numbers(Film(write_bag(tmp_path / 'bag', entries))) == [0, 1, 2, 4, 5, 6, 7]
    assert capsys.readouterr().err.startswith(f'warning: {topic}: ')


def test_bags_without_pictures_are_refused_by_name(tmp_path, capsys):
    poses = [entry for entry in tiny_entries(trajectory(2)) if 'PoseStamped' in entry[1]]
    none = write_bag(tmp_path / 'none', poses)
    with pytest.raises(UsageError, match=f'^{none}: the bag has no topic of type sensor_msgs/Image'):
        numbers(Film(none))
    text = tmp_path / 'text.mcap'
    text.write_text('no bag')
    with pytest.raises(UsageError, match=f'^{text}: the bag has no topic'):
        numbers(Film(text))
    assert 'warning: text.mcap: is neither an mcap, nor a sqlite3, nor a ROS 1 bag file' in capsys.readouterr().err
