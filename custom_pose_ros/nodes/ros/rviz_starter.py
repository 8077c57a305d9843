"""show_in_rviz: RViz with the view of this package, in the frame that the headers of the camera name."""

from __future__ import annotations

import functools
import os
import shutil
import sys
from collections.abc import Sequence
from typing import Any

import rclpy
from rclpy.clock import Clock, ClockType
from rclpy.executors import ExternalShutdownException
from sensor_msgs.msg import CameraInfo

from custom_pose_ros.core.command_line import CANNOT, INTERRUPTED, command, command_parser, say
from custom_pose_ros.core.object_file import config_folder
from custom_pose_ros.nodes.ros import qos
from custom_pose_ros.nodes.ros.conversions import PoseArray

NO_RVIZ = (
    'rviz2 is not installed: sudo apt install ros-$ROS_DISTRO-rviz2 and source ROS 2 (PyPI has no RViz); '
    'config/foxglove.json is a layout for Foxglove instead'
)
_REMIND_S = 10.0


@command
def main(args: Sequence[str] | None = None) -> int:
    """Become rviz2; return the exit code where that is not possible."""
    parser = command_parser(f'{__doc__}\n\nEverything else is passed on to rviz2.', 'show_in_rviz')
    parser.add_argument('-f', '--fixed-frame', help='default: that of the first header on camera_info or poses')
    parser.add_argument('-d', '--display-config', help='default: the view that comes with this package')
    options, others = parser.parse_known_args(args)
    prefixes = os.environ.get('AMENT_PREFIX_PATH', '').split(os.pathsep)
    paths = [os.environ.get('PATH', ''), *(f'{prefix}/lib/rviz2' for prefix in prefixes)]
    program = shutil.which('rviz2', path=os.pathsep.join(paths))
    if program is None:
        say(f'error: {NO_RVIZ}')
        return CANNOT
    frame = options.fixed_frame or first_frame(others)
    if frame is None:
        return INTERRUPTED
    view = options.display_config or str(config_folder() / 'custom_pose.rviz')
    os.execv(program, [program, '--display-config', view, '--fixed-frame', frame, *others])


def first_frame(arguments: Sequence[str]) -> str | None:
    """Wait for a header with a frame on camera_info or poses and return the frame; None when interrupted."""
    rclpy.init(args=['show_in_rviz', *arguments])
    node = rclpy.create_node('show_in_rviz')
    frames: list[str] = []
    nameless: set[str] = set()
    topics = {
        node.resolve_topic_name(topic): kind for topic, kind in (('camera_info', CameraInfo), ('poses', PoseArray))
    }

    def on_message(topic: str, message: Any) -> None:
        if message.header.frame_id:
            frames.append(message.header.frame_id)
        else:
            nameless.add(topic)

    def tell() -> None:
        why = f'; {", ".join(sorted(nameless))} comes without one: set it in the camera driver' if nameless else ''
        say(f'RViz opens with the first frame_id on {" or ".join(topics)}{why}')

    for topic, kind in topics.items():
        node.create_subscription(kind, topic, functools.partial(on_message, topic), qos.camera_info())
    tell()
    node.create_timer(_REMIND_S, tell, clock=Clock(clock_type=ClockType.STEADY_TIME))
    try:
        while not frames:
            rclpy.spin_once(node)
    except (KeyboardInterrupt, ExternalShutdownException):
        return None
    finally:
        node.destroy_node()
        rclpy.try_shutdown()
    return frames[0]


if __name__ == '__main__':
    sys.exit(main())
