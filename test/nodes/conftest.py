"""Fixtures of the node tests: real nodes in a private context over real DDS, on a domain nobody else uses."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

# Read by Fast DDS when the first context is made; as the launch files do.
os.environ.pop('FASTDDS_BUILTIN_TRANSPORTS', None)
os.environ[
    'FASTRTPS_DEFAULT_PROFILES_FILE'
    if os.environ.get('ROS_DISTRO', 'kilted') < 'kilted'
    else 'FASTDDS_DEFAULT_PROFILES_FILE'
] = str(Path(__file__).resolve().parents[2] / 'config' / 'fastdds.xml')
os.environ['ROS_AUTOMATIC_DISCOVERY_RANGE'] = 'LOCALHOST'
if os.environ.get('ROS_DISTRO') == 'humble':  # which does not know the line above; later ones warn about this one
    os.environ['ROS_LOCALHOST_ONLY'] = '1'

import pytest
import rclpy
import tiny_model
from rcl_interfaces.msg import Log
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.publisher import Publisher
from rclpy.qos import DurabilityPolicy, QoSProfile
from std_msgs.msg import Header

from custom_pose_ros.core.errors import MessageError
from custom_pose_ros.nodes.orientation.reference_frame import ReferenceFrame
from custom_pose_ros.nodes.ros.diagnostics import Counts
from custom_pose_ros.nodes.ros.managed_node import ManagedNode
from custom_pose_ros.tools.children import free_domain

ROOT = Path(__file__).resolve().parents[2]
DEADLINE_S = 200.0  # of everything that should take milliseconds; on a busy machine importing torch takes one
_numbers = iter(range(10**6))


class Received(list):
    """The messages of one topic, in order; filled by the tester's thread."""

    def wait(self, wanted: Callable[[Any], bool] = lambda message: True, timeout_s: float = DEADLINE_S) -> Any:
        """Return the first message that is wanted, also of those already here; fails after the timeout."""
        deadline = time.monotonic() + timeout_s
        seen = 0
        while time.monotonic() < deadline:
            while seen < len(self):
                if wanted(self[seen]):
                    return self[seen]
                seen += 1
            time.sleep(0.002)
        raise AssertionError(f'none of {len(self)} messages within {timeout_s:g} s was the wanted one: {self[-3:]}')


class Spinner:
    """Spins one node in a thread of its own."""

    def __init__(self, node: Node):
        self.node = node
        self._executor = SingleThreadedExecutor(context=node.context)
        self._executor.add_node(node)
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._spin, daemon=True)
        self._thread.start()

    def _spin(self) -> None:
        while not self._stopped.is_set():
            self._executor.spin_once(timeout_sec=0.05)

    def stop(self) -> None:
        self._stopped.set()
        self._thread.join(DEADLINE_S)
        self._executor.shutdown()
        self.node.destroy_node()


