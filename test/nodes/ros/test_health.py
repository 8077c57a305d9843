"""Tests of custom_pose_ros.nodes.ros.health with nodes in a real graph."""

from __future__ import annotations

from typing import Any

import rclpy
from rclpy.node import Node

from custom_pose_ros.nodes.ros.health import DUPLICATE_AFTER_S, DuplicateName


class Someone(Node):
    """A node with nothing in it."""

    def __init__(self, **options: Any):
        super().__init__('someone', **options)


def test_a_second_node_of_the_same_name_is_told_once_it_stays(graph) -> None:
    now = [0.0]
    duplicate = DuplicateName(graph.start(Someone), lambda: now[0])
    assert duplicate.problems() == []
    second = rclpy.create_node('someone', context=graph.context, namespace=graph.namespace)
    graph.wait(lambda: duplicate.problems() or duplicate._since is not None, 'the second node')
    assert duplicate.problems() == []  # it may be what is left of one that was killed
    now[0] = DUPLICATE_AFTER_S
    (problem,) = duplicate.problems()
    assert problem.startswith(f'more than one node is named {graph.namespace}/someone: ')
    second.destroy_node()
    graph.wait(lambda: not duplicate.problems(), 'its end')
