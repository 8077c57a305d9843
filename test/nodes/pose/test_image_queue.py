"""Tests of custom_pose_ros.nodes.pose.image_queue: newest frame wins, closing wakes the worker, the rate limit."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from custom_pose_ros.nodes.pose.image_queue import Cadence, NewestFrames, RateLimit

DURATION_S = 20.0


def test_the_newest_frame_of_each_camera_is_taken_once() -> None:
    frames = NewestFrames()
    assert [frames.put('front', 1), frames.put('front', 2), frames.put('down', 9)] == [False, True, False]
    assert frames.take() == {'front': 2, 'down': 9}
    assert frames.put('front', 3) is False  # nothing waited any more
    assert frames.take() == {'front': 3}


def test_a_waiting_worker_gets_the_next_frame() -> None:
    frames, taken = NewestFrames(), []
    worker = threading.Thread(target=lambda: taken.append(frames.take()))
    worker.start()
    frames.put('', 'image')
    worker.join(10)
    assert taken == [{'': 'image'}]


def test_closing_ends_every_wait_also_later_ones() -> None:
    frames, taken = NewestFrames(), []
    worker = threading.Thread(target=lambda: taken.append(frames.take()))
    worker.start()
    frames.close()
    worker.join(10)
    assert taken == [None]
    frames.put('', 'late')
    assert frames.take() is None


def test_no_frame_is_lost_uncounted_between_threads() -> None:
    frames, total = NewestFrames(), 5000
    taken, dropped = [], 0

    def work() -> None:
        while (waiting := frames.take()) is not None:
            taken.append(waiting[''])

    worker = threading.Thread(target=work)
    worker.start()
    for number in range(total):
        dropped += frames.put('', number)
    done = threading.Event()
    while not done.wait(0.001) and (not taken or taken[-1] != total - 1):
        assert worker.is_alive()
    frames.close()
    worker.join(10)
    assert len(taken) + dropped == total
    assert taken == sorted(taken)


def cadence(*times_s: float) -> Cadence:
    result = Cadence()
    for time_s in times_s:
        result.add(time_s)
    return result


@pytest.mark.parametrize(
    ('age_ms', 'wait_ms'),
    [
        (0, 0),  # just come: an idle worker never waits
        (1, 0),  # 1 ms old, the next one in 9
        (2, 8 + 2.5),  # a quarter of a period longer, as cameras are not exact
        (9, 1 + 2.5),
        (11, 0),  # the next one is late: who knows when it comes
    ],
)
def test_at_100_hz_a_frame_that_has_waited_is_left_for_the_next(age_ms, wait_ms) -> None:
    camera = cadence(10.0, 10.01, 10.02)
    assert camera.worth_waiting_s(10.02 + 1e-3 * age_ms) == pytest.approx(1e-3 * wait_ms, abs=1e-9)


def test_slow_cameras_are_not_waited_for_long() -> None:
    camera = cadence(10.0, 10.2, 10.4)
    assert camera.worth_waiting_s(10.58) == 0.0  # 20 ms more
    assert camera.worth_waiting_s(10.592) == pytest.approx(0.008 + 0.05)


def test_what_never_came_twice_has_no_period() -> None:
    assert cadence(10.0).worth_waiting_s(10.01) == 0.0


def test_the_period_follows_a_camera_that_slows_down() -> None:
    camera = cadence(*(0.01 * i for i in range(1, 10)), *(0.09 + 0.03 * i for i in range(1, 30)))
    assert camera.worth_waiting_s(0.96 + 0.022) == pytest.approx(0.008 + 0.25 * 0.03, abs=1e-4)


@pytest.fixture
def patient(monkeypatch) -> NewestFrames:
    """A queue whose next frame is always worth a minute."""
    monkeypatch.setattr(Cadence, 'worth_waiting_s', lambda self, now_s: 60.0)
    return NewestFrames()


def test_the_frame_that_is_waited_for_replaces_the_older_one(patient) -> None:
    taken = []
    patient.put('', 'older')
    worker = threading.Thread(target=lambda: taken.append(patient.take()))
    worker.start()
    worker.join(0.05)
    assert worker.is_alive()
    assert patient.put('', 'fresh') is True  # which drops the older one, counted as ever
    worker.join(10)
    assert taken == [{'': 'fresh'}]


def test_closing_ends_this_wait_too(patient) -> None:
    taken = []
    patient.put('', 'older')
    worker = threading.Thread(target=lambda: taken.append(patient.take()))
    worker.start()
    patient.close()
    worker.join(10)
    assert taken == [None]


def test_several_cameras_are_never_waited_for(patient) -> None:
    patient.put('front', 1)
    patient.put('down', 2)
    assert patient.take() == {'front': 1, 'down': 2}
    patient.put('front', 3)
    assert patient.take() == {'front': 3}


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
