"""
Say how well an object can be oriented before anybody trains: expected errors, ambiguous views, and what would help.

    analyze_object submarine --fov-deg 60 --distance 1 4
    analyze_object my_robot/object.yaml --camera front_camera.yaml --distance 0.5 6 --noise 1.5 --out build/analysis
    analyze_object submarine --candidate mast 0.29 0 0.13 --candidate lamp 0.13 0 0.05

Each line is about one image alone, of an object whose middle is on the optical axis, in any attitude. Keypoints behind
the object are taken to be seen. The filter of orientation_node does better over time.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from custom_pose_ros.core.command_line import DONE, command, field_of_view_deg, image_size, pip_install, say
from custom_pose_ros.core.errors import UsageError
from custom_pose_ros.core.files import replacing, write_json
from custom_pose_ros.core.geometry.camera import CameraIntrinsics
from custom_pose_ros.core.object_model import ObjectModel
from custom_pose_ros.core.orientation.observability import Observability, random_attitudes, tilted_at_most
from custom_pose_ros.tools.object_analysis import analyse, error_curves, format_changes, format_table, to_dict

DEFAULT_FOV_DEG = 60.0
_VIEWS = 1500  # of which `--tilt` may leave a part
_MOST_VIEWS = 300
_STEPS = 7  # distances


@command
def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return its exit code."""
    run(_parser().parse_args(argv))
    return DONE


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog='analyze_object', description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('object', help='folder, object.yaml or installed object')
    group = parser.add_mutually_exclusive_group()
    group.add_argument('--camera', type=Path, metavar='YAML', help='calibration as camera_calibration writes it')
    group.add_argument(
        '--fov-deg', type=field_of_view_deg, metavar='DEG', default=DEFAULT_FOV_DEG,
        help=f'horizontal field of view without --camera (default: {DEFAULT_FOV_DEG:g})',
    )  # fmt: skip
    parser.add_argument(
        '--size',
        type=image_size,
        default=(640, 480),
        metavar='WxH',
        help='of the image with --fov-deg [px] (default: 640x480)',
    )
    parser.add_argument(
        '--distance', type=float, nargs=2, default=(1.0, 4.0), metavar=('NEAR', 'FAR'),
        help='of the object [m] (default: 1 4)',
    )  # fmt: skip
    parser.add_argument(
        '--noise', type=float, default=1.0, metavar='PX',
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
        '--out', type=Path, default=Path('build/analysis'), metavar='FOLDER', help='for chart and numbers'
    )
    return parser


def run(args: argparse.Namespace) -> None:
    """Analyse, print the table and write chart and numbers."""
    model = ObjectModel.load(args.object)
    camera = _camera(args)
    distances = _distances(*args.distance)
    if not 0.0 < args.tilt <= 90.0:
        raise UsageError(f'--tilt: wanted degrees above 0 and up to 90, got {args.tilt:g}')
    attitudes = random_attitudes(_VIEWS)
    observability = Observability(model, camera, args.noise, attitudes)
    attitudes = tilted_at_most(attitudes, observability.shape.normal, math.radians(args.tilt))[:_MOST_VIEWS]
    if not len(attitudes):
        raise UsageError(f'--tilt {args.tilt:g}: no view is left; give at least 5')
    candidates = _candidates(args.candidate)
    analysis = analyse(Observability(model, camera, args.noise, attitudes), distances, candidates)
    heading = (
        f'{model.name}: {len(observability.names)} keypoints with a known position, noise {args.noise:g} px, '
        f'camera of {camera.width}x{camera.height} px, f = {camera.K[0, 0]:.0f} px'
    )
    print(f'{heading}\n\n{format_table(analysis)}\n\n{format_changes(analysis)}')
    numbers = args.out / f'{model.name}.json'
    write_json(numbers, to_dict(analysis))
    saved = [numbers]
    try:
        from custom_pose_ros.evaluation.report.observability_chart import draw_chart
    except ImportError as error:
        say(f'note: no chart: {error}; {pip_install(["report"])}')
    else:
        chart = args.out / f'{model.name}.png'
        with replacing(chart) as temporary:
            draw_chart(temporary, heading, analysis.distances, error_curves(analysis))
        saved.insert(0, chart)
    say(f'\nsaved {", ".join(map(str, saved))}')


def _camera(args: argparse.Namespace) -> CameraIntrinsics:
    if args.camera is not None:
        return CameraIntrinsics.from_yaml(args.camera)
    return CameraIntrinsics.from_fov(*args.size, math.radians(args.fov_deg))


def _candidates(given: Sequence[Sequence[str]]) -> dict[str, np.ndarray]:
    """Return name -> place (3,) [m] of what --candidate gave."""
    candidates = {}
    for name, *place in given:
        try:
            candidates[name] = np.array([float(value) for value in place])
        except ValueError:
            candidates[name] = np.full(3, math.nan)
        if not np.isfinite(candidates[name]).all():
            raise UsageError(f'--candidate {name}: wanted three numbers X Y Z [m], got {" ".join(place)}')
    return candidates


def _distances(near_m: float, far_m: float) -> np.ndarray:
    if not 0.0 < near_m <= far_m < math.inf:
        raise UsageError(f'--distance: wanted 0 < NEAR <= FAR [m], got {near_m:g} {far_m:g}')
    return np.unique(np.geomspace(near_m, far_m, _STEPS).round(4))


if __name__ == '__main__':
    sys.exit(main())
