"""ManagedNode: the lifecycle of a node - what each state holds, why a transition failed, and both in diagnostics."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Any, Generic, TypeVar

from diagnostic_msgs.msg import DiagnosticStatus
from rcl_interfaces.msg import SetParametersResult
from rclpy.exceptions import ParameterException
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from rclpy.parameter import Parameter

from custom_pose_ros.core.errors import CustomPoseError
from custom_pose_ros.nodes.ros.diagnostics import DiagnosticsPublisher, Statistics
from custom_pose_ros.nodes.ros.hysteresis import Reminders
from custom_pose_ros.nodes.ros.input_watch import InputWatch
from custom_pose_ros.nodes.ros.parameters import NodeParameters, unknown_overrides, with_declared_type
from custom_pose_ros.nodes.ros.surroundings import Surroundings

UNCONFIGURED, INACTIVE, ACTIVE, FINALIZED = 'unconfigured', 'inactive', 'active', 'finalized'

Parameters = TypeVar('Parameters')


class ManagedNode(LifecycleNode, Generic[Parameters]):
    """
    A lifecycle node with one stream of results for each camera.

    A subclass says what the states hold: `configure` and `activate` build it and register its release with the
    ExitStack they are given; what they had built is released when they raise. A CustomPoseError refuses the transition
    and the state stays; any other exception is an error, after which the node is unconfigured. Both reasons are logged
    and stand in /diagnostics, which is published in every state.

    settings : the parameters of the node.
    state : the state reached last, as the lifecycle services name it.
    problem : why the last transition did not succeed; empty when it did.
    statistics : of each camera, by its name; of '' where there is only one.
    """

    def __init__(self, name: str, task: str, schema: type[Parameters], **node_options: Any):
        """
        Declare the parameters; the subclass ends its own constructor with `start`.

        task : what the node does, put behind its name in diagnostics.
        schema : dataclass of the parameters; has `cameras` and `autostart`.
        """
        self._held: dict[str, ExitStack] = {}  # first: rclpy destroys also a node whose constructor has failed
        super().__init__(name, **node_options)
        self.state, self.problem = UNCONFIGURED, ''
        self._task = task
        self._failure: Exception | None = None
        self._starting = self._warned = False
        self.settings = NodeParameters(self, schema, on_change=self.on_settings)
        self.statistics = {camera: Statistics() for camera in self.cameras}
        self._surroundings = Surroundings(self)
        self._reminders = Reminders(self.get_logger().warning)
        DiagnosticsPublisher(self, self._statuses)

    @property
    def cameras(self) -> Sequence[str]:
        """Names of the cameras; one without a name where none is given."""
        return self.settings.values.cameras or ('',)

    def configure(self, opened: ExitStack) -> None:
        """Build what the inactive state holds."""
        raise NotImplementedError

    def activate(self, opened: ExitStack) -> None:
        """Build what the active state holds besides."""
        raise NotImplementedError

    def on_settings(self, values: Parameters) -> None:
        """Take changed parameters, or refuse them with ConfigError."""

    def hardware_id(self) -> str:
        """Return what the results are about."""
        return ''

    def rows(self, camera: str) -> dict[str, str]:
        """Return what the diagnostics of a camera say besides its statistics."""
        return {}

    def inputs(self, camera: str) -> Sequence[InputWatch]:
        """Return the subscriptions of a camera, that of its messages first; asked while the node is active."""
        return ()

    def problems(self, camera: str) -> Sequence[str]:
        """Return what is wrong with a camera besides its inputs, each worth a warning; asked while active."""
        return ()

    def start(self) -> None:
        """Configure and activate where `autostart` says so. Raises what stops it, and the node is destroyed."""
        if not self.settings.values.autostart:
            self.get_logger().info('waiting to be configured: autostart is off')
            return
        self._starting = True
        for trigger in (self.trigger_configure, self.trigger_activate):
            if trigger() != TransitionCallbackReturn.SUCCESS:
                failure, self._failure = self._failure, None
                self.destroy_node()
                raise failure or RuntimeError(self.problem)
        self._starting = False

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Answer the transition."""
        return self._attempt(INACTIVE, lambda: self._enter(INACTIVE, self.configure))

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Answer the transition."""

        def enter() -> None:
            for statistics in self.statistics.values():
                statistics.restart()
            super(ManagedNode, self).on_activate(state)  # what is managed may publish from now on
            try:
                self._enter(ACTIVE, self.activate)
            except BaseException:
                super(ManagedNode, self).on_deactivate(state)
                raise
            self._warn_of_unknown_parameters()

        return self._attempt(ACTIVE, enter)

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Answer the transition."""

        def leave() -> None:
            self._release(ACTIVE)
            super(ManagedNode, self).on_deactivate(state)

        return self._attempt(INACTIVE, leave)

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Answer the transition."""
        return self._attempt(UNCONFIGURED, lambda: self._release(INACTIVE))

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Answer the transition."""
        return self._attempt(FINALIZED, lambda: self._release(ACTIVE, INACTIVE))

    def on_error(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Release everything, so that the node may be configured again; `problem` stays."""
        self.state = UNCONFIGURED
        try:
            self._release(ACTIVE, INACTIVE)
        except Exception:
            self.get_logger().error(f'cannot be released after an error: {traceback.format_exc()}')
            self.state = FINALIZED
            return TransitionCallbackReturn.FAILURE
        return TransitionCallbackReturn.SUCCESS

    def set_parameters_atomically(self, parameter_list: list[Parameter]) -> SetParametersResult:
        """Take a whole number for a number: `ros2 param set` sends 5 as an integer, which rclpy refuses."""
        return super().set_parameters_atomically([with_declared_type(self, p) for p in parameter_list])

    def destroy_node(self) -> None:
        """Release everything and end."""
        self._release(ACTIVE, INACTIVE)
        super().destroy_node()

    def _warn_of_unknown_parameters(self) -> None:
        """Warn once, when all are declared: those of the quality of service come with the first activation."""
        if not self._warned:
            self._warned = True
            for line in unknown_overrides(self):
                self.get_logger().warning(line)

    def _enter(self, state: str, build: Callable[[ExitStack], None]) -> None:
        with ExitStack() as opened:
            build(opened)
            self._held[state] = opened.pop_all()

    def _release(self, *states: str) -> None:
        for state in states:
            if state in self._held:
                self._held.pop(state).close()

    def _attempt(self, reached: str, action: Callable[[], None]) -> TransitionCallbackReturn:
        """Run a transition. rclpy swallows exceptions, so their reason is kept and logged here."""
        try:
            action()
        except Exception as error:
            expected = isinstance(error, (CustomPoseError, ParameterException))
            text = ' '.join(str(error).split())
            self.problem = text if expected else f'{type(error).__name__}: {text}'
            if self._starting:
                self._failure = error  # and `start` raises it
            else:
                details = '' if expected else '\n' + traceback.format_exc()
                self.get_logger().error(f'stays {self.state}, not {reached}: {self.problem}{details}')
            return TransitionCallbackReturn.FAILURE if expected else TransitionCallbackReturn.ERROR
        self.state, self.problem = reached, ''
        return TransitionCallbackReturn.SUCCESS

    def _statuses(self) -> list[DiagnosticStatus]:
        """Return one status for each camera; while the node is not active its state is all there is to say."""
        name = f'{self.get_fully_qualified_name().lstrip("/")}: {self._task}'
        statuses = []
        for camera, statistics in self.statistics.items():
            inputs = self.inputs(camera) if self.state == ACTIVE else ()
            rows = {'state': self.state, **self.rows(camera), **self._surroundings.rows()}
            for one in inputs[:1]:
                rows |= one.rows()
            problems = [problem for one in inputs for problem in one.problems()] + self._surroundings.problems()
            for problem in problems:
                self._reminders.say(problem)
            problems += self.problems(camera) if inputs else ()
            silence = self._silence_of(inputs[0]) if inputs else str
            status = statistics.status(f'{name} {camera}'.rstrip(), self.hardware_id(), rows, problems, silence)
            if self.state != ACTIVE:
                status.level = DiagnosticStatus.ERROR if self.problem else DiagnosticStatus.OK
                status.message = f'{self.state}: {self.problem}' if self.problem else self.state
            statuses.append(status)
        return statuses

    def _silence_of(self, watched: InputWatch) -> Callable[[], str]:
        """Return what says, and logs, why nothing comes."""

        def explain() -> str:
            why = watched.silence()
            self._reminders.say(why)
            return why

        return explain