class Graph:
    """
    The ROS graph of one test: nodes under test and a tester node, in a namespace of their own.

    All share one context, which is one DDS participant. Its endpoints match while they are created, and a message is
    with its subscriptions when publish() returns. Between two participants of one process announcements get lost:
    endpoints met after seconds then, and on a busy machine some of them never.
    """

    def __init__(self, context: Context, domain: int):
        self.context = context
        self.domain = domain
        self.namespace = f'/t{next(_numbers)}'
        self._spinners: list[Spinner] = []
        self.tester = self.spin(rclpy.create_node('tester', context=context, namespace=self.namespace))
        latched = QoSProfile(depth=1000, durability=DurabilityPolicy.TRANSIENT_LOCAL)  # also what was said before
        self._logs = self.listen('/rosout', Log, latched)

    def start(self, node_class: type[Node], *arguments: str, **parameters: Any) -> Node:
        """Run a node with these parameters ('__' is a dot in their names) and ROS arguments like '-r', 'a:=b'."""
        node = node_class(
            context=self.context,
            namespace=self.namespace,
            parameter_overrides=[Parameter(key.replace('__', '.'), value=value) for key, value in parameters.items()],
            cli_args=['--ros-args', *arguments] if arguments else None,
        )
        try:
            if isinstance(node, ManagedNode):
                node.start()
        except BaseException:
            node.destroy_node()
            raise
        return self.spin(node)

    def spin(self, node: Node) -> Node:
        """Run a node until the end of the test; return it."""
        self._spinners.append(Spinner(node))
        return node

    def listen(self, topic: str, kind: type, qos: QoSProfile | int = 50) -> Received:
        """Collect the messages of a topic."""
        received = Received()
        self.tester.create_subscription(kind, topic, received.append, qos)
        return received

    def advertise(self, topic: str, kind: type, qos: QoSProfile | int = 10) -> Publisher:
        """Return a publisher once it has a subscription."""
        publisher = self.tester.create_publisher(kind, topic, qos)
        self.wait(publisher.get_subscription_count, f'a subscription of {topic}')
        return publisher

    def wait_for_publisher(self, topic: str) -> None:
        """Wait until somebody, also in another process, publishes the topic."""
        self.wait(lambda: self.tester.count_publishers(topic) > 0, f'a publisher of {topic}')

    @staticmethod
    def wait(condition: Callable[[], Any], what: str, period_s: float = 0.002) -> None:
        """Ask every period until the condition holds; fails after the deadline."""
        deadline = time.monotonic() + DEADLINE_S
        while not condition():
            assert time.monotonic() < deadline, f'waited {DEADLINE_S:g} s in vain for {what}'
            time.sleep(period_s)

    def logs(self, level: bytes | int, node: str) -> list[str]:
        """Return the texts that a node of this test has logged on /rosout at a level."""
        level = int.from_bytes(level, 'little') if isinstance(level, bytes) else level
        name = f'{self.namespace[1:]}.{node}'
        return [log.msg for log in list(self._logs) if log.name == name and log.level == level]

    def wait_for_log(self, level: bytes | int, node: str, text: str) -> str:
        """Return the first line with this text that a node has logged at a level; fails after the deadline."""
        self.wait(lambda: any(text in line for line in self.logs(level, node)), f'the log of {node}: {text}')
        return next(line for line in self.logs(level, node) if text in line)

    def counts(self, node: Node, camera: str = '') -> Counts:
        """Return a node's counts once it has nothing left to do; a message is counted after it has been answered."""
        statistics = node.health.statistics[camera]

        def idle() -> bool:
            counts = statistics.counts
            return counts.received == counts.processed + counts.dropped + counts.skipped + counts.errors

        self.wait(idle, f'{node.get_name()} to have counted all it received')
        return statistics.counts

    def stop(self, node: Node) -> None:
        """Stop one node before the test ends."""
        (spinner,) = [spinner for spinner in self._spinners if spinner.node is node]
        self._spinners.remove(spinner)
        spinner.stop()

    def close(self) -> None:
        for spinner in reversed(self._spinners):
            spinner.stop()


@pytest.fixture(scope='session')
def domain() -> int:
    return free_domain()


@pytest.fixture(scope='session')
def context(domain: int) -> Iterator[Context]:
    context = Context()
    rclpy.init(args=[], context=context, domain_id=domain)
    yield context
    rclpy.shutdown(context=context)


@pytest.fixture
def graph(context: Context, domain: int) -> Iterator[Graph]:
    graph = Graph(context, domain)
    yield graph
    graph.close()


@pytest.fixture
def bare_node(context: Context) -> Iterator[Callable[..., Node]]:
    """Make nodes without any content, for what needs a node but no graph: parameter overrides as keywords."""
    nodes = []

    def make(**overrides: Any) -> Node:
        parameters = [
            Parameter(name.replace('__', '.'), Parameter.Type.NOT_SET if value is None else None, value)
            for name, value in overrides.items()
        ]
        node = Node(f'bare_{next(_numbers)}', context=context, parameter_overrides=parameters)
        nodes.append(node)
        return node

    yield make
    for node in nodes:
        node.destroy_node()


