"""Tests of nodes.ros.loss_counter: losses by numbers, reports and stamps, over streams with known losses."""

from __future__ import annotations

import numpy as np
import pytest

from custom_pose_ros.nodes.ros.loss_counter import WINDOW_S, LossCounter

PERIOD_NS = 33_333_333


class Clock:
    """A clock that goes when it is told to."""

    now_s = 7.0

    def __call__(self) -> float:
        return self.now_s


def test_gaps_in_the_numbers_are_losses_for_each_publisher() -> None:
    losses = LossCounter()
    for publisher, number in [('a', 5), ('b', 100), ('a', 6), ('b', 104), ('a', 9), ('a', 1), ('a', 2)]:
        losses.arrived(0, publisher, number)
    assert losses.lost == 3 + 2  # a started anew at 1: nothing is known about what it sent before
    assert (losses.received, losses.overwritten) == (7, 0)


def test_what_dds_reports_counts_also_when_nothing_comes() -> None:
    losses = LossCounter()
    losses.reports = True
    losses.reported_lost(40)
    assert (losses.lost, losses.shares()) == (40, (1.0, 0.0))


def test_a_gap_that_dds_does_not_report_was_overwritten() -> None:
    losses = LossCounter()
    losses.reports = True
    losses.arrived(0, 'a', 1)
    losses.reported_lost(2)
    losses.arrived(0, 'a', 7)  # two of five are lost
    assert (losses.lost, losses.overwritten) == (2, 3)
    assert losses.shares() == (pytest.approx(2 / 7), pytest.approx(3 / 7))


@pytest.mark.parametrize('lost', [0.0, 0.3, 0.6, 0.8])
@pytest.mark.parametrize('jitter_ns', [0, 3_000_000])
def test_without_numbers_the_stamps_tell(lost: float, jitter_ns: int) -> None:
    random = np.random.default_rng(3)
    kept = np.flatnonzero(random.random(2000) >= lost)
    losses = LossCounter()
    for index in kept:
        losses.arrived(int(index * PERIOD_NS + random.normal(0, jitter_ns)))
    missing = kept[-1] - kept[0] + 1 - len(kept)
    # the first steps, before there is a period, are not counted: 10 of them, each 1 / (1 - lost) periods long
    assert losses.lost == pytest.approx(missing, abs=0.02 * missing + 12 / (1 - lost))
    assert losses.period_s == pytest.approx(1e-9 * PERIOD_NS, rel=0.02)


def test_a_camera_that_changes_its_rate_or_stands_still_loses_little() -> None:
    losses, stamp = LossCounter(), 0
    for step_ns in [PERIOD_NS] * 100 + [2 * PERIOD_NS] * 200 + [30 * 10**9] + [2 * PERIOD_NS] * 100:
        stamp += step_ns
        losses.arrived(stamp)
    # until the new rate makes the old steps leave it looks like losses: about 57 of 60, then no more
    assert losses.lost == pytest.approx(57, abs=3)


@pytest.mark.parametrize('stamps', [[0] * 50, list(range(50, 0, -1)), [-(10**18), 10**18] * 20])
def test_stamps_that_say_nothing_are_no_losses(stamps: list[int]) -> None:
    losses = LossCounter()
    for stamp in stamps:
        losses.arrived(stamp)
    assert losses.lost == 0


def test_the_share_is_about_the_last_seconds() -> None:
    clock = Clock()
    losses = LossCounter(clock)
    for number in range(0, 40, 2):
        losses.arrived(0, 'a', number)
    assert losses.shares()[0] == pytest.approx(19 / 39)
    for number in range(39, 139):
        clock.now_s += 0.3
        losses.arrived(0, 'a', number)
        share = losses.shares()[0]
    assert share == 0.0
    assert WINDOW_S < 100 * 0.3
