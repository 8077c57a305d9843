"""Tests of custom_pose_ros.nodes.ros.diagnostics: rates, percentiles and verdicts over a clock that the test sets."""

from __future__ import annotations

import math

import pytest
from diagnostic_msgs.msg import DiagnosticStatus

from custom_pose_ros.nodes.ros.diagnostics import (
    HOLD_S,
    SILENT_AFTER_S,
    STALE_AFTER_S,
    WINDOW_S,
    LevelHysteresis,
    Statistics,
)

OK, WARN, ERROR, STALE = DiagnosticStatus.OK, DiagnosticStatus.WARN, DiagnosticStatus.ERROR, DiagnosticStatus.STALE


class Clock:
    """A clock that goes when it is told to."""

    now_s = 50.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def statistics(clock: Clock) -> Statistics:
    return Statistics(clock)


def rows(statistics: Statistics) -> dict[str, str]:
    return {pair.key: pair.value for pair in statistics.status('n', 'h', {}).values}


def verdict(statistics: Statistics) -> tuple[bytes, str]:
    status = statistics.status('n', 'h', {})
    return status.level, status.message


def run(statistics: Statistics, clock: Clock, frames: int, period_s: float = 0.1, latency_s: float = 0.02) -> None:
    for _ in range(frames):
        clock.now_s += period_s
        statistics.received()
        statistics.processed(latency_s, latency_s / 2)


def test_the_status_carries_name_hardware_and_the_nodes_own_rows(statistics: Statistics) -> None:
    status = statistics.status('pose_node: pose estimation', 'submarine', {'backend': 'onnxruntime'})
    assert (status.name, status.hardware_id) == ('pose_node: pose estimation', 'submarine')
    assert {pair.key: pair.value for pair in status.values}['backend'] == 'onnxruntime'


def test_rate_and_percentiles_are_about_the_last_seconds(statistics: Statistics, clock: Clock) -> None:
    run(statistics, clock, 100, latency_s=5.0)  # 10 s at 10 Hz, slow
    rows(statistics)
    for _ in range(int(WINDOW_S) + 2):
        run(statistics, clock, 20, period_s=0.05, latency_s=0.02)
        read = rows(statistics)
    assert read['rate [Hz]'] == '20.0'
    assert (read['latency p50 [ms]'], read['latency p95 [ms]']) == ('20.0', '20.0')
    assert read['processing p50 [ms]'] == '10.0'
    assert (read['received'], read['processed']) == ('340', '340')


def test_percentiles_are_those_of_the_latencies(statistics: Statistics, clock: Clock) -> None:
    for latency_ms in range(101):
        run(statistics, clock, 1, period_s=0.01, latency_s=latency_ms / 1000)
    read = rows(statistics)
    assert (read['latency p50 [ms]'], read['latency p95 [ms]']) == ('50.0', '95.0')


@pytest.mark.parametrize('latency_s', [1e9, -1e9, math.nan])
def test_stamps_of_another_clock_give_no_latency(statistics: Statistics, clock: Clock, latency_s: float) -> None:
    run(statistics, clock, 5, latency_s=latency_s)
    assert rows(statistics)['latency p95 [ms]'] == 'unknown'


def test_verdicts(statistics: Statistics, clock: Clock) -> None:
    assert verdict(statistics) == (WARN, 'no input yet')
    run(statistics, clock, 10)
    assert verdict(statistics) == (OK, 'running')
    clock.now_s += SILENT_AFTER_S + 2.0
    assert verdict(statistics) == (WARN, 'no input for 5 s')
    clock.now_s += STALE_AFTER_S
    assert verdict(statistics) == (STALE, 'no input for 15 s')
    run(statistics, clock, 1)
    assert verdict(statistics) == (WARN, 'running; until 0 s ago: no input for 15 s')
    run(statistics, clock, int(HOLD_S / 0.1) + 1)
    assert verdict(statistics) == (OK, 'running')


def test_a_silence_is_explained_once_it_is_one(statistics: Statistics, clock: Clock) -> None:
    def said() -> str:
        return statistics.status('n', 'h', {}, silence=lambda: 'nobody publishes /image').message

    assert said() == 'no input yet'
    clock.now_s += SILENT_AFTER_S + 1.0
    assert said() == 'no input yet: nobody publishes /image'
    run(statistics, clock, 1)
    clock.now_s += SILENT_AFTER_S + 1.0
    assert said() == 'no input for 4 s: nobody publishes /image'


