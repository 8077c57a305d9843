"""
Plays a video as a camera: publishes `image` and `camera_info` at the rate of the video, with real stamps.

Used by the demo. It publishes the first frame slowly until a first line comes on stdin, then nothing until a second
one comes, then the whole video once. It prints one line of JSON for each frame: {"frame": 0, "stamp_ns": 1700000000},
then {"done": 300}, and waits for the end of stdin.
"""

from __future__ import annotations

import argparse
import json
import select
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import rclpy
from rclpy.duration import Duration
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rclpy.signals import SignalHandlerOptions
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import Header

from custom_pose_ros.core.errors import CustomPoseError
from custom_pose_ros.core.geometry.camera import CameraIntrinsics
from custom_pose_ros.nodes.ros.conversions import bgr_to_image
from custom_pose_ros.tools.media import VideoReader, quiet_opencv

FRAME_ID = 'camera_optical_frame'
_DEPTH = 30  # frames kept for a subscriber that is late; reliable, so none is lost before that
_WARM_UP_PERIOD_S = 0.2
_ACKNOWLEDGE_S = 3


class Player(Node):
    """
    A camera that shows a video.

    camera : calibration of the video, published with every frame.
    """

    def __init__(self, camera: CameraIntrinsics):
        super().__init__('player')
        qos = QoSProfile(depth=_DEPTH, reliability=ReliabilityPolicy.RELIABLE)
        self._images = self.create_publisher(Image, 'image', qos)
        self._infos = self.create_publisher(CameraInfo, 'camera_info', qos)
        self._info = camera_info(camera)

    @property
    def connected(self) -> bool:
        """Whether somebody listens to the images and to the camera info."""
        return bool(self._images.get_subscription_count() and self._infos.get_subscription_count())

    def show(self, image: np.ndarray) -> int:
        """Publish one (H, W, 3) uint8 BGR frame, stamped now; return the stamp [ns]."""
        now = self.get_clock().now()
        header = Header(stamp=now.to_msg(), frame_id=FRAME_ID)
        self._info.header = header
        self._infos.publish(self._info)
        self._images.publish(bgr_to_image(image, header))
        return now.nanoseconds

    def wait_until_received(self) -> None:
        """Wait until every subscriber has acknowledged the frames, for a few seconds at most."""
        self._images.wait_for_all_acked(Duration(seconds=_ACKNOWLEDGE_S))


def camera_info(camera: CameraIntrinsics) -> CameraInfo:
    """Return the CameraInfo, without header, of an unrectified camera."""
    return CameraInfo(
        width=camera.width,
        height=camera.height,
        distortion_model=camera.distortion_model,
        d=list(map(float, camera.D)),
        k=camera.K.ravel().tolist(),
        r=np.eye(3).ravel().tolist(),
        p=np.hstack([camera.K, np.zeros((3, 1))]).ravel().tolist(),
    )


def play(player: Player, clip: Path) -> None:
    """Show the first frame until a line comes on stdin; after another one show the whole video at its rate."""
    with VideoReader(clip) as reader:
        first = next(iter(reader)).image
        while not select.select([sys.stdin], [], [], _WARM_UP_PERIOD_S)[0]:
            if player.connected:
                player.show(first)
    for _ in ('rest', 'go'):
        sys.stdin.readline()
    with VideoReader(clip) as reader:
        begin, sent = time.monotonic(), 0
        for frame in reader:
            time.sleep(max(0.0, begin + frame.index / reader.fps - time.monotonic()))
            _print(frame=frame.index, stamp_ns=player.show(frame.image))
            sent += 1
    player.wait_until_received()
    _print(done=sent)


def _print(**values: int) -> None:
    print(json.dumps(values), flush=True)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return 1 when the video or the calibration cannot be used."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('clip', type=Path, help='video file')
    parser.add_argument('camera', type=Path, help='camera_calibration YAML')
    args = parser.parse_args(argv)
    quiet_opencv()
    rclpy.init(signal_handler_options=SignalHandlerOptions.NO)  # signals end a player at once
    try:
        player = Player(CameraIntrinsics.from_yaml(args.camera))
        play(player, args.clip)
        sys.stdin.read()
    except CustomPoseError as error:
        print(f'error: {error}', file=sys.stderr)
        return 1
    finally:
        rclpy.try_shutdown()
    return 0


if __name__ == '__main__':
    sys.exit(main())
