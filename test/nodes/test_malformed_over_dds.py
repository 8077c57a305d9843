"""Malformed messages over real DDS: fields at random and bytes at random, to both nodes as processes; they go on."""

from __future__ import annotations

import os
import time

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticArray
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from malformed_messages import camera_infos, damaged, images, pose_arrays
from rclpy.qos import QoSProfile
from rclpy.serialization import serialize_message
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import Header

from custom_pose_ros.core.geometry.camera import CameraIntrinsics
from custom_pose_ros.nodes.ros.conversions import OrientationArray, PoseArray, bgr_to_image
from custom_pose_ros.tools.demo_player import camera_info

CASES = int(os.environ.get('MALFORMED_CASES', '400')) // 4
NAMES = ('front', 'left', 'right', 'top')  # of the tiny object
PIXELS = ((280.1, 165.9), (387.1, 189.3), (293.9, 214.4), (338.1, 153.7))
RELIABLE = QoSProfile(depth=20)
PAUSE_S = 0.005

many = settings(
    max_examples=CASES,
    deadline=None,
    derandomize=True,
    database=None,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)


def spoilt_bytes(messages: st.SearchStrategy) -> st.SearchStrategy[bytes]:
    """Return serialized messages with bytes overwritten, cut off or added: what no ROS library would send."""
    return messages.map(serialize_message).flatmap(damaged).filter(lambda data: len(data) >= 4)


class Processes:
    """Both nodes as processes, and publishers of all that they hear."""

    def __init__(self, graph, start_process, tiny_object: str):
        self.graph = graph
        arguments = ('--ros-args', '-p', f'object:={tiny_object}', '-r', f'__ns:={graph.namespace}')
        reliable = ('-p', 'image_reliability:=reliable')
        self.all = {
            'pose_node': start_process('custom_pose_ros.nodes.pose.pose_node', *arguments, *reliable),
            'orientation_node': start_process('custom_pose_ros.nodes.orientation.orientation_node', *arguments),
        }
        self.orientations = graph.listen('orientations', OrientationArray)
        self.diagnostics = graph.listen('/diagnostics', DiagnosticArray)
        kinds = {'image': Image, 'camera_info': CameraInfo, 'poses': PoseArray}
        self.publishers = {topic: graph.advertise(topic, kind, RELIABLE) for topic, kind in kinds.items()}

    def send(self, topic: str, message: object) -> None:
        self.publishers[topic].publish(message)
        time.sleep(PAUSE_S)  # the nodes shall read most of them, not only the newest

    def rows(self, node: str, since: int) -> dict[str, str]:
        """What the node has told last; of two reports behind the first `since`, as one may have been under way."""
        statuses = [s for m in self.diagnostics[since:] for s in m.status if s.name.split(':')[0].endswith(node)]
        mine = [s for s in statuses if s.name.startswith(self.graph.namespace[1:])]
        return {pair.key: pair.value for pair in mine[-1].values} if len(mine) > 1 else {}

    def assert_alive(self, picture: np.ndarray) -> None:
        """Both answer a good image after all that, and have counted what they refused."""
        assert {name: process.poll() for name, process in self.all.items()} == dict.fromkeys(self.all)
        good = bgr_to_image(picture, Header(frame_id='good'))
        height, width = picture.shape[:2]
        info = camera_info(CameraIntrinsics.from_fov(width, height, 1.0))

        def answered() -> bool:
            self.send('camera_info', info)
            self.send('image', good)
            return any(answer.header.frame_id == 'good' for answer in self.orientations)

        self.graph.wait(answered, 'an answer to a good image', 0.05)


@pytest.fixture
def processes(graph, start_process, tiny_object) -> Processes:
    return Processes(graph, start_process, tiny_object)


def test_both_nodes_survive_any_field_and_any_byte(processes: Processes, tiny) -> None:
    picture = tiny.draw_tiny_object(tiny.TINY_POINTS)
    processes.assert_alive(picture)
    sent = dict.fromkeys(processes.publishers, 0)
    kinds = {'image': images(), 'camera_info': camera_infos(), 'poses': pose_arrays(NAMES, PIXELS, 2)}
    either = st.sampled_from(sorted(kinds)).flatmap(
        lambda topic: st.tuples(st.just(topic), kinds[topic] | spoilt_bytes(kinds[topic]))
    )

    @many
    @given(either)
    def send(one: tuple[str, object]) -> None:
        topic, message = one
        sent[topic] += 1
        processes.send(topic, message)

    send()
    assert min(sent.values()) > 0.1 * CASES
    processes.assert_alive(picture)
    for node, topic in (('pose_node', 'image'), ('orientation_node', 'poses')):
        rows = settled_rows(processes, node)
        counts = {name: int(rows[name]) for name in ('received', 'processed', 'dropped', 'errors')}
        assert counts['errors'] > 0.05 * sent[topic], counts


def settled_rows(processes: Processes, node: str) -> dict[str, str]:
    """Return what the node tells when it has nothing left to do: every message is answered, dropped or refused."""
    since, rows = len(processes.diagnostics), {}

    def settled() -> bool:
        rows.update(processes.rows(node, since))
        names = ('processed', 'dropped', 'skipped', 'errors')
        return bool(rows) and int(rows['received']) <= sum(int(rows[name]) for name in names)

    processes.graph.wait(settled, f'{node} to account for all it has received', 0.05)
    return rows
