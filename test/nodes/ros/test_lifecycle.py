"""Tests of the lifecycle of both nodes, driven over real DDS by the services that ros2 lifecycle and nav2 call."""

from __future__ import annotations

import ctypes
import gc
import os
import shutil
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from geometry_msgs.msg import PoseStamped
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState, GetState
from rcl_interfaces.msg import Log
from rcl_interfaces.srv import SetParameters
from rclpy.parameter import Parameter
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import Image
from std_msgs.msg import Header

from custom_pose_ros.core.errors import ConfigError
from custom_pose_ros.nodes.orientation.orientation_node import OrientationNode
from custom_pose_ros.nodes.pose.pose_node import PoseNode
from custom_pose_ros.nodes.ros.conversions import OrientationArray, PoseArray, bgr_to_image

RELIABLE = QoSProfile(depth=50, reliability=ReliabilityPolicy.RELIABLE)
CONFIGURE, CLEANUP = Transition.TRANSITION_CONFIGURE, Transition.TRANSITION_CLEANUP
ACTIVATE, DEACTIVATE = Transition.TRANSITION_ACTIVATE, Transition.TRANSITION_DEACTIVATE
CYCLES = int(os.environ.get('LIFECYCLE_CYCLES', '10'))  # 200 for the figure in docs/benchmarks.md
SETTLED_CYCLES = 5  # until allocator, DDS and the interpreter's caches have what they keep
GROWTH_LIMIT_MB = 5.0  # ten cycles leave 0.1
MEAN_BLOCK_BYTES = 64  # of Python's own allocator, roughly


class Manager:
    """A client of the lifecycle services of one node, as a lifecycle manager is."""

    def __init__(self, graph, node: str):
        self.graph = graph
        self._change = graph.tester.create_client(ChangeState, f'{node}/change_state')
        self._get = graph.tester.create_client(GetState, f'{node}/get_state')
        self._set = graph.tester.create_client(SetParameters, f'{node}/set_parameters')
        for client in (self._change, self._get, self._set):
            graph.wait(client.service_is_ready, client.srv_name)

    def _call(self, client, request):
        future = client.call_async(request)
        self.graph.wait(future.done, f'the answer of {client.srv_name}')
        return future.result()

    def change(self, *transitions: int) -> bool:
        """Ask for transitions until one does not succeed; return whether all did."""
        return all(
            self._call(self._change, ChangeState.Request(transition=Transition(id=transition))).success
            for transition in transitions
        )

    @property
    def state(self) -> str:
        return self._call(self._get, GetState.Request()).current_state.label

    def set(self, name: str, value) -> bool:
        parameter = Parameter(name, value=value).to_parameter_msg()
        return self._call(self._set, SetParameters.Request(parameters=[parameter])).results[0].successful


def image(tiny, seconds: int) -> Image:
    message = bgr_to_image(tiny.draw_tiny_object(tiny.TINY_POINTS, (320, 256)), Header())
    message.header.stamp.sec = seconds
    return message


def answered(message: Image):
    return lambda answer: answer.header == message.header


def status_of(graph, diagnostics, node: str, wanted) -> DiagnosticStatus:
    """Wait for a status of one node that is wanted."""
    start = f'{graph.namespace[1:]}/{node}: '
    message = diagnostics.wait(lambda m: m.status[0].name.startswith(start) and wanted(m.status[0]))
    return message.status[0]


def test_pose_node_works_only_while_it_is_active(graph, tiny_object, tiny) -> None:
    diagnostics = graph.listen('/diagnostics', DiagnosticArray)
    node = graph.start(PoseNode, object=tiny_object, threads=1, image_reliability='reliable', autostart=False)
    manager = Manager(graph, 'pose_node')
    assert manager.state == 'unconfigured'
    assert status_of(graph, diagnostics, 'pose_node', lambda s: s.message == 'unconfigured').level == b'\0'

    assert manager.change(CONFIGURE)
    assert (manager.state, node._estimator.model.name) == ('inactive', 'tiny')
    assert graph.tester.count_subscribers('image') == 0
    poses = graph.listen('poses', PoseArray)
    status_of(graph, diagnostics, 'pose_node', lambda s: s.message == 'inactive')

    for seconds in (1, 2):  # a second time as the first
        assert manager.change(ACTIVATE)
        assert manager.state == 'active'
        camera = graph.advertise('image', Image, RELIABLE)
        camera.publish(image(tiny, seconds))
        assert len(poses.wait(answered(image(tiny, seconds))).poses) == 1
        assert manager.change(DEACTIVATE)
        graph.wait(lambda c=camera: c.get_subscription_count() == 0, 'the end of the subscription')
        assert not any(thread.name == 'pose_worker' for thread in threading.enumerate())
        graph.tester.destroy_publisher(camera)
    rows = {
        v.key: v.value for v in status_of(graph, diagnostics, 'pose_node', lambda s: s.message == 'inactive').values
    }
    assert rows['state'] == 'inactive'

    assert manager.change(CLEANUP)
    assert (manager.state, node._estimator) == ('unconfigured', None)
    assert graph.tester.count_publishers('poses') == 0
    assert manager.change(Transition.TRANSITION_UNCONFIGURED_SHUTDOWN)
    assert manager.state == 'finalized'


