"""The charts: lines are drawn where there are frames, and nowhere else; what lies beyond the axes is told."""

import re

import numpy as np
import pytest

from custom_pose_ros.evaluation.report import charts

TIME = np.concatenate([np.arange(0.0, 1.0, 0.1), np.arange(4.0, 5.0, 0.1)])  # a hole of 3 s
COLUMNS = {'bag_time_s': TIME, 'error': 2 + np.sin(TIME), 'roll_deg': 10 * TIME, 'true_roll_deg': 10 * TIME + 1}


@pytest.mark.parametrize(
    ('chart', 'lines'),
    [
        (lambda: charts.error_over_time(COLUMNS, 'error', 'error', np.zeros(20, bool)), 1),
        (lambda: charts.angle_over_time(COLUMNS, 'roll'), 2),
        (lambda: charts.two_errors_over_time(TIME, COLUMNS['error'], COLUMNS['error'] + 1, 'error'), 2),
    ],
)
def test_a_line_is_broken_where_frames_are_missing(chart, lines):
    clipped = re.findall(r'<path d="([^"]*)" clip-path[^>]*style="fill: none', chart())
    broken = [path for path in clipped if path.count('M ') == 2]
    assert len(broken) == lines


def test_what_lies_beyond_the_axes_is_marked_and_counted():
    distance, error = np.linspace(1.0, 2.0, 100), np.r_[np.full(97, 1.0), 40.0, 60.0, 180.0]
    columns = {'distance_m': distance, 'rotation_error_deg': error, 'bag_time_s': distance}
    bins = [{'from': 1.0, 'to': None, 'median': 1.0, 'p90': 2.0}]
    assert '>3 above<' in charts.error_against(columns, 'distance_m', 'distance [m]', bins)
    error = np.r_[np.full(299, 1.0), 180.0]  # less than one in a hundred rules the axis
    columns = {'rotation_error_deg': error, 'bag_time_s': np.arange(300.0)}
    assert '>1 above<' in charts.error_over_time(columns, 'rotation_error_deg', 'error', np.zeros(300, bool))
    assert '>1 above<' in charts.two_errors_over_time(np.arange(300.0), error, np.ones(300), 'error')
    assert '>1 beyond<' in charts.paired(error, np.ones(300), 'error')
    assert ' above<' not in charts.two_errors_over_time(np.arange(300.0), np.ones(300), np.ones(300), 'error')


def test_numbers_of_frames_are_whole():
    ticks = re.findall(r'<text[^>]*>([^<]*)</text>', charts.histogram(np.array([0.1, 0.2, 0.3]), 'error'))
    assert not any('.' in tick for tick in ticks[ticks.index('error (last bar: and more)') :])  # those of both y axes
