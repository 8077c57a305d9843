"""What an asynchronous service callback waits with, while the executor of its node runs the other callbacks."""

from __future__ import annotations

import math
import time
import types
from collections.abc import Collection, Generator
from concurrent.futures import Future, wait
from typing import Any

_POLL_S = 0.005  # how long other callbacks may have to wait


async def finished(futures: Collection[Future[Any]], timeout_s: float = math.inf) -> bool:
    """Wait for all futures; return whether they are done in time."""
    deadline_s = time.monotonic() + timeout_s
    while not all(future.done() for future in futures):
        if time.monotonic() > deadline_s:
            return False
        wait(futures, _POLL_S)
        await _let_others_run()
    return True


@types.coroutine
def _let_others_run() -> Generator[None, None, None]:
    """Let the executor run other callbacks before this one goes on; rclpy has no sleep of its own."""
    yield
