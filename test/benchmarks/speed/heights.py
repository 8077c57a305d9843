"""Keypoint error against time for every height of the network input, on images that the network was not trained on."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from custom_pose_ros.core.object_model import ObjectModel
from custom_pose_ros.inference.backends import LoadedNetwork
from custom_pose_ros.inference.estimator import PoseEstimator
from speed.scenes import OBJECT, clip_frames, clip_truth
from speed.timing import interleaved, spread

HEIGHTS = tuple(range(128, 385, 32))
CLIP_STEP = 2  # every second frame of the clip
SMALL = 0.6  # as if seen from 1.7 times as far away
BLUR_PX = 40.0
MISSED = 0.10  # a keypoint that is missing or farther off counts as this share of the object's size


def measure(network: LoadedNetwork, rounds: int, photos: Path | None) -> dict[str, Any]:
    """Return error and time of every height; photos : COCO labels of the same object, optional."""
    model = ObjectModel.load(OBJECT)
    images, truth = clip_frames(10**3, CLIP_STEP), clip_truth()[::CLIP_STEP]
    sets = {'clip': (images, truth), 'small': smaller(images, truth)}
    if photos is not None:
        sets['photos'] = labelled_photos(photos, model)
    estimators = {height: PoseEstimator(model, network, height) for height in HEIGHTS}
    times = interleaved({height: partial(e, images[0]) for height, e in estimators.items()}, rounds)
    return {
        'default': model.input_height,
        'heights': {
            str(height): {
                **spread(times[height]),
                **{name: errors(estimators[height], *each) for name, each in sets.items()},
            }
            for height in HEIGHTS
        },
    }


def smaller(images: list[np.ndarray], truth: np.ndarray) -> tuple[list[np.ndarray], np.ndarray]:
    """Return images that show everything SMALL times as large, before the blurred image; and their keypoints."""
    height, width = images[0].shape[:2]
    inner = round(width * SMALL), round(height * SMALL)
    corner = (width - inner[0]) // 2, (height - inner[1]) // 2
    made = []
    for image in images:
        scene = cv2.GaussianBlur(image, (0, 0), BLUR_PX)
        scene[corner[1] : corner[1] + inner[1], corner[0] : corner[0] + inner[0]] = cv2.resize(
            image, inner, interpolation=cv2.INTER_AREA
        )
        made.append(scene)
    return made, (truth + 0.5) * (np.array(inner) / (width, height)) - 0.5 + corner


def labelled_photos(labels: Path, model: ObjectModel) -> tuple[list[np.ndarray], np.ndarray]:
    """Return images and keypoints (N, K, 2) px of COCO labels with one instance in each image."""
    content = json.loads(labels.read_text(encoding='utf-8'))
    names = content['categories'][0]['keypoints']
    order = [names.index(name) for name in model.keypoint_names]
    files = {image['id']: image['file_name'] for image in content['images']}
    images, points = [], []
    for annotation in content['annotations']:
        name = files[annotation['image_id']]
        path = next(p for p in (labels.parent / name, labels.parent / 'images' / name) if p.is_file())
        images.append(cv2.imread(str(path)))
        rows = np.array(annotation['keypoints'], float).reshape(-1, 3)[order]
        points.append(np.where(rows[:, 2:] > 0, rows[:, :2], np.nan))
    return images, np.array(points)


def errors(estimator: PoseEstimator, images: list[np.ndarray], truth: np.ndarray) -> dict[str, float]:
    """Return errors of the best instance in each image as shares [%] of the object's size, and in px."""
    distances, shares = [], []
    for image, points in zip(images, truth):
        size = np.nanmax(np.linalg.norm(points[:, None] - points, axis=2))
        poses = estimator(image)
        found = poses[0].keypoints if poses else np.full_like(points, np.nan)
        distance = np.linalg.norm(found - points, axis=1)[~np.isnan(points[:, 0])]
        distances += distance.tolist()
        shares += np.minimum(np.nan_to_num(distance / size, nan=np.inf), MISSED).tolist()
    near = np.array(distances)
    return {
        'error_percent': round(100 * float(np.mean(shares)), 3),
        'median_px': round(float(np.nanmedian(near)), 3),
        'mean_px': round(float(np.nanmean(near)), 3),
        'found': round(float(np.isfinite(near).mean()), 4),
        'images': len(images),
    }
