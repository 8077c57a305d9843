"""Augmentation: labels follow the pixels, borders are not mirrored, light changes keep the picture's form."""

from __future__ import annotations

import dataclasses

import cv2
import numpy as np
import pytest

from training.pose_training.data import augmentation
from training.pose_training.data.augmentation import (
    Augmentation,
    Warp,
    cover,
    halved,
    halvings,
    photometric,
    random_border,
    random_warp,
    warp_image,
    warp_of_halved,
)

CROP = 128
KEYPOINTS = np.array([[40.0, 30.0], [90.0, 60.0]])
CHANGES = ['blur', 'motion_blur', 'noise', 'cutout', 'haze', 'shade', 'glare', 'jpeg']


def blob(width: int, height: int, centre: tuple[float, float], sigma: float) -> np.ndarray:
    x, y = np.arange(width), np.arange(height)[:, None]
    value = 255 * np.exp(-((x - centre[0]) ** 2 + (y - centre[1]) ** 2) / (2 * sigma**2))
    return np.repeat(value[..., None], 3, axis=2).round().astype(np.uint8)


def centroid(image: np.ndarray) -> np.ndarray:
    weight = np.where(image[..., 0] > 25, image[..., 0], 0).astype(float)
    y, x = np.mgrid[: image.shape[0], : image.shape[1]]
    return np.array([(weight * x).sum(), (weight * y).sum()]) / weight.sum()


@pytest.mark.parametrize('seed', range(12))
def test_keypoints_follow_the_pixels(seed):
    rng = np.random.default_rng(seed)
    size = (int(rng.integers(200, 700)), int(rng.integers(150, 500)))
    settings = dataclasses.replace(Augmentation(), object_size=(0.3, 1.0), shift=0.1)
    centre = rng.uniform(0.3, 0.7, 2) * size
    extent = 0.4 * size[1]
    warp = random_warp(centre, extent, 0.5, CROP, CROP, settings, rng)
    image = blob(*size, centre, 4 / warp.scale)  # four pixels wide in the crop
    reduced = halved(image, halvings(warp))
    crop = warp_image(reduced, warp_of_halved(warp, image, reduced), CROP)
    # Rounding to grey levels and the cut at a tenth of the height leave the centroid to within 0.1 px.
    np.testing.assert_allclose(centroid(crop), warp.points(centre), atol=0.1)


def test_a_strong_reduction_averages_first():
    checks = np.indices((512, 512)).sum(0) % 2 * 255
    image = np.repeat(checks[..., None], 3, axis=2).astype(np.uint8)
    warp = Warp(np.array([[0.25, 0, 0], [0, 0.25, 0]], float), False)
    reduced = halved(image, halvings(warp))
    crop = warp_image(reduced, warp_of_halved(warp, image, reduced), 100)
    assert reduced.shape == (128, 128, 3)
    assert np.ptp(crop[5:95, 5:95].astype(int)) <= 1  # grey, not the moire of single pixels


def test_object_size_is_a_share_of_the_input_height():
    settings = dataclasses.replace(Augmentation.named('none'), object_size=(0.5, 0.5))
    warp = random_warp(np.array([300.0, 200.0]), 400.0, 9.9, 256, CROP, settings, np.random.default_rng(0))
    assert warp.scale == pytest.approx(0.5 * 256 / 400)


def test_without_object_size_the_natural_scale_is_kept():
    warp = random_warp(
        np.array([300.0, 200.0]), 400.0, 0.37, 256, CROP, Augmentation.named('none'), np.random.default_rng(0)
    )
    np.testing.assert_allclose(warp.matrix[:, :2], np.eye(2) * 0.37, atol=1e-12)
    np.testing.assert_allclose(warp.points(np.array([300.0, 200.0])), [63.5, 63.5])  # the crop's centre


def test_half_of_the_strong_warps_mirror():
    rng = np.random.default_rng(0)
    warps = [random_warp(np.zeros(2), 50.0, 1.0, CROP, CROP, Augmentation(), rng) for _ in range(400)]
    assert sum(w.mirrored for w in warps) == pytest.approx(200, abs=50)  # five sigma
    assert all((np.linalg.det(w.matrix[:, :2]) < 0) == w.mirrored for w in warps)


def test_the_border_shows_no_second_object():
    rng = np.random.default_rng(0)
    image = blob(96, 72, (60.0, 40.0), 3.0)
    for _ in range(60):
        warp = random_warp(np.array([48.0, 36.0]), 40.0, 0.5, CROP, CROP, Augmentation(), rng)
        crop = warp_image(image, warp, CROP, random_border(rng))
        colour = crop[0, 0].astype(int)
        if colour.max() < 150:  # else the fill itself is bright
            count, _ = cv2.connectedComponents((crop[..., 0] > 180).astype(np.uint8))
            assert count <= 2  # background and at most one object


@pytest.mark.parametrize('name', CHANGES)
def test_each_change_keeps_shape_and_type_and_changes_something(name):
    rng = np.random.default_rng(1)
    image = rng.integers(40, 200, (96, 128, 3), np.uint8)
    changed = getattr(augmentation, name)(image.copy(), rng)
    assert (changed.shape, changed.dtype) == (image.shape, np.uint8)
    assert (changed != image).any()


@pytest.mark.parametrize('name', ['blur', 'motion_blur', 'noise', 'jpeg'])
def test_camera_faults_keep_the_mean_grey_level(name):
    rng = np.random.default_rng(1)
    image = cv2.GaussianBlur(rng.integers(40, 200, (96, 128, 3), np.uint8), (0, 0), 3)
    changed = getattr(augmentation, name)(image.copy(), rng)
    assert changed.mean() == pytest.approx(image.mean(), abs=1.5)


def test_motion_blur_does_not_shift_the_picture():
    for seed in range(10):
        changed = augmentation.motion_blur(blob(96, 96, (48.0, 48.0), 5.0), np.random.default_rng(seed))
        np.testing.assert_allclose(centroid(changed), [48, 48], atol=0.3)


def test_no_augmentation_leaves_the_picture_alone():
    image = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    changed = photometric(image.copy(), KEYPOINTS, Augmentation.named('none'), np.random.default_rng(0))
    np.testing.assert_array_equal(changed, image)


def test_the_same_seed_gives_the_same_picture():
    image = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    one, two = (photometric(image.copy(), KEYPOINTS, Augmentation(), np.random.default_rng(5)) for _ in range(2))
    np.testing.assert_array_equal(one, two)


@pytest.mark.parametrize('place', [(40.0, 30.0), (0.0, 0.0), (127.0, 95.0)])
def test_a_cover_hides_its_place_or_lies_beside_it(place):
    hidden = 0
    for seed in range(100):
        image = np.zeros((96, 128, 3), np.uint8)
        covered = cover(image, np.array(place), np.random.default_rng(seed))
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
        image = photometric(np.zeros((1024, 1024, 3), np.uint8), corners, covers_only, np.random.default_rng(seed))
        near = [image[y - 99 : y + 99, x - 99 : x + 99] for x, y in np.int32(corners)]
        counts.append(sum(bool(part.any()) for part in near))
    assert {0, 4} <= set(counts) and 1.2 < np.mean(counts) < 2.8  # 2 when each is a throw of its own


def test_an_unknown_strength_is_refused():
    with pytest.raises(ValueError, match="'heavy'"):
        Augmentation.named('heavy')
