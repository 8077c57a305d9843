"""Surroundings: what a node cannot help but suffers from - a hot computer, another node of the same name."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from rclpy.node import Node

from custom_pose_ros.nodes.ros.temperature import THERMAL, Temperature, read_temperature

TWIN_AFTER_S = 25.0  # DDS remembers a node that was killed for 20 s: its successor is no twin


class Surroundings:
    """Looks around each time it is asked, once per second."""

    def __init__(self, node: Node, thermal: Path = THERMAL, clock: Callable[[], float] = time.monotonic):
        self._node, self._thermal, self._clock = node, thermal, clock
        self._twin_since: float | None = None
        self._temperature: Temperature | None = None

    def rows(self) -> dict[str, str]:
        """Return the temperature where it is known."""
        self._temperature = hot = read_temperature(self._thermal)
        return {} if hot is None else {'temperature [degC]': f'{hot.celsius:.1f} ({hot.zone})'}

    def problems(self) -> list[str]:
        """Return what is wrong, a line each."""
        found = []
        hot = self._temperature
        if hot is not None and hot.is_high:
            found.append(f'{hot.zone} has {hot.celsius:.0f} degC, at {hot.limit:.0f} degC the computer slows down')
        if self._has_twin():
            found.append(
                f'more than one node is named {self._node.get_fully_qualified_name()}: both get its parameters and '
                'services; start one of them in another namespace or with -r __node:=NAME'
            )
        return found

    def _has_twin(self) -> bool:
        own = self._node.get_name(), self._node.get_namespace()
        if self._node.get_node_names_and_namespaces().count(own) < 2:
            self._twin_since = None
            return False
        now = self._clock()
        self._twin_since = now if self._twin_since is None else self._twin_since
        return now - self._twin_since >= TWIN_AFTER_S
