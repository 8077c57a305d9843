"""Times of several pieces of work, taken in turns, so that what else the machine does meets all of them alike."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

IN_A_ROW = 3

Work = Callable[[], object]
Times = dict[str, np.ndarray]  # name -> seconds of each round


def interleaved(works: Mapping[str, Work], rounds: int) -> Times:
    """
    Return what each piece of work takes in each round.

    In a round each runs some times in a row and the median counts, without the first: that one finds the caches as the
    others left them, and their threads still waiting for more.
    """
    times: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(rounds):
        for name, work in works.items():
            work()
            times[name].append(float(np.median([seconds_of(work) for _ in range(IN_A_ROW)])))
    return {name: np.array(values) for name, values in times.items()}


def seconds_of(work: Work) -> float:
    """Return how long the work takes."""
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin


def spread(seconds: Sequence[float] | np.ndarray) -> dict[str, Any]:
    """Return median, 10th and 90th percentile in ms, and how many times were taken."""
    p10, median, p90 = (1e3 * np.percentile(seconds, (10, 50, 90))).round(4).tolist()
    return {'median_ms': median, 'p10_ms': p10, 'p90_ms': p90, 'count': len(seconds)}


def ratio(ours: np.ndarray, theirs: np.ndarray) -> dict[str, float]:
    """Return how many times longer theirs takes: median, 10th and 90th percentile of the rounds' ratios."""
    p10, median, p90 = np.percentile(theirs / ours, (10, 50, 90)).round(3).tolist()
    return {'median': median, 'p10': p10, 'p90': p90}
