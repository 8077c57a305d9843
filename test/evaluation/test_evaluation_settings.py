"""Which topics of a bag are used, when their messages and not only their names decide."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from bag_maker import CAMERA_FRAME, IMAGE, START_NS, Messages, write_bag

from custom_pose_ros.core.errors import UsageError
from custom_pose_ros.evaluation.bags.reader import Bag
from custom_pose_ros.evaluation.evaluation_settings import Selection, Settings, select
from custom_pose_ros.evaluation.notes import Notes

KIND, INFO_KIND = 'sensor_msgs/msg/Image', 'sensor_msgs/msg/CameraInfo'


def picture(frame: str = CAMERA_FRAME, encoding: str = 'bgr8'):
    message = Messages().image(START_NS, np.zeros((4, 6, 3), np.uint8), frame)
    message.encoding = encoding
    return message


def calibration(frame: str = CAMERA_FRAME):
    message = Messages().camera_info(START_NS)
    message.header.frame_id = frame
    return message


def selected(folder: Path, entries: dict, **settings) -> tuple[Selection, list[str]]:
    kinds = {topic: INFO_KIND if hasattr(message, 'roi') else KIND for topic, message in entries.items()}
    path = write_bag(folder / 'bag', [(t, kinds[t], START_NS + i, m) for i, (t, m) in enumerate(entries.items())])
    notes = Notes()
    with Bag([path]) as bag:
        return select(bag, Settings((path,), **settings), (), notes), notes.lines()


def test_depth_beside_colour_is_no_second_camera(tmp_path):
    found, notes = selected(tmp_path, {'/depth/image': picture(encoding='16UC1'), '/color/image': picture()})
    assert (found.image, notes) == ('/color/image', [])


def test_depth_alone_is_refused_unless_it_is_asked_for(tmp_path):
    entries = {'/depth/image': picture(encoding='32FC1')}
    with pytest.raises(UsageError, match='/depth/image: 32FC1 looks like depth, not like a picture'):
        selected(tmp_path, entries)
    found, notes = selected(tmp_path / 'again', entries, image='/depth/image')
    assert (found.image, notes) == ('/depth/image', ['/depth/image: 32FC1 looks like depth, not like a picture'])


def test_the_calibration_of_another_camera_is_never_taken_in_silence(tmp_path):
    entries = {'/color/image_raw': picture('color'), '/depth/camera_info': calibration('depth')}
    found, (note,) = selected(tmp_path, entries)
    assert found.camera_info is None
    assert note == (
        'bag: /depth/camera_info: may be of another camera than /color/image_raw and is not used; '
        '--camera-info TOPIC takes it anyway'
    )
    found, notes = selected(tmp_path / 'again', entries, camera_info='/depth/camera_info')
    assert (found.camera_info, notes) == ('/depth/camera_info', [])


def test_a_calibration_elsewhere_with_the_frame_of_the_images_is_theirs(tmp_path):
    entries = {
        '/color/rect/image': picture('color'),
        '/color/camera_info': calibration('color'),
        '/d': calibration('d'),
    }
    found, (note,) = selected(tmp_path, entries)
    assert found.camera_info == '/color/camera_info'
    assert note == 'bag: /color/camera_info: is used for /color/rect/image, as it has the same frame, color'
    entries = {'/image': picture(''), '/cal': calibration('')}
    assert selected(tmp_path / 'again', entries)[0].camera_info is None  # no frame tells nothing


def test_a_calibration_beside_the_images_goes_before_others(tmp_path):
    entries = {IMAGE: picture(), '/camera/camera_info': calibration('other'), '/cal': calibration()}
    found, notes = selected(tmp_path, entries)
    assert (found.camera_info, notes) == ('/camera/camera_info', [])
