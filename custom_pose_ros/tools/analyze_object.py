"""
Say how well an object can be oriented before anybody trains: expected errors, ambiguous views, and what would help.

    analyze_object submarine --fov-deg 60 --distance 1 4
    analyze_object my_robot/object.yaml --camera front_camera.yaml --distance 0.5 6 --noise 1.5 --out build/analysis
    analyze_object submarine --candidate mast 0.29 0 0.13 --candidate lamp 0.13 0 0.05
    analyze_object my_robot --mesh my_robot.stl --mesh-scale 0.001
    analyze_object --mesh part.glb --choose 10

With --mesh the advice is about points of the mesh only; with --choose keypoints are chosen on it first, and written to
build/analysis/part/object.yaml with a picture. Both need the folder training/, beside the package in a checkout.

Each line is about one image alone, of an object whose middle is on the optical axis, in any attitude. Keypoints behind
the object are taken to be seen, but not those that a mesh hides. The filter of orientation_node does better over time.
"""

from __future__ import annotations

import argparse
import math
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from custom_pose_ros.core.command_line import (
    ANYWHERE,
    DONE,
    PARTLY,
    SIDES,
    add_lens_options,
    bounded_number,
    check_range,
    command,
    command_parser,
    image_size,
    keypoint_number,
    output_folder,
    pip_install,
    say,
)
from custom_pose_ros.core.errors import UsageError
from custom_pose_ros.core.files import check_own, holds_entries, read_json, replacing, write_json
from custom_pose_ros.core.geometry.mesh_frame import add_mesh_options
from custom_pose_ros.core.labels.raw_labels import safe_name
from custom_pose_ros.core.object_checks import left_handed
from custom_pose_ros.core.object_model import ObjectModel
from custom_pose_ros.core.orientation.observability import Observability, random_attitudes, tilted_at_most
from custom_pose_ros.core.orientation.pnp import MIN_POINTS, known_points
from custom_pose_ros.inference.camera_calibration import CameraCalibration
from custom_pose_ros.tools.object_analysis import Analysis, analyse, error_curves, format_changes, format_table, to_dict

_NOISE_PX = 1e-3, 1e3
_SIZE_PX = 640, 480
_VIEWS = 1500  # of which `--tilt` may leave a part
_MOST_VIEWS = 300
_STEPS = 7  # distances
_IN_SIZES = (5 / 3, 20 / 3)  # the nearest and the farthest, in sizes of the object, where none are given
_FARTHEST_SIZES = 2  # of the object, from its keypoints to one that may be added
_ALL_SEEN = 'all keypoints count as seen, also those the object hides, so that real views of an opaque object are worse'


@command
def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return its exit code."""
    args = _parser().parse_args(argv)
    if (args.object is None) != bool(args.choose) or (args.choose and not args.mesh):
        raise UsageError('wanted an object to analyze, or --mesh and --choose without an object, which make a new one')
    if args.camera and args.size:
        raise UsageError('--size is of the image with --fov-deg; with --camera it is that of the calibration')
    if not args.mesh:
        _check_no_mesh(args)
        return run(args)
    if args.choose:
        args.object = args.out / safe_name(args.mesh.stem)
        _check_place(args.object, args.object.name)
    else:
        _check_place(args.out, ObjectModel.load(args.object).name)
    with TemporaryDirectory() as folder:
        found = Path(folder) / 'sight.json'
        if args.choose:
            code = _on_mesh(args, '--choose', str(args.choose), '--out', str(args.out), '--sight', str(found))
            args.out = args.object
        else:
            code = _on_mesh(args, '--candidates-for', args.object, '--out', str(found))
        if code not in (DONE, PARTLY):
            return code
        return run(args, MeshSight(**{name: np.array(rows) for name, rows in read_json(found).items()})) or code


def _check_no_mesh(args: argparse.Namespace) -> None:
    """Raise UsageError for options that say something of a mesh."""
    defaults = _parser().parse_args([])
    for name in ('mesh_scale', 'mesh_axes', 'mesh_origin', 'seen_from'):
        if getattr(args, name) != getattr(defaults, name):
            raise UsageError(f'--{name.replace("_", "-")} is about a mesh: give it with --mesh')


@dataclass(frozen=True, eq=False)
class MeshSight:
    """
    What of a mesh is seen from V directions.

    Attributes:
        directions: (V, 3) unit vectors from the object to the camera.
        keypoints_seen: (V, K) bool.
        places: (N, 3) where another keypoint could be, object frame [m].
        places_seen: (V, N) bool.
    """

    directions: np.ndarray
    keypoints_seen: np.ndarray
    places: np.ndarray
    places_seen: np.ndarray

    def nearest(self, attitudes: np.ndarray) -> np.ndarray:
        """Return which of the directions is nearest to that of each of some attitudes (A, 3, 3) R_camera_object."""
        return (-attitudes[:, 2] @ self.directions.T).argmax(1)


def _check_place(out: Path, name: str) -> Path:
    """Return the file for the numbers of an object; OutputError where that or the chart is somebody else's."""
    path = out / f'{name}.json'
    check_own(path, 'analyze_object', holds_entries('distances_m', 'errors', 'changes'), (f'{name}.png',))
    return path


