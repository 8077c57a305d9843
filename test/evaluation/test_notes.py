"""Remarks: each once, in order, counted where that tells something."""

from __future__ import annotations

from custom_pose_ros.core.limits import MAX_NOTES
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


def test_a_bag_of_which_every_message_is_wrong_in_other_words_does_not_fill_the_memory():
    """The encodings that a damaged bag names may be any letters; they once were all kept."""
    notes = Notes()
    for number in range(MAX_NOTES + 500):
        words = ''.join(chr(ord('a') + int(digit)) for digit in str(number))
        notes.damage(f'/image: encoding {words!r} is not known', counted=True)
    assert len(notes.lines()) == MAX_NOTES + 1
    assert notes.lines()[-1] == 'further remarks are left out (500 times)'
