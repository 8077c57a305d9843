"""Tests of custom_pose_ros.nodes.ros.health with nodes in a real graph."""

from __future__ import annotations

from typing import Any

import rclpy
from rclpy.node import Node

from custom_pose_ros.nodes.ros.health import DUPLICATE_AFTER_S, REPEAT_S, DuplicateName, ThrottledLog


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


def test_a_problem_that_stays_is_said_now_and_then() -> None:
    now, said = [0.0], []
    reminders = ThrottledLog(said.append, lambda: now[0])
    for second in range(int(2 * REPEAT_S)):
        now[0] = float(second)
        reminders.say(f'no input for {second} s')
        if second == 3:
            reminders.say('hot')
    assert said == ['no input for 0 s', 'hot', f'no input for {REPEAT_S:.0f} s']
