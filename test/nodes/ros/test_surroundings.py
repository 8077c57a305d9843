"""Tests of custom_pose_ros.nodes.ros.surroundings with nodes in a real graph."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import rclpy
from rclpy.node import Node

from custom_pose_ros.nodes.ros.surroundings import TWIN_AFTER_S, Surroundings


class Someone(Node):
    """A node with nothing in it."""

    def __init__(self, **options: Any):
        super().__init__('someone', **options)


def test_a_second_node_of_the_same_name_is_told_once_it_stays(graph, tmp_path: Path) -> None:
    now = [0.0]
    node = graph.start(Someone)
    surroundings = Surroundings(node, tmp_path, lambda: now[0])
    assert surroundings.problems() == []
    twin = rclpy.create_node('someone', context=graph.tester.context, namespace=graph.namespace)
    graph.wait(lambda: surroundings._has_twin() or surroundings._twin_since is not None, 'the twin')
    assert surroundings.problems() == []  # it may be the rest of one that was killed
    now[0] = TWIN_AFTER_S
    (said,) = surroundings.problems()
    assert said.startswith(f'more than one node is named {graph.namespace}/someone: ')
    twin.destroy_node()
    graph.wait(lambda: not surroundings.problems(), 'its end')


def test_a_hot_computer_is_told(graph, tmp_path: Path) -> None:
    zone = tmp_path / 'thermal_zone0'
    zone.mkdir()
    for name, text in [('type', 'cpu'), ('temp', '93000'), ('trip_point_0_type', 'passive')]:
        (zone / name).write_text(text, encoding='ascii')
    (zone / 'trip_point_0_temp').write_text('95000', encoding='ascii')
    surroundings = Surroundings(graph.start(Someone), tmp_path)
    assert surroundings.rows() == {'temperature [degC]': '93.0 (cpu)'}
    assert surroundings.problems() == ['cpu has 93 degC, at 95 degC the computer slows down']
    (zone / 'temp').write_text('60000', encoding='ascii')
    surroundings.rows()
    assert surroundings.problems() == []