def _on_mesh(args: argparse.Namespace, *wanted: str) -> int:
    """Run the script that reads meshes, which the package does not; return its exit code, after its own message."""
    script = Path(__file__).resolve().parents[2] / 'training' / 'choose_keypoints.py'
    if not script.is_file():
        raise UsageError('--mesh: needs the folder training/ of the repository, which is not installed: run it there')
    options = ['--mesh', str(args.mesh), f'--mesh-axes={args.mesh_axes}']
    options += ['--mesh-origin', *map(str, args.mesh_origin)]
    options += ['--mesh-scale', str(args.mesh_scale)] if args.mesh_scale else []
    options += ['--seen-from', *args.seen_from]
    sys.stdout.flush()
    return subprocess.run([sys.executable, str(script), *options, *wanted], check=False).returncode


def _parser() -> argparse.ArgumentParser:
    parser = command_parser(__doc__, 'analyze_object')
    parser.add_argument('object', nargs='?', help='folder, object.yaml or installed object; none with --choose')
    add_mesh_options(parser, ' of the object, in its frame')
    parser.add_argument('--choose', type=keypoint_number, metavar='N', help='choose N keypoints on the mesh')
    parser.add_argument(
        '--seen-from', nargs='+', choices=(ANYWHERE, *SIDES), default=[ANYWHERE], metavar='SIDE',
        help=f'sides of the mesh that cameras will see: {ANYWHERE} (default), {", ".join(SIDES)}; '
        'the front of a flat thing is along x with --choose, else where its keypoints are',
    )  # fmt: skip
    add_lens_options(parser)
    parser.add_argument(
        '--size', type=image_size, metavar='WxH',
        help='of the image with --fov-deg [px] (default: 640x480)',
    )  # fmt: skip
    parser.add_argument(
        '--distance', type=float, nargs=2, metavar=('NEAR', 'FAR'),
        help='of the object [m] (default: 1.7 and 6.7 times its size: 1 and 4 m of the submarine)',
    )  # fmt: skip
    parser.add_argument(
        '--noise', type=bounded_number(*_NOISE_PX), default=1.0, metavar='PX',
        help='standard deviation of a keypoint [px of the image] (default: 1)',
    )  # fmt: skip
    parser.add_argument(
        '--tilt', type=float, default=90.0, metavar='DEG',
        help='largest angle between line of sight and the normal of the main plane of the keypoints (default: any)',
    )  # fmt: skip
    parser.add_argument(
        '--candidate', nargs=4, action='append', default=[], metavar=('NAME', 'X', 'Y', 'Z'),
        help='a point of the object that could become a keypoint, object frame [m]; may be repeated',
    )  # fmt: skip
    parser.add_argument(
        '--out', type=output_folder, default=Path('build/analysis'), metavar='FOLDER',
        help='for chart and numbers (default: build/analysis); with --choose all goes into FOLDER/MESH, a folder in it '
        'that is named after the mesh',
    )  # fmt: skip
    return parser


