"""Tracks with the outline of a drawn cuboid: between images of the network, through gaps, and when they end."""

from __future__ import annotations

import dataclasses

import numpy as np
import outlined_box
import pytest
from outlined_box import CAMERA, box_views, picture

from custom_pose_ros.core.geometry.symmetry import Symmetry
from custom_pose_ros.core.orientation.filter_models import KeypointNoise
from custom_pose_ros.core.orientation.orientation_estimator import OrientationEstimator
from custom_pose_ros.core.orientation.outlines.fit_requests import run_together
from custom_pose_ros.core.orientation.outlines.outline_fit import MeshSize
from custom_pose_ros.core.orientation.track import InstanceTrack

VIEWS = box_views()


def test_an_image_of_another_size_changes_no_track():
    estimator, other = OrientationEstimator(outlined_box.MODEL, CAMERA, outline=VIEWS), np.zeros((9, 9, 3), np.uint8)
    for i in range(3):
        found = [outlined_box.keypoints(outlined_box.TILTED, i)]
        with pytest.raises(ValueError, match='image must be'):
            estimator.update(found, 0.1 * i, other)
        with pytest.raises(ValueError, match='image must be'):
            estimator.follow(0.1 * i, other)
        (estimate,) = estimator.update(found, 0.1 * i, picture(outlined_box.TILTED, i))
    assert estimate.outline_agreement > 0.7


def followed(outline, frames: int = 6) -> tuple[np.ndarray, np.ndarray]:
    """Return the rotation errors [deg] of a track, and the agreement of each estimate."""
    estimator, rows = OrientationEstimator(outlined_box.MODEL, CAMERA, outline=outline), []
    for i, truth in enumerate(outlined_box.slow_motion(frames)):
        (estimate,) = estimator.update(
            [outlined_box.keypoints(truth, i)], 0.1 * i, picture(truth, i) if outline else None
        )
        rows.append((np.degrees(np.linalg.norm(estimate.pose.step_to(truth)[3:])), estimate.outline_agreement))
    return np.array(rows).T


def test_a_track_is_measured_by_the_outline():
    alone, agreement = followed(None)
    assert np.isnan(agreement).all()
    measured, agreement = followed(VIEWS)
    assert np.nanmin(agreement) > 0.7
    assert np.median(measured) < 0.6 * np.median(alone)


def test_the_outline_of_another_shape_changes_nothing():
    alone, _ = followed(None)
    other, agreement = followed(box_views(300, (1.6, 0.6, 1.0)))
    assert np.isnan(agreement).all()
    np.testing.assert_array_equal(other, alone)


@pytest.mark.parametrize('grey', [0, 120, 255])
def test_on_a_plain_picture_no_pose_is_called_measured(grey):
    image = np.full((CAMERA.height, CAMERA.width, 3), grey, np.uint8)
    estimator = OrientationEstimator(outlined_box.MODEL, CAMERA, outline=box_views(60))
    for i in range(12):
        (estimate,) = estimator.update([outlined_box.keypoints(outlined_box.TILTED, i)], 0.1 * i, image)
        assert np.isnan(estimate.outline_agreement)
    assert estimate.outline_remark.startswith('too little of it is seen')
    (single,) = estimator.update([outlined_box.keypoints(outlined_box.TILTED, 1, track_id=None)], image=image)
    assert np.isnan(single.outline_agreement)


def tracked(views, frames=22, every=6):
    """Return the errors [deg] and agreement of images at 30 Hz, of which the network sees every n-th one."""
    estimator, rows = OrientationEstimator(outlined_box.MODEL, CAMERA, outline=views), []
    for i, truth in enumerate(outlined_box.slow_motion(frames)):
        image, stamp_s = picture(truth, i), i / 30.0
        seen = i % every == 0
        (estimate,) = (
            estimator.update([outlined_box.keypoints(truth, i)], stamp_s, image)
            if seen
            else estimator.follow(stamp_s, image)
        )
        assert estimate.keypoints_used == (8 if seen else 0)
        rows.append((np.degrees(np.linalg.norm(estimate.pose.step_to(truth)[3:])), estimate.outline_agreement))
    return np.array(rows).T


