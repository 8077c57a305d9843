"""
Choose keypoints on a mesh: points that stand out, are seen from most sides and together tell the pose best.

    python training/choose_keypoints.py --mesh part.glb --choose 10 --out config

writes config/part/object.yaml and preview.png. It is what `analyze_object --mesh part.glb --choose 10` runs before it
says how well the object can be oriented. Needs vtk and trimesh, and an off-screen OpenGL (no display, no GPU).
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # run as a script from anywhere

from custom_pose_ros.core.command_line import (
    DONE,
    check_output,
    command,
    command_parser,
    keypoint_number,
    optional_packages,
    output_file,
    output_folder,
    say,
)

# The import above comes first, so that Ctrl-C during all others ends without a traceback.
# isort: split
import numpy as np

from custom_pose_ros.core.errors import ConfigError, UsageError
from custom_pose_ros.core.files import check_own, holds_entries, write_json, write_text
from custom_pose_ros.core.geometry.mesh_frame import add_mesh_options, axes_rotation
from custom_pose_ros.core.labels.raw_labels import safe_name
from custom_pose_ros.core.object_checks import LARGE_M
from custom_pose_ros.core.object_model import ObjectModel

with optional_packages('choose_keypoints', ['synthetic']):
    from training.synthetic.choosing.keypoint_choice import KeypointChoice
    from training.synthetic.choosing.proposed_object import OffCentreError, first_line, propose
    from training.synthetic.choosing.surface_views import SurfaceViews
    from training.synthetic.geometry.formats.mesh_problems import telling_losses
    from training.synthetic.geometry.keypoint_sites import KeypointSite, keypoint_sites
    from training.synthetic.geometry.object_builder import (
        check_against_model,
        load_parts,
        object_size,
        tell_reading,
        used_scale,
    )
    from training.synthetic.geometry.parts import Part, all_vertices
    from training.synthetic.geometry.variation import constant_parts
    from training.synthetic.output.preview import PREVIEW, is_preview, write_preview
    from training.synthetic.rendering.gl_probe import require_gl
    from training.synthetic.rendering.renderer import Surfaces
    from training.synthetic.scenes.annotation import keypoint_seen
    from training.synthetic.scenes.attitudes import direction_of
    from training.synthetic.settings import ANYWHERE, SIDES, load_settings

_COMMAND = 'analyze_object --choose'


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Return the command line."""
    parser = command_parser(__doc__)
    add_mesh_options(parser, required=True)
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument('--choose', type=keypoint_number, metavar='N', help='number of keypoints to choose')
    what.add_argument(
        '--candidates-for',
        metavar='OBJECT',
        help='write only where an object could have further keypoints, and which each side shows, as JSON',
    )
    parser.add_argument(
        '--seen-from', choices=(ANYWHERE, *SIDES), nargs='+', default=[ANYWHERE], metavar='SIDE',
        help=f'sides of the object that cameras will see: {ANYWHERE} (default), {", ".join(SIDES)}; the front of a '
        'flat thing is along x with --choose, else where its keypoints are',
    )  # fmt: skip
    parser.add_argument('--out', type=Path, required=True, help='folder for NAME/object.yaml, or the JSON file')
    parser.add_argument(
        '--sight', type=output_file('.json'), help='write as JSON which keypoints each side shows, with --choose'
    )
    parsed = parser.parse_args(arguments)
    check_output(parser, parsed.out, output_folder if parsed.choose else output_file('.json'))
    return parsed


def sides_of(options: argparse.Namespace, sites: Sequence[KeypointSite] = ()) -> list[np.ndarray]:
    """Return the directions (3,) of the sides of an object that will be seen, none for anywhere."""
    return [] if ANYWHERE in options.seen_from else [direction_of(side, sites) for side in options.seen_from]


def mesh_parts(options: argparse.Namespace) -> list[Part]:
    """Return what of the mesh belongs to every variant of the object."""
    tell_reading(options.mesh)
    parts = load_parts(options.mesh, options.mesh_scale, options.mesh_axes, options.mesh_origin)
    return constant_parts(options.mesh, parts)


def check_unit(options: argparse.Namespace, parts: list[Part]) -> None:
    """Raise UsageError when the mesh is so large that its unit is hardly the metre, and nobody has said so."""
    size = float(np.linalg.norm(np.ptp(all_vertices(parts), 0)))
    if size > LARGE_M and options.mesh_scale is None:
        raise UsageError(
            f'{options.mesh}: is {size:.4g} m large: give --mesh-scale, the metres in one of its units '
            f'(0.001 if they are millimetres: {1e-3 * size:.3g} m; 1 if it is that large)'
        )


