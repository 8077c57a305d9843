"""Reading ahead: threads work on the next items while the caller uses the result of this one."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar('Item')
Result = TypeVar('Result')
_MAX_WAITING = 256  # results, light ones included


def read_ahead(
    items: Iterable[Item],
    work: Callable[[Item], Result],
    workers: int = 1,
    depth: int = 4,
    is_light: Callable[[Item], bool] = lambda item: False,
) -> Iterator[Result]:
    """
    Yield `work(item)` of every item, in order, worked out by `workers` threads at most `depth` items ahead.

    Those that `is_light` names do not count for the depth: they are small. An exception of `work` is raised in its
    place in the order. Closing the iterator ends the threads.
    """
    waiting: deque[tuple[Future[Result], int]] = deque()
    ahead = 0
    pool = ThreadPoolExecutor(workers, thread_name_prefix='read_ahead')
    try:
        for item in items:
            weight = 0 if is_light(item) else 1
            waiting.append((pool.submit(work, item), weight))
            ahead += weight
            while ahead > depth or len(waiting) > _MAX_WAITING:
                future, weight = waiting.popleft()
                ahead -= weight
                yield future.result()
        while waiting:
            yield waiting.popleft()[0].result()
    finally:
        pool.shutdown(cancel_futures=True)
