"""
Measure an object from its labels: no ruler, no CAD, no calibration.

    python training/measure_object.py labels.json --length top_front_left top_front_right 0.258 --out build/my_object
    python training/measure_object.py labels.json --object config/my_object --camera camera.yaml --out build/my_object

Finds the shape of one rigid object (model_points), the focal length and the distortion of the camera from keypoints
that are labelled in several pictures, with what the labels leave open, and lists the labels that contradict a rigid
body. Writes object.yaml and camera.yaml, one for each size of picture where there are several.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # run as a script from anywhere

from custom_pose_ros.core.command_line import DONE, PARTLY, command, command_parser, output_folder, positive_number

# The import above comes first, so that Ctrl-C during all others ends without a traceback.
# isort: split
import numpy as np

from custom_pose_ros.core.errors import ConfigError, DatasetError
from custom_pose_ros.core.files import check_own, write_text
from custom_pose_ros.core.keypoint_names import find_sides
from custom_pose_ros.core.labels.categories import CategoryChoice
from custom_pose_ros.core.labels.raw_labels import REFUSED, STORED, TURNED, RawLabels, problem_table
from custom_pose_ros.core.object_model import ObjectModel
from training.pose_training.labels.checking import CheckedImage
from training.pose_training.labels.drafts import object_yaml
from training.pose_training.labels.formats import read_labels_and_folders
from training.pose_training.measuring.measured_files import (
    AUTHOR,
    camera_yamls,
    is_measured_camera,
    lens_lines,
    measured_object_yaml,
    position_lines,
)
from training.pose_training.measuring.measurement import LEAST_NOISE_PX, Measurement, measure
from training.pose_training.measuring.object_axes import FrameChoice, ObjectFrame
from training.pose_training.measuring.views_of_labels import LabelledViews, labelled_pictures, labelled_views


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Return the command line; exits with a message when it does not make sense."""
    parser = command_parser(__doc__)
    parser.add_argument('labels', type=Path, help='label file, or folder of a data set, as for prepare_dataset.py')
    parser.add_argument('--out', type=output_folder, required=True, help='folder for object.yaml and camera.yaml')
    parser.add_argument(
        '--images', type=Path, action='append', help="folder with the images, at any depth (default: the label file's)"
    )  # fmt: skip
    parser.add_argument('--object', help='object file: everything but model_points is taken over (default: a draft)')
    parser.add_argument('--category', action='append', default=[], help='name of the category to use, of several')
    parser.add_argument('--exif', choices=(TURNED, STORED), help='as for prepare_dataset.py')
    parser.add_argument(
        '--length', nargs=3, metavar=('A', 'B', 'METRES'), help='two keypoints and their distance, by a ruler [m]'
    )
    parser.add_argument('--camera', type=Path, help='calibration of the camera (default: it is measured as well)')
    parser.add_argument(
        '--forward', nargs=2, metavar=('A', 'B'), help='x points from keypoint A to B (default: as the names say)'
    )
    parser.add_argument(
        '--left', nargs=2, metavar=('C', 'D'),
        help='y points from keypoint C to D (default: across the mirror plane of left and right)',
    )  # fmt: skip
    parsed = parser.parse_args(arguments)
    if parsed.length is not None:
        try:
            parsed.length[2] = positive_number(parsed.length[2])
        except argparse.ArgumentTypeError as error:
            parser.error(f'--length: {error}')
    return parsed


