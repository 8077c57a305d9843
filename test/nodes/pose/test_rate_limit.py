"""Tests of custom_pose_ros.nodes.pose.rate_limit: never more than asked for, and no frame lost to jitter."""

from __future__ import annotations

import numpy as np
import pytest

from custom_pose_ros.nodes.pose.rate_limit import RateLimit

DURATION_S = 20.0


def admitted(rate_hz: float, arrivals: np.ndarray) -> int:
    limit = RateLimit()
    return sum(limit.admits(now, rate_hz) for now in arrivals.tolist())


@pytest.mark.parametrize(
    ('camera_hz', 'rate_hz', 'expected_hz'),
    [(30, 0.0, 30), (30, 30, 30), (30, 100, 30), (30, 15, 15), (30, 10, 10), (30, 20, 20), (30, 1, 1)],
)
@pytest.mark.parametrize('jitter', [0.0, 0.1])
def test_a_camera_is_taken_down_to_the_rate(camera_hz, rate_hz, expected_hz, jitter) -> None:
    rng = np.random.default_rng(0)
    arrivals = np.arange(round(DURATION_S * camera_hz)) / camera_hz
    arrivals = arrivals + rng.uniform(-jitter, jitter, arrivals.shape) / camera_hz
    count = admitted(rate_hz, arrivals)
    assert abs(count - expected_hz * DURATION_S) <= 1 + 0.05 * expected_hz * DURATION_S
    if rate_hz:
        assert count <= rate_hz * DURATION_S + 1


def test_after_a_pause_the_next_message_is_taken_and_the_missed_ones_are_not_made_up_for() -> None:
    limit = RateLimit()
    assert limit.admits(0.0, 10.0)
    assert limit.admits(5.0, 10.0)
    assert not limit.admits(5.01, 10.0)
    assert not limit.admits(5.04, 10.0)
    assert limit.admits(5.1, 10.0)


def test_a_higher_rate_holds_at_once() -> None:
    limit = RateLimit()
    assert limit.admits(0.0, 0.01)
    assert not limit.admits(1.0, 0.01)
    assert limit.admits(2.0, 10.0)
