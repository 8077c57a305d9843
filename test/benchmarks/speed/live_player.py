"""
Plays frames of the demo clip as cameras that do not wait for each other: raw 640x480 images at a fixed rate.

    python live_player.py RATE_HZ SECONDS CAMERA... [--in-step]

CAMERA is the namespace of the topic, '' for none. The cameras take turns evenly, or publish together with --in-step.
"""

from __future__ import annotations

import argparse
import contextlib
import time

import rclpy
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rclpy.signals import SignalHandlerOptions
from std_msgs.msg import Header

from custom_pose_ros.nodes.ros.conversions import bgr_to_image
from speed.scenes import clip_frames

FRAMES = 60
DEPTH = 5


def main() -> None:
    """Publish until the time is over."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('rate_hz', type=float)
    parser.add_argument('seconds', type=float)
    parser.add_argument('cameras', nargs='+')
    parser.add_argument('--in-step', action='store_true')
    args = parser.parse_args()
    rclpy.init(signal_handler_options=SignalHandlerOptions.NO)  # Ctrl-C interrupts Python, not the middleware
    node = rclpy.create_node('bench_player')
    qos = QoSProfile(depth=DEPTH, reliability=ReliabilityPolicy.BEST_EFFORT)
    messages = [bgr_to_image(frame, Header(frame_id='camera')) for frame in clip_frames(FRAMES)]
    topics = [f'{camera}/image' if camera else 'image' for camera in args.cameras]
    publishers = [node.create_publisher(type(messages[0]), topic, qos) for topic in topics]
    delay = 0.0 if args.in_step else 1 / (args.rate_hz * len(publishers))
    due = sorted(
        (number / args.rate_hz + i * delay, i, number)
        for number in range(int(args.rate_hz * args.seconds))
        for i in range(len(publishers))
    )
    begin = time.monotonic()
    for when, i, number in due:
        time.sleep(max(0.0, begin + when - time.monotonic()))
        message = messages[number % FRAMES]
        message.header.stamp = node.get_clock().now().to_msg()
        publishers[i].publish(message)


if __name__ == '__main__':
    with contextlib.suppress(KeyboardInterrupt):  # who started it has seen enough
        main()
    rclpy.try_shutdown()