def test_orientation_node_works_only_while_it_is_active(graph, tiny_object) -> None:
    graph.start(OrientationNode, object=tiny_object, autostart=False)
    manager = Manager(graph, 'orientation_node')
    orientations = graph.listen('orientations', OrientationArray)
    assert manager.change(CONFIGURE)
    assert (manager.state, graph.tester.count_subscribers('poses')) == ('inactive', 0)
    for seconds in (1, 2):
        assert manager.change(ACTIVATE)
        publisher = graph.advertise('poses', PoseArray)
        message = PoseArray(image_width=320, image_height=256, keypoint_names=['front', 'left', 'right', 'top'])
        message.header.stamp.sec = seconds
        publisher.publish(message)
        orientations.wait(answered(message))
        assert manager.change(DEACTIVATE)
        graph.wait(lambda p=publisher: p.get_subscription_count() == 0, 'the end of the subscription')
        graph.tester.destroy_publisher(publisher)
    assert manager.change(CLEANUP, Transition.TRANSITION_UNCONFIGURED_SHUTDOWN)
    assert manager.state == 'finalized'


def test_shutdown_while_active_ends_everything(graph, tiny_object) -> None:
    graph.start(PoseNode, object=tiny_object, threads=1)
    manager = Manager(graph, 'pose_node')
    assert manager.change(Transition.TRANSITION_ACTIVE_SHUTDOWN)
    assert manager.state == 'finalized'
    assert not any(thread.name == 'pose_worker' for thread in threading.enumerate())
    graph.wait(lambda: graph.tester.count_publishers('poses') == 0, 'the end of poses')


@pytest.mark.parametrize('node_class', [PoseNode, OrientationNode])
def test_a_node_that_cannot_be_configured_says_why_and_may_be_corrected(graph, tiny_object, node_class) -> None:
    diagnostics = graph.listen('/diagnostics', DiagnosticArray)
    node = graph.start(node_class, object='nothing_like_it', autostart=False)
    manager = Manager(graph, node.get_name())
    assert not manager.change(CONFIGURE)
    assert manager.state == 'unconfigured'
    graph.wait_for_log(
        Log.ERROR, node.get_name(), "stays unconfigured, not inactive: object 'nothing_like_it' not found: wanted a"
    )
    status = status_of(graph, diagnostics, node.get_name(), lambda s: 'not found' in s.message)
    assert (status.level, status.message[:30]) == (DiagnosticStatus.ERROR, "unconfigured: object 'nothing_")
    assert manager.set('object', tiny_object)
    assert manager.change(CONFIGURE, ACTIVATE)
    assert manager.state == 'active'
    status_of(graph, diagnostics, node.get_name(), lambda s: s.message == 'no input yet')
    assert not manager.set('object', 'submarine')  # what serves is not what the parameter says: never


def test_a_failed_activation_leaves_the_node_inactive_with_nothing_open(graph, tiny_object, monkeypatch) -> None:
    before = set(threading.enumerate())
    override = {f'qos_overrides.{graph.namespace}/image.subscription.reliability': 'perhaps'}
    node = graph.start(PoseNode, object=tiny_object, threads=1, autostart=False, **override)
    manager = Manager(graph, 'pose_node')
    assert manager.change(CONFIGURE)
    assert not manager.change(ACTIVATE)
    assert (manager.state, node.state) == ('inactive', 'inactive')
    graph.wait_for_log(Log.ERROR, 'pose_node', 'stays inactive, not active: parameters qos_overrides.*: Unexpected QoS')
    assert 'pose_worker' not in {thread.name for thread in set(threading.enumerate()) - before}


def test_after_an_error_the_node_is_unconfigured_with_nothing_open_and_starts_again(graph, tiny_object, capfd) -> None:
    node = graph.start(PoseNode, object=tiny_object, threads=1, autostart=False)
    manager = Manager(graph, 'pose_node')
    load = node._load

    def broken(*arguments) -> None:
        raise MemoryError('no memory left')

    node._load = broken
    assert not manager.change(CONFIGURE)
    assert (manager.state, node.state) == ('unconfigured', 'unconfigured')
    assert node.problem.startswith('MemoryError;')
    graph.wait_for_log(Log.ERROR, 'pose_node', node.problem)
    assert 'MemoryError: no memory left' in capfd.readouterr().err
    node._load = load
    assert manager.change(CONFIGURE, ACTIVATE)
    assert node.problem == ''


