"""Tests of custom_pose_ros.nodes.ros.input_watch and of the mismatches of nodes.qos, over real DDS."""

from __future__ import annotations

import array
import threading
from typing import Any

import pytest
from rcl_interfaces.msg import Log
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import Header, String

from custom_pose_ros.nodes.ros import qos
from custom_pose_ros.nodes.ros.input_watch import LOSS_CURE, InputWatch

RELIABLE = QoSProfile(depth=50)
BEST_EFFORT = QoSProfile(depth=50, reliability=ReliabilityPolicy.BEST_EFFORT)


class Watcher(Node):
    """A node with one watched input and one output."""

    def __init__(self, **options: Any):
        super().__init__('watcher', **options)
        self.got: list[Image] = []
        self.watch = InputWatch(self, Image, 'image', self.got.append, qos.images('reliable'))
        self.create_publisher(String, 'results', qos.RESULTS, **qos.publisher_options(self, 'results'))


def image(number: int) -> Image:
    message = Image(header=Header(frame_id='camera'), data=array.array('B', bytes(10)))
    message.header.stamp.sec = number
    return message


def test_every_message_goes_to_the_callback_and_none_is_missing(graph) -> None:
    node = graph.start(Watcher)
    camera = graph.advertise('image', Image, RELIABLE)
    for number in range(20):
        camera.publish(image(number))
        graph.wait(lambda n=number: len(node.got) == n + 1, 'the message')
    rows = node.watch.rows()
    assert rows == {
        'topic': f'{graph.namespace}/image',
        'publishers': '1',
        'lost on the way': '0',
        'overwritten unread': '0',
        'rate by the stamps [Hz]': '1.0',
    }
    assert node.watch.problems() == []


def test_a_publisher_with_the_wrong_reliability_is_named_with_both_profiles_and_the_cure(graph) -> None:
    node = graph.start(Watcher)
    graph.tester.create_publisher(Image, 'image', BEST_EFFORT)
    topic = f'{graph.namespace}/image'
    graph.wait(node.watch.problems, 'the mismatch')
    (line,) = node.watch.problems()
    offered, wanted = 'best_effort, volatile is offered', 'reliable, volatile wanted'
    cure = f'set qos_overrides.{topic}.subscription.reliability: best_effort here'
    assert all(fact in line for fact in (f'{graph.namespace}/tester', offered, wanted, cure)), line


def test_the_cure_named_works(graph) -> None:
    topic = f'{graph.namespace}/image'
    node = graph.start(Watcher, **{f'qos_overrides.{topic}.subscription.reliability': 'best_effort'})
    camera = graph.advertise('image', Image, BEST_EFFORT)
    camera.publish(image(1))
    graph.wait(lambda: node.got, 'the message')
    assert node.watch.problems() == []


def test_a_mismatch_ends_with_the_publisher(graph) -> None:
    node = graph.start(Watcher)
    publisher = graph.tester.create_publisher(Image, 'image', BEST_EFFORT)
    graph.wait(node.watch.problems, 'the mismatch')
    graph.tester.destroy_publisher(publisher)
    graph.wait(lambda: not node.watch.problems(), 'its end')


def test_a_subscriber_that_a_result_does_not_suit_is_named(graph) -> None:
    node = graph.start(Watcher)
    latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
    graph.tester.create_subscription(String, 'results', print, latched)
    topic = f'{graph.namespace}/results'
    graph.wait_for_log(Log.WARN, 'watcher', f'set qos_overrides.{topic}.publisher.durability: transient_local here')
    assert qos.mismatches(node, 'results', publishes=True)


def test_without_a_publisher_the_topics_that_may_be_meant_are_named(graph) -> None:
    node = graph.start(Watcher)
    graph.tester.create_publisher(Image, 'image_raw', RELIABLE)
    graph.tester.create_publisher(CameraInfo, 'camera_info', RELIABLE)
    node.create_publisher(Image, 'own_overlay', RELIABLE)
    for topic in ('image_raw', 'own_overlay'):
        graph.wait(lambda topic=topic: node.count_publishers(f'{graph.namespace}/{topic}'), topic)
    said = node.watch.silence()
    assert said.startswith(f'nobody publishes {graph.namespace}/image (sensor_msgs/msg/Image is on ')
    assert f'{graph.namespace}/image_raw' in said
    assert 'camera_info' not in said and 'own_overlay' not in said


def test_a_publisher_that_is_silent_is_named(graph) -> None:
    node = graph.start(Watcher)
    graph.advertise('image', Image, RELIABLE)
    said = f'{graph.namespace}/tester publishes {graph.namespace}/image, but nothing comes'
    graph.wait(lambda: node.watch.silence() == said, 'its name')


def test_losses_are_told_with_the_cure_until_they_are_few(graph) -> None:
    node = graph.start(Watcher)
    losses = node.watch._losses
    losses.reports = False  # so that gaps in the numbers are losses
    losses.arrived(0, 'a', 1)
    losses.arrived(0, 'a', 3)
    (line,) = node.watch.problems()
    assert line.startswith(f'{graph.namespace}/image: 33 % ')
    assert line.endswith(LOSS_CURE)
    for number, told in [(16, True), (30, False)]:  # 1 of 15 is between the two limits, 1 of 29 below both
        for n in range(4, number):
            losses.arrived(0, 'a', n)
        assert bool(node.watch.problems()) == told
    for n in range(30, 36, 2):  # 3 of 32: above the lower limit only
        losses.arrived(0, 'a', n)
    assert node.watch.problems() == []


def test_what_comes_faster_than_it_is_read_is_told_apart_from_losses(graph) -> None:
    gate, entered = threading.Event(), threading.Event()
    node = graph.start(Watcher)
    node.watch._callback = lambda message: (entered.set(), gate.wait(60.0))
    camera = graph.advertise('image', Image, RELIABLE)
    camera.publish(image(0))
    graph.wait(entered.is_set, 'the first message')
    for number in range(1, 31):
        camera.publish(image(number))
    gate.set()
    graph.wait(lambda: node.watch._losses.received >= 6, 'the five that fit into the queue')
    assert (node.watch._losses.lost, node.watch._losses.overwritten) == (0, 25)
    (line,) = node.watch.problems()
    assert line.endswith(
        '/image: 81 % of the messages are overwritten before they are read; the computer is overloaded'
    )


@pytest.mark.parametrize('publishes', [True, False])
def test_a_topic_that_the_node_does_not_have_does_not_mismatch(graph, publishes: bool) -> None:
    assert qos.mismatches(graph.start(Watcher), 'something', publishes) == []
