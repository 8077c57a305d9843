"""Images of a run: crops that hold the objects, validation images set aside by seed and never trained on."""

from __future__ import annotations

import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from training_samples import settings_for

from custom_pose_ros.core.errors import DatasetError
from custom_pose_ros.core.labels.raw_labels import ABSENT, SEEN
from training.pose_training.labels.coco import LabelledImage
from training.pose_training.learning.run_settings import default_crop, load_sources


@pytest.mark.parametrize(('size_px', 'wanted'), [(100, 256), (300, 384), (700, 448)])
def test_samples_hold_the_objects_and_are_no_larger(size_px, wanted):
    points = np.array([[[0, 0], [size_px, 50], [900, 900]]], float)
    states = np.array([[SEEN, SEEN, ABSENT]])
    image = LabelledImage(Path('a'), 640, 448, points, states, np.zeros((1, 4)), np.zeros((0, 4)))
    empty = LabelledImage(Path('b'), 640, 448, points[:0], states[:0], np.zeros((0, 4)), np.zeros((0, 4)))
    assert default_crop([[image], [empty]], 448) == wanted
    assert default_crop([[empty]], 448) == 256


def test_validation_images_are_set_aside_by_seed(dots_folder, dots):
    sources, validation = load_sources(settings_for(dots_folder), dots)
    again = load_sources(settings_for(dots_folder), dots)[1]
    other = load_sources(settings_for(dots_folder, seed=5), dots)[1]
    assert (len(sources[0]), len(validation)) == (6, 2)
    assert not {i.path for i in sources[0]} & {i.path for i in validation}
    assert [i.path for i in again] == [i.path for i in validation] != [i.path for i in other]


def test_validating_on_copies_of_training_images_is_told(dots_folder, dots, tmp_path, capsys):
    copies = tmp_path / 'copies'
    shutil.copytree(dots_folder, copies)
    for file in (copies / 'images').iterdir():
        number = int(file.stem)
        other = np.random.default_rng(number).integers(0, 255, (9, 12, 3), np.uint8)
        image = cv2.imread(str(file)) if number < 3 else cv2.resize(other, (96, 72))
        cv2.imwrite(str(file), cv2.convertScaleAbs(image, alpha=1.1, beta=5))
    load_sources(settings_for(dots_folder, validation=[str(copies)]), dots)
    said = capsys.readouterr().err
    assert said.startswith('warning: 3 of 8 images to validate on look like some that are trained on (')
    assert said.count('\n') == 1


def test_validating_on_training_images_is_refused(dots_folder, dots):
    with pytest.raises(DatasetError, match=r'8 are'):
        load_sources(settings_for(dots_folder, validation=[str(dots_folder)]), dots)


@pytest.mark.parametrize(
    ('changes', 'rate', 'positions'),
    [
        ({'start_from': 'imagenet'}, 4e-3, 1.0),
        ({'start_from': 'auto', 'augment': 'normal'}, 4e-3, 1.0),
        ({'start_from': 'best.pth'}, 2e-3, 1.0),
        ({'start_from': 'imagenet', 'augment': 'rendered'}, 4e-3, 1.0),
        ({'start_from': 'imagenet', 'augment': 'covered'}, 2e-3, 0.0),
        ({'start_from': 'imagenet', 'learning_rate': 8e-4}, 8e-4, 1.0),
    ],
)
def test_most_data_are_learned_fast_and_by_position(dots_folder, changes, rate, positions):
    optimiser = settings_for(dots_folder, **changes).optimiser()
    assert (optimiser.learning_rate, optimiser.position_weight) == (rate, positions)


def test_samples_are_turned_as_far_as_wanted(dots_folder):
    assert settings_for(dots_folder).augmentation().rotation_deg == 180
    assert settings_for(dots_folder, augment='rendered').augmentation().rotation_deg == 20
    assert settings_for(dots_folder, rotation_deg=45.0).augmentation().rotation_deg == 45
