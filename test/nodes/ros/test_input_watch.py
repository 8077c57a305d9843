"""Tests of custom_pose_ros.nodes.ros.input_watch and of the mismatches of nodes.qos, over real DDS."""

from __future__ import annotations

import array
import threading
from typing import Any

import numpy as np
import pytest
from rcl_interfaces.msg import Log
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import Header, String

from custom_pose_ros.nodes.ros import qos
from custom_pose_ros.nodes.ros.input_watch import LOSS_CURE, WINDOW_S, InputWatch, LossCounter

RELIABLE = QoSProfile(depth=50)
BEST_EFFORT = QoSProfile(depth=50, reliability=ReliabilityPolicy.BEST_EFFORT)
PERIOD_NS = 33_333_333


class Watcher(Node):
    """A node with one watched input and one output."""

    def __init__(self, **options: Any):
        super().__init__('watcher', **options)
        self.got: list[Image] = []
        self.watch = InputWatch(self, Image, 'image', self.got.append, qos.images('reliable'))
        self.create_publisher(String, 'results', qos.results(), **qos.publisher_options(self, 'results'))


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


def test_a_message_too_large_or_damaged_is_not_converted_and_the_next_one_is(graph) -> None:
    class Limited(Node):
        def __init__(self, **options: Any):
            super().__init__('limited', **options)
            self.got: list[Image] = []
            self.refused: list[str] = []
            limit = {'max_bytes': 1000, 'refuse': self.refused.append}
            InputWatch(self, Image, 'image', self.got.append, qos.images('reliable'), **limit)

    node = graph.start(Limited)
    camera = graph.advertise('image', Image, RELIABLE)
    large = image(1)
    large.data = array.array('B', bytes(2000))
    camera.publish(large)
    camera.publish(b'\0\1\0\0damaged')
    camera.publish(image(3))
    graph.wait(lambda: node.got, 'the message')
    assert [message.header.stamp.sec for message in node.got] == [3]
    graph.wait(lambda: len(node.refused) == 2, 'the refusals')
    assert 'bytes: wanted at most 1000' in node.refused[0]
    assert 'cannot be read' in node.refused[1]


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
    assert node.count_publishers(f'{graph.namespace}/image') == 0


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
    graph.tester.create_publisher(Image, 'pose_node/overlay', RELIABLE)
    node.create_publisher(Image, 'own_image', RELIABLE)
    for topic in ('image_raw', 'pose_node/overlay', 'own_image'):
        graph.wait(lambda topic=topic: node.count_publishers(f'{graph.namespace}/{topic}'), topic)
    said = node.watch.silence()
    assert said.startswith(f'nobody publishes {graph.namespace}/image (sensor_msgs/msg/Image is on ')
    assert f'{graph.namespace}/image_raw' in said
    assert 'camera_info' not in said and 'own_image' not in said and 'overlay' not in said


def test_a_publisher_that_is_silent_is_named(graph) -> None:
    node = graph.start(Watcher)
    graph.advertise('image', Image, RELIABLE)
    said = f'{graph.namespace}/tester publishes {graph.namespace}/image, but nothing comes'
    graph.wait(lambda: node.watch.silence() == said, 'its name')
    assert node.watch.silence() == said  # it stays so


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


class Clock:
    """A clock that goes when it is told to."""

    now_s = 7.0

    def __call__(self) -> float:
        return self.now_s


def test_gaps_in_the_numbers_are_losses_for_each_publisher() -> None:
    losses = LossCounter()
    for publisher, number in [('a', 5), ('b', 100), ('a', 6), ('b', 104), ('a', 9), ('a', 1), ('a', 2)]:
        losses.arrived(0, publisher, number)
    assert losses.lost == 3 + 2  # a started anew at 1: nothing is known about what it sent before
    assert (losses.received, losses.overwritten) == (7, 0)


def test_what_dds_reports_counts_also_when_nothing_comes() -> None:
    losses = LossCounter()
    losses.reports = True
    losses.reported_lost(40)
    assert (losses.lost, losses.shares()) == (40, (1.0, 0.0))


def test_a_gap_that_dds_does_not_report_was_overwritten() -> None:
    losses = LossCounter()
    losses.reports = True
    losses.arrived(0, 'a', 1)
    losses.reported_lost(2)
    losses.arrived(0, 'a', 7)  # two of five are lost
    assert (losses.lost, losses.overwritten) == (2, 3)
    assert losses.shares() == (pytest.approx(2 / 7), pytest.approx(3 / 7))


@pytest.mark.parametrize('lost', [0.0, 0.3, 0.6, 0.8])
@pytest.mark.parametrize('jitter_ns', [0, 3_000_000])
def test_without_numbers_the_stamps_tell(lost: float, jitter_ns: int) -> None:
    random = np.random.default_rng(3)
    kept = np.flatnonzero(random.random(2000) >= lost)
    losses = LossCounter()
    for index in kept:
        losses.arrived(int(index * PERIOD_NS + random.normal(0, jitter_ns)))
    missing = kept[-1] - kept[0] + 1 - len(kept)
    # the first steps, before there is a period, are not counted: 10 of them, each 1 / (1 - lost) periods long
    assert losses.lost == pytest.approx(missing, abs=0.02 * missing + 12 / (1 - lost))
    assert losses.period_s == pytest.approx(1e-9 * PERIOD_NS, rel=0.02)


def test_a_camera_that_changes_its_rate_or_stands_still_loses_little() -> None:
    losses, stamp = LossCounter(), 0
    for step_ns in [PERIOD_NS] * 100 + [2 * PERIOD_NS] * 200 + [30 * 10**9] + [2 * PERIOD_NS] * 100:
        stamp += step_ns
        losses.arrived(stamp)
    # until the new rate makes the old steps leave it looks like losses: about 57 of 60, then no more
    assert losses.lost == pytest.approx(57, abs=3)


@pytest.mark.parametrize('stamps', [[0] * 50, list(range(50, 0, -1)), [-(10**18), 10**18] * 20])
def test_stamps_that_say_nothing_are_no_losses(stamps: list[int]) -> None:
    losses = LossCounter()
    for stamp in stamps:
        losses.arrived(stamp)
    assert losses.lost == 0


def test_the_share_is_about_the_last_seconds() -> None:
    clock = Clock()
    losses = LossCounter(clock)
    for number in range(0, 40, 2):
        losses.arrived(0, 'a', number)
    assert losses.shares()[0] == pytest.approx(19 / 39)
    for number in range(39, 139):
        clock.now_s += 0.3
        losses.arrived(0, 'a', number)
        share = losses.shares()[0]
    assert share == 0.0
    assert WINDOW_S < 100 * 0.3
