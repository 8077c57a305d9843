"""Time that is not that of the computer: /clock, a clock that stands still, a bag that begins again."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import numpy as np
import pytest
from builtin_interfaces.msg import Time
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rosgraph_msgs.msg import Clock

START_NS, SECONDS = 1_600_000_000 * 10**9, 2.0  # a bag of two seconds


class Bag:
    """Time as `ros2 bag play --clock --loop` has it: begins again every two seconds."""

    def __init__(self, graph):
        self._begin, self._stopped = time.monotonic(), threading.Event()
        self.stands_still = False
        self._stood_at = START_NS
        qos = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)
        self._publisher = graph.tester.create_publisher(Clock, '/clock', qos)
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def now(self) -> int:
        if not self.stands_still:
            self._stood_at = START_NS + int(1e9 * ((time.monotonic() - self._begin) % SECONDS))
        return self._stood_at

    def _run(self) -> None:
        while not self._stopped.wait(0.02):
            ns = self.now()
            self._publisher.publish(Clock(clock=Time(sec=ns // 10**9, nanosec=ns % 10**9)))

    def stop(self) -> None:
        self._stopped.set()
        self._thread.join()


@pytest.fixture
def bag(graph) -> Iterator[Bag]:
    bag = Bag(graph)
    yield bag
    bag.stop()


def latencies(rig) -> list[str]:
    """Return what the diagnostics of both nodes say about latency."""
    return [
        pair.value
        for message in list(rig.diagnostics)
        for status in message.status
        if status.name.startswith(rig.graph.namespace[1:])
        for pair in status.values
        if pair.key == 'latency p50 [ms]'
    ]


def test_a_bag_that_loops_is_answered_all_the_time(make_rig, bag) -> None:
    rig = make_rig(use_sim_time=True)
    rig.stamp = bag.now
    rig.assert_answers()
    begin = time.monotonic()

    def loops() -> int:
        stamps = [answer.header.stamp for _, answer in list(rig.answers) if answer.orientations]
        return np.count_nonzero(np.diff([stamp.sec + 1e-9 * stamp.nanosec for stamp in stamps]) < 0)

    rig.graph.wait(lambda: loops() >= 2, 'answers in three loops', 0.05)
    for at, answer in rig.answers:
        assert answer.orientations or at < begin, 'a loop costs no answer'
    rig.graph.wait(lambda: any(value != 'unknown' for value in latencies(rig)), 'a latency by /clock')
    known = [float(value) for value in latencies(rig) if value != 'unknown']
    assert max(known) < 60e3
    rig.note(time.monotonic())


def test_without_a_clock_frames_are_answered_and_the_latency_is_unknown(make_rig) -> None:
    rig = make_rig(use_sim_time=True)
    rig.assert_answers()
    rig.graph.wait(lambda: len(latencies(rig)) > 2, 'diagnostics, which need no clock')
    assert 'unknown' in latencies(rig)


def test_a_clock_that_stands_still_holds_up_nothing_but_time(make_rig, bag) -> None:
    rig = make_rig(use_sim_time=True)
    rig.stamp = bag.now
    rig.assert_answers()
    bag.stands_still = True  # a bag that is paused, while the camera goes on with the same stamp
    time.sleep(0.3)
    rig.assert_answers(time.monotonic())
    rig.assert_recovers(lambda: setattr(bag, 'stands_still', False))
