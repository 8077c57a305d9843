"""Reading ahead keeps order, hands exceptions on, stays within its depth and ends with its reader."""

from __future__ import annotations

import threading
import time

import pytest

from custom_pose_ros.evaluation.frames.message_stream import read_ahead


def test_results_come_in_order():
    assert list(read_ahead(range(50), lambda n: n * n)) == [n * n for n in range(50)]


def test_results_come_in_order_from_several_threads_that_work_at_the_same_time():
    together = threading.Barrier(3, timeout=60.0)  # breaks unless three are in it at once

    def work(number: int) -> int:
        together.wait()
        time.sleep(0.001 * (number % 3))  # the first one of three is the last one to end
        return number

    assert list(read_ahead(range(30), work, workers=3)) == list(range(30))


def test_light_items_do_not_count_for_the_depth():
    done: list[int] = []
    results = read_ahead(range(100), lambda n: done.append(n) or n, depth=1, is_light=lambda n: n < 20)
    assert next(results) == 0
    deadline = time.monotonic() + 60.0
    while len(done) < 22 and time.monotonic() < deadline:
        time.sleep(0.005)
    time.sleep(0.05)
    assert done == list(range(22))  # all light ones and as many others as may wait besides the next result
    results.close()


def test_at_most_depth_results_are_worked_out_ahead():
    done: list[int] = []
    results = read_ahead(range(100), lambda n: done.append(n) or n, depth=3)
    assert next(results) == 0
    deadline = time.monotonic() + 60.0
    while len(done) < 4 and time.monotonic() < deadline:
        time.sleep(0.005)
    time.sleep(0.05)
    assert len(done) == 4  # the one taken and three ahead
    results.close()


def test_an_exception_comes_after_the_results_before_it():
    def work(number: int) -> int:
        if number == 3:
            raise ValueError('third')
        return number

    results = read_ahead(range(10), work)
    assert [next(results) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(ValueError, match='third'):
        next(results)


@pytest.mark.timeout(60)
def test_closing_early_ends_the_thread():
    results = read_ahead(iter(int, 1), lambda n: n)  # without end
    next(results)
    results.close()
    assert not any(thread.name.startswith('read_ahead') for thread in threading.enumerate())
