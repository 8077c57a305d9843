"""
Make the outline of an object from its mesh: outline.npz, by which the robot measures poses that keypoints found.

    python training/outline.py --object config/my_object --mesh my_object.glb
    python training/outline.py --object submarine --variant 7 --out build/outline.npz

It holds what the outline, the print and the creases of the object look like from all around, and the object file. Give
the mesh as to training/synthesize.py. It must be the object that the camera sees: what differs by a few percent of its
size makes poses wrong. Of a measured board or a part made to its drawing say so, for poses as exact: --size-error 0.1%.
Needs vtk and trimesh, and an off-screen OpenGL (no display, no GPU). Takes five minutes of one core for a printed cube,
half an hour for a detailed textured mesh; it says how long after the first views.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import math
import sys
import time
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # run as a script from anywhere

from custom_pose_ros.core.command_line import (
    DONE,
    command,
    command_parser,
    optional_packages,
    output_file,
    say,
    seed_number,
    whole_number,
)

# The import above comes first, so that Ctrl-C during all others ends without a traceback.
# isort: split
import numpy as np

from custom_pose_ros.core.command_line import progress_bar
from custom_pose_ros.core.errors import UsageError
from custom_pose_ros.core.files import check_own
from custom_pose_ros.core.geometry.mesh_frame import add_mesh_options
from custom_pose_ros.core.object_file import find_object_folder
from custom_pose_ros.core.object_model import ObjectModel
from custom_pose_ros.core.orientation.outlines.outline_views import (
    OUTLINE_FILE,
    SIZE_ERROR,
    WRITTEN_BY,
    OutlineViews,
    ViewLines,
)

with optional_packages('outline', ['synthetic']):
    from training.synthetic.geometry.formats.mesh_problems import telling_losses
    from training.synthetic.geometry.object_builder import mesh_of, object_builder, size_note, tell_reading
    from training.synthetic.output.clip import VARIANT_STREAM
    from training.synthetic.output.outline_drawing import OutlineDrawing
    from training.synthetic.rendering.gl_probe import require_gl

VIEWS = 2000  # about 5 degrees apart
_FEW_VIEWS = 300  # with which edges that a face is about to cover mislead, see docs/outline.md
_TIMED = 10  # views, to tell how long all will take
_LEAST_ERROR, _MOST_ERROR = 1e-4, 0.05


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Return the command line."""
    parser = command_parser(__doc__)
    parser.add_argument(
        '--object', required=True, help='folder with object.yaml, the file, or the name of an installed object'
    )
    parser.add_argument('--out', type=output_file('.npz'), help=f'default: {OUTLINE_FILE} in the folder of the object')
    parser.add_argument(
        '--views', type=whole_number(20, 20_000), default=VIEWS,
        help=f'number of directions, 20 to 20000 (default {VIEWS})',
    )  # fmt: skip
    parser.add_argument(
        '--variant', type=seed_number, default=0, metavar='SEED',
        help='of what variation.yaml lets differ, as in clips of training/synthesize.py --seed SEED (default 0)',
    )  # fmt: skip
    parser.add_argument(
        '--size-error', type=_share, default=SIZE_ERROR, metavar='PERCENT',
        help='by how much the object may be larger or smaller than the mesh (standard deviation, half as much for its '
        f'proportions), such as 0.1%% (default {SIZE_ERROR * 100:.0f}%%)',
    )  # fmt: skip
    add_mesh_options(parser, '; default: the one that variation.yaml beside the object file names')
    return parser.parse_args(arguments)


def _share(text: str) -> float:
    """Return a size error given in percent; the sign is wanted, since 0.1 alone might mean a tenth."""
    with contextlib.suppress(ValueError):
        share = float(text.removesuffix('%')) / 100.0
        if text.endswith('%') and _LEAST_ERROR <= share <= _MOST_ERROR:
            return share
    raise argparse.ArgumentTypeError(
        f'wanted percent from {_LEAST_ERROR:.2%} to {_MOST_ERROR:.0%}, such as 0.1%, got {text!r}'
    )


def _drawn(drawing: OutlineDrawing, count: int) -> list[ViewLines]:
    """Return the lines of all views; say after the first ones how long they will take."""
    views = drawing.views()
    first = [next(views)]  # which takes longer
    start = time.monotonic()
    first += itertools.islice(views, _TIMED)
    minutes = (time.monotonic() - start) / _TIMED * (count - len(first)) / 60
    say(f'{count} views take about {f"{minutes:.0f} minutes" if minutes > 1.5 else f"{60 * minutes:.0f} s"} (--views)')
    return [*first, *progress_bar('views', count - len(first), 'view', views)]


@command
@telling_losses
def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code."""
    options = parse_arguments(arguments)
    out = options.out or find_object_folder(options.object) / OUTLINE_FILE
    check_own(out, WRITTEN_BY, OutlineViews.wrote)
    model = ObjectModel.load(options.object)
    mesh = mesh_of(options, model)
    if options.mesh and options.variant:
        raise UsageError('--variant is drawn from variation.yaml beside the object file; leave it out with --mesh')
    tell_reading(mesh['path'])
    build = object_builder(model, mesh, tell=say)
    require_gl()
    parts = build(np.random.default_rng([options.variant, VARIANT_STREAM]))
    print(size_note(parts, model, **mesh))
    if options.views <= _FEW_VIEWS:
        apart_deg = math.degrees(math.sqrt(4.0 * math.pi / options.views))
        say(f'note: {options.views} views are {apart_deg:.0f} degrees apart: between them edges are wrong (--views)')
    drawing = OutlineDrawing(parts, options.views)
    lines = _drawn(drawing, options.views)
    name = Path(mesh['path']).name + (f', variant {options.variant}' if options.variant else '')
    views = OutlineViews.from_lines(
        model, name, drawing.centre, drawing.radius, drawing.directions, lines, options.size_error
    )
    views.save(out)
    lines_each, size_mb = len(views.kinds) / options.views, out.stat().st_size / 1e6
    print(f'{out}: {options.views} views, {lines_each:.0f} lines each, {size_mb:.1f} MB')
    print(f'the object is taken to have the size of the mesh within {views.size_error:.2%} (--size-error)')
    return DONE


if __name__ == '__main__':
    sys.exit(main())
