"""Loading of what may take long or for ever: in a thread of its own, which the end of the node does not wait for."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

from rclpy.context import Context
from rclpy.executors import ExternalShutdownException

_THREAD = 'object_loader'
_POLL_S = 0.05  # how late a signal may be seen

Loaded = TypeVar('Loaded')


def start_loading(load: Callable[[], Loaded]) -> Future[Loaded]:
    """Run `load` in a thread that no end of the process waits for: what runs inside a library cannot be stopped."""
    future: Future[Loaded] = Future()

    def run() -> None:
        try:
            loaded = load()
        except BaseException as error:
            future.set_exception(error)
        else:
            future.set_result(loaded)

    threading.Thread(target=run, name=_THREAD, daemon=True).start()
    return future


def loaded_before_shutdown(load: Callable[[], Loaded], context: Context) -> Loaded:
    """
    Return what `load` returns.

    Raises:
        ExternalShutdownException: the context ended first, by SIGINT or SIGTERM for example.
        Exception: what `load` raises.
    """
    future = start_loading(load)
    done = threading.Event()
    future.add_done_callback(lambda _: done.set())
    while not done.wait(_POLL_S):
        if not context.ok():
            raise ExternalShutdownException
    return future.result()


def exit_without_waiting(code: int) -> int:
    """
    Return the exit code, unless something still loads: then end the process with it here.

    The interpreter's own end takes the libraries down below the thread that uses them: OpenVINO aborts.
    """
    if any(thread.name == _THREAD for thread in threading.enumerate()):
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    return code
