"""
A rig for faults: a camera that runs all the time, both nodes behind it over DDS, and the time they take to recover.

What is asserted is generous, since a busy machine is slow; the real figures are told at the end of the run.
"""

from __future__ import annotations

import array
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import cv2
import numpy as np
import pytest
import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.node import Node
from rclpy.qos import QoSProfile
from recovery_times import FIGURES, TARGET_S
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from std_msgs.msg import Header

from custom_pose_ros.core.geometry.camera import CameraIntrinsics
from custom_pose_ros.core.geometry.rotations import (
    R_BODY_OPTICAL,
    matrix_from_quaternion,
    matrix_from_roll_pitch_yaw,
    rotation_between,
)
from custom_pose_ros.core.object_model import ObjectModel
from custom_pose_ros.nodes.orientation.orientation_node import OrientationNode
from custom_pose_ros.nodes.pose.pose_node import PoseNode
from custom_pose_ros.nodes.ros.conversions import OrientationArray, bgr_to_image
from custom_pose_ros.tools.demo_player import camera_info

DEADLINE_S = 60.0  # what is asserted
PERIOD_S = 0.05
WIDTH, HEIGHT = 320, 256
CAMERA = CameraIntrinsics(WIDTH, HEIGHT, np.array([[300.0, 0, 160], [0, 300, 128], [0, 0, 1]]))
R = R_BODY_OPTICAL.T @ matrix_from_roll_pitch_yaw(np.array([-0.6, 0.5, 1.2]))
T = np.array([0.0, 0.0, 1.2])

Message = Image | CompressedImage


class Rig:
    """
    A camera at 20 Hz in a thread of its own, in front of pose_node and orientation_node.

    make : returns the message of a picture, to be replaced by what spoils it; None: nothing is published.
    stamp : returns the time of a picture [ns]. info : is published beside each picture; None: nothing is.
    """

    def __init__(self, graph: Any, tiny: Any, tiny_object: str, test: str, no_info: bool = False, **parameters: Any):
        self.graph, self._test = graph, test
        model = ObjectModel.load(tiny_object)
        self._draw = tiny.draw_tiny_object
        self.points = CAMERA.project(model.model_points @ R.T + T)
        self.picture = self._draw(self.points, (WIDTH, HEIGHT))
        self.make: Callable[[], Message | None] = lambda: bgr_to_image(self.picture, Header())
        self.stamp: Callable[[], int] = time.time_ns
        self.good_info = camera_info(CAMERA)
        self.info: CameraInfo | None = None if no_info else self.good_info
        self._taken: dict[int, float] = {}  # when a picture was taken [s, monotonic], by its stamp
        self.answers: list[tuple[float, OrientationArray]] = []
        kind = CompressedImage if parameters.get('image_transport') == 'compressed' else Image
        # A lossless file: the tiny network reads exact colours.
        self.file = cv2.imencode('.png', self.picture)[1].tobytes()
        if kind is CompressedImage:
            self.make = lambda: self.compress(self.file)
        parameters = {'object': tiny_object, 'threads': 1, 'image_reliability': 'reliable', **parameters}
        self.pose_node: PoseNode = self.start(PoseNode, **parameters)
        self.orientation_node: OrientationNode = self.start(
            OrientationNode,
            object=tiny_object,
            camera_info_timeout=3600.0,
            use_sim_time=parameters.get('use_sim_time', False),
        )
        self.diagnostics = graph.listen('/diagnostics', DiagnosticArray)
        graph.tester.create_subscription(
            OrientationArray,
            'orientations',
            lambda m: self.answers.append((time.monotonic(), m)),
            QoSProfile(depth=100),
        )
        topic = 'image/compressed' if kind is CompressedImage else 'image'
        self._images = graph.advertise(topic, kind, QoSProfile(depth=5))
        self._infos = graph.advertise('camera_info', CameraInfo, QoSProfile(depth=5))
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name='camera', daemon=True)
        self._thread.start()

    @staticmethod
    def compress(data: bytes) -> CompressedImage:
        return CompressedImage(format='jpeg', data=array.array('B', data))

    def start(self, kind: type[Node], **parameters: Any) -> Node:
        return self.graph.start(kind, **parameters)

    def slow_listener(self, topics: dict[str, type], callback: Callable[[Any], None]) -> None:
        """Subscribe by a node of its own, reliable, whose callbacks may take their time."""
        node = rclpy.create_node('slow', context=self.graph.context, namespace=self.graph.namespace)
        for topic, kind in topics.items():
            node.create_subscription(kind, topic, callback, QoSProfile(depth=5))
        self.graph.spin(node)

    def draw(self, width: int, height: int) -> np.ndarray:
        """Return the same view at another resolution."""
        scaled = (self.points + 0.5) * [width / WIDTH, height / HEIGHT] - 0.5
        return self._draw(scaled, (width, height))

    def _run(self) -> None:
        while not self._ended.wait(PERIOD_S):
            at, ns = time.monotonic(), self.stamp()
            header = Header(frame_id='camera_optical_frame')
            header.stamp.sec, header.stamp.nanosec = ns // 10**9, ns % 10**9
            self._taken[ns] = at
            info, message = self.info, self.make()
            if info is not None:
                info.header = header
                self._infos.publish(info)
            if message is not None:
                message.header = header
                self._images.publish(message)

    def assert_answers(self, since: float = 0.0) -> float:
        """Return when the first good result came of a picture taken after this time [s, monotonic]."""

        def good() -> list[float]:
            return [at for at, answer in list(self.answers) if self._taken_at(answer) > since and is_right(answer)]

        deadline = time.monotonic() + DEADLINE_S
        while not good():
            assert time.monotonic() < deadline, f'no good result within {DEADLINE_S:g} s'
            time.sleep(0.002)
        return good()[0]

    def _taken_at(self, answer: OrientationArray) -> float:
        return self._taken[answer.header.stamp.sec * 10**9 + answer.header.stamp.nanosec]

    def assert_no_answers(self) -> None:
        """Wait until results have stopped or are empty, for some periods."""
        quiet_since, deadline = time.monotonic(), time.monotonic() + DEADLINE_S
        while time.monotonic() < quiet_since + 6 * PERIOD_S:
            assert time.monotonic() < deadline, 'the fault changes nothing'
            good = [at for at, answer in list(self.answers) if is_measured(answer)]
            quiet_since = max(quiet_since, good[-1] if good else 0.0)
            time.sleep(0.01)

    def assert_recovers(self, repair: Callable[[], Any]) -> None:
        """Take the cause of the fault away and note how long it takes until there is a good result."""
        repair()
        self.note(time.monotonic())

    def note(self, gone: float) -> None:
        """Note how long after this time [s, monotonic], when the cause was gone, there is a good result."""
        FIGURES[self._test] = max(FIGURES.get(self._test, 0.0), self.assert_answers(gone) - gone)

    def refusals(self, text: str) -> int:
        """Return the largest number of refused messages that the diagnostics tell of with this reason."""
        counts = [0]
        for message in list(self.diagnostics):
            for status in message.status:
                rows = {pair.key: pair.value for pair in status.values}
                if status.name.startswith(f'{self.graph.namespace[1:]}/') and text in rows['last error']:
                    counts.append(int(rows['errors']))
        return max(counts)

    def assert_refused(self, text: str) -> None:
        self.graph.wait(lambda: self.refusals(text), f'the diagnostics to tell: {text}', 0.02)

    def close(self) -> None:
        self._ended.set()
        self._thread.join()


