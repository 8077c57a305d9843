"""
Quantise a trained network to int8, for processors that compute faster in it, and measure what that costs.

    python training/quantize.py config/my_object photos/ dive.mp4

Writes model_int8.onnx beside model.onnx, from where `backend: auto` takes it when it is faster, and `precision: int8`
in any case. Three of four images calibrate, the others measure: how far keypoints move, in pixels of an image 480 px
high. Nothing is written when they move farther than the limits, or when other keypoints are found. Run it again after
every training.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # run as a script from anywhere

from custom_pose_ros.core.command_line import (
    DONE,
    bounded_number,
    command,
    command_parser,
    optional_packages,
    output_file,
    positive_integer,
)
from custom_pose_ros.core.files import check_own

with optional_packages('quantize', ['quantization', 'openvino', 'training']):
    from custom_pose_ros.inference.backends import input_height, load_network
    from custom_pose_ros.inference.backends.contract import object_inside
    from custom_pose_ros.inference.backends.model_files import INT8, ONNX, WRITTEN_BY, file_beside, is_own_network
    from training.pose_training.export.quantization import quantize
    from training.pose_training.judging.drift import DriftLimits
    from training.pose_training.labels.coco import LabelledImage, read_dataset
    from training.pose_training.labels.image_files import sample_images

_pixels = bounded_number(0, 100)  # a drift beyond that is no limit


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Return the command line."""
    parser = command_parser(__doc__)
    parser.add_argument('model', type=Path, help='object folder with model.onnx, or an .onnx file')
    parser.add_argument(
        'images',
        type=Path,
        nargs='+',
        help='images, folders of images and videos that show the object as the robot sees it',
    )
    parser.add_argument(
        '--out', type=output_file(INT8), metavar='FILE', help='default: the model with the ending _int8.onnx'
    )
    parser.add_argument(
        '--max-images', type=positive_integer, default=300, metavar='N',
        help='largest number of them to use (default: %(default)s)',
    )  # fmt: skip
    parser.add_argument('--input-height', type=input_height, metavar='PX', help="default: the object file's")
    parser.add_argument(
        '--max-mean-px', type=_pixels, default=DriftLimits.mean_px, metavar='PX',
        help='refuse int8 that moves the keypoints by more on average (default: %(default)s)',
    )  # fmt: skip
    parser.add_argument(
        '--max-p99-px', type=_pixels, default=DriftLimits.p99_px, metavar='PX',
        help='or one in a hundred of them by more (default: %(default)s)',
    )  # fmt: skip
    parser.add_argument(
        '--max-changed', type=bounded_number(0, 1), default=DriftLimits.changed, metavar='SHARE',
        help='or finds other keypoints, by more than this share of them (default: %(default)s)',
    )  # fmt: skip
    parser.add_argument(
        '--data', action='append', default=[], metavar='DIR_OR_JSON',
        help='labelled images (COCO keypoints), to measure the distance from the labels before and after; repeatable',
    )  # fmt: skip
    return parser.parse_args(arguments)


def read_labels(source: Path, data: list[str]) -> list[LabelledImage]:
    """Return all labelled images, read by the object inside the model."""
    if not data:
        return []
    model = object_inside(load_network(file_beside(source, ONNX), 'onnxruntime', precision='f32').backend, source)
    return [image for each in data for image in read_dataset(each, model)]


@command
def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code."""
    parsed = parse_arguments(arguments)
    output = parsed.out or file_beside(file_beside(parsed.model, ONNX), INT8)
    check_own(output, WRITTEN_BY[INT8], is_own_network)
    limits = DriftLimits(parsed.max_mean_px, parsed.max_p99_px, parsed.max_changed)
    images = sample_images(parsed.images, parsed.max_images)
    labels = read_labels(parsed.model, parsed.data)
    done = quantize(parsed.model, images, output, limits, parsed.input_height, labels)
    network = load_network(done.path.with_name(done.path.name.removesuffix(INT8) + ONNX))
    print(f'against f32, on {done.measured_on} images that were held out from the calibration:')
    width = max(map(len, ('f32', *done.drifts)))
    for name, drift in done.drifts.items():
        print(f'  {name:{width}}  {drift}')
    print('as it runs later, images with a close decision computed again in f32:')
    for name, (drift, repeated) in done.in_use.items():
        print(f'  {name:{width}}  {drift}; {repeated} of {done.measured_on} images again')
    if done.errors_px:
        print('mean distance from the labels:')
        for name, error_px in done.errors_px.items():
            print(f'  {name:{width}}  {error_px:.2f} px')
    print(f'on this machine auto takes {network}')
    print(
        f'{done.path}: {done.size_bytes / 1e6:.2f} MB, calibrated on {done.calibrated_on} images; the first '
        f'{done.kept[0]} and the last {done.kept[1]} layers stay in f32'
    )
    return DONE


if __name__ == '__main__':
    sys.exit(main())
