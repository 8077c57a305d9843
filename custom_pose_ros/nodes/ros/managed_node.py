"""ManagedNode: a lifecycle node whose callbacks may raise and which releases what it holds; run_node: its process."""

from __future__ import annotations

import contextlib
import functools
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from typing import Any

import rclpy
from rcl_interfaces.msg import SetParametersResult
from rclpy.exceptions import ParameterException
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from rclpy.parameter import Parameter

from custom_pose_ros.core.command_line import CANNOT, DONE, report, say
from custom_pose_ros.core.errors import CustomPoseError, one_line
from custom_pose_ros.nodes.ros.loading import exit_without_waiting
from custom_pose_ros.nodes.ros.parameters import with_declared_type
from custom_pose_ros.nodes.ros.reasons import is_expected, reason_for_peers

UNCONFIGURED, INACTIVE, ACTIVE, FINALIZED = 'unconfigured', 'inactive', 'active', 'finalized'

_STOP_S = 0.1  # how late a thread may see that it is to end

LifecycleCallback = Callable[[Any, LifecycleState], TransitionCallbackReturn]


def transition(reached: str) -> Callable[[LifecycleCallback], LifecycleCallback]:
    """
    Let a lifecycle callback of a ManagedNode raise, which rclpy swallows without a word.

    What had been acquired for the next state is released, the reason is logged and kept in `problem`. A CustomPoseError
    refuses the transition and the state stays; any other exception, or one while something is released, is an error,
    after which the node is unconfigured.

    Args:
        reached: the state after success.
    """

    def decorate(callback: LifecycleCallback) -> LifecycleCallback:
        @functools.wraps(callback)
        def answer(self: ManagedNode, state: LifecycleState) -> TransitionCallbackReturn:
            try:
                result = callback(self, state)
            except Exception as error:
                return self._fail(reached, error)
            if result == TransitionCallbackReturn.SUCCESS:
                self.state, self.problem = reached, ''
            return result

        return answer

    return decorate


class ManagedNode(LifecycleNode):
    """
    The base of both nodes: a subclass overrides ROS's own on_configure and on_activate, marked with `transition`.

    Whatever they acquire they register at once for its release, in `until_cleanup` or `until_deactivate`; the callbacks
    that release are written here. The subclass declares the parameter `autostart`.

    Attributes:
        state: the state reached last, as the lifecycle services name it.
        problem: why the last transition did not succeed; empty when it did.
        until_cleanup: what the inactive state holds.
        until_deactivate: what the active state holds besides.
    """

    def __init__(self, name: str, **node_options: Any):
        super().__init__(name, **node_options)
        self.state, self.problem = UNCONFIGURED, ''
        self.until_cleanup, self.until_deactivate = ExitStack(), ExitStack()
        self._starting = False
        self._failure: Exception | None = None

    @contextlib.contextmanager
    def destroyed_on_error(self) -> Iterator[None]:
        """Destroy the node when the rest of its constructor raises: nobody else has it to destroy it."""
        try:
            yield
        except BaseException:
            self.destroy_node()
            raise

    def start(self) -> None:
        """
        Configure and activate where the parameter `autostart` says so; call it once, after the constructor.

        Raises:
            Exception: what stopped a transition; the node is to be destroyed then.
        """
        if not self.get_parameter('autostart').value:
            self.get_logger().info('waiting to be configured: autostart is off')
            return
        self._starting = True
        for trigger in (self.trigger_configure, self.trigger_activate):
            if trigger() != TransitionCallbackReturn.SUCCESS:
                raise self._failure or RuntimeError(f'{self.get_name()} does not start')
        self._starting = False

    @transition(INACTIVE)
    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Release what the active state holds."""
        self.until_deactivate.close()
        return super().on_deactivate(state)

    @transition(UNCONFIGURED)
    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Release what the inactive state holds."""
        self.until_cleanup.close()
        return super().on_cleanup(state)

    @transition(FINALIZED)
    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Release everything."""
        self._release()
        return super().on_shutdown(state)

    def on_error(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Release everything, so that the node may be configured again; `problem` stays."""
        self.state = UNCONFIGURED
        try:
            self._release()
        except Exception:
            self.get_logger().error(f'cannot be released after an error: {traceback.format_exc()}')
            self.state = FINALIZED
            return TransitionCallbackReturn.FAILURE
        return TransitionCallbackReturn.SUCCESS

    def set_parameters_atomically(self, parameter_list: list[Parameter]) -> SetParametersResult:
        """Accept a whole number for a number: `ros2 param set` sends 5 as an integer, which rclpy refuses."""
        return super().set_parameters_atomically([with_declared_type(self, p) for p in parameter_list])

    def destroy_node(self) -> None:
        """Release everything and end."""
        self._release()
        super().destroy_node()

    def _release(self) -> None:
        self.until_deactivate.close()
        self.until_cleanup.close()

    def _fail(self, reached: str, error: Exception) -> TransitionCallbackReturn:
        """Undo what a transition has done before it raised, say why, and return the answer to ROS."""
        if self.state != ACTIVE:
            self.until_deactivate.close()
        if self.state == UNCONFIGURED:
            self.until_cleanup.close()
        self._failure = error
        if not self._starting and self.context.ok():  # else `start` raises it, or nobody is left to read it
            self.problem = reason_for_peers(error)
            self.get_logger().error(f'stays {self.state}, not {reached}: {self.problem}')
        refused = is_expected(error) and reached in (INACTIVE, ACTIVE) and self.state != ACTIVE
        return TransitionCallbackReturn.FAILURE if refused else TransitionCallbackReturn.ERROR


