"""Health: the status of each camera of a node on /diagnostics (REP 107), once per second in every lifecycle state."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from rclpy.clock import Clock, ClockType
from rclpy.node import Node

from custom_pose_ros.nodes.ros import qos
from custom_pose_ros.nodes.ros.diagnostics import PERIOD_S, Statistics
from custom_pose_ros.nodes.ros.input_watch import InputWatch
from custom_pose_ros.nodes.ros.managed_node import ACTIVE, ManagedNode

DUPLICATE_AFTER_S = 25.0  # DDS remembers a node that was killed for 20 s: its successor is no second node
REPEAT_S = 30.0  # how often a problem that stays is logged


@dataclass(frozen=True)
class CameraReport:
    """
    What a node tells about one of its cameras.

    Attributes:
        hardware_id: what the results are about.
        rows: keys and values besides the statistics.
        inputs: the subscriptions, that of the camera's messages first; none while the node is not active.
        problems: what is wrong besides the inputs, each worth a warning; the node logs them itself.
    """

    hardware_id: str
    rows: Mapping[str, str]
    inputs: Sequence[InputWatch] = ()
    problems: Sequence[str] = ()


class Health:
    """
    Publishes one status for each camera; while the node is not active its state is all there is to say.

    Attributes:
        statistics: of each camera, by its name; of '' where there is only one.
    """

    def __init__(self, node: ManagedNode, task: str, cameras: Sequence[str], report: Callable[[str], CameraReport]):
        """
        Start publishing, also without a clock.

        Args:
            node: the node, whose state and problem are told.
            task: what the node does, put behind its name.
            cameras: names of the cameras; empty: one without a name.
            report: returns what the node tells about a camera now.
        """
        self.statistics = {camera: Statistics() for camera in cameras or ('',)}
        self._node, self._report = node, report
        self._name = f'{node.get_fully_qualified_name().lstrip("/")}: {task}'
        self._warnings = ThrottledLog(node.get_logger().warning)
        self._duplicate = DuplicateName(node)
        self._publisher = node.create_publisher(DiagnosticArray, '/diagnostics', qos.DIAGNOSTICS)
        node.create_timer(PERIOD_S, self._publish, clock=Clock(clock_type=ClockType.STEADY_TIME))

    def restart(self) -> None:
        """Begin a new window of the statistics, when the node becomes active; the totals stay."""
        for statistics in self.statistics.values():
            statistics.restart()

    def _publish(self) -> None:
        of_the_node = self._duplicate.problems()
        message = DiagnosticArray(status=[self._status(camera, of_the_node) for camera in self.statistics])
        message.header.stamp = self._node.get_clock().now().to_msg()
        self._publisher.publish(message)

    def _status(self, camera: str, of_the_node: Sequence[str]) -> DiagnosticStatus:
        report = self._report(camera)
        rows = {'state': self._node.state, **report.rows}
        for watched in report.inputs[:1]:
            rows |= watched.rows()
        problems = [*(problem for watched in report.inputs for problem in watched.problems()), *of_the_node]
        for problem in problems:
            self._warnings.say(problem)
        silence = (lambda: self._warnings.say(report.inputs[0].silence())) if report.inputs else str
        status = self.statistics[camera].status(
            f'{self._name} {camera}'.rstrip(), report.hardware_id, rows, [*problems, *report.problems], silence
        )
        if self._node.state != ACTIVE:
            problem = self._node.problem
            status.level = DiagnosticStatus.ERROR if problem else DiagnosticStatus.OK
            status.message = f'{self._node.state}: {problem}' if problem else self._node.state
        return status


class DuplicateName:
    """Finds a second node of the same name: both get its parameters and services."""

    def __init__(self, node: Node, clock: Callable[[], float] = time.monotonic):
        self._node, self._clock = node, clock
        self._since: float | None = None

    def problems(self) -> list[str]:
        """Return a line when there has been a second node for DUPLICATE_AFTER_S; to be asked regularly."""
        own = self._node.get_name(), self._node.get_namespace()
        if self._node.get_node_names_and_namespaces().count(own) < 2:
            self._since = None
            return []
        now = self._clock()
        self._since = now if self._since is None else self._since
        if now - self._since < DUPLICATE_AFTER_S:
            return []
        return [
            f'more than one node is named {self._node.get_fully_qualified_name()}: both get its parameters and '
            'services; start one of them in another namespace or with -r __node:=NAME'
        ]


class ThrottledLog:
    """Logs a line at once and, while it is given again and again, every REPEAT_S; numbers alone in it may change."""

    def __init__(self, log: Callable[[str], object], clock: Callable[[], float] = time.monotonic):
        self._log, self._clock = log, clock
        self._logged: dict[str, float] = {}

    def say(self, line: str) -> str:
        """Log the line unless it was logged a short while ago; return it."""
        now, key = self._clock(), re.sub(r'(?<![\w/])\d[\d.]*', '#', line)
        self._logged = {other: when for other, when in self._logged.items() if now - when < REPEAT_S}
        if key not in self._logged:
            self._logged[key] = now
            self._log(line)
        return line
