"""
The two ends of the soak: a camera that plays a clip over and over, and a recorder of everything that comes back.

soak_processes.py camera CLIP CAMERA.yaml RATE
    shows the first frame slowly until a line comes on stdin, nothing until another one comes, then the clip until a
    third, then it goes on slowly until a fourth: a frame that is lost is missed only when another one follows; prints
    {"sent": stamp_ns} for each frame after the second line
soak_processes.py recorder
    prints {"poses": stamp_ns, "at": ns}, {"orientations": stamp_ns, "at": ns, "instances": 1, "by_outline": 1} and
    {"node": name, "level": 0, "message": text, "values": {...}} of the diagnostics
"""

from __future__ import annotations

import json
import math
import select
import sys
import time
from pathlib import Path

import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.executors import ExternalShutdownException
from rclpy.node import Node
from rclpy.qos import QoSProfile, qos_profile_sensor_data
from rclpy.signals import SignalHandlerOptions
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import Header

from custom_pose_ros.core.geometry.camera import CameraIntrinsics
from custom_pose_ros.nodes.ros.conversions import OrientationArray, PoseArray, bgr_to_image, stamp_nanoseconds
from custom_pose_ros.tools.demo_player import FRAME_ID, camera_info
from custom_pose_ros.tools.media import VideoReader

WARM_UP_PERIOD_S = 0.2
COUNTS = ('received', 'processed', 'dropped', 'skipped', 'errors', 'lost on the way', 'overwritten unread')


class Camera(Node):
    """Publishes images as camera drivers do: best effort, with camera_info of the same stamp."""

    def __init__(self, clip: Path, calibration: CameraIntrinsics):
        super().__init__('camera')
        header = Header(frame_id=FRAME_ID)
        with VideoReader(clip) as reader:  # decoded once: the cores are for the nodes
            self._frames = [bgr_to_image(frame.image, header) for frame in reader]
        self._images = self.create_publisher(Image, 'image', qos_profile_sensor_data)
        self._infos = self.create_publisher(CameraInfo, 'camera_info', qos_profile_sensor_data)
        self._info = camera_info(calibration)

    def show(self, number: int) -> int:
        """Publish a frame of the clip, which begins again at its end; return the stamp [ns]."""
        image, now = self._frames[number % len(self._frames)], self.get_clock().now()
        image.header.stamp = now.to_msg()
        self._info.header = image.header
        self._infos.publish(self._info)
        self._images.publish(image)
        return now.nanoseconds


def play(camera: Camera, rate: float) -> None:
    """Show the clip at this rate [Hz], see above for when."""
    while not _line_came(WARM_UP_PERIOD_S):
        camera.show(0)
    sys.stdin.readline()
    begin, number = time.monotonic(), 0
    while not _line_came(max(0.0, begin + number / rate - time.monotonic())):
        _print(sent=camera.show(number))
        number += 1
    while not _line_came(WARM_UP_PERIOD_S):
        _print(sent=camera.show(number))


def _line_came(timeout_s: float) -> bool:
    if not select.select([sys.stdin], [], [], timeout_s)[0]:
        return False
    return bool(sys.stdin.readline()) or sys.exit(0)  # nobody is left to play for


class Recorder(Node):
    """Prints the stamps of all results, when they came, and the diagnostics."""

    def __init__(self) -> None:
        super().__init__('recorder')
        for topic, kind in (('poses', PoseArray), ('orientations', OrientationArray)):
            self.create_subscription(
                kind, topic, lambda m, topic=topic: self._on_result(topic, m), QoSProfile(depth=100)
            )
        self.create_subscription(DiagnosticArray, '/diagnostics', self._on_diagnostics, QoSProfile(depth=100))

    @staticmethod
    def _on_result(topic: str, message: PoseArray | OrientationArray) -> None:
        line = {topic: stamp_nanoseconds(message.header.stamp), 'at': time.time_ns()}
        if topic == 'orientations':
            agreements = [each.outline_agreement for each in message.orientations]
            line |= {'instances': len(agreements), 'by_outline': sum(map(math.isfinite, agreements))}
        _print(**line)

    @staticmethod
    def _on_diagnostics(message: DiagnosticArray) -> None:
        for status in message.status:
            values = {pair.key: int(pair.value) for pair in status.values if pair.key in COUNTS}
            node, level = status.name.split(':')[0], int.from_bytes(status.level, 'little')
            _print(node=node, level=level, message=status.message, values=values)


def _print(**values: object) -> None:
    print(json.dumps(values), flush=True)


def main() -> int:
    """Be the camera or the recorder until stdin ends or a signal comes."""
    rclpy.init(signal_handler_options=SignalHandlerOptions.NO)  # signals end these at once
    try:
        if sys.argv[1] == 'camera':
            clip, calibration, rate = sys.argv[2:]
            play(Camera(Path(clip), CameraIntrinsics.from_yaml(calibration)), float(rate))
            sys.stdin.read()
        else:
            rclpy.spin(Recorder())
    except ExternalShutdownException:
        pass
    finally:
        rclpy.try_shutdown()
    return 0


if __name__ == '__main__':
    sys.exit(main())
