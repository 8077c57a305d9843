"""A printed board of which a network cannot tell which way round it is: its object, its poses, and what is found."""

from __future__ import annotations

import cv2
import numpy as np

from custom_pose_ros.core.geometry.camera import CameraIntrinsics
from custom_pose_ros.core.geometry.rigid import Rigid
from custom_pose_ros.core.keypoints.grouping import group_poses
from custom_pose_ros.core.keypoints.heatmaps import encode_heatmaps
from custom_pose_ros.core.keypoints.pafs import encode_pafs
from custom_pose_ros.core.keypoints.poses import KeypointPose
from custom_pose_ros.core.object_model import ObjectModel

NAMES = ['top_left', 'top_right', 'bottom_right', 'bottom_left', 'top', 'bottom', 'mark_top', 'mark_bottom']
POINTS = 0.001 * np.array(
    [[-100, 60, 0], [100, 60, 0], [100, -60, 0], [-100, -60, 0], [0, 60, 0], [0, -60, 0], [-50, 36, 0], [-50, -36, 0]],
    float,
)
LIMBS = [(0, 4), (4, 1), (1, 2), (2, 5), (5, 3), (3, 0), (0, 6), (3, 7), (6, 7), (4, 5)]
HALF_TURN = np.diag([-1.0, -1.0, 1.0])
CAMERA = CameraIntrinsics.from_fov(416, 320, np.deg2rad(55.0))
SHAPE, STRIDE, SIGMA = (40, 52), 8, 7.0
SEEN = np.ones((1, 8), bool)


def board(**extra) -> ObjectModel:
    return ObjectModel.from_dict({
        'name': 'board',
        'keypoints': NAMES,
        'skeleton': [[NAMES[a], NAMES[b]] for a, b in LIMBS],
        'model_points': dict(zip(NAMES, POINTS.tolist())),
        **extra,
    })  # fmt: skip


MODEL = board()


def truth(angle_deg: float = 20.0) -> Rigid:
    """The board 0.4 m away, its print towards the camera, tilted by 25 degrees and turned."""
    tilt, turn = cv2.Rodrigues(np.array([0.44, 0.1, 0.0]))[0], cv2.Rodrigues(np.array([0, 0, np.deg2rad(angle_deg)]))[0]
    return Rigid(tilt @ np.diag([1.0, -1.0, -1.0]) @ turn, np.array([0.01, -0.005, 0.4]))


def maps_of(at: Rigid, right: float, turned: float) -> tuple[np.ndarray, np.ndarray]:
    """Heatmaps and pafs of a network that gives the right identity and the turned one these heights."""
    heatmaps = np.zeros((9, *SHAPE), np.float32)
    pafs = np.zeros((2 * len(LIMBS), *SHAPE), np.float32)
    for height, R in ((right, at.rotation), (turned, at.rotation @ HALF_TURN)):
        points = CAMERA.project(Rigid(R, at.translation).apply(POINTS))[None]
        heatmaps = np.maximum(heatmaps, height * encode_heatmaps(points, SEEN, SHAPE, STRIDE, SIGMA))
        pafs += np.float32(height) * encode_pafs(points, SEEN, LIMBS, SHAPE, STRIDE)
    return heatmaps, pafs


def found(at: Rigid, right: float, turned: float, model: ObjectModel = MODEL) -> list[KeypointPose]:
    """What grouping makes of them."""
    return group_poses(*maps_of(at, right, turned), model)
