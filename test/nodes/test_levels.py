"""Tests of custom_pose_ros.nodes.levels: what is shown while a condition comes and goes."""

from __future__ import annotations

from diagnostic_msgs.msg import DiagnosticStatus

from custom_pose_ros.nodes.levels import HOLD_S, SteadyLevel

OK, WARN, ERROR, STALE = DiagnosticStatus.OK, DiagnosticStatus.WARN, DiagnosticStatus.ERROR, DiagnosticStatus.STALE


def test_worse_comes_at_once_and_better_by_steps() -> None:
    now = [100.0]
    level = SteadyLevel(lambda: now[0])
    assert level.settle(OK, 'running') == (OK, 'running')
    assert level.settle(STALE, 'no input for 20 s') == (STALE, 'no input for 20 s')
    assert level.settle(ERROR, 'refused') == (ERROR, 'refused')
    now[0] += 2.0
    assert level.settle(OK, 'running') == (WARN, 'running; until 2 s ago: refused')
    now[0] += HOLD_S - 2.0
    assert level.settle(OK, 'running') == (OK, 'running')
    assert level.settle(OK, 'running') == (OK, 'running')


def test_a_condition_that_comes_and_goes_is_one_warning() -> None:
    now = [0.0]
    level = SteadyLevel(lambda: now[0])
    shown = []
    for second in range(60):
        now[0] = float(second)
        shown.append(level.settle(WARN if second % 4 == 0 else OK, 'x')[0])
    assert set(shown) == {WARN}