@command
def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code."""
    parsed = parse_arguments(arguments)
    with tempfile.TemporaryDirectory(prefix='frames-') as folder:  # for frames of videos that are labelled
        return _measure(parsed, Path(folder))


def _measure(parsed: argparse.Namespace, frames: Path) -> int:
    """Read the labels, measure and write; return the exit code."""
    if (path := parsed.out / 'object.yaml').exists():
        raise DatasetError(f'{path}: is there already and may have been edited; give another --out or remove it')
    if parsed.camera is None:
        for place in [parsed.out / 'camera.yaml', *parsed.out.glob('camera_[0-9]*x[0-9]*.yaml')]:
            check_own(place, AUTHOR, is_measured_camera)
    model = ObjectModel.load(parsed.object) if parsed.object else None
    choice = CategoryChoice(tuple(parsed.category))
    labels, folders = read_labels_and_folders(model, parsed.labels, parsed.images, frames, choice)
    labels.exif = parsed.exif or labels.exif
    axes = _frame_choice(parsed)
    axes.check(labels.keypoint_names)
    try:
        pictures = labelled_pictures(labels, folders, bool(parsed.images))
        if labels.problems:
            print('\n'.join(problem_table(labels.problems)))
        labelled = labelled_views(labels.keypoint_names, pictures, parsed.camera)
        found = measure(labelled)
        frame = ObjectFrame(labels.keypoint_names, found.points, _swaps(labels, model), axes)
    except DatasetError as error:
        raise DatasetError(f'{parsed.labels}: {error}') from error
    calibration_notes = _calibration_notes(labelled, parsed.camera)
    points, deviations = frame.place(found.points), frame.deviations(found.points, found.covariance)
    lines = position_lines(labels.keypoint_names, points, deviations, found.views, frame.notes)
    _report(labelled, found, lines)
    for note in [*frame.notes, *calibration_notes]:
        print(f'note: {note}')
    complete = _write(parsed, labels, pictures, model, lines, labelled, found)
    return DONE if complete and not any(problem.kind == REFUSED for problem in labels.problems) else PARTLY


def _swaps(labels: RawLabels, model: ObjectModel | None) -> Sequence[tuple[int, int]]:
    """Return the pairs that a mirror exchanges: of the object file, the labels, or the names."""
    if model is not None:
        return model.swaps
    return find_sides(labels.keypoint_names).pairs if labels.swaps is None else labels.swaps


def _frame_choice(parsed: argparse.Namespace) -> FrameChoice:
    pairs = (tuple(names) if names else None for names in (parsed.forward, parsed.left))
    return FrameChoice(*pairs, tuple(parsed.length) if parsed.length else None)


def _report(labelled: LabelledViews, found: Measurement, positions: Sequence[str]) -> None:
    """Print what was measured, what contradicts it, and what more to photograph."""
    agreement = f'{found.noise_px:.2g} px{" or better" * (found.noise_px <= LEAST_NOISE_PX)}'
    print(f'{found.views} labelled objects used of {len(labelled.images)}; their labels agree to {agreement}')
    print('\n'.join(line for line in positions if not line.startswith('#')))
    if labelled.focals_px is None:
        for number in range(len(labelled.sizes)):
            print('\n'.join(lens_lines(labelled, found, number)))
    if found.contradictions:
        print(f'{len(found.contradictions)} labels contradict a rigid body, worst first; they are left out:')
        for label in found.contradictions:
            where = f'image {label.image}: annotation {label.annotation}: {label.keypoint}'
            print(f'  {where}: {label.error_px:.1f} px off{"; " * bool(label.guess)}{label.guess}')
    for advice in found.advice:
        print(f'to know it better: {advice}')


def _calibration_notes(labelled: LabelledViews, camera: Path | None) -> list[str]:
    """
    Say where a calibration that was given is not what the labels tell of the lens.

    Raises:
        ConfigError: It clearly is not, so that the shape would be wrong.
    """
    if labelled.focals_px is None:
        return []
    try:
        free = measure(dataclasses.replace(labelled, focals_px=None))
    except DatasetError:  # they tell nothing of the lens
        return []
    notes = []
    for given, focal, (width, height) in zip(labelled.focals_px, free.focals_px, labelled.sizes):
        outside = max(focal.low - given, given - focal.high)
        if not focal.known or outside <= 0:
            continue
        text = (
            f'the calibration has a focal length of {given:.4g} px for {width}x{height}, and by the labels it is '
            f'{focal.value:.4g} px, between {focal.low:.4g} and {focal.high:.4g} px (95 %)'
        )
        if outside > (focal.high - focal.low) / 2:
            raise ConfigError(
                f'{camera}: {text}: the shape would be wrong; give the calibration of these pictures, or no --camera'
            )
        notes.append(f'{text}: is it that of these pictures?')
    return notes


def _write(
    parsed: argparse.Namespace,
    labels: RawLabels,
    pictures: Sequence[CheckedImage],
    model: ObjectModel | None,
    positions: Sequence[str],
    labelled: LabelledViews,
    found: Measurement,
) -> bool:
    """Write the files; return whether all that was looked for could be written."""
    parsed.out.mkdir(parents=True, exist_ok=True)
    path = parsed.out / 'object.yaml'
    write_text(path, measured_object_yaml(model, positions) if model else object_yaml(labels, pictures, positions))
    written = ObjectModel.load(path)
    print(f'{path}: {int(written.has_position.sum())} of {written.keypoint_count} keypoints have a position')
    cameras = dict(camera_yamls(labelled, found)) if labelled.focals_px is None else {}
    for name, text in cameras.items():
        write_text(parsed.out / name, text)
        print(f'{parsed.out / name}: look at it before you use it for anything but this object')
    wanted = len(labelled.sizes) if labelled.focals_px is None else 0
    return len(cameras) == wanted and bool(np.isfinite(found.points).all())


if __name__ == '__main__':
    sys.exit(main())
