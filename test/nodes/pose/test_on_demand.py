"""Tests of custom_pose_ros.nodes.pose.on_demand over real DDS: one answer for each call, and only then."""

from __future__ import annotations

from typing import Any

import pytest
from builtin_interfaces.msg import Time
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import Header
from std_srvs.srv import SetBool, Trigger

from custom_pose_ros.nodes.orientation.orientation_node import OrientationNode
from custom_pose_ros.nodes.pose import on_demand
from custom_pose_ros.nodes.pose.image_queue import ImageDemand
from custom_pose_ros.nodes.pose.pose_node import PoseNode
from custom_pose_ros.nodes.ros.conversions import OrientationArray, PoseArray, bgr_to_image

RELIABLE = QoSProfile(depth=100, reliability=ReliabilityPolicy.RELIABLE)
SIZE = 320, 256
K = [300.0, 0.0, 160.0, 0.0, 300.0, 128.0, 0.0, 0.0, 1.0]


class Robot:
    """A pose_node that waits for calls, a camera in front of the tiny object, and somebody who calls."""

    def __init__(self, graph: Any, tiny: Any, tiny_object: str, **parameters: Any):
        self.graph = graph
        self.node = graph.start(
            PoseNode, object=tiny_object, threads=1, image_reliability='reliable', **{'enabled': False, **parameters}
        )
        self.cameras = parameters.get('cameras', [''])
        names = [f'{name}/' if name else '' for name in self.cameras]
        self.answers = [graph.listen(f'{name}poses', PoseArray, RELIABLE) for name in names]
        self.images = [graph.advertise(f'{name}image', Image, RELIABLE) for name in names]
        self.picture = tiny.draw_tiny_object(tiny.TINY_POINTS, SIZE)
        self.seconds = 0

    def call(self, service: str, request: Any) -> Any:
        """Start a call; return its future."""
        kind = SetBool if isinstance(request, SetBool.Request) else Trigger
        client = self.graph.tester.create_client(kind, f'pose_node/{service}')
        assert client.wait_for_service(timeout_sec=60.0)
        return client.call_async(request)

    def send(self, camera: int = 0, picture: Any = None) -> int:
        """Publish the next image, wait until the node has it, return its stamp."""
        statistics = self.node.health.statistics[self.cameras[camera]]
        before = statistics.counts.received
        self.seconds += 1
        header = Header(stamp=Time(sec=self.seconds), frame_id='camera')
        self.images[camera].publish(bgr_to_image(self.picture if picture is None else picture, header))
        self.graph.wait(lambda: statistics.counts.received > before, 'the image to come')
        return self.seconds

    def asked(self, camera: int = 0) -> None:
        """Wait until the node knows of a call."""
        demand = self.node._cameras[self.cameras[camera]].demand
        self.graph.wait(lambda: demand._next, 'the call to be known')

    def result(self, future: Any) -> Any:
        self.graph.wait(future.done, 'the answer to the call')
        return future.result()

    def stamps(self, camera: int = 0) -> list[int]:
        return [message.header.stamp.sec for message in self.answers[camera]]


@pytest.fixture
def robot(graph, tiny, tiny_object) -> Robot:
    return Robot(graph, tiny, tiny_object)


def test_one_call_one_answer_about_the_next_image(robot) -> None:
    robot.send()
    robot.send()  # nobody has asked
    call = robot.call('detect', Trigger.Request())
    robot.asked()
    wanted = robot.send()
    robot.answers[0].wait(lambda message: message.header.stamp.sec == wanted)
    response = robot.result(call)
    assert (response.success, response.message) == (True, '1 found')
    robot.send()
    counts = robot.graph.counts(robot.node)
    assert (counts.processed, counts.skipped, counts.dropped) == (1, 3, 0)
    assert robot.stamps() == [wanted]


