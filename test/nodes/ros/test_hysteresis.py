"""Tests of custom_pose_ros.nodes.ros.hysteresis: what is shown and said while a condition comes and goes."""

from __future__ import annotations

from diagnostic_msgs.msg import DiagnosticStatus

from custom_pose_ros.nodes.ros.hysteresis import HOLD_S, REPEAT_S, LevelHysteresis, ThrottledLog

OK, WARN, ERROR, STALE = DiagnosticStatus.OK, DiagnosticStatus.WARN, DiagnosticStatus.ERROR, DiagnosticStatus.STALE


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


def test_a_problem_that_stays_is_said_now_and_then() -> None:
    now, said = [0.0], []
    reminders = ThrottledLog(said.append, lambda: now[0])
    for second in range(int(2 * REPEAT_S)):
        now[0] = float(second)
        reminders.say(f'no input for {second} s')
        if second == 3:
            reminders.say('hot')
    assert said == ['no input for 0 s', 'hot', f'no input for {REPEAT_S:.0f} s']
