"""Faults of whole processes: killed and restarted, two of one name."""

from __future__ import annotations

import signal
import time
from pathlib import Path

import pytest
from diagnostic_msgs.msg import DiagnosticArray
from rcl_interfaces.msg import Log
from rclpy.qos import QoSProfile
from recovery_times import FIGURES
from sensor_msgs.msg import Image
from std_msgs.msg import Header

from custom_pose_ros.nodes.pose.pose_node import PoseNode
from custom_pose_ros.nodes.ros.conversions import PoseArray, bgr_to_image

MODULE = 'custom_pose_ros.nodes.pose.pose_node'


def children_of(pid: int) -> list[str]:
    return Path(f'/proc/{pid}/task/{pid}/children').read_text(encoding='ascii').split()


class Killed:
    """A pose_node as a process, in front of a camera that shows the same picture whenever it is asked for."""

    def __init__(self, graph, start_process, tiny, tiny_object: str):
        self._graph, self._start_process, self.object = graph, start_process, tiny_object
        self.picture = bgr_to_image(tiny.draw_tiny_object(tiny.TINY_POINTS), Header())
        self.camera = graph.tester.create_publisher(Image, 'image', QoSProfile(depth=5))
        self.poses = graph.listen('poses', PoseArray)

    def _subscriptions(self) -> set[bytes]:
        """Ids of the subscriptions of the images, also of a dead predecessor's until it is forgotten after 20 s."""
        found = self._graph.tester.get_subscriptions_info_by_topic(self.camera.topic_name)
        return {bytes(info.endpoint_gid) for info in found}

    def start(self, *arguments: str):
        before = self._subscriptions()
        process = self._start_process(
            MODULE, '--ros-args', '-p', f'object:={self.object}', '-r', f'__ns:={self._graph.namespace}', *arguments
        )
        self._graph.wait(lambda: self._subscriptions() - before or process.poll() is not None, 'its subscription')
        begin = time.monotonic()
        self.wait_answer()
        self.answered_after_s = time.monotonic() - begin
        return process

    def wait_answer(self) -> None:
        count = len(self.poses)
        self._graph.wait(
            lambda: self.camera.publish(self.picture) or len(self.poses) > count, 'an answer', period_s=0.02
        )
        assert len(self.poses[-1].poses) == 1


@pytest.fixture
def killed(graph, start_process, tiny, tiny_object) -> Killed:
    return Killed(graph, start_process, tiny, tiny_object)


def test_a_node_that_is_killed_leaves_no_orphan_and_its_successor_answers(killed: Killed, request) -> None:
    first = killed.start()
    assert children_of(first.pid) == []
    first.send_signal(signal.SIGKILL)
    first.wait(30)
    second = killed.start()
    FIGURES[request.node.name] = killed.answered_after_s
    second.send_signal(signal.SIGINT)
    second.communicate(timeout=60)
    assert second.returncode == 0


def test_two_nodes_of_one_name_are_warned_about(killed: Killed, graph, monkeypatch) -> None:
    monkeypatch.setattr('custom_pose_ros.nodes.ros.health.DUPLICATE_AFTER_S', 1.0)
    killed.start()
    diagnostics = graph.listen('/diagnostics', DiagnosticArray)
    node = graph.start(PoseNode, object=killed.object, threads=1)
    text = f'more than one node is named {graph.namespace}/pose_node'
    assert diagnostics.wait(lambda message: any(text in status.message for status in message.status))
    graph.wait_for_log(Log.WARN, 'pose_node', 'more than one node is named')
    graph.stop(node)
