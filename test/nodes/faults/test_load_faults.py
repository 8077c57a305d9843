"""Faults by others: a storm of parameters, a subscriber that is slower than the publisher, a model that is slow."""

from __future__ import annotations

import threading
import time

from rcl_interfaces.srv import SetParameters
from rclpy.parameter import Parameter
from sensor_msgs.msg import Image

from custom_pose_ros.nodes.ros.conversions import PoseArray


def test_parameters_storm(rig) -> None:
    clients = [
        rig.graph.tester.create_client(SetParameters, f'{node}/set_parameters')
        for node in ('pose_node', 'orientation_node')
    ]
    for client in clients:
        rig.graph.wait(client.service_is_ready, 'the parameter services')

    def ask(client, name: str, value):
        return client.call_async(SetParameters.Request(parameters=[Parameter(name, value=value).to_parameter_msg()]))

    answered, futures = len(rig.answers), []
    for number in range(300):  # more than the services can queue: some requests are overwritten, as ROS has it
        for client, name in zip(clients, ('thresholds.pose_score', 'filter.max_speed')):
            futures.append((number % 3 > 0, ask(client, name, -1.0 if number % 3 == 0 else 0.2 + 0.0001 * number)))
    last = [ask(client, name, 0.3) for client, name in zip(clients, ('thresholds.pose_score', 'filter.max_speed'))]
    rig.graph.wait(lambda: all(future.done() for future in last), 'the last answers')
    rig.note(time.monotonic())
    results = [(good, future.result().results[0].successful) for good, future in futures if future.done()]
    assert results
    assert all(good == successful for good, successful in results)
    assert len(rig.answers) > answered
    assert rig.pose_node.get_parameter('thresholds.pose_score').value == 0.3
    assert rig.orientation_node.get_parameter('filter.max_speed').value == 0.3


def test_a_slow_subscriber_holds_up_nobody(rig) -> None:
    """A reliable subscriber that is stuck in its first message: the writers must not wait for it."""
    gate, seen = threading.Event(), []

    def dawdle(message: PoseArray | Image) -> None:
        seen.append(message)
        gate.wait(60.0)

    rig.slow_listener({'poses': PoseArray, 'pose_node/overlay': Image}, dawdle)
    rig.graph.wait(lambda: seen, 'the slow subscriber')
    answered = len(rig.answers)
    rig.graph.wait(lambda: len(rig.answers) > answered + 40, 'forty frames')
    assert len(seen) <= 2
    gate.set()
    rig.note(time.monotonic())


def test_a_model_that_hangs_for_a_while_is_told_and_only_the_newest_frame_follows(rig, monkeypatch) -> None:
    monkeypatch.setattr('custom_pose_ros.nodes.ros.diagnostics.STUCK_AFTER_S', 1.0)
    gate, process = threading.Event(), rig.pose_node._process
    monkeypatch.setattr(rig.pose_node, '_process', lambda frames: (gate.wait(60.0), process(frames)))
    text = 'no answer for'
    rig.graph.wait(lambda: any(text in s.message for m in list(rig.diagnostics) for s in m.status), text, 0.02)
    before = rig.pose_node.health.statistics[''].counts
    rig.assert_recovers(gate.set)
    rig.assert_answers(time.monotonic())
    since = rig.pose_node.health.statistics[''].counts.minus(before)
    assert since.processed <= since.received - since.dropped + 2  # no queue has grown