def test_a_message_without_an_answer_is_an_error(statistics: Statistics, clock: Clock) -> None:
    run(statistics, clock, 3)
    for _ in range(60):  # a model that hangs while frames go on
        clock.now_s += 0.1
        statistics.received(dropped=True)
    level, message = verdict(statistics)
    assert (level, message[: message.index(';')]) == (ERROR, 'no answer for 6 s to what has come')
    assert rows(statistics)['since last result [s]'] == '6.0'


def test_a_slow_camera_or_rate_limit_is_no_missing_answer(statistics: Statistics, clock: Clock) -> None:
    run(statistics, clock, 3, period_s=2.9)
    for _ in range(70):
        clock.now_s += 0.1
        statistics.received(skipped=True)
    assert verdict(statistics) == (OK, 'running')


def test_other_problems_are_warnings_and_all_of_them_are_told(statistics: Statistics, clock: Clock) -> None:
    run(statistics, clock, 3)
    statistics.failed('bad')
    status = statistics.status('n', 'h', {}, ['hot', 'twin'])
    assert (status.level, status.message) == (WARN, '1 messages refused: bad; hot; twin')


def test_refused_messages_are_a_warning_and_nothing_else_an_error(statistics: Statistics, clock: Clock) -> None:
    for _ in range(3):
        statistics.received()
        statistics.failed('encoding unknown')
    assert verdict(statistics) == (ERROR, '3 messages refused: encoding unknown')
    assert rows(statistics)['last error'] == 'encoding unknown'
    run(statistics, clock, 1)
    assert verdict(statistics) == (WARN, '3 messages refused: encoding unknown')
    for _ in range(int(WINDOW_S + HOLD_S) + 2):
        run(statistics, clock, 10)
        last = verdict(statistics)
    assert last == (OK, 'running')
    assert rows(statistics)['errors'] == '3'  # the total stays


def test_the_warning_about_dropped_frames_does_not_flicker(statistics: Statistics, clock: Clock) -> None:
    levels = []
    for second in range(60):  # 12 % and 8 % dropped in turn, then none
        for number in range(100):
            clock.now_s += 0.01
            dropped = number < (0 if second > 40 else 12 if second % 2 else 8)
            statistics.received(dropped=dropped)
            if not dropped:
                statistics.processed(0.01, 0.01)
        levels.append(verdict(statistics)[0])
    changes = [number for number, (now, then) in enumerate(zip(levels[1:], levels)) if now != then]
    assert len(changes) <= 2
    assert (levels[20], levels[-1]) == (WARN, OK)


def test_dropped_frames_are_told_when_they_are_many(statistics: Statistics, clock: Clock) -> None:
    for number in range(20):
        clock.now_s += 0.05
        statistics.received(dropped=number % 2 == 1)
        if number % 2 == 0:
            statistics.processed(0.01, 0.01)
    level, message = verdict(statistics)
    assert (level, message.partition(' of the ')[0]) == (WARN, '50 %')
    assert rows(statistics)['dropped'] == '10'
    assert (statistics.counts.received, statistics.counts.dropped) == (20, 10)


def test_worse_comes_at_once_and_better_by_steps() -> None:
    now = [100.0]
    level = LevelHysteresis(lambda: now[0])
    assert level.settle(WARN, 'no input yet') == (WARN, 'no input yet')
    assert level.settle(OK, 'running') == (OK, 'running')  # at once, the first time
    assert level.settle(STALE, 'no input for 20 s') == (STALE, 'no input for 20 s')
    assert level.settle(ERROR, 'refused') == (ERROR, 'refused')
    now[0] += 2.0
    assert level.settle(OK, 'running') == (WARN, 'running; until 2 s ago: refused')
    now[0] += HOLD_S - 2.0
    assert level.settle(OK, 'running') == (OK, 'running')
    assert level.settle(OK, 'running') == (OK, 'running')


def test_a_condition_that_comes_and_goes_is_one_warning() -> None:
    now = [0.0]
    level = LevelHysteresis(lambda: now[0])
    level.settle(OK, 'x')
    shown = []
    for second in range(60):
        now[0] = float(second)
        shown.append(level.settle(WARN if second % 4 == 0 else OK, 'x')[0])
    assert set(shown) == {WARN}
