"""The ROS side: the only package, with two tools, that imports rclpy and messages."""

import custom_pose_ros.core.command_line  # noqa: F401  first of all: Ctrl-C while ROS is imported ends without a traceback
