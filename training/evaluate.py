"""
Measure a trained model on labelled images, and find labels that it contradicts.

    python training/evaluate.py build/train/my_object/best.pth --data build/data/my_object/val --out build/eval
    python training/evaluate.py config/submarine --data photos/ --out build/eval --suspects
    python training/evaluate.py config/submarine --data photos/ --out build/eval --heights

The model is a checkpoint, a model.onnx, or an object folder with one. Writes metrics.json, errors.png (which share of
the keypoints lies within which distance), occlusion.png (errors by how much of an object is hidden) and worst.png (the
worst images: labels are rings, the model's are crosses).
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # run as a script from anywhere

from custom_pose_ros.core.command_line import (
    DONE,
    command,
    command_parser,
    optional_packages,
    output_folder,
    positive_integer,
)

# The import above comes first, so that Ctrl-C during all others ends without a traceback.
# isort: split
import numpy as np

from custom_pose_ros.core.command_line import progress_bar
from custom_pose_ros.core.files import check_own, holds_entries, write_json
from custom_pose_ros.core.keypoints.poses import KeypointPose
from custom_pose_ros.core.keypoints.preprocessing import MAX_INPUT_HEIGHT, SIZE_MULTIPLE
from custom_pose_ros.inference.backends import add_network_options
from custom_pose_ros.inference.copies import CopiesEstimator, add_copies_option
from custom_pose_ros.inference.estimator import PoseEstimator, load_trained

with optional_packages('evaluate', ['training', 'report']):
    from training.pose_training.judging import evaluation_output
    from training.pose_training.judging.accuracy import Accuracy, measure
    from training.pose_training.judging.suspects import find_suspects
    from training.pose_training.labels.coco import LabelledImage, read_dataset, tell_proposed

_HEIGHTS = (0.75, 1.0, 1.25, 1.5)  # of the input height; networks are trained at 0.6 to 1.5 of the size
_PICTURES = ('errors.png', 'occlusion.png', 'worst.png')
_SURE_SIGMAS = 2.0  # by which a height must be better than the present one to be recommended
_TOO_FEW = 0.5  # share of the keypoints; a model that finds less says nothing about labels or heights


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Return the command line."""
    parser = command_parser(__doc__)
    parser.add_argument('model', help='checkpoint (.pth), model.onnx, folder with one, or installed object')
    parser.add_argument(
        '--data', action='append', required=True, metavar='DIR_OR_JSON', help='COCO keypoints; may be repeated'
    )
    parser.add_argument('--object', help='object file (default: the one inside the model)')
    parser.add_argument('--out', type=output_folder, required=True, help='folder to write')
    add_network_options(parser)
    parser.add_argument(
        '--heights', action='store_true', help='measure at smaller and larger input heights too, and say which is best'
    )
    add_copies_option(parser)
    parser.add_argument('--threads', type=positive_integer, help='threads of the backend')
    parser.add_argument('--suspects', action='store_true', help='list annotations that the model contradicts')
    return parser.parse_args(arguments)


def measured_heights(estimator: PoseEstimator, images: list[LabelledImage], copies: int) -> list[dict[str, Any]]:
    """Return the figures at the input height of the estimator and at others around it, which need no other network."""
    own = estimator.input_height
    wanted = {round(own * factor / SIZE_MULTIPLE) * SIZE_MULTIPLE for factor in _HEIGHTS} | {own}
    rows, scores = [], []
    for height in sorted(h for h in wanted if 64 <= h <= MAX_INPUT_HEIGHT):
        other = PoseEstimator(estimator.model, estimator.network, height, estimator.thresholds)
        accuracy = run(CopiesEstimator(other, copies) if copies > 1 else other, images, f'at {height} px')[0]
        known = {name: value if np.isfinite(value) else None for name, value in accuracy.summary().items()}
        rows.append({'input_height': height, **known})
        scores.append(accuracy.instance_scores)
    best = int(np.argmin([math.inf if row['score'] is None else row['score'] for row in rows]))
    for row, score in zip(rows, scores):
        behind = (score - scores[best])[np.isfinite(score)]
        row['behind_best'] = float(behind.mean()) if len(behind) else None
        row['behind_best_sigma'] = float(behind.std(ddof=1) / np.sqrt(len(behind))) if len(behind) > 1 else None
    return rows


