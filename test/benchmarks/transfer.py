"""
Print how far a network's keypoints are from the labels of a few photos, with the luck of a single view averaged out.

python test/benchmarks/transfer.py build/train/rendered/best.pth --data PHOTOS

With three photos one error more or less changes the verdict on a network. Each photo is therefore measured as it is and
as copies that are turned by any angle, scaled by 0.85 to 1.15 and shifted, which a network that has learned the object
sees alike. Errors are in percent of the object's size; a keypoint that is not found counts as 10.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT)]

from custom_pose_ros.core.errors import CustomPoseError  # noqa: E402
from custom_pose_ros.inference.estimator import PoseEstimator, load_trained  # noqa: E402
from training.pose_training.judging.accuracy import MISSED_ERROR, instance_size, keypoint_errors, match  # noqa: E402
from training.pose_training.labels.coco import LabelledImage, read_dataset  # noqa: E402


def main() -> None:
    """Print one table for each network."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('models', nargs='+', help='checkpoints, model.onnx, or object folders')
    parser.add_argument('--data', required=True, help='COCO file or folder with the labelled photos')
    parser.add_argument('--copies', type=int, default=24, help='turned copies of each photo (default 24)')
    parsed = parser.parse_args()
    try:
        for source in parsed.models:
            estimator = load_trained(source)
            print_table(source, estimator, read_dataset(parsed.data, estimator.model), parsed.copies)
    except CustomPoseError as error:
        sys.exit(f'error: {error}')


def print_table(source: str, estimator: PoseEstimator, photos: list[LabelledImage], copies: int) -> None:
    """Print the errors [%] of each photo by keypoint, as it is and as the mean of its copies, and those of all."""
    rng = np.random.default_rng(0)
    plain, turned = [], []
    print(f'{source}\n{"photo":<12}  {"  ".join(estimator.model.keypoint_names)}')
    for labels in photos:
        image = labels.read()
        plain.append(errors_percent(estimator, image, labels))
        turned.append(np.concatenate([errors_percent(estimator, *turn(image, labels, rng)) for _ in range(copies)]))
        for name, errors in ((labels.path.name, plain[-1]), (f'  x{copies}', turned[-1])):
            print(f'{name:<12}  ' + '  '.join(f'{error:4.1f}' for error in np.nanmean(errors, axis=0)))
    for name, errors in (('photos', np.concatenate(plain)), ('copies', np.concatenate(turned))):
        above = (errors[~np.isnan(errors)] > 4).mean()
        print(f'{name}: mean {np.nanmean(errors):.2f} %, worst {np.nanmax(errors):.1f} %, above 4 %: {above:.1%}')


def errors_percent(estimator: PoseEstimator, image: np.ndarray, labels: LabelledImage) -> np.ndarray:
    """Return the errors (A, K) of the labelled instances in percent, at most 10; NaN where not labelled."""
    poses = estimator(image)
    rows = []
    for keypoints, labelled, found in zip(labels.keypoints, labels.labelled, match(labels, poses)):
        pose = None if found is None else poses[found]
        share = keypoint_errors(keypoints, labelled, pose) / instance_size(keypoints[labelled], labels)
        rows.append(100 * np.minimum(share, MISSED_ERROR))
    return np.array(rows)


def turn(image: np.ndarray, labels: LabelledImage, rng: np.random.Generator) -> tuple[np.ndarray, LabelledImage]:
    """Return the image (H, W, 3) turned about its first object, which comes to the middle, and its labels."""
    height, width = image.shape[:2]
    centre = labels.keypoints[0][labels.labelled[0]].mean(0)
    matrix = cv2.getRotationMatrix2D(tuple(centre), rng.uniform(-180, 180), rng.uniform(0.85, 1.15))
    matrix[:, 2] += np.array([width, height]) / 2 - centre + rng.uniform(-0.05, 0.05, 2) * width
    turned = cv2.warpAffine(image, matrix, (width, height), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
    return turned, replace(labels, keypoints=labels.keypoints @ matrix[:, :2].T + matrix[:, 2])


if __name__ == '__main__':
    main()
