"""A film of a textured box that turns before a moving background, and its corners in every frame."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from custom_pose_ros.core.geometry.camera import CameraIntrinsics
from custom_pose_ros.core.geometry.rigid import Rigid
from custom_pose_ros.core.geometry.rotations import matrix_from_rotation_vector
from custom_pose_ros.core.keypoints.poses import KeypointPose
from custom_pose_ros.core.object_model import ObjectModel
from custom_pose_ros.core.video_file import VideoFile

WIDTH, HEIGHT = 320, 240
CAMERA = CameraIntrinsics.from_fov(WIDTH, HEIGHT, np.radians(55))
NAMES = ['left_top_far', 'left_top_near', 'left_low_far', 'left_low_near', 'right_top_far', 'right_top_near',
         'right_low_far', 'right_low_near']  # fmt: skip
CORNERS = np.array([[x, y, z] for x in (-0.12, 0.12) for y in (-0.05, 0.05) for z in (0.08, -0.08)])
BOX = ObjectModel(
    name='box', keypoint_names=tuple(NAMES), skeleton=tuple((i, i + 1) for i in range(7)), sigmas=np.full(8, 0.05),
    model_points=CORNERS,
)  # fmt: skip
FACES = ((0, 1, 3, 2), (4, 5, 7, 6), (0, 1, 5, 4), (2, 3, 7, 6), (0, 2, 6, 4), (1, 3, 7, 5))
_TEXTURE = (120, 120)


def pose_at(share: float) -> Rigid:
    """Return the pose of the box at a share of the film, 0 to 1: it turns by 34 degrees and shows one side more."""
    turn = matrix_from_rotation_vector(np.array([0.5 + 0.1 * np.sin(6 * share), 0.6 * share, 0.1]))
    return Rigid(turn, np.array([0.06 * np.sin(4 * share), 0.03 * share, 0.55]))


def labels_at(share: float) -> np.ndarray:
    """Return (8, 3) x, y [px] and 2 where a corner is in sight, else 0."""
    pose = pose_at(share)
    points = pose.apply(CORNERS)
    seen = np.zeros(8)
    for face in FACES:
        if _faces_camera(points[list(face)], points.mean(0)):
            seen[list(face)] = 2
    return np.column_stack([CAMERA.project(points), seen])


def found_at(share: float, noise_px: float, rng: np.random.Generator) -> KeypointPose:
    """Return what a network finds whose keypoints have errors of this standard deviation."""
    points = labels_at(share)
    visible = points[:, 2] > 0
    return KeypointPose(
        keypoints=np.where(visible[:, None], points[:, :2] + rng.normal(0, noise_px, (8, 2)), np.nan),
        covariances=np.where(visible[:, None, None], np.eye(2) * noise_px**2, np.nan),
        scores=visible * 0.9,
        visible=visible,
        score=0.9,
    )


def picture_at(share: float, background_share: float = 0.3) -> np.ndarray:
    """Return the picture (240, 320, 3) uint8 BGR."""
    noise = _smooth_noise(99, (HEIGHT + 40, WIDTH + 40))
    shift = round(40 * background_share * share)
    image = np.ascontiguousarray(noise[shift : shift + HEIGHT, shift : shift + WIDTH] // 2)
    pose = pose_at(share)
    points = pose.apply(CORNERS)
    w, h = _TEXTURE
    for number, face in enumerate(FACES):
        corners = points[list(face)]
        if not _faces_camera(corners, points.mean(0)):
            continue
        target = CAMERA.project(corners).astype(np.float32)
        source = np.float32([[0, 0], [w - 1, 0], [w - 1, h - 1], [0, h - 1]])
        warp = cv2.getPerspectiveTransform(source, target)
        texture = _smooth_noise(number, (h, w))
        face_image = cv2.warpPerspective(texture, warp, (WIDTH, HEIGHT), flags=cv2.INTER_AREA)
        mask = cv2.warpPerspective(np.full((h, w), 255, np.uint8), warp, (WIDTH, HEIGHT))
        image[mask > 127] = face_image[mask > 127]
    return image


def write_film(path: Path, count: int) -> None:
    """Write a video of the box with so many frames."""
    with VideoFile(path, 30) as file:
        for i in range(count):
            file.write(picture_at(i / (count - 1)))


def _faces_camera(corners: np.ndarray, middle: np.ndarray) -> bool:
    centre = corners.mean(0)
    return bool((centre - middle) @ centre < 0)


def _smooth_noise(seed: int, shape: tuple[int, int]) -> np.ndarray:
    noise = np.random.default_rng(seed).integers(0, 255, (*shape, 3), np.uint8)
    return cv2.normalize(cv2.GaussianBlur(noise, (0, 0), 2.0), None, 0, 255, cv2.NORM_MINMAX)