def run_node(make_node: Callable[[], ManagedNode], args: Sequence[str] | None = None) -> int:
    """Run one node, see `run_nodes`."""
    return run_nodes([make_node], args)


def run_nodes(makers: Sequence[Callable[[], ManagedNode]], args: Sequence[str] | None = None) -> int:
    """
    Run nodes, each with a thread of its own, until interrupted; to be called in the main thread of the process.

    Returns:
        The exit code: DONE when stopped by SIGINT, SIGTERM or shutdown; CANNOT when one cannot start, and one line on
        stderr says why and what to do.
    """
    interrupted = threading.Event()
    # No KeyboardInterrupt, which may strike anywhere, and twice under ros2 launch: rclpy puts its own handler over this
    # one, and that one ends the spinning.
    signal.signal(signal.SIGINT, lambda *_: interrupted.set())
    try:
        rclpy.init(args=list(sys.argv if args is None else args))
    except Exception as error:  # ROS arguments that cannot be parsed
        say(f'error: {one_line(error)}')
        return CANNOT
    try:
        return exit_without_waiting(_spun(makers, interrupted))
    finally:
        if rclpy.ok():
            rclpy.shutdown()
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # nothing is left to interrupt but the end of the interpreter


def _spun(makers: Sequence[Callable[[], ManagedNode]], interrupted: threading.Event) -> int:
    """Run the nodes; return the exit code."""
    try:
        _spin(makers)
    except ExternalShutdownException:
        return DONE
    except (CustomPoseError, ParameterException) as error:
        say(f'error: {one_line(error)}')
        return CANNOT
    except Exception as error:
        if rclpy.ok() and not interrupted.is_set():
            return report(error, '--debug' in sys.argv)
        return DONE  # what failed is the use of a context that is gone
    return DONE


def _spin(makers: Sequence[Callable[[], ManagedNode]]) -> None:
    """Run the nodes; executor, nodes and their threads are gone, in this order, before the caller ends the context."""
    with ExitStack() as running:
        nodes = []
        for make_node in makers:
            nodes.append(make_node())
            running.callback(nodes[-1].destroy_node)
        for node in nodes:
            node.start()
        executor = _executor_of(nodes[0], running)
        for node in nodes[1:]:
            _spin_beside(executor, node, running)
        executor.spin()


def _executor_of(node: ManagedNode, running: ExitStack) -> SingleThreadedExecutor:
    executor = SingleThreadedExecutor()
    running.callback(executor.shutdown)
    executor.add_node(node)
    return executor


def _spin_beside(first: SingleThreadedExecutor, node: ManagedNode, running: ExitStack) -> None:
    """Run a node in a thread of its own; what it raises ends the spinning of the first executor."""
    executor, stopped = _executor_of(node, running), threading.Event()

    def spin() -> None:
        try:
            while not stopped.is_set():
                executor.spin_once(timeout_sec=_STOP_S)
        except ExternalShutdownException:
            pass  # the first executor ends by the same
        except Exception as error:
            first.create_task(functools.partial(_raise, error))

    thread = threading.Thread(target=spin, name=node.get_name(), daemon=True)
    thread.start()
    running.callback(thread.join)
    running.callback(stopped.set)


def _raise(error: Exception) -> None:
    raise error
