"""Pairs of nearest instances by value."""

from __future__ import annotations

import numpy as np
import pytest

from custom_pose_ros.core.keypoints.matching import nearest_pairs

NONE = [np.inf, np.nan]


@pytest.mark.parametrize(
    ('distances', 'pairs'),
    [
        ([[3.0, 1.0], [1.5, 1.2]], [(0, 1), (1, 0)]),  # the second row would rather have the column that is gone
        ([[1.0, 1.0], [1.0, 1.0]], [(0, 0), (1, 1)]),
        ([NONE, [np.nan, 2.0]], [(1, 1)]),
        ([NONE, NONE], []),
        (np.zeros((0, 3)), []),
        (np.zeros((3, 0)), []),
    ],
)
def test_the_nearest_come_first_and_each_once(distances, pairs):
    assert nearest_pairs(np.array(distances)) == pairs