@pytest.fixture(scope='session')
def tiny() -> Any:
    """The module test/tiny_model.py: a real network with known answers, and pictures for it."""
    return tiny_model


@pytest.fixture(scope='session')
def tiny_object(tiny_folder: Path) -> str:
    """Folder of the tiny object with its network, as a parameter names it."""
    return str(tiny_folder)


@pytest.fixture
def start_process(domain: int) -> Iterator[Callable[..., subprocess.Popen]]:
    """Start `python -m <module> <arguments>` on the domain of the tests; it is killed at the end if it still runs."""
    processes = []

    def start(module: str, *arguments: str, **environment: str) -> subprocess.Popen:
        process = subprocess.Popen(
            [sys.executable, '-m', module, *arguments],
            cwd=ROOT,
            env={**os.environ, 'ROS_DOMAIN_ID': str(domain), **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        processes.append(process)
        return process

    yield start
    for process in processes:
        if process.poll() is None:
            process.kill()
        process.communicate()


# tf2_ros is C++ inside and not on PyPI. Where it is missing, this stand-in has the part of its Python API that is used
# (the same from Humble to Rolling). It listens to the real /tf and /tf_static; of each frame it knows the newest place.
TF2_ROS = """
import time
from geometry_msgs.msg import TransformStamped
from rclpy.qos import DurabilityPolicy, QoSProfile
from tf2_msgs.msg import TFMessage
from custom_pose_ros.core.geometry.rigid import IDENTITY
from custom_pose_ros.nodes.ros.conversions import transform_from_message, transform_message


class TransformException(Exception):
    pass


class Buffer:
    def __init__(self):
        self.parents = {}

    def lookup_transform(self, target_frame, source_frame, time_, timeout):
        end = time.monotonic() + timeout.nanoseconds / 1e9
        while True:
            (target_root, target), (source_root, source) = self._to_root(target_frame), self._to_root(source_frame)
            if target_root == source_root:
                return TransformStamped(transform=transform_message(target.inverse() @ source))
            if time.monotonic() >= end:
                raise TransformException(f'"{target_frame}" and "{source_frame}" are not connected')
            time.sleep(0.02)

    def _to_root(self, frame):
        place = IDENTITY
        while frame in self.parents:
            stamped = self.parents[frame]
            frame, place = stamped.header.frame_id, transform_from_message(stamped.transform) @ place
        return frame, place


class TransformListener:
    def __init__(self, buffer, node, *, spin_thread=False):
        self.buffer, self.node = buffer, node
        latched = QoSProfile(depth=100, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        self.subscriptions = [
            node.create_subscription(TFMessage, topic, self.callback, qos)
            for topic, qos in (('/tf', 100), ('/tf_static', latched))
        ]

    def callback(self, message):
        self.buffer.parents.update({t.child_frame_id: t for t in message.transforms})

    def unregister(self):
        for subscription in self.subscriptions:
            self.node.destroy_subscription(subscription)
"""


@pytest.fixture
def tf2(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The package tf2_ros, or its stand-in; with TFMessage, the QoS of /tf_static, and `knows(reference, header)`."""
    messages = pytest.importorskip('tf2_msgs.msg', reason='tf2_msgs comes with ROS or is built by the test set-up')
    if importlib.util.find_spec('tf2_ros') is None:
        (tmp_path / 'tf2_ros.py').write_text(TF2_ROS, encoding='utf-8')
        monkeypatch.syspath_prepend(tmp_path)
        monkeypatch.delitem(sys.modules, 'tf2_ros', raising=False)
    module = importlib.import_module('tf2_ros')

    def knows(reference: ReferenceFrame, header: Header) -> bool:
        with contextlib.suppress(MessageError):
            reference.locate(header)
            return True
        return False

    yield SimpleNamespace(
        Buffer=module.Buffer, TransformListener=module.TransformListener, TFMessage=messages.TFMessage, knows=knows,
        latched=QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL),
    )  # fmt: skip
    if str(tmp_path) in str(module.__file__):
        del sys.modules['tf2_ros']
