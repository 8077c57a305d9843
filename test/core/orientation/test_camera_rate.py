"""Keypoints that come late: as if they had been there in time."""

from __future__ import annotations

import numpy as np
import outlined_box
import pytest
from outlined_box import CAMERA, MODEL, box_views, keypoints, picture

from custom_pose_ros.core.orientation.camera_rate import CameraRateEstimator
from custom_pose_ros.core.orientation.orientation_estimator import OrientationEstimator

IMAGES = [picture(outlined_box.TILTED, seed) for seed in range(8)]


@pytest.fixture(scope='module')
def views():
    return box_views(300)


def test_keypoints_that_come_late_count_as_if_they_had_come_in_time(views) -> None:
    in_time = OrientationEstimator(MODEL, CAMERA, outline=views)
    late = CameraRateEstimator(OrientationEstimator(MODEL, CAMERA, outline=views))
    for i, image in enumerate(IMAGES):
        seen = [keypoints(outlined_box.TILTED, i)]
        _ = in_time.update(seen, 0.1 * i, image) if i % 3 == 0 else in_time.follow(0.1 * i, image)
        late.follow(0.1 * i, image)
        if i % 3 == 2:
            (then,) = late.update([keypoints(outlined_box.TILTED, i - 2)], 0.1 * (i - 2))
            assert then.keypoints_used == 8
    (expected,) = in_time.follow(0.85, IMAGES[0])
    late.update([keypoints(outlined_box.TILTED, 6)], 0.1 * 6)
    (found,) = late.follow(0.85, IMAGES[0])
    np.testing.assert_array_equal(found.pose.step_to(expected.pose), 0.0)
    np.testing.assert_array_equal(found.covariance, expected.covariance)


def test_keypoints_of_an_image_that_is_forgotten_or_was_never_there(views) -> None:
    late = CameraRateEstimator(OrientationEstimator(MODEL, CAMERA, outline=views))
    seen = [keypoints(outlined_box.TILTED, 0)]
    assert len(late.update(seen, 0.0)) == 1  # before any image
    assert late.update(seen, 0.005, IMAGES[0])[0].track_id == 0
    for i in range(1, 35):  # 32 images are remembered
        late.follow(0.01 * i, IMAGES[0])
    assert late.update(seen, 0.02) == []
    assert late.refusals == [(0, 'its keypoints came too late')]
    (estimate,) = late.update(seen, 0.325)  # between two images
    assert estimate.keypoints_used == 8
    (now,) = late.follow(0.36, IMAGES[0])
    assert now.track_id == 0


def test_of_large_images_fewer_are_remembered(views, monkeypatch) -> None:
    monkeypatch.setattr('custom_pose_ros.core.orientation.camera_rate._MOST_BYTES', 4 * IMAGES[0].nbytes)
    late = CameraRateEstimator(OrientationEstimator(MODEL, CAMERA, outline=views))
    for i, image in enumerate(IMAGES[:6]):
        late.follow(0.1 * i, image)
    assert late.update([keypoints(outlined_box.TILTED, 1)], 0.1) == []
    assert len(late.update([keypoints(outlined_box.TILTED, 2)], 0.2)) == 1


def test_time_that_is_set_back_starts_anew(views) -> None:
    late = CameraRateEstimator(OrientationEstimator(MODEL, CAMERA, outline=views))
    late.update([keypoints(outlined_box.TILTED, 0)], 5.0, IMAGES[0])
    assert len(late.follow(5.1, IMAGES[1])) == 1
    assert late.follow(1.0, IMAGES[2]) == []
    assert len(late.update([keypoints(outlined_box.TILTED, 2)], 1.0)) == 1
