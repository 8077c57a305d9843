"""A real mcap played through real nodes in their own processes: the same keypoints and orientations as evaluate_bag."""

from __future__ import annotations

import array
import functools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticArray
from sensor_msgs.msg import CameraInfo, Image

from custom_pose_ros.nodes.ros.conversions import OrientationArray, PoseArray

pytest.importorskip('rosbags', reason='reading bags needs rosbags')

FRAMES = 30
KEYPOINT_TOLERANCE_PX = 1e-3
ROTATION_TOLERANCE_RAD = 1e-4  # offline, several images go through the network together, which rounds differently


@pytest.fixture
def dive(tmp_path) -> Path:
    from bag_maker import tiny_bag

    return tiny_bag(tmp_path / 'dive', FRAMES)[0]


def stamp_of(message: Any) -> int:
    return message.header.stamp.sec * 10**9 + message.header.stamp.nanosec


def to_ros(kind: type, message: Any) -> Any:
    """Return a message of rclpy with the content of one read from a bag."""
    result = kind()
    for name in kind.get_fields_and_field_types():
        value, target = getattr(message, name), getattr(result, name)
        if isinstance(value, np.ndarray) and name == 'data':
            setattr(result, name, array.array('B', value.tobytes()))
        elif isinstance(value, np.ndarray):
            setattr(result, name, value.tolist())
        elif hasattr(value, '__dataclass_fields__'):
            setattr(result, name, to_ros(type(target), value))
        else:
            setattr(result, name, value)
    return result


def play(graph: Any, bag_path: Path, *answers: Any) -> None:
    """
    Publish the bag in its order; the next image follows when the one before has been answered on every topic.

    Before it an empty image, a minute older, is repeated until it is answered and diagnostics tell of the calibration:
    the nodes' side of the discovery cannot be seen from here, and no filter remembers anything of an empty image.
    """
    from custom_pose_ros.evaluation.bags.reader import Bag

    image, info = graph.advertise('image', Image), graph.advertise('camera_info', CameraInfo)
    diagnostics = graph.listen('/diagnostics', DiagnosticArray)

    def calibrated() -> bool:
        mine = f'{graph.namespace[1:]}/orientation_node'
        statuses = (s for message in list(diagnostics) for s in message.status if s.name.startswith(mine))
        return any((v.key, v.value) == ('camera', 'camera_info') for s in statuses for v in s.values)

    def answered(stamp: int) -> bool:
        return all(any(stamp_of(message) == stamp for message in list(messages)) for messages in answers)

    with Bag([bag_path]) as bag:
        calibration = to_ros(CameraInfo, bag.decode(next(bag.messages(['/camera/camera_info']))))
        empty = to_ros(Image, bag.decode(next(bag.messages(['/camera/image']))))
        empty.data = array.array('B', bytes(len(empty.data)))
        empty.header.stamp.sec -= 60
        graph.wait(
            lambda: (answered(stamp_of(empty)) and calibrated()) or info.publish(calibration) or image.publish(empty),
            'an answer with the calibration',
            period_s=0.2,
        )
        for message in bag.messages(['/camera/image']):
            picture = to_ros(Image, bag.decode(message))
            stamp = stamp_of(picture)
            image.publish(picture)
            graph.wait(functools.partial(answered, stamp), f'the answer to {stamp}')


def test_live_and_offline_agree(graph, start_process, tiny_object, dive) -> None:
    from custom_pose_ros.evaluation.bags.reader import Bag
    from custom_pose_ros.evaluation.evaluation_settings import Settings
    from custom_pose_ros.evaluation.evaluator import Evaluator

    namespace = ('-r', f'__ns:={graph.namespace}')
    start_process(
        'custom_pose_ros.nodes.pose.pose_node', '--ros-args', '-p', f'object:={tiny_object}',
        '-p', 'backend:=onnxruntime', '-p', 'image_reliability:=reliable', *namespace,
    )  # fmt: skip
    start_process(
        'custom_pose_ros.nodes.orientation.orientation_node', '--ros-args', '-p', f'object:={tiny_object}', *namespace
    )
    poses, orientations = graph.listen('poses', PoseArray), graph.listen('orientations', OrientationArray)
    play(graph, dive, poses, orientations)

    copy = dive.with_name('copy')
    with Bag([dive]) as bag:
        Evaluator(Settings((dive,), object=tiny_object, write_bag=copy)).evaluate(bag)
    with Bag([copy]) as bag:
        results = ((m.topic.name, bag.decode(m)) for m in bag.messages(['/poses', '/orientations']))
        offline = {(topic, stamp_of(message)): message for topic, message in results}

    stamps = {stamp for _, stamp in offline}
    live_poses = {stamp_of(message): message for message in poses if stamp_of(message) in stamps}
    live_orientations = {stamp_of(message): message for message in orientations if stamp_of(message) in stamps}
    assert len(live_poses) == len(live_orientations) == FRAMES
    solved = 0
    for stamp, message in live_poses.items():
        expected = offline['/poses', stamp]
        assert len(message.poses) == len(expected.poses)
        for pose, other in zip(message.poses, expected.poses):
            assert pose.track_id == other.track_id
            for keypoint, wanted in zip(pose.keypoints, other.keypoints):
                assert keypoint.visible == wanted.visible
                if keypoint.visible:
                    assert np.hypot(keypoint.x - wanted.x, keypoint.y - wanted.y) <= KEYPOINT_TOLERANCE_PX
    for stamp, message in live_orientations.items():
        expected = offline['/orientations', stamp]
        assert len(message.orientations) == len(expected.orientations)
        for orientation, other in zip(message.orientations, expected.orientations):
            solved += 1
            quaternions = [
                np.array([q.x, q.y, q.z, q.w]) for q in (orientation.pose.pose.orientation, other.pose.pose.orientation)
            ]
            assert 2 * np.linalg.norm(quaternions[0] - quaternions[1]) <= ROTATION_TOLERANCE_RAD
            assert orientation.ambiguity == pytest.approx(other.ambiguity, abs=1e-4)
    assert solved > 0.8 * FRAMES