def is_measured(answer: OrientationArray) -> bool:
    """Tell whether there is an instance that is not only expected there."""
    return bool(answer.orientations) and answer.orientations[0].keypoints_used > 0


def is_right(answer: OrientationArray) -> bool:
    """Tell whether an instance is measured to be where the object is drawn, and turned as it is."""
    if not is_measured(answer):
        return False
    pose = answer.orientations[0].pose.pose
    p, q = pose.position, pose.orientation
    turn = rotation_between(matrix_from_quaternion(np.array([q.x, q.y, q.z, q.w])), R)
    # Errors are 2 mm and 0.1 degrees; colours, axes or a calibration mixed up make far more.
    return bool(np.linalg.norm([p.x, p.y, p.z] - T) < 0.02 and turn < np.deg2rad(1.0))


@pytest.fixture
def make_rig(graph, tiny, tiny_object, request) -> Iterator[Callable[..., Rig]]:
    rigs = []

    def make(**parameters: Any) -> Rig:
        rigs.append(Rig(graph, tiny, tiny_object, request.node.name, **parameters))
        return rigs[-1]

    yield make
    for rig in rigs:
        rig.close()


@pytest.fixture
def rig(make_rig) -> Rig:
    """Both nodes, answering."""
    rig = make_rig()
    rig.assert_answers()
    return rig


def pytest_terminal_summary(terminalreporter: Any) -> None:
    if FIGURES:
        slow = max(FIGURES, key=FIGURES.get)
        told = f'slowest {FIGURES[slow]:.2f} s ({slow}), wanted {TARGET_S:g} s on a quiet machine'
        terminalreporter.write_line(f'first good result after {len(FIGURES)} faults: {told}')
        if terminalreporter.config.getoption('verbose') > 0:
            for test, figure in sorted(FIGURES.items(), key=lambda item: item[1]):
                terminalreporter.write_line(f'  {figure:6.2f} s  {test}')
