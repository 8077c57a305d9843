"""
Run pose_node and orientation_node in one process, which share each image without a copy.

ROS arguments are for both; behind --pose-node or --orientation-node, and before --ros-args, for this one only:

    both_nodes --pose-node -p max_rate:=10.0 --orientation-node -p refine:=outline --ros-args -r __ns:=/front
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Sequence

from custom_pose_ros.nodes.orientation.orientation_node import OrientationNode
from custom_pose_ros.nodes.pose.pose_node import PoseNode
from custom_pose_ros.nodes.ros.frames import FrameExchange
from custom_pose_ros.nodes.ros.managed_node import run_nodes

_NODES = {'--orientation-node': OrientationNode, '--pose-node': PoseNode}  # the first one starts faster
_ROS = '--ros-args'


def main(args: Sequence[str] | None = None) -> int:
    """Run the nodes; return the exit code."""
    shared, of_nodes = split_arguments(sys.argv if args is None else args)
    frames = FrameExchange()
    makers = [
        functools.partial(kind, frames, cli_args=[_ROS, *of_nodes[option]] if of_nodes[option] else None)
        for option, kind in _NODES.items()
    ]
    return run_nodes(makers, shared)


def split_arguments(args: Sequence[str]) -> tuple[list[str], dict[str, list[str]]]:
    """Return the arguments for both nodes, and those for each by its option."""
    shared: list[str] = []
    of_nodes: dict[str, list[str]] = {option: [] for option in _NODES}
    current = shared
    for argument in args:
        if argument in of_nodes:
            current = of_nodes[argument]
            continue
        if argument == _ROS:
            current = shared
        current.append(argument)
    return shared, of_nodes


if __name__ == '__main__':
    sys.exit(main())
