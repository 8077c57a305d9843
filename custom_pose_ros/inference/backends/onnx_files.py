"""What both readers of ONNX files refuse, in the same words."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from pathlib import Path

from custom_pose_ros.core.errors import ModelError

INPUTS = ['image']
OUTPUTS = ['heatmaps', 'pafs']
_LONGEST_REASON = 120  # characters; some libraries append the signatures of their functions


def damaged(path: Path, error: Exception) -> ModelError:
    """Return the error for a file that the library cannot read."""
    reason = textwrap.shorten(
        (str(error).splitlines() or [type(error).__name__])[0], _LONGEST_REASON, placeholder=' ...'
    )
    return ModelError(
        f'{path}: is damaged or not an ONNX model; export it again with training/export_onnx.py ({reason})'
    )


def check_names(path: Path, inputs: Sequence[str], outputs: Sequence[str]) -> None:
    """Raise ModelError unless the graph is one of training/export_onnx.py."""
    if (list(inputs), list(outputs)) != (INPUTS, OUTPUTS):
        raise ModelError(
            f'{path}: was not written by training/export_onnx.py: wanted input image and outputs heatmaps, pafs, '
            f'got {", ".join(inputs)} and {", ".join(outputs)}'
        )
