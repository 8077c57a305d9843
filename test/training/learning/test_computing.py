"""Threads by measured time, and how long a run will take."""

from __future__ import annotations

import pytest
import torch

from training.pose_training.learning.computing import Pace


@pytest.fixture
def two_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize(('two_s', 'trials', 'kept'), [(8.0, 2, 1), (1.7, 3, 1), (0.9, 3, 2)])
def test_the_faster_number_of_threads_is_kept(two_threads, two_s, trials, kept):
    """Two threads took 8 s a step on a busy computer, one 1.6 s; what is so slow is not tried a third time."""
    seconds = {1: 1.6, 2: two_s}
    pace, used = Pace(choose=True), []
    for _ in range(20):
        pace.before_step()
        used.append(torch.get_num_threads())
        told = pace.after_step(seconds[used[-1]] + (10 if len(used) in (1, 4) else 0))  # a change of threads costs time
        assert (told is not None) == (len(used) == 20)
    assert used == [1] * 3 + [2] * trials + [kept] * (17 - trials)


def test_a_computer_that_becomes_busy_is_noticed(two_threads):
    """Two threads are faster at first; when they take eight times as long, one thread is found after a few steps."""
    pace, used = Pace(choose=True), []
    for step in range(40):
        seconds = {1: 1.6, 2: 1.0 if step < 20 else 8.0}
        pace.before_step()
        used.append(torch.get_num_threads())
        pace.after_step(seconds[used[-1]])
    # three of the last five steps must have been slow before it counts; then three trials with one, two with two
    assert used == [1] * 3 + [2] * 3 + [2] * 17 + [1] * 3 + [2] * 2 + [1] * 12


def test_a_given_number_of_threads_stays(two_threads):
    pace = Pace(choose=False)
    for _ in range(30):
        pace.before_step()
        pace.after_step(1.0)
        assert torch.get_num_threads() == 2
