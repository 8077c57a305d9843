"""Labels of one rendered instance: keypoints with true visibility, box, area and pose, as a COCO annotation."""

from __future__ import annotations

from typing import Any

import numpy as np

from custom_pose_ros.core.geometry.camera import CameraIntrinsics
from custom_pose_ros.core.geometry.rigid import Rigid
from custom_pose_ros.core.object_model import ObjectModel
from training.synthetic.geometry.parts import Part, all_vertices
from training.synthetic.rendering.renderer import Surfaces

OUTSIDE, HIDDEN, SEEN = 0, 1, 2  # COCO's visibility flags; OUTSIDE: not in the image, position (0, 0)
NEIGHBOURHOOD_M = 0.4  # share of a keypoint's radius within which the view of it is judged
DEPTH_SLACK = 0.002  # relative error of the depth buffer and of the sampling at a slanted surface


def own_radii(parts: list[Part], points: np.ndarray, slack: float) -> np.ndarray:
    """
    Return (K,) [m]: how near a keypoint the object's own surface may lie in front of it without hiding it.

    Args:
        parts: of the object.
        points: (K, 3) keypoints in the object frame [m].
        slack: added to the distance of the nearest vertex, at which a point lies inside its part [m].
    """
    vertices = all_vertices([part for part in parts if part.belongs])
    nearest = [np.sqrt(((vertices - point) ** 2).sum(1).min()) for point in points]
    return np.array(nearest) + slack


def keypoint_seen(surfaces: Surfaces, number: int, point: np.ndarray, radius: float, seen_share: float) -> bool:
    """
    Say whether nothing hides a keypoint.

    A surface hides the keypoint when it is nearer to the camera and is not the object's own surface within `radius` of
    the point (a keypoint in the middle of a hub is seen through the hub's own skin). Judged over the disc around the
    keypoint's pixel; true when at least `seen_share` of it is free.

    Args:
        surfaces: of the pinhole image.
        number: of the instance in it.
        point: (3,) in the camera frame [m].
        radius: as `own_radii` returns it [m].
        seen_share: in [0, 1].
    """
    height, width = surfaces.depth.shape
    K = surfaces.K
    x, y, _ = K @ point / point[2]
    reach = max(1.0, NEIGHBOURHOOD_M * radius * K[0, 0] / point[2])
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
    close = np.linalg.norm(surface - point, axis=1) <= radius
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
        flags: (K,) OUTSIDE, HIDDEN or SEEN.
        mask: (H, W) bool, the instance's visible pixels.
        camera: that took the picture.
        camera_object: pose of the instance.
    """
    rows, columns = np.nonzero(mask)
    box = [int(columns.min()), int(rows.min()), int(np.ptp(columns)) + 1, int(np.ptp(rows)) + 1]
    triples = [
        v
        for (x, y), flag in zip(pixels, flags)
        for v in ((round(float(x), 3), round(float(y), 3), int(flag)) if flag else (0, 0, 0))
    ]
    return {
        'category_id': 1,
        'iscrowd': 0,
        'keypoints': triples,
        'num_keypoints': int(np.count_nonzero(flags)),
        'bbox': box,
        'area': int(mask.sum()),
        'camera_matrix': [round(float(v), 6) for v in camera.K.ravel()],
        'distortion': [round(float(v), 9) for v in camera.D],
        'distortion_model': camera.distortion_model,
        'rotation_camera_object': [round(float(v), 9) for v in camera_object.rotation.ravel()],
        'translation_camera_object': [round(float(v), 6) for v in camera_object.translation],
    }


def coco_category(model: ObjectModel) -> dict[str, Any]:
    """Return the COCO category of an object; skeleton edges are 1-based, as COCO has them."""
    return {
        'id': 1,
        'name': model.name,
        'supercategory': '',
        'keypoints': list(model.keypoint_names),
        'skeleton': [[a + 1, b + 1] for a, b in model.skeleton],
    }
