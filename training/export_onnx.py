"""
Write a trained network as ONNX, the file that the robot runs.

    python training/export_onnx.py build/train/my_object/best.pth config/my_object/model.onnx

    python training/export_onnx.py checkpoint_iter_370000.pth config/human18/model.onnx --object human18

The second line takes a published checkpoint of Lightweight OpenPose, which needs the object that it finds. Without an
output name, model.onnx is written beside the checkpoint. The object goes into the file, sizes stay dynamic,
batch norms are folded, and the numbers are compared with PyTorch before anything is written.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # run as a script from anywhere

from custom_pose_ros.core.command_line import DONE, command, command_parser, optional_packages, output_file, say
from custom_pose_ros.core.errors import ModelError
from custom_pose_ros.core.files import check_own
from custom_pose_ros.core.object_model import ObjectModel

with optional_packages('export_onnx', ['training']):
    from custom_pose_ros.inference.backends.model_files import ONNX, WRITTEN_BY, is_own_network
    from custom_pose_ros.inference.checkpoints import load_checkpoint
    from training.pose_training.export.onnx_export import export_onnx


def height_note(trained: ObjectModel, output: Path) -> str | None:
    """Return a line where the object file beside the network means another input height than it was trained for."""
    path = output.with_name('object.yaml')
    if not path.is_file():
        return None
    height = ObjectModel.load(str(path)).input_height
    if height == trained.input_height:
        return None
    return (
        f'{path}: says input_height: {height}, and the network was trained at {trained.input_height}: '
        f'write {trained.input_height} there, or see with evaluate.py --heights which is better'
    )


@command
def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code."""
    parser = command_parser(__doc__)
    parser.add_argument('checkpoint', type=Path, help='best.pth or last.pth of training/train.py, or a published one')
    parser.add_argument('output', type=output_file(ONNX), nargs='?', help='default: model.onnx beside the checkpoint')
    parser.add_argument('--object', help='object of a published checkpoint; default: the one inside the checkpoint')
    parsed = parser.parse_args(arguments)
    output = parsed.output or parsed.checkpoint.with_name('model.onnx')
    check_own(output, WRITTEN_BY[ONNX], is_own_network)
    model = ObjectModel.load(parsed.object) if parsed.object else None
    checkpoint = load_checkpoint(parsed.checkpoint, model)
    if model and (difference := model.difference_from(checkpoint.model)):
        raise ModelError(f'{parsed.checkpoint}: was trained for {difference}; leave out --object {parsed.object}')
    if checkpoint.ignored:
        say(f'{len(checkpoint.ignored)} tensors that the network does not have: {", ".join(checkpoint.ignored[:4])}')
    if note := checkpoint.model.mirroring[1]:
        say(f'note: {note}')
    report = export_onnx(checkpoint.network(), model or checkpoint.model, output)
    print(
        f'{output}: {report.size_bytes / 1e6:.2f} MB, {report.node_count} nodes, '
        f'at most {report.largest_difference:.1e} from PyTorch'
    )
    if note := height_note(checkpoint.model, output):
        say(f'note: {note}')
    return DONE


if __name__ == '__main__':
    sys.exit(main())