def test_the_orientation_follows_with_one_message(robot, graph, tiny_object) -> None:
    graph.start(OrientationNode, object=tiny_object)
    orientations = graph.listen('orientations', OrientationArray)
    infos = graph.advertise('camera_info', CameraInfo)
    infos.publish(CameraInfo(width=SIZE[0], height=SIZE[1], k=K))
    call = robot.call('detect', Trigger.Request())
    robot.asked()
    wanted = robot.send()
    assert robot.result(call).success
    orientations.wait(lambda message: message.header.stamp.sec == wanted and len(message.orientations) == 1)
    assert len(orientations) == 1


def test_nothing_in_the_image_is_no_success(robot) -> None:
    call = robot.call('detect', Trigger.Request())
    robot.asked()
    robot.send(picture=0 * robot.picture)
    response = robot.result(call)
    assert (response.success, response.message) == (False, '0 found')


def test_an_image_that_is_refused_is_told(robot) -> None:
    call = robot.call('detect', Trigger.Request())
    robot.asked()
    message = bgr_to_image(robot.picture, Header(stamp=Time(sec=9)))
    message.encoding = 'no_such'
    robot.images[0].publish(message)
    response = robot.result(call)
    assert not response.success
    assert 'no_such' in response.message
    assert robot.stamps() == []


def test_without_an_image_the_call_ends_in_time(robot, monkeypatch) -> None:
    monkeypatch.setattr(on_demand, 'DETECT_TIMEOUT_S', 0.2)
    response = robot.result(robot.call('detect', Trigger.Request()))
    assert not response.success
    assert response.message == (
        f'no answer within 0.2 s: tester publishes {robot.graph.namespace}/image, but nothing comes'
    ).replace('tester', f'{robot.graph.namespace}/tester')
    robot.send()  # comes too late: nobody waits for it any more
    assert robot.graph.counts(robot.node).skipped == 1


def test_enable_answers_every_image_until_it_is_switched_off(robot) -> None:
    assert robot.result(robot.call('enable', SetBool.Request(data=True))).success
    assert robot.node.get_parameter('enabled').value is True
    first = robot.send()
    robot.answers[0].wait(lambda message: message.header.stamp.sec == first)
    response = robot.result(robot.call('detect', Trigger.Request()))
    assert not response.success
    assert 'every image is answered' in response.message
    response = robot.result(robot.call('enable', SetBool.Request(data=False)))
    assert (response.success, response.message) == (True, 'only on demand, by ~/detect')
    robot.send()
    assert robot.graph.counts(robot.node).skipped == 1


def test_a_node_that_is_not_active_says_so(graph, tiny, tiny_object) -> None:
    node = graph.start(PoseNode, object=tiny_object, enabled=False, autostart=False)
    client = graph.tester.create_client(Trigger, 'pose_node/detect')
    assert client.wait_for_service(timeout_sec=60.0)
    call = client.call_async(Trigger.Request())
    graph.wait(call.done, 'the answer')
    assert call.result().message == f'the node is {node.state}: activate it first'


def test_several_cameras_answer_with_one_image_each(graph, tiny, tiny_object) -> None:
    robot = Robot(graph, tiny, tiny_object, cameras=['front', 'down'])
    call = robot.call('detect', Trigger.Request())
    robot.asked(1)
    stamps = [robot.send(0), robot.send(1, 0 * robot.picture)]
    response = robot.result(call)
    assert (response.success, response.message) == (True, 'front: 1 found, down: 0 found')
    robot.send(0)
    for answers, stamp in zip(robot.answers, stamps):
        answers.wait(lambda message, stamp=stamp: message.header.stamp.sec == stamp)
        assert len(answers) == 1


def test_who_asked_for_an_image_that_was_replaced_gets_the_answer_to_the_newer_one() -> None:
    demand, images = ImageDemand(), [object(), object(), object()]
    first = demand.ask()
    assert demand.takes(images[0])
    second = demand.ask()
    assert demand.takes(images[1])
    assert not demand.takes(images[2])
    demand.answered(images[2], 5)  # nobody's
    assert not first.done()
    demand.answered(images[1], 3)
    assert (first.result(0), second.result(0)) == (3, 3)
