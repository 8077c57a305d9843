"""Warps of training crops: labels follow the pixels, borders are not mirrored, sizes are as asked for."""

from __future__ import annotations

import dataclasses

import cv2
import numpy as np
import pytest
from blurred_spot import blob, centroid

from training.pose_training.data.augmentation import (
    Augmentation,
    Warp,
    halved,
    halvings,
    random_border,
    random_warp,
    warp_image,
    warp_of_halved,
)

CROP = 128


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