def test_between_the_images_of_the_network_the_outline_follows_the_track():
    always, _ = tracked(VIEWS, every=1)
    sometimes, agreement = tracked(VIEWS)
    assert np.isfinite(agreement[4:]).all()
    assert np.median(sometimes[4:]) < 1.2 * np.median(always[4:]) + 0.05  # a twentieth of a pixel at the corners


def lost_after(seconds: float, image_of, network_sees=lambda stamp_s: stamp_s < 1.95):
    """Return the estimator and stamp, truth and estimates of each image at 10 Hz for so long."""
    estimator, rows = OrientationEstimator(outlined_box.MODEL, CAMERA, outline=VIEWS), []
    for i in range(round(10 * seconds)):
        stamp_s, truth = 0.1 * i, outlined_box.TILTED.moved(i * np.array([0.001, 0.0, 0.001, 0.0, 0.004, 0.002]))
        poses = [outlined_box.keypoints(truth, i, track_id=None)] if network_sees(stamp_s) else []
        rows.append((stamp_s, truth, estimator.update(poses, stamp_s, image_of(stamp_s, truth))))
    return estimator, rows


def test_an_instance_that_the_network_misses_for_a_second_is_measured_meanwhile_and_goes_on_with_its_new_id():
    _, rows = lost_after(4.0, lambda _, truth: picture(truth), lambda stamp_s: not 1.95 < stamp_s < 2.95)
    for stamp_s, truth, estimates in rows[2:]:
        (estimate,) = estimates
        assert not np.isnan(estimate.outline_agreement)
        assert np.degrees(np.linalg.norm(estimate.pose.step_to(truth)[3:])) < 2.0
        assert estimate.track_id == (0 if stamp_s < 2.95 else 1)  # what gives ids forgets after max_gap_s
        assert (estimate.keypoints_used == 0) == (1.95 < stamp_s < 2.95)


def test_the_outline_alone_carries_a_track_through_four_gaps_at_most():
    estimator, rows = lost_after(3.9, lambda _, truth: picture(truth))  # the last keypoints are of 1.9 s
    assert all(len(estimates) == 1 for *_, estimates in rows)
    assert estimator.update([], 3.95, picture(rows[-1][1])) == []
    estimator, rows = lost_after(3.0, lambda _, truth: picture(truth))
    assert len(estimator.follow(3.05, picture(rows[-1][1]))) == 1
    assert estimator.follow(3.95, picture(rows[-1][1])) == []


def test_a_track_ends_like_any_other_once_its_outline_is_gone():
    plain = np.full((CAMERA.height, CAMERA.width, 3), 120, np.uint8)
    _, rows = lost_after(3.2, lambda stamp_s, truth: picture(truth) if stamp_s < 2.55 else plain)
    there = {round(stamp_s, 1): bool(estimates) for stamp_s, _, estimates in rows}
    assert there[2.5]
    assert there[3.0]
    assert not there[3.1]  # max_gap_s after the last image that showed it
    assert all(estimate.coasting for stamp_s, _, estimates in rows if stamp_s > 2.55 for estimate in estimates)


def test_where_the_network_finds_something_elsewhere_the_old_track_keeps_its_id():
    estimator, rows = lost_after(3.0, lambda _, truth: picture(truth))
    truth = rows[-1][1]
    aside = truth._replace(translation=truth.translation + [0.15, 0.1, 0.1])
    found = estimator.update([outlined_box.keypoints(aside, 1, track_id=7)], 3.0, picture(truth))
    assert [estimate.track_id for estimate in found] == [7, 0]


def test_a_track_whose_keypoints_get_another_id_ends_as_soon_as_without_an_outline():
    """Its outline is still seen, since the instance is."""
    for views in (None, VIEWS):
        estimator, counts = OrientationEstimator(outlined_box.MODEL, CAMERA, outline=views), []
        for i in range(18):
            found = [outlined_box.keypoints(outlined_box.TILTED, i, track_id=7 if i < 6 else 8)]
            counts.append(len(estimator.update(found, 0.1 * i, picture(outlined_box.TILTED, i))))
        assert counts == 6 * [1] + 5 * [2] + 7 * [1]  # max_gap_s is five images


