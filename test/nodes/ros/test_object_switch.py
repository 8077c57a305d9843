"""Tests of ~/switch_object over real DDS: no frame is lost to it, and what cannot serve never does."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from builtin_interfaces.msg import Time
from diagnostic_msgs.msg import DiagnosticArray
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState
from rcl_interfaces.msg import Log
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import Image
from spoilt_models import another_first_keypoint, broken_object, empty_network, half_a_network, without_network
from std_msgs.msg import Header

from custom_pose_ros.nodes.orientation.orientation_node import OrientationNode
from custom_pose_ros.nodes.pose.pose_node import PoseNode
from custom_pose_ros.nodes.ros import object_switch
from custom_pose_ros.nodes.ros.conversions import OrientationArray, PoseArray, SwitchObject, bgr_to_image

RELIABLE = QoSProfile(depth=100, reliability=ReliabilityPolicy.RELIABLE)


class Bench:
    """A pose_node of the tiny object with a camera, and the client of its switch."""

    def __init__(self, graph, tiny, tiny_object: str):
        self.graph = graph
        self.node = graph.start(
            PoseNode, object=tiny_object, backend='onnxruntime', threads=1, image_reliability='reliable'
        )
        self.poses = graph.listen('poses', PoseArray, RELIABLE)
        self.camera = graph.advertise('image', Image, RELIABLE)
        self._picture = bgr_to_image(tiny.draw_tiny_object(tiny.TINY_POINTS, (320, 256)), Header())
        self._client = graph.tester.create_client(SwitchObject, 'pose_node/switch_object')
        graph.wait(self._client.service_is_ready, 'the service')
        self.sent = 0

    def request(self, source: str = '', model: str = '') -> Callable[[], SwitchObject.Response]:
        """Ask for a switch; what is returned waits for the answer."""
        future = self._client.call_async(SwitchObject.Request(object=source, model=model))

        def answer() -> SwitchObject.Response:
            self.graph.wait(future.done, 'the answer')
            return future.result()

        return answer

    def show(self) -> PoseArray:
        """Publish an image and return the answer to it."""
        self.sent += 1
        self._picture.header = Header(stamp=Time(sec=self.sent))
        self.camera.publish(self._picture)
        return self.poses.wait(lambda answer: answer.header == self._picture.header)

    def served(self) -> str:
        (pose,) = self.show().poses
        return pose.object_name


@pytest.fixture
def bench(graph, tiny, tiny_object) -> Bench:
    return Bench(graph, tiny, tiny_object)


@pytest.fixture
def other(tiny, tmp_path, monkeypatch) -> str:
    """Folder of an object that looks the same and has other names."""
    monkeypatch.setattr(tiny, 'TINY_OBJECT_YAML', tiny.TINY_OBJECT_YAML.replace('front', 'nose'))
    return str(tiny.write_tiny_object(tmp_path / 'other', 'other'))


def delayed(load: Callable, gate: threading.Event) -> Callable:
    def wait_and_load(*arguments):
        gate.wait(60)
        return load(*arguments)

    return wait_and_load


def test_the_old_object_serves_until_the_new_one_can(bench, graph, other, tiny_object) -> None:
    diagnostics = graph.listen('/diagnostics', DiagnosticArray)
    gate = threading.Event()
    bench.node._switch._load = delayed(bench.node._load, gate)
    answer = bench.request(other)
    graph.wait(lambda: bench.node._switch._loading, 'the load to begin')
    assert [bench.served() for _ in range(10)] == ['tiny'] * 10  # while the other one is being loaded
    again = bench.request(other)()
    assert (again.success, f'{other} is being loaded' in again.message) == (False, True)
    gate.set()
    names = []
    while 'other' not in names:
        names.append(bench.served())
    response = answer()
    assert (response.success, response.message) == (True, 'other serves, with onnxruntime')
    first = next(message for message in bench.poses if message.keypoint_names[0] == 'nose')
    assert (first.poses[0].object_name, first.poses[0].track_id) == ('other', 0)  # its tracks are its own
    assert bench.node.get_parameter('object').value == other
    assert [m.header.stamp.sec for m in bench.poses] == list(range(1, bench.sent + 1))  # no frame was lost to it
    assert bench.node.health.statistics[''].counts.errors == 0
    rows = {'object': 'other', 'last switch': response.message}
    diagnostics.wait(lambda m: rows.items() <= {(pair.key, pair.value) for pair in m.status[0].values})
    assert bench.request(tiny_object)().success
    assert bench.served() == 'tiny'


def test_a_switch_has_a_time_limit_and_the_next_one_waits_for_its_end(bench, graph, other, monkeypatch) -> None:
    monkeypatch.setattr(object_switch, 'MAX_SWITCH_S', 0.2)
    gate = threading.Event()
    bench.node._switch._load = delayed(bench.node._load, gate)
    response = bench.request(other)()
    assert (response.success, f'{other} is not loaded after 0.2 s' in response.message) == (False, True)
    assert bench.served() == 'tiny'  # what served goes on
    assert f'{other} is being loaded' in bench.request(other)().message
    gate.set()
    graph.wait(lambda: not bench.node._switch._loading, 'the late load to end')
    assert bench.served() == 'tiny'  # what came too late never serves
    monkeypatch.undo()
    assert bench.request(other)().success
    assert bench.served() == 'other'


@pytest.mark.parametrize(
    ('spoil', 'text'),
    [
        (without_network, 'no model.onnx in this folder'),
        (half_a_network, 'is damaged or not an ONNX model'),
        (empty_network, 'model.onnx: is empty'),
        (another_first_keypoint, 'does not fit'),
        (broken_object, 'object.yaml'),
        (shutil.rmtree, 'not found: wanted a folder'),
    ],
)
def test_what_cannot_serve_is_refused_and_the_old_one_goes_on(bench, graph, other, tiny_object, spoil, text) -> None:
    assert bench.served() == 'tiny'
    spoil(Path(other))
    response = bench.request(other)()
    assert (response.success, text in response.message) == (False, True), response.message
    assert bench.served() == 'tiny'
    assert bench.node.get_parameter('object').value == tiny_object
    assert bench.node._switch.last == f'refused: {response.message}'
    graph.wait_for_log(Log.WARN, 'pose_node', f'switch refused: {response.message[:100]}')


def test_a_network_alone_can_be_switched_and_read_again(bench, tiny_object, tmp_path) -> None:
    model = tmp_path / 'better.onnx'
    shutil.copy(Path(tiny_object) / 'model.onnx', model)
    assert bench.request(model=str(model))().success
    assert bench.node.get_parameter('model').value == str(model)
    model.write_bytes(b'half')
    assert not bench.request()().success  # the same again
    assert bench.served() == 'tiny'


def test_an_unconfigured_node_says_what_to_do(bench, graph, other) -> None:
    client = graph.tester.create_client(ChangeState, 'pose_node/change_state')
    graph.wait(client.service_is_ready, 'the service')
    gate = threading.Event()
    bench.node._switch._load = delayed(bench.node._load, gate)
    answer = bench.request(other)
    graph.wait(lambda: bench.node._switch._loading, 'the load to begin')
    for transition in (Transition.TRANSITION_DEACTIVATE, Transition.TRANSITION_CLEANUP):
        future = client.call_async(ChangeState.Request(transition=Transition(id=transition)))
        graph.wait(future.done, 'the transition')
    gate.set()  # cleaning up has not waited for it
    assert answer().message.startswith(f'{other} is not needed any more')
    assert bench.node._estimator is None
    response = bench.request(other)()
    assert response.message.startswith('nothing serves')


def test_the_node_ends_in_the_middle_of_a_switch(bench, graph, other) -> None:
    gate = threading.Event()
    bench.node._switch._load = delayed(bench.node._load, gate)
    bench.request(other)
    graph.wait(lambda: bench.node._switch._loading, 'the load to begin')
    graph.stop(bench.node)
    assert not any(thread.name == 'pose_worker' for thread in threading.enumerate())
    gate.set()


def array_of(names: list[str], seconds: int) -> PoseArray:
    return PoseArray(header=Header(stamp=Time(sec=seconds)), image_width=320, image_height=256, keypoint_names=names)


def test_orientation_node_follows_with_the_first_poses_of_the_new_object(graph, tiny_object, other) -> None:
    node = graph.start(OrientationNode, object=tiny_object, fallback_fov_deg=60.0, camera_info_timeout=0.0)
    orientations = graph.listen('orientations', OrientationArray)
    poses = graph.advertise('poses', PoseArray)
    client = graph.tester.create_client(SwitchObject, 'orientation_node/switch_object')
    graph.wait(client.service_is_ready, 'the service')

    def show(first: str, seconds: int) -> int:
        """Publish empty poses and return how many messages were refused so far."""
        poses.publish(array_of([first, 'left', 'right', 'top'], seconds))
        orientations.wait(lambda m: m.header.stamp.sec == seconds)
        statistics = node.health.statistics['']  # a message is counted after it has been answered
        graph.wait(lambda: statistics.counts.processed + statistics.counts.errors == seconds, 'the count')
        return statistics.counts.errors

    assert (show('front', 1), show('nose', 2)) == (0, 1)
    future = client.call_async(SwitchObject.Request(object=other))
    graph.wait(future.done, 'the answer')
    assert future.result().message.startswith('other will serve')
    assert (show('front', 3), node.get_parameter('object').value) == (1, tiny_object)
    assert (show('nose', 4), node.get_parameter('object').value) == (1, other)
    assert show('front', 5) == 2
    future = client.call_async(SwitchObject.Request(object='nothing_like_it'))
    graph.wait(future.done, 'the answer')
    assert (future.result().success, "object 'nothing_like_it' not found" in future.result().message) == (False, True)
    assert show('nose', 6) == 2
    graph.wait_for_log(Log.INFO, 'orientation_node', 'other serves')
