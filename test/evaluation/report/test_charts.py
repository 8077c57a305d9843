"""The charts: lines are drawn where there are frames, and nowhere else."""

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
