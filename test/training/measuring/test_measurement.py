"""Shape and lens from labels: what is found, what is left open, and which labels are wrong."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from labelled_body import FOCAL_PX, K1, NAMES, POINTS, SIZE, pictured, poses, shape_error

from custom_pose_ros.core.errors import DatasetError
from custom_pose_ros.core.measuring.bundle import Views
from training.pose_training.measuring.measurement import measure
from training.pose_training.measuring.views_of_labels import LabelledViews


def labelled(pixels, weights=None, focals_px=None, names=NAMES):
    count = len(pixels)
    weights = np.ones(pixels.shape[:2]) if weights is None else weights
    views = Views(pixels, weights, np.zeros(count, int))
    images = [f'{i:03}.jpg' for i in range(count)]
    return LabelledViews(names, images, [str(i) for i in range(count)], views, [SIZE], focals_px)


@pytest.fixture(scope='module')
def pixels():
    """Labels in 14 pictures, with errors of 0.5 px."""
    rng = np.random.default_rng(5)
    exact = pictured(*poses(14, rng))
    return exact + 0.5 * rng.normal(size=exact.shape)


def test_shape_and_lens_are_found_with_their_errors(pixels):
    """Labels of 0.5 px on an object of 200 px: 1 % of its size is what its standard deviations promise."""
    found = measure(labelled(pixels))
    focal, k1 = found.focals_px[0], found.k1[0]
    assert shape_error(found.points, POINTS) < 0.003
    assert focal.known and focal.low < FOCAL_PX < focal.high and focal.high < 1.35 * focal.low
    assert k1.low < K1 < k1.high
    assert found.noise_px == pytest.approx(0.5, rel=0.25)
    assert found.contradictions == []


def test_labels_that_contradict_are_named_worst_first(pixels):
    """Left and right exchanged, and a misplaced click: these are named, the shape is that of the others."""
    wrong = pixels.copy()
    wrong[3, [0, 1]] = wrong[3, [1, 0]]
    wrong[8, 5] += [14, 9]
    found = measure(labelled(wrong))
    assert [(label.image, label.keypoint) for label in found.contradictions[2:]] == [('008.jpg', 'mast')]
    assert {(label.image, label.keypoint) for label in found.contradictions[:2]} == {
        ('003.jpg', 'front_left_top'),
        ('003.jpg', 'front_right_top'),
    }
    assert all('exchanged with' in label.guess for label in found.contradictions[:2])
    assert found.contradictions[2].error_px == pytest.approx(np.hypot(14, 9), abs=3)
    assert shape_error(found.points, POINTS) < 0.004


def test_mirrored_pictures_do_not_bend_the_shape(pixels):
    """Two pictures in which every left is called right agree with each other, but with none of the rest."""
    wrong = pixels.copy()
    wrong[[2, 9]] = wrong[[2, 9]][:, [1, 0, 3, 2, 4, 5]]
    found = measure(labelled(wrong))
    assert {label.image for label in found.contradictions} == {'002.jpg', '009.jpg'}
    assert shape_error(found.points, POINTS) < 0.004


def test_hidden_keypoints_are_no_hindrance(pixels):
    """A third of the labels is missing; one keypoint is in one picture only and stays unknown."""
    weights = (np.random.default_rng(2).random((14, 6)) < 0.7).astype(float)
    weights[:, 4] = 0.0
    weights[3, 4] = 1.0
    found = measure(labelled(np.where(weights[..., None] > 0, pixels, 0.0), weights))
    assert np.isnan(found.points[4]).all()
    others = [0, 1, 2, 3, 5]
    assert shape_error(found.points[others], POINTS[others]) < 0.006


def test_a_known_lens_is_kept():
    rng = np.random.default_rng(4)
    R, t = poses(6, rng)
    in_camera = POINTS @ R.transpose(0, 2, 1) + t[:, None]
    exact = 500.0 * in_camera[..., :2] / in_camera[..., 2:]
    found = measure(labelled(exact + 0.3 * rng.normal(size=exact.shape), focals_px=[500.0]))
    assert found.focals_px[0].value == pytest.approx(500.0, rel=1e-6)
    assert shape_error(found.points, POINTS) < 0.002


def test_too_few_labels_are_refused():
    """Three pictures of four keypoints: as many unknown numbers as coordinates."""
    rng = np.random.default_rng(0)
    with pytest.raises(DatasetError, match='24 coordinates are labelled in 3 pictures.*label 6 pictures or more'):
        measure(labelled(pictured(*poses(3, rng), POINTS[:4]), names=NAMES[:4]))


def test_an_object_far_away_has_two_shapes_or_no_focal_length():
    """From 300 times its size, no perspective tells the shape from its mirror image, nor the focal length."""
    rng = np.random.default_rng(6)
    far = pictured(*poses(12, rng, 90.0, 150.0), focal_px=150 * FOCAL_PX)
    try:
        found = measure(labelled(far + 0.5 * rng.normal(size=far.shape)))
    except DatasetError as error:
        assert 'mirror image' in str(error) and 'from nearer' in str(error)
    else:
        assert not found.focals_px[0].known


def test_a_body_that_bends_is_refused():
    rng = np.random.default_rng(7)
    R, t = poses(14, rng)
    bent = np.stack([pictured(R[[i]], t[[i]], POINTS + 0.04 * rng.normal(size=POINTS.shape))[0] for i in range(14)])
    with pytest.raises(DatasetError, match='no rigid body explains the labels'):
        measure(labelled(bent))


def test_a_flat_object_is_measured():
    """Its mirror image is itself, turned: no second shape is in the way."""
    rng = np.random.default_rng(8)
    flat = POINTS * [1, 1, 0] + [[0, 0, 0], [0.02, 0, 0], [0, 0.03, 0], [0, 0, 0], [-0.1, 0, 0], [0, 0.01, 0]]
    R, t = poses(14, rng)
    exact = pictured(R, t, flat)
    found = measure(labelled(exact + 0.3 * rng.normal(size=exact.shape)))
    assert shape_error(found.points, flat) < 0.004


def test_two_cameras_have_a_lens_each(pixels):
    rng = np.random.default_rng(9)
    other = pictured(*poses(10, rng), focal_px=400.0)
    both = labelled(np.concatenate([pixels, other + 0.5 * rng.normal(size=other.shape)]))
    views = replace(both.views, lens=np.repeat([0, 1], [14, 10]))
    found = measure(replace(both, views=views, sizes=[SIZE, (720, 540)]))
    assert [focal.low < truth < focal.high for focal, truth in zip(found.focals_px, (FOCAL_PX, 400.0))] == [True, True]
