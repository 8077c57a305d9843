"""The objects head and face: zero for a face that looks into the camera, signs, accuracy from noisy keypoints."""

from __future__ import annotations

import numpy as np
import pytest

from custom_pose_ros.core.geometry.camera import CameraIntrinsics
from custom_pose_ros.core.geometry.rotations import matrix_from_roll_pitch_yaw
from custom_pose_ros.core.keypoints.poses import KeypointPose
from custom_pose_ros.core.object_model import ObjectModel
from custom_pose_ros.core.orientation.orientation_estimator import OrientationEstimator

CAMERA = CameraIntrinsics.from_fov(640, 480, np.radians(60))
FOCAL_PX = float(CAMERA.K[0, 0])
EYES_M = 0.064
R_OPTICAL_BODY = np.array([[0.0, -1, 0], [0, 0, -1], [1, 0, 0]])
NOISE_PX = 3.0


def seen(
    model: ObjectModel, angles_deg, eyes_px: float, noise_px: float = 0.0, seed: int = 0, hidden=()
) -> KeypointPose:
    """Return the keypoints of a head in the middle of the image, at a distance at which the eyes are so far apart."""
    R_body_object = matrix_from_roll_pitch_yaw(np.radians(angles_deg)) @ model.zero_rotation
    points = model.model_points @ (R_OPTICAL_BODY @ R_body_object).T + (0, 0, FOCAL_PX * EYES_M / eyes_px)
    pixels = FOCAL_PX * points[:, :2] / points[:, 2:] + (CAMERA.K[0, 2], CAMERA.K[1, 2])
    pixels += np.random.default_rng(seed).normal(0.0, noise_px, pixels.shape)
    visible = model.has_position & ~np.isin(model.keypoint_names, hidden)
    return KeypointPose(
        keypoints=np.where(visible[:, None], pixels, np.nan),
        covariances=np.where(visible[:, None, None], max(noise_px, 0.1) ** 2 * np.eye(2), np.nan),
        scores=visible.astype(float),
        visible=visible,
        score=0.9,
    )


def angles_deg(model: ObjectModel, pose: KeypointPose) -> np.ndarray:
    (estimate,) = OrientationEstimator(model, CAMERA, reference_frame='camera_body').update([pose], 0.0)
    return np.degrees(estimate.roll_pitch_yaw)


@pytest.mark.parametrize('name', ['head', 'face'])
@pytest.mark.parametrize('wanted', [(0, 0, 0), (0, 0, 30), (0, 20, 0), (15, 0, 0), (-10, -15, -40)])
def test_angles_are_about_the_axes_of_the_camera_body(name, wanted):
    model = ObjectModel.load(name)
    np.testing.assert_allclose(angles_deg(model, seen(model, wanted, 100)), wanted, atol=0.1)


@pytest.mark.parametrize('name', ['head', 'face'])
def test_signs_in_the_image(name):
    """Yaw > 0: the nose moves to the right of the image; pitch > 0: up; roll > 0: clockwise."""
    model = ObjectModel.load(name)
    nose = model.keypoint_names.index('nose' if name == 'head' else 'nose_tip')
    left, right = (
        next(i for i, n in enumerate(model.keypoint_names) if n.startswith(f'{s}_eye')) for s in ('left', 'right')
    )

    def across(angles) -> np.ndarray:
        points = seen(model, angles, 100).keypoints
        return points[nose] - (points[left] + points[right]) / 2

    assert across((0, 0, 30))[0] > across((0, 0, 0))[0] + 5
    assert across((0, 20, 0))[1] < across((0, 0, 0))[1] - 5
    points = seen(model, (15, 0, 0), 100).keypoints
    assert points[left][1] > points[right][1] + 5  # the person's left eye, on the right of the image, is lower


@pytest.mark.parametrize('half_profile', [False, True], ids=['both ears', 'one ear'])
def test_yaw_of_heads_from_noisy_keypoints(half_profile):
    """Eyes 60 px apart, 3 px of noise, |yaw| <= 60: 97 % within 10 degrees; measured 100 % and 98 %."""
    model = ObjectModel.load('head')
    random = np.random.default_rng(0)
    errors = []
    for seed in range(200):
        wanted = random.uniform(-10, 10), random.uniform(-20, 20), random.uniform(-60, 60)
        hidden = ['left_ear' if wanted[2] > 0 else 'right_ear'] if half_profile and abs(wanted[2]) > 25 else []
        errors.append(angles_deg(model, seen(model, wanted, 60, NOISE_PX, seed, hidden))[2] - wanted[2])
    assert np.mean(np.abs(errors) < 10) >= 0.97