def height_lines(rows: list[dict[str, Any]], own: int, images: int) -> list[str]:
    """Return a table of `measured_heights` as lines, and at the end what the best height needs."""
    lines = ['input height   work   mean error   found   false instances']
    for row in rows:
        height, error = int(row['input_height']), f'{row["mean_px"]:.2f} px' if row['found'] else 'none found'
        found = f'{row["found"]:6.1%}   {row["false_instances"]:.0f}'
        lines.append(f'{height:9} px  x{(height / own) ** 2:4.1f}   {error:>10}  {found}')
    if not any(row['found'] for row in rows):
        return [*lines, 'nothing was found at any height, so none is best: train longer']
    best = min(rows, key=lambda row: row['score'])  # misses and inventions count, too
    if best['found'] < _TOO_FEW:
        few = f'fewer than {_TOO_FEW:.0%} of the keypoints are found even at {best["input_height"]} px'
        return [*lines, f'{few}, so no height is good enough to choose one: train longer, or on more pictures']
    if best['input_height'] == own:
        return [*lines, f'{own} px, as now, is best on these {images} images']
    height, now = best['input_height'], next(row for row in rows if row['input_height'] == own)
    if now['behind_best_sigma'] is None or now['behind_best'] < _SURE_SIGMAS * now['behind_best_sigma']:
        return [*lines, f'{images} images are too few to tell {height} px from {own} px, as now: measure on more']
    return [
        *lines,
        f'best on these {images} images: {height} px. To use it write input_height: {height} in the object file; '
        f'train.py --input-height {height} trains for it',
    ]


def run(
    estimator: PoseEstimator, images: list[LabelledImage], title: str = 'measure'
) -> tuple[Accuracy, list[list[KeypointPose]]]:
    """Return the errors, and what was found in each image."""
    detections: list[list[KeypointPose]] = []
    with progress_bar(title, len(images), 'image') as bar:

        def keep(_: LabelledImage, poses: list[KeypointPose]) -> None:
            detections.append(poses)
            bar.update()

        return measure(estimator, images, keep), detections


@command
def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code."""
    parsed = parse_arguments(arguments)
    metrics = parsed.out / 'metrics.json'
    is_own = holds_entries('AP', 'keypoints', 'by_hidden_share')  # evaluate_bag writes another metrics.json
    check_own(metrics, 'training/evaluate.py', is_own, _PICTURES)
    estimator = load_trained(
        parsed.model, parsed.object, parsed.backend, parsed.input_height, parsed.threads, parsed.precision
    )
    model = estimator.model
    images = [image for source in parsed.data for image in read_dataset(source, model)]
    plain = estimator
    if parsed.copies > 1:
        estimator = CopiesEstimator(plain, parsed.copies)
    proposed = tell_proposed(images)
    accuracy, detections = run(estimator, images)
    figures = evaluation_output.all_figures(accuracy, detections, images, model)
    suspects = find_suspects(images, detections, model) if parsed.suspects else []
    listed = {'suspects': [vars(suspect) for suspect in suspects]} if parsed.suspects else {}
    heights = measured_heights(plain, images, parsed.copies) if parsed.heights else []
    swept = {'heights': heights} if heights else {}
    write_json(metrics, {**figures, 'proposed_labels': proposed, **listed, **swept})
    evaluation_output.draw_error_curves(parsed.out / 'errors.png', accuracy, model.keypoint_names)
    evaluation_output.draw_occlusion_curve(parsed.out / 'occlusion.png', figures['by_hidden_share'])
    evaluation_output.write_worst_images(parsed.out / 'worst.png', accuracy, detections, images, model.keypoint_names)
    print('\n'.join(evaluation_output.figure_lines(figures)))
    if heights:
        print('\n'.join(height_lines(heights, plain.input_height, len(images))))
    if parsed.suspects:
        if figures['found'] < _TOO_FEW:
            print('the model finds too few of the keypoints to judge labels: train it longer')
        print(f'{len(suspects)} annotations to look at' + (':' if suspects else ''))
        for suspect in suspects:
            print(f'  {suspect.image}  annotation {suspect.annotation or "-"}  {suspect.text}')
    print(f'written: {metrics}, {", ".join(_PICTURES)}')
    return DONE


if __name__ == '__main__':
    sys.exit(main())
