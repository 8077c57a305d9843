"""
Rotation errors with keypoints chosen on a mesh and made by hand, on the motion of the shipped clip.

    python test/benchmarks/chosen_keypoints.py

The mesh and the four keypoints of config/submarine against ten that are chosen. Every keypoint is detected in every
frame of config/submarine/demo with equal noise, and goes through the estimator with its filter, five times.
"""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from custom_pose_ros.core.files import read_yaml  # noqa: E402
from custom_pose_ros.core.geometry.camera import CameraIntrinsics  # noqa: E402
from custom_pose_ros.core.keypoints.poses import KeypointPose  # noqa: E402
from custom_pose_ros.core.object_model import ObjectModel  # noqa: E402
from custom_pose_ros.core.orientation.orientation_estimator import OrientationEstimator  # noqa: E402
from training.synthetic.choosing.proposed_object import propose  # noqa: E402
from training.synthetic.geometry.object_builder import object_builder  # noqa: E402

DEMO = ROOT / 'config/submarine/demo'


def rotation_errors_deg(model: ObjectModel, noise_px: float, seed: int = 0) -> np.ndarray:
    """Return the (F,) errors of the frames of the clip, for keypoints with a noise [px] in x and in y."""
    camera = CameraIntrinsics.from_yaml_dict(read_yaml(DEMO / 'camera.yaml', 'restore it'))
    rng, estimator, errors = np.random.default_rng(seed), OrientationEstimator(model, camera), []
    count = model.keypoint_count
    for frame in json.loads((DEMO / 'ground_truth.json').read_text(encoding='utf-8'))['frames']:
        R, t = np.reshape(frame['R_camera_object'], (3, 3)), np.array(frame['t_camera_object'])
        pixels = camera.project(model.model_points @ R.T + t) + rng.normal(0, noise_px, (count, 2))
        pose = KeypointPose(
            keypoints=pixels,
            covariances=np.tile(noise_px**2 * np.eye(2), (count, 1, 1)),
            scores=np.ones(count),
            visible=np.ones(count, bool),
            score=1.0,
        )
        (estimate,) = estimator.update([replace(pose, track_id=1)], frame['stamp_s'])
        cosine = (np.trace(estimate.R_camera_object.T @ R) - 1) / 2
        errors.append(np.degrees(np.arccos(np.clip(cosine, -1, 1))))
    return np.array(errors)


def main() -> None:
    """Print the errors of both for three noises."""
    built = object_builder(ObjectModel.load('submarine'), None)(np.random.default_rng(0))
    parts = [part for part in built if part.belongs]
    models = {
        'by hand': ObjectModel.load('submarine'),
        'chosen': ObjectModel.from_dict(propose('submarine', parts, 10).data),
    }
    for noise_px in (1.0, 2.0, 4.0):
        for kind, model in models.items():
            errors = np.concatenate([rotation_errors_deg(model, noise_px, seed) for seed in range(5)])
            median, high = np.quantile(errors, (0.5, 0.95))
            print(f'noise {noise_px:g} px, {model.keypoint_count} keypoints {kind}: rotation error mean '
                  f'{errors.mean():.2f}, median {median:.2f}, 95 % {high:.2f} deg')  # fmt: skip


if __name__ == '__main__':
    main()
