"""
Let a trained network go on learning, from unlabelled footage of its object, and keep the result only if it is better.

    python training/adapt.py --model build/train/part/best.pth --footage dive_3.mcap --minutes 15 --out build/adapted
    python training/adapt.py --model config/my_object --footage dive_3.mp4 --data photos --minutes 9 --out build/adapted

Footage are videos, bags, or folders with consecutive pictures. The network looks at turned and enlarged copies of the
frames; one rigid body is adjusted to what it finds and followed through the film, forwards and backwards, and gives the
labels. An object that is not rigid is followed keypoint by keypoint. It is trained on these and on the labels of
--data. Then both networks are measured on the end of each film, which was not learned from.

Writes report.md, report.json and contact_sheet.png into --out, and model.onnx and best.pth only when it is better: else
it exits with 1. The network that is given stays as it is. docs/the_loop.md goes through it.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # run as a script from anywhere

from custom_pose_ros.core.command_line import (
    DONE,
    command,
    command_parser,
    optional_packages,
    output_folder,
    positive_integer,
    positive_number,
    seed_number,
    whole_number,
)

# The import above comes first, so that Ctrl-C during all others ends without a traceback.
# isort: split
from dataclasses import replace

from custom_pose_ros.core.errors import ConfigError, DatasetError, ModelError
from custom_pose_ros.core.files import own_folder, replacing
from custom_pose_ros.core.geometry.camera import CameraIntrinsics
from custom_pose_ros.core.object_file import find_object_folder
from custom_pose_ros.core.object_model import ObjectModel
from custom_pose_ros.inference.backends import input_height
from custom_pose_ros.inference.copies import CopiesEstimator
from custom_pose_ros.inference.estimator import PoseEstimator, load_trained

with optional_packages('adapt', ['training']):
    from custom_pose_ros.inference.checkpoints import load_checkpoint
    from training.pose_training.adapting.adaptation import AdaptationImages, write_report, write_sheet
    from training.pose_training.adapting.comparison import figures_of, reasons_against
    from training.pose_training.adapting.film_sights import COPIES, chosen_frames, look_at_film
    from training.pose_training.adapting.known_body import labelled_body
    from training.pose_training.adapting.labelling import label_film
    from training.pose_training.export.onnx_export import export_onnx
    from training.pose_training.footage.film_camera import FilmCamera, film_intrinsics, given_calibration
    from training.pose_training.labels.coco import LabelledImage, read_dataset, tell_proposed
    from training.pose_training.labels.film import Film, open_films
    from training.pose_training.learning.run_settings import RunSettings
    from training.pose_training.learning.training_run import TrainingRun, trainable

_MOST_FRAMES = 240  # of each film
_WRITTEN = ('images', 'training', 'report.md', 'report.json', 'contact_sheet.png', 'best.pth', 'model.onnx')
_LABELS_SHARE = 0.3  # of the samples, from --data


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Return the command line; exits with a message when it does not make sense."""
    parser = command_parser(__doc__)
    parser.add_argument('--model', required=True, help='checkpoint (.pth), model.onnx, folder with one, or object name')
    parser.add_argument('--object', help='object file, with model_points perhaps (default: the one inside the model)')
    parser.add_argument(
        '--footage', type=Path, nargs='+', required=True, metavar='FILE',
        help='videos, bags, or folders of pictures in their order; all of them show one object in each frame',
    )  # fmt: skip
    parser.add_argument('--image', metavar='TOPIC', help='images of a bag, where it has several cameras')
    parser.add_argument(
        '--camera', type=Path,
        help='calibration (default: the one beside the images of a bag; without any the focal length is found)',
    )  # fmt: skip
    parser.add_argument(
        '--frames', type=positive_integer, default=_MOST_FRAMES,
        help=f'to look at in each film, at most (default {_MOST_FRAMES})',
    )  # fmt: skip
    parser.add_argument(
        '--data', action='append', default=[], metavar='DIR_OR_JSON',
        help='COCO keypoints to train on as well, labels or renderings; may be repeated',
    )  # fmt: skip
    parser.add_argument(
        '--val', action='append', default=[], metavar='DIR_OR_JSON',
        help='labelled pictures on which the network must not get worse; may be repeated (default: those of --data)',
    )  # fmt: skip
    length = parser.add_mutually_exclusive_group(required=True)
    length.add_argument('--minutes', type=positive_number, help='of training')
    length.add_argument('--steps', type=positive_integer, help='or so many batches (exactly repeatable)')
    parser.add_argument(
        '--input-height', type=input_height, metavar='PX',
        help='of the new network; a larger one is more exact (default: as it is)',
    )  # fmt: skip
    parser.add_argument('--batch', type=positive_integer, default=8, help='samples in one step (default 8)')
    parser.add_argument('--learning-rate', type=positive_number, help='default: as in train.py --weights FILE')
    parser.add_argument('--seed', type=seed_number, default=0, help='default: 0')
    parser.add_argument('--threads', type=positive_integer, help='CPU threads for the network')
    parser.add_argument(
        '--workers', type=whole_number(0), help='processes that make samples (default: by number of cores)'
    )
    parser.add_argument('--out', type=output_folder, required=True, help='folder to write')
    return parser.parse_args(arguments)


def network_file(source: str) -> Path:
    """
    Return the file of a network, given as that, as a folder or by the name of an object.

    Raises:
        ModelError: There is none.
    """
    path = Path(source).expanduser()
    if not path.exists() and not path.suffix:
        path = find_object_folder(source)
    if path.is_dir():
        path = path / 'model.onnx'
    if not path.is_file():
        raise ModelError(f'{path}: no such network')
    return path