def choose(options: argparse.Namespace) -> None:
    """Write object.yaml and the picture of a new object."""
    folder = options.out / safe_name(options.mesh.stem)
    path, start = folder / 'object.yaml', f'{first_line(options.mesh.name)}\n'.encode()
    check_own(path, _COMMAND, lambda path: path.read_bytes().startswith(start))
    check_own(folder / PREVIEW, _COMMAND, is_preview)
    parts = mesh_parts(options)
    check_unit(options, parts)
    try:
        proposal = propose(options.mesh.stem, parts, options.choose, sides_of(options))
    except OffCentreError as error:
        scale = used_scale(options.mesh, options.mesh_scale)
        shift = axes_rotation(options.mesh_axes).T @ error.centre / scale
        place = ' '.join(f'{value + 0.0:.5g}' for value in options.mesh_origin + shift)
        raise UsageError(f'{options.mesh}: {error}: give --mesh-origin {place}') from error
    except ConfigError as error:
        raise ConfigError(f'{options.mesh}: {error}') from error
    text = proposal.yaml(options.mesh.name)
    if path.exists() and path.read_text(encoding='utf-8', errors='replace') != text:
        raise ConfigError(f'{path}: is there already and says something else: remove it, or give another --out')
    folder.mkdir(parents=True, exist_ok=True)
    write_text(path, text)
    write_preview(folder / PREVIEW, parts, ObjectModel.load(path), load_settings().visibility)
    if options.sight:
        write_sight(options.sight, parts, proposal.views, ObjectModel.load(path), np.zeros((0, 3)))
    for note in proposal.notes:
        say(f'note: {note}')
    print(f'{path}: {len(proposal.data["keypoints"])} keypoints; look at {folder / PREVIEW}', flush=True)


def write_candidates(options: argparse.Namespace) -> None:
    """Write the places (N, 3) [m] on the mesh at which the object could have another keypoint."""
    check_own(options.out, '--candidates-for', holds_entries('directions', 'places', 'places_seen'))
    model = ObjectModel.load(options.candidates_for)
    parts = mesh_parts(options)
    if model.model_points is None or np.isnan(model.model_points).any():
        raise ConfigError(f'{model.source}: model_points: wanted a position for every keypoint, to find it on the mesh')
    scale = used_scale(options.mesh, options.mesh_scale)
    if warning := check_against_model(parts, model, str(options.mesh), scale, options.mesh_axes):
        say(warning)
    views = SurfaceViews(parts)
    sites = keypoint_sites(parts, model.model_points, load_settings().visibility.radius * object_size(model))
    choice = KeypointChoice(views, all_vertices(parts), seen_from=sides_of(options, sites))
    write_sight(options.out, parts, views, model, choice.places[np.argsort(choice.noise, kind='stable')].round(6))


def write_sight(path: Path, parts: list[Part], views: SurfaceViews, model: ObjectModel, places: np.ndarray) -> None:
    """Write as JSON from where keypoints and places (N, 3) [m] are seen, by what renderings label as seen."""
    visibility = load_settings().visibility
    points = np.concatenate([model.model_points, places])
    sites = keypoint_sites(parts, points, visibility.radius * object_size(model))
    seen = []
    for pose, depth in zip(views.poses, views.depths):
        surfaces = Surfaces(np.isfinite(depth).astype(np.uint8), depth, views.K)
        rest = pose.rotation, visibility.seen_share
        seen.append([bool(keypoint_seen(surfaces, 1, *at, *rest)) for at in zip(pose.apply(points), sites)])
    directions = [(-pose.rotation[2]).tolist() for pose in views.poses]
    count = len(model.model_points)
    keypoints_seen, places_seen = [row[:count] for row in seen], [row[count:] for row in seen]
    content = {'directions': directions, 'keypoints_seen': keypoints_seen, 'places': places.tolist()}
    write_json(path, {**content, 'places_seen': places_seen})


@command
@telling_losses
def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code."""
    options = parse_arguments(arguments)
    require_gl()
    if options.choose:
        choose(options)
    else:
        write_candidates(options)
    return DONE


if __name__ == '__main__':
    sys.exit(main())