def test_each_of_two_instances_close_together_goes_on_with_the_new_id_of_its_own_keypoints(monkeypatch):
    """The older one took the first new id, whose keypoints were those of the other one, which ended."""
    places = [outlined_box.TILTED, outlined_box.TILTED.moved(np.array([0.05, 0, 0, 0, 0, 0]))]  # a fifth of their size
    estimator = OrientationEstimator(outlined_box.MODEL, CAMERA)
    for i in range(20):
        estimator.update([outlined_box.keypoints(place, i, track_id=k) for k, place in enumerate(places)], 0.1 * i)
    monkeypatch.setattr(InstanceTrack, 'seen', lambda *_: False)  # as if only the outline had shown them lately
    monkeypatch.setattr(InstanceTrack, 'alive', lambda track, *_: hasattr(track._filter, 'hypotheses'))
    named = [outlined_box.keypoints(place, 99, track_id=k) for k, place in zip((7, 8), reversed(places))]
    estimates = estimator.update(named, 2.0)
    alone = OrientationEstimator(outlined_box.MODEL, CAMERA).update(named, 2.0)
    assert [estimate.track_id for estimate in estimates] == [7, 8]
    for estimate, first, place in zip(estimates, alone, reversed(places)):
        assert np.linalg.det(estimate.covariance) < 0.5 * np.linalg.det(first.covariance)  # 0.2, and 1 of a new track
        assert np.linalg.norm(estimate.pose.step_to(place)[:2]) < 0.005


def test_an_instance_goes_on_with_its_new_id_where_its_keypoints_are_named_the_other_way_round():
    model = dataclasses.replace(outlined_box.MODEL, symmetries=(Symmetry((0.0, 0.0, 1.0), 2),))
    estimator = OrientationEstimator(model, CAMERA, outline=dataclasses.replace(VIEWS, model=model))
    turned = outlined_box.TILTED._replace(rotation=outlined_box.TILTED.rotation @ np.diag([-1.0, -1.0, 1.0]))
    for i in range(18):
        named = outlined_box.TILTED if i < 8 else turned
        found = [outlined_box.keypoints(named, i, track_id=None)] if i < 8 or i > 15 else []
        estimates = estimator.update(found, 0.1 * i, picture(outlined_box.TILTED, i))
        assert [estimate.track_id for estimate in estimates] == [0 if i <= 15 else 1]


def test_a_track_that_starts_anew_keeps_nothing_of_what_its_former_keypoints_told(monkeypatch):
    """Its covariance was too small, by 10 %. The noise and the size it may keep: they are those of the same object."""
    monkeypatch.setattr(MeshSize, 'learn', lambda *_: None)
    monkeypatch.setattr(KeypointNoise, 'learn', lambda *_: None)
    setup, truth = OrientationEstimator(outlined_box.MODEL, CAMERA, outline=VIEWS)._setup, outlined_box.TILTED
    track = InstanceTrack(setup)

    def updated(track, stamp_s):
        found = outlined_box.keypoints(truth, 0)
        return run_together([track.update(found, stamp_s, 0.5, True)], setup.outline, picture(truth))

    for i in range(3):
        updated(track, 0.1 * i)
    covariances = []
    for each in (track, InstanceTrack(setup)):
        updated(each, 5.0)
        (estimate,) = run_together([each.coast(5.1, 0, True)], setup.outline, picture(truth))
        assert not estimate.coasting
        covariances.append(estimate.covariance)
    np.testing.assert_allclose(*covariances, rtol=1e-9)


def test_between_the_images_of_the_network_another_shape_is_not_followed_but_predicted():
    estimator = OrientationEstimator(outlined_box.MODEL, CAMERA, outline=box_views(300, (1.6, 0.6, 1.0)))
    truth = outlined_box.TILTED
    for i in range(10):
        (seen,) = estimator.update([outlined_box.keypoints(truth, i)], 0.1 * i, picture(truth, i))
    (between,) = estimator.follow(0.95, picture(truth))
    assert between.coasting
    assert seen.outline_remark == between.outline_remark == 'the image does not show it'
