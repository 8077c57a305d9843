"""Seen, hidden, absent, unknown: what labels of one file are taken for, and what is said about it."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from custom_pose_ros.core.labels.raw_labels import ABSENT, HIDDEN, SEEN, UNKNOWN
from training.pose_training.labels.label_states import StateRule, state_notes

FLAGS = np.array([[2, 2, 0], [2, 1, 0], [2, 0, 0], [0, 1, 0]])  # nobody labels the third keypoint


@pytest.mark.parametrize(
    ('settings', 'wanted'),
    [
        ({}, [[SEEN, SEEN, UNKNOWN], [SEEN, HIDDEN, UNKNOWN], [SEEN, ABSENT, UNKNOWN]]),
        ({'unlabelled': 'absent'}, [[SEEN, SEEN, ABSENT], [SEEN, HIDDEN, ABSENT], [SEEN, ABSENT, ABSENT]]),
        ({'unlabelled': 'unknown'}, [[SEEN, SEEN, UNKNOWN], [SEEN, HIDDEN, UNKNOWN], [SEEN, UNKNOWN, UNKNOWN]]),
        ({'hidden': 'absent'}, [[SEEN, SEEN, UNKNOWN], [SEEN, ABSENT, UNKNOWN], [SEEN, ABSENT, UNKNOWN]]),
    ],
)
def test_the_object_file_decides_what_is_absent(dots, settings, wanted):
    rule = StateRule.of(FLAGS, dataclasses.replace(dots, **settings))
    np.testing.assert_array_equal(rule.states(FLAGS[:3]), wanted)


def test_an_object_of_which_nothing_is_seen_is_not_to_be_found(dots):
    np.testing.assert_array_equal(StateRule.of(FLAGS, dots).states(FLAGS)[3], [ABSENT, ABSENT, UNKNOWN])


def test_the_notes_name_what_is_not_seen_and_the_way_to_change_it(dots):
    absent, hidden, unknown, never, *_ = state_notes(StateRule.of(FLAGS, dots).states(FLAGS), dots)
    assert absent.startswith('learned as absent: nose (1 of 4), left (2 of 4);') and 'unlabelled: unknown' in absent
    assert 'left (1 of 4)' in hidden and 'hidden: absent' in hidden
    assert 'right (4 of 4)' in unknown and 'unlabelled: absent' in unknown
    assert never.endswith('right')
    assert state_notes(np.full((2, 3), SEEN), dots) == []


def test_a_skeleton_that_an_absent_keypoint_tears_apart_is_told(dots):
    note = state_notes(np.array([[SEEN, SEEN, SEEN], [ABSENT, SEEN, SEEN]]), dots)[1]  # the nose joins left and right
    assert note.startswith('1 of 2 objects fall apart without what is absent, such as left from right, which')
