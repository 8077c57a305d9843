"""A block that moves for a minute in front of a known camera, as a tracker would follow it."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from custom_pose_ros.core.geometry.camera import CameraIntrinsics
from custom_pose_ros.core.geometry.rigid import Rigid
from custom_pose_ros.core.geometry.rotations import matrix_from_rotation_vector, random_rotation
from custom_pose_ros.core.keypoints.poses import KeypointPose
from custom_pose_ros.core.object_model import ObjectModel
from custom_pose_ros.core.orientation.estimate import OrientationEstimate

FOCAL_PX = 600.0
BLOCK = np.array([[x, y, z] for x in (-0.2, 0.2) for y in (-0.15, 0.15) for z in (-0.1, 0.1)])


def block_model(points: np.ndarray = BLOCK) -> ObjectModel:
    """Return an object with these points (K, 3) [m]."""
    names = [f'corner_{k}' for k in range(len(points))]
    places = {name: point.tolist() for name, point in zip(names, points)}
    return ObjectModel.from_dict({'name': 'block', 'keypoints': names, 'skeleton': [], 'model_points': places})


def camera(focal_px: float) -> CameraIntrinsics:
    """Return a camera of 640x480 px without distortion."""
    return CameraIntrinsics(640, 480, np.array([[focal_px, 0, 319.5], [0, focal_px, 239.5], [0, 0, 1]]))


def track(
    seed: int,
    assumed_px: float,
    points: np.ndarray = BLOCK,
    distances_m: tuple[float, float] = (1.0, 2.0),
    lasting: float = 0.0,
    length_s: float = 60.0,
    rate_hz: float = 10.0,
) -> Iterator[tuple[float, np.ndarray, Rigid]]:
    """
    Yield stamp [s], keypoints (K, 2) [px] with errors of 1 px, and the pose by a camera of the assumed focal length.

    Args:
        seed: of motion and errors.
        assumed_px: focal length that the tracker takes for the true one, FOCAL_PX.
        points: of the object, (K, 3) [m].
        distances_m: nearest and farthest.
        lasting: correlation of the errors from one image to the next.
        length_s: of the track.
        rate_hz: of the images.
    """  # fmt: skip
    rng = np.random.default_rng(seed)
    stamps = np.arange(int(length_s * rate_hz)) / rate_hz
    phases, rates = rng.uniform(0, 2 * np.pi, (6, 3)), rng.uniform(0.03, 0.25, (6, 3))
    waves = np.sin(2 * np.pi * rates[..., None] * stamps + phases[..., None]).sum(1) / 1.7
    turns = matrix_from_rotation_vector(np.stack([0.8 * waves[0], 0.8 * waves[1], 1.5 * waves[2]], 1))
    R = turns @ random_rotation(rng)
    near, far = distances_m
    depth = np.clip((near + far) / 2 + (far - near) / 2 * waves[3], near, far)
    t = np.stack([0.15 * depth * waves[4], 0.1 * depth * waves[5], depth], 1)
    error = np.zeros((len(points), 2))
    for stamp, rotation, translation in zip(stamps, R, t):
        fresh = rng.normal(size=error.shape)
        error = lasting * error + np.sqrt(1 - lasting**2) * fresh if stamp else fresh
        pixels = camera(FOCAL_PX).project(Rigid(rotation, translation).apply(points)) + error
        yield float(stamp), pixels, Rigid(rotation, translation * [1, 1, assumed_px / FOCAL_PX])


def found(pixels: np.ndarray, pose: Rigid, ambiguity: float = 0.0) -> tuple[KeypointPose, OrientationEstimate]:
    """Return what a tracker makes of keypoints (K, 2) [px] of which none is hidden."""
    count = len(pixels)
    keypoints = KeypointPose(
        keypoints=pixels,
        covariances=np.tile(np.eye(2), (count, 1, 1)),
        scores=np.ones(count),
        visible=np.ones(count, bool),
        score=1.0,
        track_id=0,
    )
    estimate = OrientationEstimate(
        pose=pose,
        covariance=np.eye(6),
        reprojection_error_px=1.0,
        ambiguity=ambiguity,
        track_id=0,
        keypoints_used=count,
    )
    return keypoints, estimate
