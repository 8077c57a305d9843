"""Labels of one rendered instance: keypoints with true visibility, box, area and pose, as a COCO annotation."""

from __future__ import annotations

from typing import Any

import numpy as np

from custom_pose_ros.core.geometry.camera import CameraIntrinsics
from custom_pose_ros.core.geometry.rigid import Rigid
from custom_pose_ros.core.labels.coco_file import coco_points
from training.synthetic.geometry.keypoint_sites import KeypointSite
from training.synthetic.rendering.renderer import Surfaces

NEIGHBOURHOOD = 0.4  # share of a keypoint's reach within which the view of it is judged
SLANT_PX = 2.0  # a slanted surface through the keypoint comes this much nearer within a pixel of it
DEPTH_SLACK = 0.002  # relative error of the depth buffer and of the sampling at a slanted surface


def keypoint_seen(
    surfaces: Surfaces,
    number: int,
    point: np.ndarray,
    site: KeypointSite,
    R_camera_object: np.ndarray,
    seen_share: float,
) -> bool:
    """
    Say whether nothing hides a keypoint.

    Where the keypoint lies on a surface, that must be turned to the camera. A surface hides the keypoint when it is
    nearer to the camera and is not the object's own surface within the site's reach (a keypoint in the middle of a hub
    is seen through the hub's own skin). Judged over the disc around the keypoint's pixel; true when at least
    `seen_share` of it is free.

    Args:
        surfaces: of the pinhole image.
        number: of the instance in it.
        point: (3,) in the camera frame [m].
        site: of the keypoint on the object.
        R_camera_object: (3, 3) attitude of the instance.
        seen_share: in [0, 1].
    """
    towards_camera = -point @ R_camera_object / np.linalg.norm(point)
    if site.facing(towards_camera[None])[0] <= 0:
        return False
    height, width = surfaces.depth.shape
    K = surfaces.K
    x, y, _ = K @ point / point[2]
    reach = max(1.0, NEIGHBOURHOOD * site.reach * K[0, 0] / point[2])
    left, right = int(np.ceil(x - reach)), int(np.floor(x + reach))
    top, bottom = int(np.ceil(y - reach)), int(np.floor(y + reach))
    left, right, top, bottom = max(left, 0), min(right, width - 1), max(top, 0), min(bottom, height - 1)
    columns, rows = np.meshgrid(np.arange(left, right + 1), np.arange(top, bottom + 1))
    inside = (columns - x) ** 2 + (rows - y) ** 2 <= reach**2
    columns, rows = columns[inside], rows[inside]
    if not len(columns):
        return False
    depth = surfaces.depth[rows, columns]
    nearer = depth < point[2] * (1 - DEPTH_SLACK)
    own = surfaces.instance[rows, columns] == number
    surface = np.where(nearer, depth, 0.0)[:, None] * _rays(columns, rows, K)
    slant = min(SLANT_PX * point[2] / K[0, 0], site.reach)
    close = np.linalg.norm(surface - point, axis=1) <= site.reach + slant
    hidden = nearer & ~(own & close)
    return bool(1 - hidden.mean() >= seen_share)


def _rays(columns: np.ndarray, rows: np.ndarray, K: np.ndarray) -> np.ndarray:
    """Return the points (N, 3) at depth 1 behind pixels of a pinhole image."""
    x = (columns - K[0, 2]) / K[0, 0]
    y = (rows - K[1, 2]) / K[1, 1]
    return np.stack([x, y, np.ones_like(x, dtype=float)], 1)


def coco_annotation(
    pixels: np.ndarray, flags: np.ndarray, mask: np.ndarray, camera: CameraIntrinsics, camera_object: Rigid
) -> dict[str, Any]:
    """
    Return the COCO annotation of one instance, without ids.

    Args:
        pixels: (K, 2) [px].
        flags: (K,) ABSENT (not in the image), HIDDEN or SEEN, which are COCO's visibilities.
        mask: (H, W) bool, the instance's visible pixels.
        camera: that took the picture.
        camera_object: pose of the instance.
    """
    rows, columns = np.nonzero(mask)
    box = [int(columns.min()), int(rows.min()), int(np.ptp(columns)) + 1, int(np.ptp(rows)) + 1]
    return {
        'category_id': 1,
        'iscrowd': 0,
        'keypoints': coco_points(np.where(flags[:, None] > 0, np.column_stack([pixels, flags]), 0.0)),
        'num_keypoints': int(np.count_nonzero(flags)),
        'bbox': box,
        'area': int(mask.sum()),
        'camera_matrix': [round(float(v), 6) for v in camera.K.ravel()],
        'distortion': [round(float(v), 9) for v in camera.D],
        'distortion_model': camera.distortion_model,
        'rotation_camera_object': [round(float(v), 9) for v in camera_object.rotation.ravel()],
        'translation_camera_object': [round(float(v), 6) for v in camera_object.translation],
    }