def test_transitions_that_do_not_fit_the_state_are_refused(graph, tiny_object) -> None:
    graph.start(PoseNode, object=tiny_object, threads=1)
    manager = Manager(graph, 'pose_node')
    assert not manager.change(CONFIGURE)
    assert not manager.change(CLEANUP)
    assert manager.state == 'active'


def test_parameters_changed_before_a_cleanup_hold_after_it(graph, tiny_object) -> None:
    node = graph.start(PoseNode, object=tiny_object, threads=1)
    manager = Manager(graph, 'pose_node')
    assert manager.set('thresholds.pose_score', 0.75)
    assert manager.change(DEACTIVATE, CLEANUP, CONFIGURE, ACTIVATE)
    assert node._estimator.thresholds.pose_score == 0.75


def test_thresholds_nobody_changed_are_those_of_the_object(graph, tiny_object, tmp_path) -> None:
    folder = Path(shutil.copytree(tiny_object, tmp_path / 'strict'))
    text = (folder / 'object.yaml').read_text(encoding='utf-8')
    (folder / 'object.yaml').write_text(text + '\nthresholds: {pose_score: 0.6, limb_score: 0.3}\n', encoding='utf-8')
    node = graph.start(PoseNode, object=tiny_object, threads=1, thresholds__limb_score=0.2)
    manager = Manager(graph, 'pose_node')
    assert manager.change(DEACTIVATE, CLEANUP)
    assert manager.set('object', str(folder))
    assert manager.change(CONFIGURE, ACTIVATE)
    assert (node._estimator.thresholds.pose_score, node._estimator.thresholds.limb_score) == (0.6, 0.2)
    assert node.get_parameter('thresholds.pose_score').value == 0.6


class HeapUse(ctypes.Structure):
    """What glibc's mallinfo2 returns, of all arenas; see mallinfo(3)."""

    _fields_ = tuple(
        (name, ctypes.c_size_t)
        for name in 'arena ordblks smblks hblks hblkhd usmblks fsmblks uordblks fordblks keepcost'.split()
    )


def heap_mb() -> float:
    """
    Return what is allocated, by C and by Python.

    Resident memory would not do: it grows by the arenas that threads open while others hold theirs, on a busy machine.
    """
    gc.collect()
    mallinfo = ctypes.CDLL(None).mallinfo2
    mallinfo.restype = HeapUse
    use = mallinfo()
    return (use.uordblks + use.hblkhd + MEAN_BLOCK_BYTES * sys.getallocatedblocks()) / 2**20


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), 'mallinfo2'), reason='glibc 2.33 tells what is allocated')
def test_cycles_through_all_states_leave_no_memory_and_no_thread(graph, tiny_object) -> None:
    names = ('pose_node', 'orientation_node')
    graph.start(PoseNode, object=tiny_object, threads=1, autostart=False)
    graph.start(OrientationNode, object=tiny_object, autostart=False)
    managers = [Manager(graph, name) for name in names]
    threads, heap = [], []
    for _ in range(SETTLED_CYCLES + CYCLES):
        for manager in managers:
            assert manager.change(CONFIGURE, ACTIVATE, DEACTIVATE, CLEANUP)
        heap.append(heap_mb())
        threads.append(set(threading.enumerate()))
    assert threads[-1] == threads[SETTLED_CYCLES]  # OpenVINO starts one of its own in the first
    growth = heap[-1] - heap[SETTLED_CYCLES]
    print(f'{CYCLES} cycles: {growth:+.1f} MB, {np.polyfit(range(CYCLES), heap[SETTLED_CYCLES:], 1)[0]:+.3f} MB each')
    assert growth <= GROWTH_LIMIT_MB


@pytest.mark.parametrize(
    ('node_class', 'kind', 'topic'), [(PoseNode, PoseArray, 'poses'), (OrientationNode, PoseStamped, 'pose')]
)
def test_a_subscriber_that_the_results_do_not_suit_is_told_how_to_be_served(
    graph, tiny_object, node_class, kind, topic
) -> None:
    node = graph.start(node_class, object=tiny_object)
    graph.listen(topic, kind, QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL))
    cure = f'set qos_overrides.{graph.namespace}/{topic}.publisher.durability: transient_local here'
    assert cure in graph.wait_for_log(Log.WARN, node.get_name(), cure)


def test_autostart_raises_what_stops_the_start(graph) -> None:
    with pytest.raises(ConfigError, match="object 'nothing_like_it' not found"):
        graph.start(PoseNode, object='nothing_like_it')
