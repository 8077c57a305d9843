"""Reading ahead: the next items are fetched by one thread and worked on by others while the caller uses this one."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar('Item')
Result = TypeVar('Result')
_MAX_WAITING = 256  # results that wait to be taken, light ones included
_POLL_S = 0.1


def read_ahead(
    items: Iterable[Item],
    work: Callable[[Item], Result],
    workers: int = 1,
    depth: int = 4,
    is_light: Callable[[Item], bool] = lambda item: False,
) -> Iterator[Result]:
    """
    Yield `work(item)` of every item, in order, worked out by `workers` threads at most `depth` items ahead.

    The items are fetched by one thread. Those that `is_light` names do not count for the depth: they are small.
    An exception of a thread is raised here, after the results before it. Closing the iterator ends the threads.
    """
    waiting: queue.Queue[tuple[Future | None, bool]] = queue.Queue(_MAX_WAITING)
    places = threading.Semaphore(depth)
    stopped = threading.Event()

    def until_stopped(attempt: Callable[[], bool]) -> bool:
        while not stopped.is_set():
            if attempt():
                return True
        return False

    def put(future: Future | None, light: bool = True) -> bool:
        def attempt() -> bool:
            try:
                waiting.put((future, light), timeout=_POLL_S)
                return True
            except queue.Full:
                return False

        return until_stopped(attempt)

    def fetch() -> None:
        try:
            for item in items:
                light = is_light(item)
                if not light and not until_stopped(lambda: places.acquire(timeout=_POLL_S)):
                    return
                if not put(pool.submit(work, item), light):
                    return
            put(None)
        except BaseException as error:
            failed: Future = Future()
            failed.set_exception(error)
            put(failed)

    pool = ThreadPoolExecutor(workers, thread_name_prefix='read_ahead')
    thread = threading.Thread(target=fetch, name='read_ahead', daemon=True)
    thread.start()
    try:
        while True:
            future, light = waiting.get()
            if future is None:
                return
            result = future.result()
            if not light:
                places.release()
            yield result
    finally:
        stopped.set()
        thread.join()
        pool.shutdown(cancel_futures=True)
