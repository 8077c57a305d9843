"""
Print how well a network finds the printed board in photos whose poses are known.

python test/benchmarks/board.py build/train/board/best.pth --data ../shared/data/chessboard --heights 256 320

Each photo is measured by itself: keypoints against the corners of the print, and the pose of the best instance against
the truth. A pose is turned when it is more than 90 degrees off; turned poses are counted and leave the other figures.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT)]

from custom_pose_ros import CameraIntrinsics, OrientationEstimator, PoseEstimator  # noqa: E402
from custom_pose_ros.core.errors import CustomPoseError  # noqa: E402
from custom_pose_ros.core.geometry.rigid import Rigid  # noqa: E402
from custom_pose_ros.core.orientation.estimate import AMBIGUOUS  # noqa: E402
from custom_pose_ros.inference.estimator import load_trained  # noqa: E402

CHI2_95_OF_6 = 12.59  # 95 % quantile of chi-square with 6 degrees of freedom


class Photo(NamedTuple):
    """What was found in one photo; NaN or False where there is no pose."""

    instances: int
    ambiguity: float
    error_px: float
    rotation_deg: float
    position_mm: float
    inside: bool


def main() -> None:
    """Print a line for each photo, and one for all, at each height."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('model', help='checkpoint or model.onnx')
    parser.add_argument('--data', required=True, type=Path, help='folder with images/, truth.json and left_camera.yaml')
    parser.add_argument('--heights', nargs='+', type=int, help='input heights [px] (default: that of the object)')
    parsed = parser.parse_args()
    try:
        for height in parsed.heights or [None]:
            estimator = load_trained(parsed.model, input_height=height)
            print_table(estimator, parsed.data)
    except CustomPoseError as error:
        sys.exit(f'error: {error}')


def print_table(estimator: PoseEstimator, folder: Path) -> None:
    """Print what is found in every photo, and the figures of all."""
    truth = json.loads((folder / 'truth.json').read_text(encoding='utf-8'))
    order = [truth['keypoint_names'].index(name) for name in estimator.model.keypoint_names]
    orienter = OrientationEstimator(estimator.model, CameraIntrinsics.from_yaml(folder / 'left_camera.yaml'))
    photos = []
    for photo in truth['images']:
        at = Rigid(np.array(photo['R_camera_object']), np.array(photo['t_camera_object_m']))
        image = cv2.imread(str(folder / 'images' / photo['image']))
        photos.append(measured(estimator, orienter, image, np.array(photo['keypoints_px'])[order], at))
        print(
            f'{photo["image"]:<12} ' + '  '.join(f'{name} {value:.2f}' for name, value in photos[-1]._asdict().items())
        )
    table = {name: np.array(column) for name, column in zip(Photo._fields, zip(*photos))}
    turned = table['rotation_deg'] > 90
    px, rotation, position = (table[name][~turned] for name in ('error_px', 'rotation_deg', 'position_mm'))
    print(
        f'height {estimator.input_height}: {np.count_nonzero(table["instances"])} of {len(photos)} found, '
        f'{np.count_nonzero(table["instances"] > 1)} with a second instance, {turned.sum()} turned, '
        f'{np.isnan(table["rotation_deg"]).sum()} without a pose, {(table["ambiguity"] >= AMBIGUOUS).sum()} ambiguous, '
        f'{table["inside"].sum()} inside; {np.nanmean(px):.2f} px, rotation {np.nanmedian(rotation):.2f} / '
        f'{np.nanpercentile(rotation, 90):.2f} deg, position {np.nanmedian(position):.2f} mm'
    )


def measured(
    estimator: PoseEstimator, orienter: OrientationEstimator, image: np.ndarray, corners: np.ndarray, at: Rigid
) -> Photo:
    """Return what is found in an image (H, W, 3), against the keypoints (K, 2) and the pose `camera_object`."""
    poses = estimator(image)
    estimates = orienter.update(poses[:1])
    if not estimates:
        return Photo(len(poses), np.nan, np.nan, np.nan, np.nan, False)
    (estimate,), found = estimates, poses[0].visible
    step = estimate.pose.step_to(at)
    return Photo(
        instances=len(poses),
        ambiguity=estimate.ambiguity,
        error_px=float(np.hypot(*(poses[0].keypoints - corners)[found].T).mean()),
        rotation_deg=float(np.degrees(np.linalg.norm(step[3:]))),
        position_mm=float(1e3 * np.linalg.norm(step[:3])),
        inside=bool(step @ np.linalg.solve(estimate.covariance, step) < CHI2_95_OF_6),
    )


if __name__ == '__main__':
    main()
