"""What is said of an analysis."""

from __future__ import annotations

import numpy as np

from custom_pose_ros.core.orientation.observability import Change
from custom_pose_ros.tools.object_analysis import Analysis, format_changes


def test_a_candidate_that_does_not_help_is_not_called_better():
    changes = [
        Change(name, True, np.zeros(3), 0.1, np.zeros((5, 3)), 1.0, candidate=True) for name in ('mast', 'lamp', 'far')
    ]
    now, *then = ({'fitting': 1.0, 'rotation_with_wrong_choice_deg': deg, 'ambiguous': 0.5} for deg in (48, 5, 48, 126))
    analysis = Analysis(np.array([4.0]), [now], changes, [[errors] for errors in then])
    lines = format_changes(analysis).splitlines()
    assert [line.split(', at')[0] for line in lines[1:]] == ['  add mast', 'Not better:', '  add lamp', '  add far']
    assert lines[0] == 'At 4 m the rotation error, wrong choices included, is 48.0 deg. Better:'
    alone = Analysis(analysis.distances, [now], changes[2:], analysis.changed_errors[2:])
    assert format_changes(alone).startswith(lines[0].replace('Better', 'Not better'))