def load_network(path: Path, parsed: argparse.Namespace) -> tuple[PoseEstimator, RunSettings]:
    """
    Return the network that is given, and how to train on from it.

    Raises:
        ConfigError: The input height cannot be used.
        ModelError: It cannot be used, or finds other keypoints than the object has.
    """
    estimator = load_trained(str(path), threads=parsed.threads)
    inside = estimator.model
    trainable(inside, parsed.input_height)  # said before the footage is looked at
    if parsed.object:
        model = ObjectModel.load(parsed.object)
        if difference := model.difference_from(inside):
            raise ModelError(f'{path}: was trained for another object than {parsed.object}, which has {difference}')
        estimator = PoseEstimator(replace(model, input_height=inside.input_height), estimator.network)
    if path.suffix == '.onnx':
        architecture, options = estimator.backend.metadata.get('architecture', 'light'), {}
    else:
        checkpoint = load_checkpoint(path)
        architecture, options = checkpoint.architecture, checkpoint.options
    weights = [_LABELS_SHARE / len(parsed.data)] * len(parsed.data) + [1 - _LABELS_SHARE] if parsed.data else []
    settings = RunSettings(
        data=parsed.data, weights=weights, validation_share=0.0, architecture=architecture, options=options,
        input_height=parsed.input_height, start_from=str(path), minutes=parsed.minutes, steps=parsed.steps,
        batch=parsed.batch, learning_rate=parsed.learning_rate, seed=parsed.seed,
    )  # fmt: skip
    return estimator, settings


def label_footage(
    parsed: argparse.Namespace, films: Sequence[Film], estimator: PoseEstimator, labelled: Sequence[LabelledImage]
) -> AdaptationImages:
    """
    Return the frames that can be learned from.

    Raises:
        DatasetError: A film cannot be used; the reason.
    """
    calibration = given_calibration(parsed.camera)

    def camera_for(width: int, height: int) -> CameraIntrinsics | None:
        with contextlib.suppress(ConfigError):  # labels may be of another camera than the footage
            return calibration.for_size(width, height) if calibration else None
        return None

    copies, images = CopiesEstimator(estimator, COPIES), AdaptationImages()
    body = labelled_body(estimator.model, labelled, camera_for)
    for film in films:
        source = film.source
        numbers = chosen_frames(film.count, parsed.frames)
        first = next(film.frames(numbers[:1]), None) or next(film.frames(numbers), None)
        if first is None:
            raise DatasetError(f'{source}: no picture in it can be read')
        height, width = first.image.shape[:2]
        camera = FilmCamera(width, height, film_intrinsics(film, calibration, width, height))
        labels = label_film(look_at_film(film, numbers, copies, camera), estimator.model, body)
        images.add(labels, parsed.out / 'images')
        print(f'{source}: {len(labels.points)} of {len(labels.seen.greys)} frames labelled')
    return images


@command
def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code."""
    parsed = parse_arguments(arguments)
    path = network_file(parsed.model)
    if path.resolve().is_relative_to(parsed.out.resolve()):
        raise ConfigError(f'{parsed.out}: holds the network to start from; give another --out')
    for name in _WRITTEN:
        if os.path.lexists(parsed.out / name):
            raise ConfigError(f'{parsed.out / name}: is there already; give another --out, or move it away')
    films = open_films(parsed.footage, parsed.image)
    estimator, settings = load_network(path, parsed)
    labelled: list[LabelledImage] = []
    for source in parsed.val or parsed.data:
        labelled += read_dataset(source, estimator.model)
    tell_proposed(labelled)
    with own_folder(parsed.out):
        adapt(parsed, path, films, estimator, settings, labelled)
    return DONE


def adapt(
    parsed: argparse.Namespace,
    path: Path,
    films: Sequence[Film],
    estimator: PoseEstimator,
    settings: RunSettings,
    labelled: Sequence[LabelledImage],
) -> None:
    """Train the network of a file on, and write what became of it, the report and, if it is better, the new network."""
    images = label_footage(parsed, films, estimator, labelled)
    before = figures_of(estimator, images.held_out, labelled)
    run = TrainingRun.new(
        estimator.model, settings, parsed.out / 'training', parsed.threads, parsed.workers, images.trained
    )
    run.train()
    checkpoint_file = parsed.out / 'training' / 'best.pth'
    after = figures_of(load_trained(str(checkpoint_file), threads=parsed.threads), images.held_out, labelled)
    reasons = reasons_against(before, after, images.rigid)
    print(write_report(parsed.out, images, before, after, reasons, len(labelled), not parsed.val))
    write_sheet(parsed.out / 'contact_sheet.png', images, before, after, estimator.model)
    print(f'look at {parsed.out / "contact_sheet.png"}; {parsed.out / "report.md"} says which frames were used')
    if reasons:
        raise ModelError(f'{path}: stays as it is, since what it became is not better: {"; ".join(reasons)}')
    checkpoint = load_checkpoint(checkpoint_file)
    with replacing(parsed.out / 'best.pth') as temporary:
        temporary.write_bytes(checkpoint_file.read_bytes())
    export_onnx(checkpoint.network(), checkpoint.model, parsed.out / 'model.onnx')
    print(f'better: {parsed.out / "model.onnx"}')


if __name__ == '__main__':
    sys.exit(main())
