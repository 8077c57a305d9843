"""
Plays a clip as a camera: publishes `image`, `camera_info` and `truth` at the rate of the video, with real stamps.

Used by the demo. It publishes the first frame slowly until a first line comes on stdin, then nothing until a second
one comes, then the whole video once. It prints one line of JSON for each frame: {"frame": 0, "stamp_ns": 1700000000},
then {"done": 300}, and waits for the end of stdin.
"""

from __future__ import annotations

import json
import select
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import rclpy
from geometry_msgs.msg import PoseStamped
from rclpy.duration import Duration
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rclpy.signals import SignalHandlerOptions
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import Header

from custom_pose_ros.core.command_line import DONE, command, command_parser
from custom_pose_ros.core.geometry.camera import CameraIntrinsics
from custom_pose_ros.core.geometry.rigid import Rigid
from custom_pose_ros.core.video_file import quiet_opencv
from custom_pose_ros.nodes.ros.conversions import bgr_to_image, rigid_pose_message
from custom_pose_ros.tools.media import Clip, VideoReader

FRAME_ID = 'camera_optical_frame'
_IMAGES_KEPT = 30  # for a subscriber that is late; reliable, so none is lost before that
_OTHERS_KEPT = 1000  # small messages; what is lost on the way comes again with the next heartbeat, after 3 s by default
_WARM_UP_PERIOD_S = 0.2
_ACKNOWLEDGE_S = 4


class Player(Node):
    """A camera that shows a video with its calibration, and a tracking system that tells where the object is."""

    def __init__(self, camera: CameraIntrinsics):
        super().__init__('player')
        images, others = (
            QoSProfile(depth=d, reliability=ReliabilityPolicy.RELIABLE) for d in (_IMAGES_KEPT, _OTHERS_KEPT)
        )
        self._images = self.create_publisher(Image, 'image', images)
        self._infos = self.create_publisher(CameraInfo, 'camera_info', others)
        self._truths = self.create_publisher(PoseStamped, 'truth', others)
        self._info = camera_info(camera)

    @property
    def connected(self) -> bool:
        """Whether pose_node, orientation_node and the recorder listen."""
        infos = self._infos.get_subscription_count()  # of orientation_node and the recorder
        return bool(self._images.get_subscription_count() and infos >= 2 and self._truths.get_subscription_count())

    def show(self, image: np.ndarray, camera_object: Rigid) -> int:
        """
        Publish one frame, stamped now.

        Args:
            image: (H, W, 3) uint8 BGR.
            camera_object: True pose of the object.

        Returns:
            The stamp [ns].
        """
        now = self.get_clock().now()
        header = Header(stamp=now.to_msg(), frame_id=FRAME_ID)
        self._info.header = header
        self._infos.publish(self._info)
        self._truths.publish(PoseStamped(header=header, pose=rigid_pose_message(camera_object)))
        self._images.publish(bgr_to_image(image, header))
        return now.nanoseconds

    def wait_until_received(self) -> None:
        """Wait until every subscriber has acknowledged all messages, for some seconds at most."""
        for publisher in (self._images, self._infos, self._truths):
            publisher.wait_for_all_acked(Duration(seconds=_ACKNOWLEDGE_S))


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


def play(player: Player, clip: Clip) -> None:
    """Show the first frame until a line comes on stdin; after another one show the whole video at its rate."""
    truth = clip.true_poses()
    with VideoReader(clip.video) as reader:
        first = next(iter(reader)).image
        while not select.select([sys.stdin], [], [], _WARM_UP_PERIOD_S)[0]:
            if player.connected:
                player.show(first, truth[0])
    sys.stdin.readline()
    player.wait_until_received()  # orientation_node has the calibration then
    sys.stdin.readline()
    with VideoReader(clip.video) as reader:
        begin, sent = time.monotonic(), 0
        for frame in reader:
            time.sleep(max(0.0, begin + frame.index / reader.fps - time.monotonic()))
            _print(frame=frame.index, stamp_ns=player.show(frame.image, truth[frame.index]))
            sent += 1
    player.wait_until_received()
    _print(done=sent)


def _print(**values: int) -> None:
    print(json.dumps(values), flush=True)


@command
def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return its exit code."""
    parser = command_parser(__doc__)
    parser.add_argument('clip', type=Path, metavar='FOLDER', help='video, camera_calibration YAML and ground truth')
    args = parser.parse_args(argv)
    quiet_opencv()
    rclpy.init(signal_handler_options=SignalHandlerOptions.NO)  # signals end a player at once
    try:
        clip = Clip.find(args.clip)
        play(Player(CameraIntrinsics.from_yaml(clip.camera)), clip)
        sys.stdin.read()
    finally:
        rclpy.try_shutdown()
    return DONE


if __name__ == '__main__':
    sys.exit(main())
