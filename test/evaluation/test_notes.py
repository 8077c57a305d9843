"""Remarks: each once, in order, counted where that tells something."""

from __future__ import annotations

from custom_pose_ros.evaluation.notes import Notes


def test_remarks_are_kept_once_in_order_and_counted_where_wanted():
    notes = Notes()
    notes.info('a choice')
    for _ in range(3):
        notes.damage('a lost message', counted=True)
        notes.damage('a cut file')
    assert notes.lines() == ['a choice', 'a lost message (3 times)', 'a cut file']
    assert notes.lines(damaged=True) == ['a lost message (3 times)', 'a cut file']
    assert notes.lines(damaged=False) == ['a choice']
    assert notes.damaged


def test_information_alone_is_no_damage():
    notes = Notes()
    notes.info('a choice')
    assert not notes.damaged and not Notes().damaged


def test_what_differs_only_in_numbers_is_counted_together():
    notes = Notes()
    for size in (512, 600, 77):
        notes.damage(f'/cam1: an image of {size} bytes is cut off', counted=True)
    notes.damage('/cam2: an image of 512 bytes is cut off', counted=True)
    assert notes.lines() == [
        '/cam1: an image of 512 bytes is cut off (3 times)', '/cam2: an image of 512 bytes is cut off'
    ]  # fmt: skip
