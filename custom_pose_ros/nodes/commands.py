"""The commands that need rclpy: where ROS or the messages are missing, one line says what to do."""

from __future__ import annotations

from importlib import import_module

from custom_pose_ros.core.command_line import CANNOT, INTERRUPTED, say

NO_ROS = (
    'wanted ROS 2, got no rclpy: source /opt/ros/<distro>/setup.bash, or run "make demo" in the repository, which '
    'installs it from PyPI; predict and evaluate_bag work without it'
)


def pose_node() -> int:
    """Run pose_node; return the exit code."""
    return _run('pose.pose_node')


def orientation_node() -> int:
    """Run orientation_node; return the exit code."""
    return _run('orientation.orientation_node')


def both_nodes() -> int:
    """Run pose_node and orientation_node in one process; return the exit code."""
    return _run('both_nodes')


def show_in_rviz() -> int:
    """Run RViz; return the exit code where that is not possible."""
    return _run('ros.rviz_starter')


def _run(name: str) -> int:
    try:
        module = import_module(f'custom_pose_ros.nodes.{name}')
    except ImportError as error:
        without_ros = (error.name or '').partition('.')[0] == 'rclpy'
        say(f'error: {NO_ROS if without_ros else error}')
        return CANNOT
    except KeyboardInterrupt:
        return INTERRUPTED
    return module.main()
