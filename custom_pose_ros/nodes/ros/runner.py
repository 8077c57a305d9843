"""run_node: the life of a node process, from the command line to the exit code."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from typing import NoReturn

import rclpy
from rclpy.exceptions import ParameterException
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.logging import get_logger
from rclpy.node import Node

from custom_pose_ros.core.errors import CustomPoseError
from custom_pose_ros.nodes.ros.shared_memory import remove_abandoned


def leave(code: int) -> NoReturn:
    """
    End the process with an exit code; after a failed start without the interpreter's own end.

    A node that was refused its parameters has ended by SIGSEGV once, after its message. Threads of DDS that were still
    starting are the likely cause; it did not come again in 120 starts, with and without this.
    """
    if code:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    sys.exit(0)


def run_node(make_node: Callable[[], Node], args: Sequence[str] | None = None) -> int:
    """
    Run one node until it is interrupted; return the exit code of the process. To be called in its main thread.

    0: stopped by SIGINT, SIGTERM or shutdown. 1: it cannot start; one line on stderr says why and what to do.
    The node's `destroy_node` stops its threads first.
    """
    interrupted = threading.Event()
    # No KeyboardInterrupt, which may strike anywhere, and twice under ros2 launch: rclpy puts its own handler over this
    # one, and that one ends the spinning.
    signal.signal(signal.SIGINT, lambda *_: interrupted.set())
    left_behind = remove_abandoned()
    rclpy.init(args=list(sys.argv if args is None else args))
    if left_behind:
        get_logger('shared_memory').info(f'removed {left_behind / 1e6:.1f} MB that killed processes have left')
    node = None
    try:
        node = make_node()
        executor = SingleThreadedExecutor()
        executor.add_node(node)
        executor.spin()
    except ExternalShutdownException:
        return 0
    except (CustomPoseError, ParameterException) as error:
        print(f'error: {" ".join(str(error).split())}', file=sys.stderr, flush=True)
        return 1
    except Exception:
        if rclpy.ok() and not interrupted.is_set():
            raise
        return 0  # what failed is the use of a context that is gone
    finally:
        if node is not None:
            node.destroy_node()
        if rclpy.ok():
            rclpy.shutdown()
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # nothing is left to interrupt but the end of the interpreter
    return 0
