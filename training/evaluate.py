"""
Measure a trained model on labelled images, and find labels that it contradicts.

    python training/evaluate.py build/train/my_object/best.pth --data build/data/my_object/val --out build/eval
    python training/evaluate.py config/submarine --data photos/ --out build/eval --suspects

The model is a checkpoint, a model.onnx, or an object folder with one. Writes metrics.json, errors.png (which share of
the keypoints lies within which distance) and worst.png (the worst images: labels are rings, the model's are crosses).
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # run as a script from anywhere

from custom_pose_ros.core.drawing.contact_sheet import draw_tile, write_contact_sheet
from custom_pose_ros.core.errors import CustomPoseError
from custom_pose_ros.core.keypoints.poses import KeypointPose
from custom_pose_ros.core.object_model import ObjectModel
from custom_pose_ros.core.optional import optional_packages

with optional_packages('evaluate', ['training']):
    from tqdm import tqdm

    from custom_pose_ros.inference.estimator import PoseEstimator
    from training.pose_training.data.dataset import read_image
    from training.pose_training.judging.accuracy import Accuracy, measure
    from training.pose_training.judging.curves import draw_error_curves
    from training.pose_training.judging.oks import average_precision
    from training.pose_training.judging.suspects import find_suspects
    from training.pose_training.labels.coco import LabelledImage, read_dataset, write_json
    from training.pose_training.networks.trained import load_trained

_WORST = 12
_TOO_FEW = 0.5  # share of the keypoints; a model that finds less says nothing about labels


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    """Return the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('model', help='checkpoint (.pth), model.onnx, folder with one, or installed object')
    parser.add_argument(
        '--data', action='append', required=True, metavar='DIR_OR_JSON', help='COCO keypoints; may be repeated'
    )
    parser.add_argument('--object', help='object file (default: the one inside the model)')
    parser.add_argument('--out', type=Path, required=True, help='folder to write')
    parser.add_argument(
        '--backend',
        default='auto',
        help='what runs the network: onnxruntime, openvino, torch, tensorrt or auto (default: the first that is there)',
    )
    parser.add_argument('--precision', default='auto', help='f32, f16, bf16, int8 or auto')
    parser.add_argument(
        '--input-height', type=int, help="height [px] images are scaled to (default: the object file's)"
    )
    parser.add_argument('--threads', type=int, help='threads of the backend')
    parser.add_argument('--suspects', action='store_true', help='list annotations that the model contradicts')
    return parser.parse_args(arguments)


def run(estimator: PoseEstimator, images: list[LabelledImage]) -> tuple[Accuracy, list[list[KeypointPose]]]:
    """Return the errors, and what was found in each image."""
    detections: list[list[KeypointPose]] = []
    with tqdm(total=len(images), unit='image', leave=False, disable=None) as bar:

        def keep(_: LabelledImage, poses: list[KeypointPose]) -> None:
            detections.append(poses)
            bar.update()

        return measure(estimator, images, keep), detections


def figures(
    accuracy: Accuracy, detections: list[list[KeypointPose]], images: list[LabelledImage], model: ObjectModel
) -> dict:
    """Return everything for metrics.json."""
    by_keypoint = {}
    for k, name in enumerate(model.keypoint_names):
        errors, relative = accuracy.errors_px[:, k], accuracy.relative_errors[:, k]
        found, labelled = np.isfinite(errors), ~np.isnan(errors)
        by_keypoint[name] = {
            'labelled': int(labelled.sum()),
            'found': int(found.sum()),
            'mean_px': float(errors[found].mean()) if found.any() else None,
            'median_px': float(np.median(errors[found])) if found.any() else None,
            'mean_percent': float(relative[found].mean() * 100) if found.any() else None,
        }
    summary = {name: value if np.isfinite(value) else None for name, value in accuracy.summary().items()}
    pck = {f'pck_{percent}percent': accuracy.pck(percent / 100) for percent in (2, 5, 10)}
    return {**average_precision(images, detections, model), **summary, **pck, 'keypoints': by_keypoint}


