"""Names for the drawn picture or video of each input: never the name of an input, never one name twice."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path

from custom_pose_ros.core.errors import UsageError
from custom_pose_ros.core.files import IMAGE_SUFFIXES
from custom_pose_ros.tools.media import Input

_VIDEO_SUFFIX = '.mp4'


def plan_outputs(inputs: Sequence[Input], out: Path | None) -> list[Path | None]:
    """
    Return the file for each input; None where there is no place for it.

    Args:
        inputs: What is read.
        out: Folder, or file for a single input; None: `NAME_pose.png` or `NAME_pose.mp4` beside each input, and nothing
            for a webcam.

    Raises:
        UsageError: `out` cannot hold the results.
    """
    taken = {item.source.resolve() for item in inputs if isinstance(item.source, Path)}
    if out is not None and not out.is_dir():
        if out.suffix.lower() in (*IMAGE_SUFFIXES, _VIDEO_SUFFIX):
            return [_single_output(inputs, out, taken)]
        if out.exists():
            raise UsageError(f'--out {out}: is neither a folder nor an image or {_VIDEO_SUFFIX} file')
    return [_output_in_folder(item, out, taken) for item in inputs]


def _single_output(inputs: Sequence[Input], out: Path, taken: set[Path]) -> Path:
    if len(inputs) != 1:
        raise UsageError(f'--out {out}: is one file and there are {len(inputs)} inputs; give a folder')
    wanted = IMAGE_SUFFIXES if inputs[0].kind == 'image' else (_VIDEO_SUFFIX,)
    if out.suffix.lower() not in wanted:
        raise UsageError(
            f'--out {out}: for the {inputs[0].kind} {inputs[0].name} wanted a file ending in {" ".join(wanted)}'
        )
    if out.resolve() in taken:
        raise UsageError(f'--out {out}: is the input itself; give another name')
    return out


def _output_in_folder(item: Input, folder: Path | None, taken: set[Path]) -> Path | None:
    if folder is None and not isinstance(item.source, Path):
        return None
    folder = folder or Path(item.source).parent
    suffix = '.png' if item.kind == 'image' else _VIDEO_SUFFIX
    full_name = item.source.name if isinstance(item.source, Path) else item.stem
    numbered = (f'{item.stem}_{n}_pose' for n in itertools.count(2))
    for stem in itertools.chain((f'{item.stem}_pose', f'{full_name}_pose'), numbered):
        path = folder / (stem + suffix)
        if path.resolve() not in taken:
            break
    taken.add(path.resolve())
    return path
