"""Light, blur and occlusion of training crops: the picture keeps its form, each change what it promises."""

from __future__ import annotations

import dataclasses

import cv2
import numpy as np
import pytest
from blurred_spot import blob, centroid

from training.pose_training.data import photometric
from training.pose_training.data.augmentation import Augmentation

KEYPOINTS = np.array([[40.0, 30.0], [90.0, 60.0]])


CHANGES = ['blur', 'motion_blur', 'noise', 'cutout', 'haze', 'shade', 'glare', 'jpeg']


@pytest.mark.parametrize('name', CHANGES)
def test_each_change_keeps_shape_and_type_and_changes_something(name):
    rng = np.random.default_rng(1)
    image = rng.integers(40, 200, (96, 128, 3), np.uint8)
    changed = getattr(photometric, name)(image.copy(), rng)
    assert (changed.shape, changed.dtype) == (image.shape, np.uint8)
    assert (changed != image).any()


@pytest.mark.parametrize('name', ['blur', 'motion_blur', 'noise', 'jpeg'])
def test_camera_faults_keep_the_mean_grey_level(name):
    rng = np.random.default_rng(1)
    image = cv2.GaussianBlur(rng.integers(40, 200, (96, 128, 3), np.uint8), (0, 0), 3)
    changed = getattr(photometric, name)(image.copy(), rng)
    assert changed.mean() == pytest.approx(image.mean(), abs=1.5)


def test_motion_blur_does_not_shift_the_picture():
    for seed in range(10):
        changed = photometric.motion_blur(blob(96, 96, (48.0, 48.0), 5.0), np.random.default_rng(seed))
        np.testing.assert_allclose(centroid(changed), [48, 48], atol=0.3)


def test_no_augmentation_leaves_the_picture_alone():
    image = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    changed = photometric.photometric(image.copy(), KEYPOINTS, Augmentation.named('none'), np.random.default_rng(0))
    np.testing.assert_array_equal(changed, image)


def test_the_same_seed_gives_the_same_picture():
    image = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    one, two = (
        photometric.photometric(image.copy(), KEYPOINTS, Augmentation(), np.random.default_rng(5)) for _ in range(2)
    )
    np.testing.assert_array_equal(one, two)


@pytest.mark.parametrize('place', [(40.0, 30.0), (0.0, 0.0), (127.0, 95.0)])
def test_a_cover_hides_its_place_or_lies_beside_it(place):
    hidden = 0
    for seed in range(100):
        image = np.zeros((96, 128, 3), np.uint8)
        covered = photometric.cover(image, np.array(place), np.random.default_rng(seed))
        rows, columns = np.nonzero(covered.any(-1))
        hidden += bool(covered[int(place[1]), int(place[0])].any())
        if len(rows):  # a pane's far corner: 0.3 * (0.8 + 1.2) along it and 0.2 * (1.3 + 1.2) across
            assert np.hypot(columns - place[0], rows - place[1]).max() < (0.6 + 0.5) * 128
    assert 25 < hidden < 75  # some only end there: these hide one side


def test_each_keypoint_is_covered_on_its_own():
    corners = np.array([(100.0, 100.0), (924.0, 100.0), (100.0, 924.0), (924.0, 924.0)])
    covers_only = dataclasses.replace(Augmentation.named('none'), p_cover=0.5)
    counts = []
    for seed in range(60):
        image = photometric.photometric(
            np.zeros((1024, 1024, 3), np.uint8), corners, covers_only, np.random.default_rng(seed)
        )
        near = [image[y - 99 : y + 99, x - 99 : x + 99] for x, y in np.int32(corners)]
        counts.append(sum(bool(part.any()) for part in near))
    assert {0, 4} <= set(counts) and 1.2 < np.mean(counts) < 2.8  # 2 when each is a throw of its own


def test_an_unknown_strength_is_refused():
    with pytest.raises(ValueError, match="'heavy'"):
        Augmentation.named('heavy')