def run(args: argparse.Namespace, sight: MeshSight | None = None) -> int:
    """Analyse, print the table and write chart and numbers; with a mesh by what it shows, and with its places only."""
    model = ObjectModel.load(args.object)
    numbers = _check_place(args.out, model.name)
    calibration = CameraCalibration(args.camera, report=lambda text: say(f'note: {args.camera}: {text}'))
    camera = calibration.for_size(*(calibration.size if args.camera else args.size or _SIZE_PX), args.fov_deg)
    attitudes = _attitudes(args.tilt, model)
    distances = _distances(*(args.distance or (float(f'{factor * model.size_m:.2g}') for factor in _IN_SIZES)))
    candidates = _candidates(args.candidate, model)
    seen = places = places_seen = None
    if sight is not None:
        nearest = sight.nearest(attitudes)
        seen = sight.keypoints_seen[nearest][:, model.has_position]
        places, places_seen = sight.places.reshape(-1, 3), sight.places_seen[nearest].astype(bool)
    observability = Observability(model, camera, args.noise, attitudes, seen)
    analysis = analyse(observability, distances, candidates, places, places_seen)
    if not model.warnings and (text := left_handed(model.keypoint_names, model.model_points)):
        say(f'note: model_points: {text}')
    heading = (
        f'{model.name}: {len(observability.names)} keypoints with a known position, spread over {model.size_m:.3g} m, '
        f'noise {args.noise:g} px, camera of {camera.width}x{camera.height} px, f = {camera.K[0, 0]:.0f} px'
    )
    taken = (
        '' if args.distance else f'\ndistances of {_IN_SIZES[0]:.2g} to {_IN_SIZES[1]:.2g} times its size (--distance)'
    )
    words = _ALL_SEEN if seen is None else _sight_words(seen)
    print(f'{heading}{taken}\n{words}\n\n{format_table(analysis)}\n\n{format_changes(analysis)}')
    _save(analysis, heading, numbers)
    return DONE


def _attitudes(tilt_deg: float, model: ObjectModel) -> np.ndarray:
    """Return the attitudes (A, 3, 3) R_camera_object to look at, of which --tilt leaves a part."""
    if not 0.0 < tilt_deg <= 90.0:
        raise UsageError(f'--tilt: wanted degrees above 0 and up to 90, got {tilt_deg:g}')
    attitudes = tilted_at_most(random_attitudes(_VIEWS), known_points(model).normal, math.radians(tilt_deg))
    if not len(attitudes):
        raise UsageError(f'--tilt {tilt_deg:g}: no view is left; give at least 5')
    return attitudes[:_MOST_VIEWS]


def _save(analysis: Analysis, heading: str, numbers: Path) -> None:
    """Write the numbers, and beside them the chart where its packages are installed."""
    write_json(numbers, to_dict(analysis))
    saved = [numbers]
    try:
        from custom_pose_ros.evaluation.report.charts import draw_observability
    except ImportError as error:
        say(f'note: no chart: {error}; {pip_install(["report"])}')
    else:
        chart = numbers.with_suffix('.png')
        with replacing(chart) as temporary:
            draw_observability(temporary, heading, analysis.distances, error_curves(analysis))
        saved.insert(0, chart)
    say(f'\nsaved {", ".join(map(str, saved))}')


def _sight_words(seen: np.ndarray) -> str:
    """Say how many of K keypoints are seen, (views, K) bool."""
    counts = seen.sum(1)
    return (
        f'keypoints that the mesh hides are not counted: {np.median(counts):.0f} of {seen.shape[1]} are seen in the '
        f'median view; {np.mean(counts < MIN_POINTS):.0%} of views show fewer than {MIN_POINTS}, count as a random '
        'attitude, and as ambiguous'
    )


def _candidates(given: Sequence[Sequence[str]], model: ObjectModel) -> dict[str, np.ndarray]:
    """Return name -> place (3,) [m] of what --candidate gave."""
    candidates: dict[str, np.ndarray] = {}
    known = set(np.array(model.keypoint_names)[model.has_position])
    points = model.model_points[model.has_position]
    for name, *place in given:
        if name in candidates:
            raise UsageError(f'--candidate {name}: is given twice; give each a name of its own')
        try:
            candidates[name] = np.array([float(value) for value in place])
        except ValueError:
            candidates[name] = np.full(3, math.nan)
        if not np.isfinite(candidates[name]).all():
            raise UsageError(f'--candidate {name}: wanted three numbers X Y Z [m], got {" ".join(place)}')
        if name in known:
            raise UsageError(f'--candidate {name}: is a keypoint of the object already; give it another name')
        away_m = float(np.linalg.norm(points - candidates[name], axis=1).min())
        if away_m > _FARTHEST_SIZES * model.size_m:
            raise UsageError(
                f'--candidate {name}: lies {away_m:.3g} m from the nearest keypoint, of an object whose keypoints are '
                f'spread over {model.size_m:.3g} m; X Y Z are metres'
            )
    return candidates


def _distances(near_m: float, far_m: float) -> np.ndarray:
    check_range('--distance', 'NEAR', 'FAR', (near_m, far_m))
    return np.unique(np.geomspace(near_m, far_m, _STEPS).round(4))


if __name__ == '__main__':
    sys.exit(main())
