"""Skeletons of label files, whatever number they count from."""

from __future__ import annotations

import math

import pytest

from custom_pose_ros.core.labels.categories import read_skeleton

NAMES = ('nose', 'left_eye', 'right_eye', 'left_ear', 'right_ear')
FROM_0 = 'the skeleton counts from 0, not from 1 as COCO does: read so'


@pytest.mark.parametrize(
    'stated, limbs, text',
    [
        (None, [], ''),
        ([], [], ''),
        ([[1, 2], [2, 5]], [(0, 1), (1, 4)], ''),
        ([[1, 2], [2, 1], [3, 3]], [(0, 1)], ''),
        ([[0, 1], [1, 3]], [(0, 1), (1, 3)], FROM_0),
        ([[0.0, 4.0]], [(0, 4)], FROM_0),
        ([['nose', 'left_eye'], ['nose', 'right_eye']], [(0, 1), (0, 2)], ''),
        ([[1, 2], [1, 3]], [(0, 1), (0, 2)], ''),  # alike on both sides when counted from 1
        ([[1, 3], [2, 4]], [(1, 3), (2, 4)], 'the skeleton counts from 0: only then both sides have the same limbs'),
        ([[1, 2], [1, 6]], [], 'the skeleton is not used: it joins keypoints 1 to 6 of 5'),  # as in CrowdPose
        ([[0, 1], [1, 5]], [], 'the skeleton is not used: it joins keypoints 0 to 5 of 5'),
        ([[-1, 2]], [], 'the skeleton is not used: it joins keypoints -1 to 2 of 5'),
        ([[1, 2, 3]], [], 'the skeleton is not used: [1, 2, 3] is not a pair of keypoints'),
        ([[1, 2.5]], [], 'the skeleton is not used: [1, 2.5] is not'),
        ([[1, math.nan]], [], 'the skeleton is not used: [1, nan] is not'),
        ([[True, 2]], [], 'the skeleton is not used: [True, 2] is not'),
        ([['nose', 'tail']], [], "the skeleton is not used: ['nose', 'tail'] is not"),
        ({'joints': [[1, 2]]}, [], 'the skeleton is not used: '),
    ],
)
def test_a_skeleton_is_read_from_the_number_that_it_counts_from(stated, limbs, text):
    read, said = read_skeleton(stated, NAMES)
    assert read == limbs
    assert said.startswith(text) and bool(said) == bool(text)
