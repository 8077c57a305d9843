"""The files that a trained network lies in, beside each other: their names, who writes them, what is refused."""

from __future__ import annotations

import contextlib
import textwrap
from collections.abc import Sequence
from pathlib import Path

from custom_pose_ros.core.errors import ModelError, ModelFileError, reason_of
from custom_pose_ros.core.files import read_bytes
from custom_pose_ros.core.limits import MAX_NETWORK_BYTES
from custom_pose_ros.inference.layouts import ONNX_LAYOUT, layout_of_file, layout_of_outputs, refusal

ONNX = '.onnx'
INT8 = '_int8.onnx'
CHECKPOINT = '.pth'
ENGINE = '_trt.pth'
ENGINE_NAME = f'net{ENGINE}'  # as in the published recipe
WRITTEN_BY = {
    ONNX: 'training/export_onnx.py',
    INT8: 'training/quantize.py',
    CHECKPOINT: 'training/train.py',
    ENGINE: 'training/export_tensorrt.py',
}
DERIVED = (INT8, ENGINE)  # made from the .onnx file beside them, whose SHA-256 they carry as 'made_from'
_MARK = b'custom_pose_ros'  # producer in an .onnx file, key of the facts in an engine
INPUTS = ['image']  # of an .onnx file
OUTPUTS = ['heatmaps', 'pafs']
_LONGEST_REASON = 120  # characters; some libraries append the signatures of their functions


def ending_of(path: Path) -> str:
    """Return which of the endings a file has, '' for another file."""
    return next((ending for ending in (INT8, ENGINE, ONNX, CHECKPOINT) if path.name.endswith(ending)), '')


def file_beside(path: Path, ending: str) -> Path:
    """Return the file with an ending: in a folder, the file itself, or the one beside it."""
    if path.is_dir():
        return path / (ENGINE_NAME if ending == ENGINE else f'model{ending}')
    own = ending_of(path)
    if own == ending:
        return path
    if ending == ENGINE:
        return path.with_name(ENGINE_NAME)
    if own in ('', ENGINE):
        return path.with_name(f'model{ending}')
    return path.with_name(path.name.removesuffix(own) + ending)


def is_own_network(path: Path) -> bool:
    """Return whether a file holds a network that one of the commands above exported, by the name that it put inside."""
    try:
        return _MARK in read_bytes(path, MAX_NETWORK_BYTES)
    except OSError:
        return False


def damaged_onnx(path: Path, error: Exception) -> ModelError:
    """Return the error for an .onnx file that a library cannot read."""
    with contextlib.suppress(OSError):  # it may be gone
        if layout_of_file(path) not in ('', ONNX_LAYOUT):
            return refusal(path)
    reason = textwrap.shorten(reason_of(error), _LONGEST_REASON, placeholder=' ...')
    return ModelFileError(
        f'{path}: is damaged or not an ONNX model; export it again with training/export_onnx.py ({reason})'
    )


def check_onnx_names(path: Path, inputs: Sequence[str], outputs: Sequence[str]) -> None:
    """Raise ModelError unless the inputs and outputs are those that training/export_onnx.py writes."""
    if (list(inputs), list(outputs)) != (INPUTS, OUTPUTS):
        whose = layout_of_outputs(inputs, outputs)
        raise ModelError(
            f'{path}: was not written by training/export_onnx.py{whose and f" but is {whose}"}: wanted input image and '
            f'outputs heatmaps, pafs, got {", ".join(inputs)} and {", ".join(outputs)}'
        )
