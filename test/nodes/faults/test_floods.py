"""
Floods: ten kinds of peers that send far too much; both nodes stay bounded in memory and go on telling how they are.

FLOOD_S=30 python -m pytest test/nodes/faults/test_floods.py -s      floods of 30 s, with a line of figures for each
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import TransformStamped
from lifecycle_msgs.srv import ChangeState
from rcl_interfaces.srv import SetParameters
from rclpy.parameter import Parameter
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import Image
from std_msgs.msg import Header
from tf2_msgs.msg import TFMessage

from custom_pose_ros.core.geometry.camera import CameraIntrinsics
from custom_pose_ros.core.object_model import ObjectModel
from custom_pose_ros.nodes.ros.conversions import (
    Keypoint,
    OrientationArray,
    Pose,
    PoseArray,
    SwitchObject,
    bgr_to_image,
)
from custom_pose_ros.tools.demo_player import camera_info

ROOT = Path(__file__).resolve().parents[3]
FLOOD_S = float(os.environ.get('FLOOD_S', '0.3'))
MAX_GROWTH_MB = {'huge_images': 1000.0}  # Fast DDS keeps room for the images that wait, 100 MB each
OTHERS_MB = 60.0
SILENCE_S = 30.0  # of the diagnostics, which come every second; a busy machine may need long
RELIABLE = QoSProfile(depth=5, reliability=ReliabilityPolicy.RELIABLE)
BEST_EFFORT = QoSProfile(depth=5, reliability=ReliabilityPolicy.BEST_EFFORT)
NODES = ('pose_node', 'orientation_node')
CAMERA = CameraIntrinsics(320, 256, np.array([[300.0, 0, 160], [0, 300, 128], [0, 0, 1]]))


@dataclass
class Target:
    """
    Both nodes as processes, and a camera that shows them what they know.

    Attributes:
        pids: of the nodes, by name.
        heard: when diagnostics of each node came.
    """

    graph: Any
    pids: dict[str, int]
    names: tuple[str, ...]
    picture: Image
    heard: dict[str, list[float]] = field(default_factory=lambda: {node: [] for node in NODES})
    publishers: dict[tuple[str, Any], Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.graph.tester.create_subscription(DiagnosticArray, '/diagnostics', self._on_diagnostics, 100)
        self.orientations = self.graph.listen('orientations', OrientationArray, RELIABLE)

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        for status in message.status:
            self.heard[status.name.split(':')[0].strip('/').rpartition('.')[2].rpartition('/')[2]].append(
                time.monotonic()
            )

    def publish(self, topic: str, message: Any, qos: QoSProfile = BEST_EFFORT) -> None:
        key = topic, type(message)
        if key not in self.publishers:
            self.publishers[key] = self.graph.tester.create_publisher(type(message), topic, qos)
        self.publishers[key].publish(message)

    def memory_mb(self) -> dict[str, float]:
        rows = {node: Path(f'/proc/{pid}/status').read_text(encoding='ascii') for node, pid in self.pids.items()}
        return {node: int(text.partition('RssAnon:')[2].split()[0]) / 1024 for node, text in rows.items()}

    def answers(self) -> None:
        """Wait until a picture of the object comes back as an orientation, and both nodes have told how they are."""
        begin = time.monotonic()
        count = len(self.orientations)

        def answered() -> bool:
            self.picture.header.stamp = self.graph.tester.get_clock().now().to_msg()
            info = camera_info(CAMERA)
            info.header = self.picture.header
            self.publish('camera_info', info)
            self.publish('image', self.picture)
            return any(message.orientations for message in self.orientations[count:])

        self.graph.wait(answered, 'an orientation', period_s=0.05)
        for node, times in self.heard.items():
            self.graph.wait(lambda times=times: times and times[-1] > begin, f'diagnostics of {node}')


@pytest.fixture
def target(graph, domain, tiny, tiny_object, tmp_path) -> Iterator[Target]:
    environment = {**os.environ, 'ROS_DOMAIN_ID': str(domain)}
    options = ['--ros-args', '-r', f'__ns:={graph.namespace}', '-p', f'object:={tiny_object}']
    with ExitStack() as running:
        processes = {}
        for node in NODES:
            command = [sys.executable, '-m', f'custom_pose_ros.nodes.{node.removesuffix("_node")}.{node}', *options]
            log = running.enter_context(open(tmp_path / node, 'wb'))  # a pipe that nobody reads would hold the node up
            process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=log, stderr=log)
            running.callback(process.wait, 60)
            running.callback(process.kill)
            processes[node] = process
        pids = {node: process.pid for node, process in processes.items()}
        picture = bgr_to_image(tiny.draw_tiny_object(tiny.TINY_POINTS), Header(frame_id='camera'))
        target = Target(graph, pids, ObjectModel.load(tiny_object).keypoint_names, picture)
        target.answers()
        yield target
        assert all(process.poll() is None for process in processes.values())


def image_of(width: int, height: int, encoding: str = 'bgr8', data: bytes | None = None) -> Image:
    step = 3 * width
    return Image(height=height, width=width, encoding=encoding, step=step, data=data or bytes(step * height))


def tiny_images(target: Target) -> Callable[[int], None]:
    image = image_of(8, 8)
    return lambda number: target.publish('image', image)


def huge_images(target: Target) -> Callable[[int], None]:
    image = image_of(7680, 4320)
    return lambda number: target.publish('image', image)


def damaged_images(target: Target) -> Callable[[int], None]:
    images = [
        image_of(64, 64, name, b'\0' * size) for name in ('bgr8', 'jpeg', '32FC7', '\x1b[2J') for size in (1, 7, 999)
    ]
    return lambda number: target.publish('image', images[number % len(images)])


def changing_calibrations(target: Target) -> Callable[[int], None]:
    def send(number: int) -> None:
        info = camera_info(CAMERA)
        info.k[0] = info.k[4] = 100.0 + number % 977
        target.publish('camera_info', info)

    return send


def poses_of(target: Target, count: int, track_id: int, at: int, names: tuple[str, ...] = ()) -> PoseArray:
    stamp = target.picture.header.stamp
    points = np.array([[160.0, 60.0], [90.0, 180.0], [230.0, 170.0], [150.0, 200.0]]) + at % 7
    keypoints = [Keypoint(x=x, y=y, covariance=[1.0, 0.0, 1.0], score=0.9, visible=True) for x, y in points]
    poses = [Pose(object_name='tiny', track_id=track_id + i, score=0.9, keypoints=keypoints) for i in range(count)]
    return PoseArray(
        header=Header(stamp=stamp, frame_id='camera'), image_width=320, image_height=256,
        keypoint_names=list(names or target.names), poses=poses,
    )  # fmt: skip


def sixty_thousand_poses(target: Target) -> Callable[[int], None]:
    message = poses_of(target, 60_000, 0, 0)
    return lambda number: target.publish('poses', message, RELIABLE)


def new_tracks(target: Target) -> Callable[[int], None]:
    """Tracks that nobody has seen before, all at the same time: what was kept for the old ones may go."""
    return lambda number: target.publish('poses', poses_of(target, 20, 20 * number, number), RELIABLE)


def other_objects(target: Target) -> Callable[[int], None]:
    return lambda number: target.publish('poses', poses_of(target, 1, 0, 0, (str(number), 'a', 'b', 'c')), RELIABLE)


def transforms(target: Target) -> Callable[[int], None]:
    """
    /tf with new frames: what is flooded is the middleware of both nodes alone, for neither subscribes to it.

    Only a TF frame as reference_frame does, through tf2_ros, whose C++ buffer (not on PyPI) keeps 10 s of every frame.
    """

    def send(number: int) -> None:
        frames = [TransformStamped(header=Header(frame_id='map'), child_frame_id=f'f{number}_{i}') for i in range(500)]
        target.publish('/tf', TFMessage(transforms=frames))

    return send


def calls(target: Target, kind: type, service: str, request: Any) -> Callable[[int], None]:
    clients = [target.graph.tester.create_client(kind, f'{node}/{service}') for node in NODES]
    for client in clients:
        target.graph.wait(client.service_is_ready, f'the service {client.srv_name}')

    def send(number: int) -> None:
        for client in clients:
            client.remove_pending_request(client.call_async(request))  # answers that come are not waited for

    return send


def parameter_calls(target: Target) -> Callable[[int], None]:
    changed = [
        Parameter('no_such', value=1).to_parameter_msg(),
        Parameter('thresholds.pose_score', value=-1.0).to_parameter_msg(),
    ]
    return calls(target, SetParameters, 'set_parameters', SetParameters.Request(parameters=changed))


def switch_calls(target: Target) -> Callable[[int], None]:
    return calls(target, SwitchObject, 'switch_object', SwitchObject.Request(object='nothing' * 1000))


def transition_calls(target: Target) -> Callable[[int], None]:
    return calls(target, ChangeState, 'change_state', ChangeState.Request())


KINDS = (
    tiny_images, huge_images, damaged_images, changing_calibrations, sixty_thousand_poses, new_tracks, other_objects,
    transforms, parameter_calls, switch_calls, transition_calls,
)  # fmt: skip


def test_floods_are_survived_with_bounded_memory_and_living_diagnostics(target: Target) -> None:
    for kind in KINDS:
        send = kind(target)
        before = target.memory_mb()
        sent = flood(target, send)
        grown = {node: mb - before[node] for node, mb in target.memory_mb().items()}
        silence = max(longest_silence(times) for times in target.heard.values())
        memory = ', '.join(f'{node} {mb:+.0f} MB' for node, mb in grown.items())
        print(f'{kind.__name__}: {sent} sent, {memory}, diagnostics silent for {silence:.1f} s at most')
        assert sent > 0
        assert silence < SILENCE_S, kind.__name__
        assert max(grown.values()) < MAX_GROWTH_MB.get(kind.__name__, OTHERS_MB), kind.__name__


def flood(target: Target, send: Callable[[int], None]) -> int:
    """Send as fast as can be, at most 1000 times a second; return how often once the nodes answer a picture again."""
    for times in target.heard.values():
        del times[:-1]
    begin, number = time.monotonic(), 0
    while time.monotonic() < begin + FLOOD_S:
        send(number)
        number += 1
        time.sleep(max(0.0, begin + 0.001 * number - time.monotonic()))
    target.answers()
    return number


def longest_silence(times: list[float]) -> float:
    return max(np.diff([*times, time.monotonic()]))