def write_worst(
    path: Path, accuracy: Accuracy, detections: list, images: list[LabelledImage], model: ObjectModel
) -> None:
    """Write the images with the largest errors."""
    limited = np.minimum(np.nan_to_num(accuracy.relative_errors, nan=0.0), 1.0).mean(1)
    order = dict.fromkeys(int(accuracy.image_of[i]) for i in np.argsort(-limited, kind='stable'))
    tiles = []
    for i in list(order)[:_WORST]:
        image = images[i]
        labelled = [np.column_stack([k, 2 * seen]) for k, seen in zip(image.keypoints, image.labelled)]
        found = [np.column_stack([np.nan_to_num(p.keypoints), p.visible]) for p in detections[i]]
        worst = limited[accuracy.image_of == i].max()
        tiles.append(draw_tile(read_image(image), labelled, found, f'{image.path.name} {worst:.1%}'))
    write_contact_sheet(path, tiles, model.keypoint_names)


def report(metrics: dict) -> None:
    """Print the figures as a table."""
    print(f'{metrics["instances"]} objects, {metrics["found"]:.1%} of the keypoints found')
    print(f'AP {metrics["AP"]:.3f}  AP50 {metrics["AP50"]:.3f}  AP75 {metrics["AP75"]:.3f}  AR {metrics["AR"]:.3f}')
    if metrics['mean_px'] is not None:
        print(
            f'error: mean {metrics["mean_px"]:.2f} px, median {metrics["median_px"]:.2f} px, '
            f'rms {metrics["rmse_px"]:.2f} px, mean {metrics["mean_percent"]:.2f} % of the object'
        )
    print(f'within 5 px {metrics["pck_5px"]:.1%}, within 5 % of the object {metrics["pck_5percent"]:.1%}')
    print(f'left/right swapped {metrics["swapped"]}, false instances {metrics["false_instances"]}')
    width = max(map(len, metrics['keypoints']))
    for name, row in metrics['keypoints'].items():
        error = (
            'never found'
            if row['mean_px'] is None
            else f'mean {row["mean_px"]:.2f} px, median {row["median_px"]:.2f} px'
        )
        print(f'  {name:{width}}  {row["found"]} of {row["labelled"]}, {error}')


def main(arguments: list[str] | None = None) -> int:
    """Run the command; return its exit status."""
    parsed = parse_arguments(arguments)
    try:
        estimator = load_trained(
            parsed.model, parsed.object, parsed.backend, parsed.input_height, parsed.threads, parsed.precision
        )
        images = [image for source in parsed.data for image in read_dataset(source, estimator.model)]
        accuracy, detections = run(estimator, images)
        metrics = figures(accuracy, detections, images, estimator.model)
        suspects = find_suspects(images, detections, estimator.model) if parsed.suspects else []
        if parsed.suspects:
            metrics['suspects'] = [vars(suspect) for suspect in suspects]
        parsed.out.mkdir(parents=True, exist_ok=True)
        write_json(parsed.out / 'metrics.json', metrics)
        draw_error_curves(parsed.out / 'errors.png', accuracy, estimator.model.keypoint_names)
        write_worst(parsed.out / 'worst.png', accuracy, detections, images, estimator.model)
    except (CustomPoseError, OSError) as error:
        print(f'evaluate: {error}', file=sys.stderr)
        return 1
    report(metrics)
    if parsed.suspects:
        if metrics['found'] < _TOO_FEW:
            print('the model finds too few of the keypoints to judge labels: train it longer')
        print(f'{len(suspects)} annotations to look at' + (':' if suspects else ''))
        for suspect in suspects:
            print(f'  {suspect.image}  annotation {suspect.annotation or "-"}  {suspect.text}')
    print(f'written: {parsed.out / "metrics.json"}, errors.png, worst.png')
    return 0


if __name__ == '__main__':
    sys.exit(main())
