"""What is measured on: frames of the demo clip, and maps of made-up instances of any number."""

from __future__ import annotations

import json

import cv2
import numpy as np

from custom_pose_ros.core.geometry.camera import CameraIntrinsics
from custom_pose_ros.core.keypoints.heatmaps import encode_heatmaps
from custom_pose_ros.core.keypoints.pafs import encode_pafs
from custom_pose_ros.core.keypoints.preprocessing import STRIDE
from custom_pose_ros.core.object_file import find_object_folder
from custom_pose_ros.core.object_model import ObjectModel

OBJECT = 'submarine'
SIGMA_PX = 7.0
NOISE = 0.03  # of the maps, one sigma: as a trained network has it


def clip_frames(count: int, step: int = 1) -> list[np.ndarray]:
    """Return frames of the demo clip, (480, 640, 3) uint8 BGR."""
    video = cv2.VideoCapture(str(find_object_folder(OBJECT) / 'demo' / 'clip.mp4'))
    frames = [image for good, image in (video.read() for _ in range(count * step)) if good][::step]
    video.release()
    return frames


def clip_truth() -> np.ndarray:
    """Return the keypoints of every frame of the clip, (F, 4, 2) px; NaN where something hides them."""
    text = (find_object_folder(OBJECT) / 'demo' / 'ground_truth.json').read_text(encoding='utf-8')
    frames = json.loads(text)['frames']
    points = np.array([frame['keypoints_px'] for frame in frames], float)
    points[~np.array([frame['visible'] for frame in frames])] = np.nan
    return points


def clip_camera() -> CameraIntrinsics:
    """Return the calibration of the clip."""
    return CameraIntrinsics.from_yaml(find_object_folder(OBJECT) / 'demo' / 'camera.yaml')


def instances(model: ObjectModel, count: int, shape: tuple[int, int]) -> np.ndarray:
    """
    Return keypoints (A, K, 2) px of instances that stand apart, each in a field of its own of an image (h, w).

    They are views of the model points from everywhere; an object without them is taken as a ring of points.
    """
    rng = np.random.default_rng(count)
    rows = int(np.sqrt(count))
    columns = -(-count // rows)
    height, width = shape[0] / rows, shape[1] / columns
    body = ring(model.keypoint_count) if model.model_points is None else model.model_points
    body = (body - body.mean(0)) / np.linalg.norm(body - body.mean(0), axis=1).max()
    made = []
    for i in range(count):
        turned = body @ np.linalg.qr(rng.normal(size=(3, 3)))[0].T
        flat = turned[:, :2] / (1 + 0.2 * turned[:, 2:])  # as seen from five times its size
        centre = (i % columns + 0.5) * width, (i // columns + 0.5) * height
        made.append(0.38 * min(height, width) * flat + centre)
    return np.array(made)


def ring(count: int) -> np.ndarray:
    """Return (K, 3) points on a circle."""
    angles = np.arange(count) * 2 * np.pi / count
    return np.stack([np.cos(angles), np.sin(angles), np.zeros(count)], 1)


def maps_of(model: ObjectModel, count: int, input_shape: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Return heatmaps and pafs as a trained network would give them for so many instances."""
    points = instances(model, count, input_shape)
    visible = np.ones(points.shape[:2], bool)
    shape = (input_shape[0] // STRIDE, input_shape[1] // STRIDE)
    rng = np.random.default_rng(0)
    heatmaps = encode_heatmaps(points, visible, shape, STRIDE, SIGMA_PX)
    pafs = encode_pafs(points, visible, model.skeleton, shape, STRIDE)
    return tuple((maps + rng.normal(0, NOISE, maps.shape)).astype(np.float32) for maps in (heatmaps, pafs))


def noise_maps(model: ObjectModel, input_shape: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Return maps of pure noise: the most candidates there can be."""
    shape = (input_shape[0] // STRIDE, input_shape[1] // STRIDE)
    rng = np.random.default_rng(0)
    heatmaps = rng.random((model.keypoint_count + 1, *shape), np.float32)
    return heatmaps, rng.uniform(-1, 1, (2 * model.limb_count, *shape)).astype(np.float32)
