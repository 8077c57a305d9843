"""Reading ahead: the next frames are fetched and decoded in a thread while the estimator works on this one."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

Item = TypeVar('Item')
Result = TypeVar('Result')
_END = object()


def read_ahead(items: Iterable[Item], work: Callable[[Item], Result], depth: int = 4) -> Iterator[Result]:
    """
    Yield `work(item)` of every item, in order, worked out in one thread at most `depth` results ahead.

    An exception of the thread is raised here, after the results before it. Closing the iterator ends the thread.
    """
    results: queue.Queue = queue.Queue(depth)
    stopped = threading.Event()

    def put(entry: tuple[object, BaseException | None]) -> bool:
        while not stopped.is_set():
            try:
                results.put(entry, timeout=0.1)
                return True
            except queue.Full:
                continue
        return False

    def run() -> None:
        try:
            for item in items:
                if not put((work(item), None)):
                    return
            put((_END, None))
        except BaseException as error:
            put((_END, error))

    thread = threading.Thread(target=run, name='read_ahead', daemon=True)
    thread.start()
    try:
        while True:
            result, error = results.get()
            if error is not None:
                raise error
            if result is _END:
                return
            yield result  # type: ignore[misc]
    finally:
        stopped.set()
        thread.join()
