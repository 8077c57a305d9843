"""run_node: the life of a node process, from the command line to the exit code."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable, Sequence
from contextlib import ExitStack

import rclpy
from rclpy.exceptions import ParameterException
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor

from custom_pose_ros.core.command_line import CANNOT, DONE, say
from custom_pose_ros.core.errors import CustomPoseError
from custom_pose_ros.nodes.ros.managed_node import ManagedNode


def run_node(make_node: Callable[[], ManagedNode], args: Sequence[str] | None = None) -> int:
    """
    Run one node until it is interrupted; to be called in the main thread of the process.

    Returns:
        The exit code: DONE when stopped by SIGINT, SIGTERM or shutdown; CANNOT when it cannot start, and one line on
        stderr says why and what to do.
    """
    interrupted = threading.Event()
    # No KeyboardInterrupt, which may strike anywhere, and twice under ros2 launch: rclpy puts its own handler over this
    # one, and that one ends the spinning.
    signal.signal(signal.SIGINT, lambda *_: interrupted.set())
    rclpy.init(args=list(sys.argv if args is None else args))
    try:
        _spin(make_node)
    except ExternalShutdownException:
        return DONE
    except (CustomPoseError, ParameterException) as error:
        say(f'error: {" ".join(str(error).split())}')
        return CANNOT
    except Exception:
        if rclpy.ok() and not interrupted.is_set():
            raise
        return DONE  # what failed is the use of a context that is gone
    finally:
        if rclpy.ok():
            rclpy.shutdown()
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # nothing is left to interrupt but the end of the interpreter
    return DONE


def _spin(make_node: Callable[[], ManagedNode]) -> None:
    """Run the node; executor, node and its threads are gone, in this order, before the caller ends the context."""
    with ExitStack() as running:
        node = make_node()
        running.callback(node.destroy_node)
        node.start()
        executor = SingleThreadedExecutor()
        running.callback(executor.shutdown)
        executor.add_node(node)
        executor.spin()
