"""
Build a TensorRT engine of a trained network with torch2trt, on the GPU that will run it (a Jetson, for example).

    python training/export_tensorrt.py build/train/my_object/best.pth config/my_object/net_trt.pth --max-batch 2

The engine is in f16, takes images of one size, is compared with PyTorch before it is written, and is tied to this GPU
and this version of TensorRT: elsewhere the backend says how to build it again. `backend: tensorrt` runs it, and
`backend: auto` before all others.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # run as a script from anywhere

from custom_pose_ros.core.command_line import (
    DONE,
    command,
    command_parser,
    optional_packages,
    output_file,
    positive_integer,
)
from custom_pose_ros.core.files import check_own
from custom_pose_ros.core.keypoints.preprocessing import SIZE_MULTIPLE, input_shape

with optional_packages('export_tensorrt', ['training']):
    from custom_pose_ros.inference.backends.model_files import ENGINE, ENGINE_NAME, WRITTEN_BY, is_own_network
    from custom_pose_ros.inference.checkpoints import load_checkpoint
    from training.pose_training.export.tensorrt_export import export_tensorrt


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Return the command line."""
    parser = command_parser(__doc__)
    parser.add_argument('checkpoint', type=Path, help='best.pth or last.pth of training/train.py')
    parser.add_argument(
        'output', type=output_file(ENGINE), nargs='?', help=f'default: {ENGINE_NAME} beside the checkpoint'
    )
    parser.add_argument(
        '--size', type=_side, nargs=2, metavar=('HEIGHT', 'WIDTH'),
        help="of the network input [px] (default: the object file's height, for images of 640x480)",
    )  # fmt: skip
    parser.add_argument(
        '--max-batch', type=positive_integer, default=1, metavar='N', help='number of cameras (default: %(default)s)'
    )
    return parser.parse_args(arguments)


def _side(text: str) -> int:
    side = positive_integer(text)
    if side % SIZE_MULTIPLE:
        raise argparse.ArgumentTypeError(f'wanted a multiple of {SIZE_MULTIPLE}, got {text!r}')
    return side


@command
def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code."""
    parsed = parse_arguments(arguments)
    output = parsed.output or parsed.checkpoint.with_name(ENGINE_NAME)
    check_own(output, WRITTEN_BY[ENGINE], is_own_network)
    checkpoint = load_checkpoint(parsed.checkpoint)
    size = tuple(parsed.size) if parsed.size else input_shape((480, 640), checkpoint.model.input_height)
    report = export_tensorrt(checkpoint, output, size, parsed.max_batch)
    print(
        f'{output}: {report.size_bytes / 1e6:.2f} MB for {report.gpu} with TensorRT {report.tensorrt}, '
        f'at most {report.largest_difference:.1e} from PyTorch'
    )
    return DONE


if __name__ == '__main__':
    sys.exit(main())
