"""Times of several pieces of work, taken in turns, so that what else the machine does meets all of them alike."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

Work = Callable[[], object]
Times = dict[str, np.ndarray]  # name -> seconds of each round


def interleaved(works: Mapping[str, Work], rounds: int) -> Times:
    """Run each piece of work once in every round, after one round that does not count; return its times."""
    times: dict[str, list[float]] = {name: [] for name in works}
    for turn in range(rounds + 1):
        for name, work in works.items():
            begin = time.perf_counter()
            work()
            if turn:
                times[name].append(time.perf_counter() - begin)
    return {name: np.array(values) for name, values in times.items()}


def spread(seconds: Sequence[float] | np.ndarray) -> dict[str, Any]:
    """Return median, 10th and 90th percentile in ms, and how many times were taken."""
    p10, median, p90 = (1e3 * np.percentile(seconds, (10, 50, 90))).round(4).tolist()
    return {'median_ms': median, 'p10_ms': p10, 'p90_ms': p90, 'count': len(seconds)}


def ratio(ours: np.ndarray, theirs: np.ndarray) -> dict[str, float]:
    """Return how many times longer theirs takes: median, 10th and 90th percentile of the rounds' ratios."""
    p10, median, p90 = np.percentile(theirs / ours, (10, 50, 90)).round(3).tolist()
    return {'median': median, 'p10': p10, 'p90': p90}
