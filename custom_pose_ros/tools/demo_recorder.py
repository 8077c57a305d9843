"""
Records what the player and the nodes publish into an mcap bag, until it is asked to end with SIGTERM.

Used by the demo. It records from the first line on stdin on: images that only show whether the nodes are ready are no
part of the recording. It prints one line of JSON for each result, {"topic": "orientations", "stamp_ns": ...}, and
{"dropped": 0}: the frames that pose_node has skipped so far because a newer one had come.
"""

from __future__ import annotations

import functools
import json
import select
import signal
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import PoseStamped
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rclpy.serialization import deserialize_message
from rclpy.signals import SignalHandlerOptions
from rosbags.rosbag2 import StoragePlugin, Writer
from sensor_msgs.msg import CameraInfo
from std_msgs.msg import Header

from custom_pose_ros.core.command_line import DONE, command, command_parser
from custom_pose_ros.core.files import replacing
from custom_pose_ros.evaluation.bags.decoding import pose_types
from custom_pose_ros.evaluation.frames.bag_copy import BAG_VERSION
from custom_pose_ros.nodes.ros.conversions import OrientationArray, PoseArray

_DEPTH = 100
_POLL_S = 0.1
_RESULTS = ('poses', 'orientations')
_TOPICS = {
    'poses': (PoseArray, 'custom_pose_msgs/msg/PoseArray'),
    'orientations': (OrientationArray, 'custom_pose_msgs/msg/OrientationArray'),
    'camera_info': (CameraInfo, 'sensor_msgs/msg/CameraInfo'),
    'truth': (PoseStamped, 'geometry_msgs/msg/PoseStamped'),
}


class Recorder(Node):
    """Writes messages into a bag as they come, without decoding them."""

    def __init__(self, bag: Writer):
        super().__init__('recorder')
        self._bag, types = bag, pose_types()
        self.written = 0
        self._recording = False
        qos = QoSProfile(depth=_DEPTH, reliability=ReliabilityPolicy.RELIABLE)
        self._connections = {}
        for topic, (kind, msgtype) in _TOPICS.items():
            self._connections[topic] = bag.add_connection(f'/{topic}', msgtype, typestore=types)
            self.create_subscription(kind, topic, functools.partial(self._record, topic), qos, raw=True)
        self.create_subscription(DiagnosticArray, '/diagnostics', self._report, qos)

    def _record(self, topic: str, data: bytes) -> None:
        self._recording = self._recording or bool(select.select([sys.stdin], [], [], 0)[0])
        if self._recording:
            self._bag.write(self._connections[topic], time.time_ns(), data)
            self.written += 1
        if topic in _RESULTS:
            stamp = deserialize_message(data, Header).stamp  # a header is what they begin with
            print(json.dumps({'topic': topic, 'stamp_ns': stamp.sec * 10**9 + stamp.nanosec}), flush=True)

    def _report(self, message: DiagnosticArray) -> None:
        for status in message.status:
            values = {pair.key: pair.value for pair in status.values}
            if status.name.startswith('pose_node') and 'dropped' in values:
                print(json.dumps({'dropped': int(values['dropped'])}), flush=True)


@command
def main(argv: Sequence[str] | None = None) -> int:
    """Record until the process is asked to end."""
    parser = command_parser(__doc__)
    parser.add_argument('bag', type=Path, help='folder to write')
    path = parser.parse_args(argv).bag
    asked_to_end = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: asked_to_end.set())
    rclpy.init(signal_handler_options=SignalHandlerOptions.NO)
    try:
        with replacing(path) as folder, Writer(folder, version=BAG_VERSION, storage_plugin=StoragePlugin.MCAP) as bag:
            executor = SingleThreadedExecutor()
            recorder = Recorder(bag)
            executor.add_node(recorder)
            written = -1
            while not asked_to_end.is_set() or recorder.written > written:  # what has come already is written as well
                written = recorder.written
                executor.spin_once(timeout_sec=_POLL_S)
    finally:
        rclpy.try_shutdown()
    return DONE


if __name__ == '__main__':
    raise SystemExit(main())
