"""What a run says at its end: both errors, what would lower them, and that upright objects are learned for any turn."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from custom_pose_ros.core.labels.raw_labels import SEEN
from training.pose_training.judging.accuracy import Accuracy
from training.pose_training.labels.coco import read_dataset
from training.pose_training.learning.log import Heartbeat, advice, turn_note, turns_deg


def accuracy_of(error_px, count=12):
    errors = np.full((count, 3), error_px)
    seen = np.full(errors.shape, SEEN)
    return Accuracy(
        errors,
        np.full(count, 100.0),
        np.arange(count),
        np.zeros(count, bool),
        0,
        seen,
        np.where(np.isfinite(errors), 0.9, np.nan),
    )


@pytest.mark.parametrize(
    ('own', 'other', 'steps', 'wanted'),
    [
        (1.2, accuracy_of(3.0), 2000, 'more and more varied pictures help most'),
        (3.0, accuracy_of(3.1), 2000, 'training longer helps most (--minutes, --steps)'),  # 2.7 px of the input
        (1.0, accuracy_of(1.1), 400, 'training longer helps most (--minutes, --steps)'),
        (1.0, accuracy_of(1.1), 2000, '0.89 px of its input of 64 px: a larger one helps most'),
        (3.0, accuracy_of(9.0, 2), 2000, 'longer helps most (--minutes, --steps); more images to validate on'),
        (1.2, accuracy_of(np.inf), 2000, 'more and more varied pictures help most'),
        (3.0, None, 2000, 'longer helps most (--minutes, --steps); more images to validate on'),
    ],
)
def test_both_errors_and_what_would_lower_them(dots_folder, dots, own, other, steps, wanted):
    lines = advice(accuracy_of(own), other, read_dataset(dots_folder, dots), steps, dots.input_height)
    assert lines[0].startswith(f'mean error on 8 images that it learned from: {own:.2f} px')
    assert ('to validate on' in lines[0]) == (other is not None)
    assert wanted in lines[1] and not any(word in ' '.join(lines) for word in ('nan', ' inf '))


def test_a_network_that_finds_nothing_is_to_be_trained_longer(dots_folder, dots):
    (line,) = advice(accuracy_of(np.inf), None, read_dataset(dots_folder, dots), 5, 64)
    assert 'nothing is found' in line and 'train longer' in line


def test_upright_objects_are_told(dots_folder, dots):
    images = read_dataset(dots_folder, dots) * 2
    assert abs(turns_deg(images, dots)).max() < 1e-6
    note = turn_note([images], dots, 180.0)
    assert 'at most 0 deg' in note and '--rotation 45' in note
    assert turn_note([images], dots, 45.0) is None
    angle = np.deg2rad(50)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    turned = replace(images[0], keypoints=images[0].keypoints @ turn.T)
    assert abs(turns_deg([*images, turned], dots)).max() == pytest.approx(50, abs=4)  # the mean moves a little
    assert turn_note([[*images, turned]], dots, 180.0) is None
    assert turn_note([images], replace(dots, skeleton=()), 180.0) is None  # nothing tells how it is turned


def test_silence_is_broken(monkeypatch):
    monkeypatch.setattr('training.pose_training.learning.log._QUIET_S', 0.1)
    lines = []
    with Heartbeat('reading the images', lines.append) as heart:
        heart._ended.wait(0.5)
        heart.begin('step 7')
        heart._ended.wait(0.5)
    assert lines[0].startswith('reading the images: ') and lines[-1].startswith('step 7: ')
    assert lines[-1].endswith(' s so far')
