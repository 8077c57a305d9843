"""
Rotation errors with keypoints chosen on a mesh and made by hand, on the motion of the shipped clip.

    python test/benchmarks/chosen_keypoints.py [--visible-only] [--seen-from SIDE]

The mesh and the four keypoints of config/submarine against ten that are chosen. In every frame of config/submarine/demo
every keypoint is detected, or with --visible-only those that the mesh does not hide, with equal noise, and goes through
the estimator with its filter, five times. --seen-from is that of the choice.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from custom_pose_ros.core.geometry.camera import CameraIntrinsics  # noqa: E402
from custom_pose_ros.core.geometry.rigid import Rigid  # noqa: E402
from custom_pose_ros.core.keypoints.poses import KeypointPose  # noqa: E402
from custom_pose_ros.core.object_model import ObjectModel  # noqa: E402
from custom_pose_ros.core.orientation.orientation_estimator import OrientationEstimator  # noqa: E402
from custom_pose_ros.core.yaml_files import read_yaml  # noqa: E402
from training.synthetic.choosing.proposed_object import propose  # noqa: E402
from training.synthetic.geometry.keypoint_sites import keypoint_sites  # noqa: E402
from training.synthetic.geometry.object_builder import load_parts  # noqa: E402
from training.synthetic.geometry.parts import Part  # noqa: E402
from training.synthetic.geometry.variation import constant_parts  # noqa: E402
from training.synthetic.rendering.mesh_views import MeshViews  # noqa: E402
from training.synthetic.scenes.annotation import keypoint_seen  # noqa: E402
from training.synthetic.scenes.attitudes import DIRECTIONS  # noqa: E402
from training.synthetic.settings import SIDES, load_settings  # noqa: E402

DEMO = ROOT / 'config/submarine/demo'


def submarine_parts() -> list[Part]:
    """Return the mesh of config/submarine as `choose_keypoints` takes it."""
    mesh = ROOT / 'config/submarine/submarine.glb'
    return constant_parts(mesh, load_parts(mesh))


def clip() -> tuple[CameraIntrinsics, list[tuple[float, Rigid]]]:
    """Return the camera of the clip, and of each frame the time [s] and the true pose."""
    camera = CameraIntrinsics.from_yaml_dict(read_yaml(DEMO / 'camera.yaml', 'restore it'))
    frames = json.loads((DEMO / 'ground_truth.json').read_text(encoding='utf-8'))['frames']
    return camera, [
        (frame['stamp_s'], Rigid(np.reshape(frame['R_camera_object'], (3, 3)), np.array(frame['t_camera_object'])))
        for frame in frames
    ]


def visible(parts: list[Part], model: ObjectModel) -> np.ndarray:
    """Return (F, K) bool: which keypoints each frame of the clip shows, as renderings are labelled."""
    camera, frames = clip()
    views = MeshViews(parts, camera.width, camera.height)
    settings = load_settings().visibility
    sites = keypoint_sites(parts, model.model_points, settings.radius * model.size_m)
    seen = []
    for _, pose in frames:
        surfaces = views.render(camera, pose).pinhole
        whole = replace(surfaces, instance=(surfaces.instance > 0).astype(np.uint8))
        rest = pose.rotation, settings.seen_share
        points = pose.apply(model.model_points)
        seen.append([keypoint_seen(whole, 1, point, site, *rest) for point, site in zip(points, sites)])
    return np.array(seen, bool)


def rotation_errors_deg(
    model: ObjectModel, noise_px: float, seed: int = 0, detected: np.ndarray | None = None
) -> np.ndarray:
    """Return the (F,) errors of the frames of the clip, for keypoints with a noise [px] in x and in y."""
    camera, frames = clip()
    rng, estimator, errors = np.random.default_rng(seed), OrientationEstimator(model, camera), []
    count = model.keypoint_count
    for number, (stamp_s, (R, t)) in enumerate(frames):
        shown = np.ones(count, bool) if detected is None else detected[number]
        pixels = camera.project(model.model_points @ R.T + t) + rng.normal(0, noise_px, (count, 2))
        pose = KeypointPose(
            keypoints=pixels,
            covariances=np.tile(noise_px**2 * np.eye(2), (count, 1, 1)),
            scores=shown.astype(float),
            visible=shown,
            score=1.0,
        )
        estimates = estimator.update([replace(pose, track_id=1)], stamp_s)
        if not estimates:
            errors.append(np.nan)
            continue
        cosine = (np.trace(estimates[0].R_camera_object.T @ R) - 1) / 2
        errors.append(np.degrees(np.arccos(np.clip(cosine, -1, 1))))
    return np.array(errors)


def main() -> None:
    """Print the errors of both for three noises."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--visible-only', action='store_true')
    parser.add_argument('--seen-from', choices=SIDES)
    options = parser.parse_args()
    parts = submarine_parts()
    sides = [DIRECTIONS[options.seen_from]] if options.seen_from else []
    models = {
        'by hand': ObjectModel.load('submarine'),
        'chosen': ObjectModel.from_dict(propose('submarine', parts, 10, sides).data),
    }
    shown = {kind: visible(parts, model) if options.visible_only else None for kind, model in models.items()}
    for kind, seen in shown.items():
        if seen is not None:
            print(f'{kind}: {seen.sum(1).mean():.1f} of {seen.shape[1]} keypoints are seen at a time')
    for noise_px in (1.0, 2.0, 4.0):
        for kind, model in models.items():
            errors = np.concatenate([rotation_errors_deg(model, noise_px, seed, shown[kind]) for seed in range(5)])
            median, high = np.nanquantile(errors, (0.5, 0.95))
            print(f'noise {noise_px:g} px, {model.keypoint_count} keypoints {kind}: rotation error mean '
                  f'{np.nanmean(errors):.2f}, median {median:.2f}, 95 % {high:.2f} deg, '
                  f'no answer in {np.isnan(errors).mean():.1%}')  # fmt: skip


if __name__ == '__main__':
    main()
