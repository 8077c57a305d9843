"""
Measure a trained model on labelled images, and find labels that it contradicts.

    python training/evaluate.py build/train/my_object/best.pth --data build/data/my_object/val --out build/eval
    python training/evaluate.py config/submarine --data photos/ --out build/eval --suspects

The model is a checkpoint, a model.onnx, or an object folder with one. Writes metrics.json, errors.png (which share of
the keypoints lies within which distance), occlusion.png (errors by how much of an object is hidden) and worst.png (the
worst images: labels are rings, the model's are crosses).
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # run as a script from anywhere

from custom_pose_ros.core.command_line import DONE, command, command_parser, optional_packages
from custom_pose_ros.core.files import write_json
from custom_pose_ros.core.keypoints.poses import KeypointPose
from custom_pose_ros.core.progress import progress_bar
from custom_pose_ros.inference.estimator import PoseEstimator

with optional_packages('evaluate', ['training', 'report']):
    from training.pose_training.judging import evaluation_output
    from training.pose_training.judging.accuracy import Accuracy, measure
    from training.pose_training.judging.suspects import find_suspects
    from training.pose_training.labels.coco import LabelledImage, read_dataset
    from training.pose_training.networks.trained import load_trained

_TOO_FEW = 0.5  # share of the keypoints; a model that finds less says nothing about labels


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Return the command line."""
    parser = command_parser(__doc__)
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
    with progress_bar('measure', len(images), 'image') as bar:

        def keep(_: LabelledImage, poses: list[KeypointPose]) -> None:
            detections.append(poses)
            bar.update()

        return measure(estimator, images, keep), detections


@command
def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code."""
    parsed = parse_arguments(arguments)
    estimator = load_trained(
        parsed.model, parsed.object, parsed.backend, parsed.input_height, parsed.threads, parsed.precision
    )
    model = estimator.model
    images = [image for source in parsed.data for image in read_dataset(source, model)]
    accuracy, detections = run(estimator, images)
    figures = evaluation_output.all_figures(accuracy, detections, images, model)
    suspects = find_suspects(images, detections, model) if parsed.suspects else []
    listed = {'suspects': [vars(suspect) for suspect in suspects]} if parsed.suspects else {}
    write_json(parsed.out / 'metrics.json', {**figures, **listed})
    evaluation_output.draw_error_curves(parsed.out / 'errors.png', accuracy, model.keypoint_names)
    evaluation_output.draw_occlusion_curve(parsed.out / 'occlusion.png', figures['by_hidden_share'])
    evaluation_output.write_worst_images(parsed.out / 'worst.png', accuracy, detections, images, model.keypoint_names)
    print('\n'.join(evaluation_output.figure_lines(figures)))
    if parsed.suspects:
        if figures['found'] < _TOO_FEW:
            print('the model finds too few of the keypoints to judge labels: train it longer')
        print(f'{len(suspects)} annotations to look at' + (':' if suspects else ''))
        for suspect in suspects:
            print(f'  {suspect.image}  annotation {suspect.annotation or "-"}  {suspect.text}')
    print(f'written: {parsed.out / "metrics.json"}, errors.png, occlusion.png, worst.png')
    return DONE


if __name__ == '__main__':
    sys.exit(main())
