"""
Propose labels for new images and films: correcting is faster than labelling.

    python training/prelabel.py build/train/my_object/best.pth new_photos/ --out build/proposed.json
    python training/prelabel.py --footage dive.mp4 --count 5 --object config/my_object --out build/to_label
    python training/prelabel.py --footage dive.mp4 --from labels.json --out build/proposed
    python training/prelabel.py config/my_object --footage dive_2.mcap --camera camera.yaml --count 9 --out build/new

A network labels the photos of a folder. Of footage (videos, bags, folders of pictures) the frames are chosen that are
sharp, unlike each other and, with a network, those where it is unsure, finds nothing or contradicts the rigid object.
With --from, labels of a few frames are carried to the others, without any network: each film is followed forwards and
backwards between them, and one rigid body is adjusted to all. docs/footage.md says more.

coco: import it in coco-annotator (dataset, import COCO) or CVAT (upload annotations, COCO Keypoints 1.0).
label-studio: import the tasks into a project with the interface of prepare_dataset.py --label-studio-config. It shows
images of a local folder when it was started with LABEL_STUDIO_LOCAL_FILES_SERVING_ENABLED=true and
LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT=<the folder above>, and the project has a local storage of the folder itself.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # run as a script from anywhere

from custom_pose_ros.core.command_line import (
    DONE,
    PARTLY,
    check_output,
    command,
    command_parser,
    output_file,
    output_folder,
    positive_integer,
    progress_bar,
    say,
)

# The import above comes first, so that Ctrl-C during all others ends without a traceback.
# isort: split
from custom_pose_ros.core.errors import DatasetError, MediaError
from custom_pose_ros.core.files import write_image
from custom_pose_ros.core.labels.raw_labels import REFUSED, RawLabels, problem_table
from custom_pose_ros.core.object_model import ObjectModel
from custom_pose_ros.core.orientation.estimate import AMBIGUOUS
from custom_pose_ros.core.pictures import read_sound_picture
from custom_pose_ros.inference.copies import CopiesEstimator, add_copies_option
from custom_pose_ros.inference.estimator import PoseEstimator, load_trained
from training.pose_training.footage.clicked_film import ClickedFilm, propagate
from training.pose_training.footage.film_camera import film_intrinsics, given_calibration
from training.pose_training.footage.footage_folder import FootageFolder
from training.pose_training.footage.network_film import (
    FoundFrame,
    pose_camera,
    smoothed_objects,
    window,
    worth_of_label,
)
from training.pose_training.labels.checking import CheckedImage, check
from training.pose_training.labels.film import Film, open_films
from training.pose_training.labels.formats import read_labels_and_folders
from training.pose_training.labels.image_files import ImageIndex, find_images
from training.pose_training.labels.proposed_labels import (
    ObjectNames,
    ProposedImage,
    ProposedObject,
    off_text,
    write_proposals,
)
from training.pose_training.labels.sharp_frames import look_at, spread_frames, unlike

_COUNT = 20  # frames to label, where nothing is clicked
_MOST_PROPOSED = 300  # frames of a film, where some are clicked
_FRAMES_ALIKE = 1.0  # grey levels between the thumbnails of frames that are not both worth a label
_LARGEST_SIDE = 1 << 20  # no picture is reduced


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Return the command line; exits with a message when it does not make sense."""
    parser = command_parser(__doc__)
    parser.add_argument('model', nargs='?', help='checkpoint (.pth), model.onnx, folder with one, or installed object')
    parser.add_argument('images', type=Path, nargs='?', help='folder with new images')
    parser.add_argument('--out', type=Path, required=True, help='file to write; with --footage a folder')
    parser.add_argument('--format', choices=('coco', 'label-studio'), default='coco', help='default: coco')
    parser.add_argument(
        '--prefix',
        help='label-studio: what comes before the file names (default: /data/local-files/?d= and the name of the '
        'folder, for a local storage of that folder)',
    )  # fmt: skip
    add_copies_option(parser)
    _add_films(parser.add_argument_group('films'))
    parsed = parser.parse_args(arguments)
    _check(parser, parsed)
    check_output(parser, parsed.out, output_folder if parsed.footage else output_file('.json'))
    return parsed


def _add_films(group: argparse._ActionsContainer) -> None:
    group.add_argument(
        '--footage', type=Path, nargs='+', metavar='FILE', help='videos, bags, or folders of pictures in their order'
    )
    group.add_argument(
        '--count', type=positive_integer,
        help=f'frames to take of each film, at most (default {_COUNT}; with --from {_MOST_PROPOSED})',
    )  # fmt: skip
    group.add_argument(
        '--from', dest='clicked', type=Path, metavar='LABELS',
        help='labels of some frames of the footage, in any format',
    )  # fmt: skip
    group.add_argument(
        '--images', dest='folders', type=Path, action='append', help="with --from: their pictures' folder"
    )
    group.add_argument('--object', help='object file: names and order of the keypoints, where there is no network')
    group.add_argument(
        '--camera', type=Path,
        help='calibration, for the pose of a rigid object (default: the one beside the images of a bag)',
    )  # fmt: skip
    group.add_argument('--flexible', action='store_true', help='with --from: the object bends, or has moving parts')
    group.add_argument(
        '--doubtful', action='store_true',
        help='with --from: also frames with keypoints in doubt, which stay without a label: complete them by hand',
    )  # fmt: skip
    group.add_argument('--image', metavar='TOPIC', help='images of a bag, where it has several cameras')


def _check(parser: argparse.ArgumentParser, parsed: argparse.Namespace) -> None:
    if parsed.footage is None:
        if parsed.model is None or parsed.images is None:
            parser.error('a model and a folder with images are needed, or --footage')
        films_only = ('count', 'clicked', 'folders', 'object', 'camera', 'flexible', 'doubtful', 'image')
        if any(getattr(parsed, name) not in (None, False) for name in films_only):
            parser.error(
                '--count, --from, --images, --object, --camera, --flexible, --doubtful, --image: with --footage'
            )
    elif parsed.images is not None:
        parser.error(f'{parsed.images}: give folders of pictures after --footage, or leave --footage out')
    elif parsed.clicked is None and (parsed.flexible or parsed.doubtful or parsed.folders):
        parser.error('--flexible, --doubtful and --images are about the labels of --from')
    elif parsed.clicked is not None and parsed.model is not None:
        parser.error(f'{parsed.model}: labels of --from are carried on without a network; give one or the other')
    elif parsed.object is not None and parsed.model is not None:
        parser.error('--object is inside the model')


def load_estimator(parsed: argparse.Namespace) -> PoseEstimator:
    """Return the network, averaging over copies where that is wanted."""
    estimator = load_trained(parsed.model)
    return CopiesEstimator(estimator, parsed.copies) if parsed.copies > 1 else estimator


def names_of(source: ObjectModel | RawLabels) -> ObjectNames:
    """Return what is labelled, of an object file or of labels."""
    if isinstance(source, ObjectModel):
        return ObjectNames(source.name, source.keypoint_names, source.skeleton)
    return ObjectNames(source.category, source.keypoint_names, source.skeleton)


def label_photos(parsed: argparse.Namespace) -> int:
    """Let a network label the photos of a folder; return the exit code."""
    if parsed.out.exists():
        raise DatasetError(
            f'{parsed.out}: is there already and may hold corrected labels; give another --out or remove it'
        )
    estimator = load_estimator(parsed)
    found, unreadable, turned, ambiguous = [], [], [], []
    for path in progress_bar('find keypoints', None, 'image', find_images(parsed.images)):
        try:
            picture = read_sound_picture(path)
        except MediaError as error:
            unreadable.append(error)
            continue
        turned += [path] if picture.orientation != 1 else []
        pixels = picture.upright
        poses = estimator(pixels)
        name = path.relative_to(parsed.images).as_posix()
        found.append(ProposedImage(name, pixels.shape[1], pixels.shape[0], list(map(ProposedObject.of_pose, poses))))
        ambiguous += [name] if any(pose.ambiguity > AMBIGUOUS for pose in poses) else []
    if not found:
        raise DatasetError(f'{unreadable[0]}; nor can any other image there be read')
    names = names_of(estimator.model)
    write_proposals(parsed.out, found, names, parsed.format, parsed.images, parsed.prefix)
    for error in unreadable:
        say(f'error: {error}; left out')
    if turned and parsed.format == 'coco':
        say(
            f'note: {len(turned)} images are turned by their EXIF orientation (first: {turned[0]}): the proposals lie '
            'on them as viewers and CVAT show them; coco-annotator shows them unturned, so turn the files first'
        )
    if ambiguous:
        say(f'note: in {len(ambiguous)} images the object may be turned (first: {ambiguous[0]}): check these first')
    empty = sum(not image.objects for image in found)
    count = sum(len(image.objects) for image in found)
    print(f'{parsed.out}: {count} objects in {len(found)} images; nothing found in {empty}')
    return PARTLY if unreadable else DONE


def choose_frames(parsed: argparse.Namespace, films: Sequence[Film]) -> int:
    """Write the frames that are worth a label, with what a network proposes for them; return the exit code."""
    estimator = load_estimator(parsed) if parsed.model else None
    model = estimator.model if estimator else ObjectModel.load(parsed.object) if parsed.object else None
    out = FootageFolder(parsed.out, names_of(model) if model else None, parsed.format, parsed.prefix)
    calibration, contradicted = given_calibration(parsed.camera), 0
    for film in films:
        looks, found = [], {}
        for frame in progress_bar('look at frames', None, 'frame', spread_frames(film)):
            looks.append(look_at(frame))
            if estimator is not None:
                found[frame.number] = FoundFrame.of(frame, estimator)
        worth, reasons, camera = None, [''] * len(looks), None
        if estimator is not None:
            camera = pose_camera(
                estimator.model, found[looks[0].number].size, partial(film_intrinsics, film, calibration)
            )
            worth, reasons = worth_of_label(found, estimator.model, camera)
        chosen = unlike(looks, parsed.count or _COUNT, worth, _FRAMES_ALIKE)
        numbers = [looks[i].number for i in chosen]
        wanted = set(numbers) if camera is None else set(window(numbers, film.count))
        for frame in progress_bar('write frames', None, 'frame', film.frames(wanted)):
            if frame.number in numbers:
                out.write_picture(film, frame)
            if estimator is not None and frame.number not in found:
                found[frame.number] = FoundFrame.of(frame, estimator)
        objects: dict[int, list[ProposedObject]] = {number: [] for number in numbers}
        if estimator is not None and camera is None:
            objects = {number: list(map(ProposedObject.of_pose, found[number].poses)) for number in numbers}
        elif estimator is not None and camera is not None:
            for number in numbers:
                objects[number], left_out = smoothed_objects(number, found, estimator.model, camera)
                contradicted += left_out
        out.add(film, objects, {looks[i].number: reasons[i] for i in chosen})
        print(f'{film.source}: {len(numbers)} of {film.count} frames chosen ({len(looks)} looked at)')
    out.close()
    if contradicted:
        say(f'note: {contradicted} objects are left without a proposal: their poses over time contradict each other')
    if estimator is not None:
        print('correct the proposals, add what is missing, then: python training/prepare_dataset.py')
    else:
        images = parsed.out / 'images'
        print(f'label every keypoint in {images}, then:')
        print(f'python training/prelabel.py --footage ... --from LABELS --images {images} --out ...')
    return DONE


def carry_labels(parsed: argparse.Namespace, films: Sequence[Film]) -> int:
    """Carry the labels of some frames to others of their films; return the exit code."""
    with tempfile.TemporaryDirectory(prefix='frames-') as folder:
        pictures, names = read_clicked(parsed, Path(folder))
        out = FootageFolder(parsed.out, names, parsed.format, parsed.prefix)
        calibration, used, contradicting, strangers = given_calibration(parsed.camera), 0, 0, []
        for film in films:
            camera_for = partial(film_intrinsics, film, calibration)
            result = propagate(film, pictures, names.keypoint_names, camera_for, not parsed.flexible)
            used += len(result.clicks)
            if len(result.clicks) < 2:
                count = len(result.clicks)
                strangers.append(f'{film.source}: {count} of the labelled pictures are frames of it, 2 are needed')
                continue
            tell_notes(result, names)
            contradicting += sum(map(len, result.contradictions.values()))
            if result.points or (parsed.doubtful and result.doubtful):
                add_proposals(parsed, out, result)
            else:
                strangers.append(f'{film.source}: in no frame but the clicked ones all keypoints are known')
    for text in strangers:
        say(f'error: {text}; left out')
    if not out.images:
        raise DatasetError(f'{parsed.clicked}: nothing is proposed')
    out.close()
    if unused := sum(bool(picture.instances) for picture in pictures) - used:
        say(f'note: {unused} labelled pictures are no frames of this footage')
    if contradicting:
        say(
            f'error: {contradicting} clicked labels contradict the others: no proposal is made from them, and they are '
            f'in {out.labels} as they were clicked, marked; correct them, and --from again'
        )
    print(f'next: correct {out.labels}, then --from it again, or: python training/prepare_dataset.py {out.labels} ...')
    return PARTLY if strangers or contradicting else DONE


def read_clicked(parsed: argparse.Namespace, frames: Path) -> tuple[list[CheckedImage], ObjectNames]:
    """
    Return the labelled pictures and what is labelled on them.

    Raises:
        DatasetError: The labels cannot be used, or one of them is refused.
    """
    model = ObjectModel.load(parsed.object) if parsed.object else None
    labels, folders = read_labels_and_folders(model, parsed.clicked, parsed.folders, frames)
    labels.images = [image for image in labels.images if image.instances]
    pictures = check(labels, ImageIndex(folders), _LARGEST_SIDE)
    if refused := [problem for problem in labels.problems if problem.kind == REFUSED]:
        print('\n'.join(problem_table(labels.problems)))
        raise DatasetError(f'{parsed.clicked}: {len(refused)} refused: {refused[0].line}')
    return pictures, names_of(labels)


def tell_notes(result: ClickedFilm, names: ObjectNames) -> None:
    """Say what a person should know of a film, and which clicks contradict the others."""
    for note in result.notes:
        say(f'note: {result.film.source.name}: {note}')
    for number, off in sorted(result.contradictions.items()):
        for k, off_px in off.items():
            where = f'{result.film.name(number)}: {names.keypoint_names[k]}'
            say(f'error: {where} is {off_text(off_px)}: look at this label')


def add_proposals(parsed: argparse.Namespace, out: FootageFolder, result: ClickedFilm) -> None:
    """Write the frames of a film that are clicked, or for which labels are proposed, and say how many these are."""
    film = result.film
    points = {**result.points, **(result.doubtful if parsed.doubtful else {})}
    numbers = sorted(points)
    if len(numbers) > (most := parsed.count or _MOST_PROPOSED):
        looks = [result.looks[number] for number in numbers]
        numbers = [numbers[i] for i in unlike(looks, most, same=0.0)]
    objects = {
        n: [ProposedObject(clicked, None, 0.0, result.contradictions.get(n, {}), n in result.handed_on)]
        for n, clicked in result.clicks.items()
    }
    titles = {number: 'clicked' + ', look at it' * (number in result.contradictions) for number in result.clicks}
    for number in numbers:
        errors = result.errors[number][points[number][:, 2] > 0]
        worst = float(errors.max(initial=0))
        objects[number] = [ProposedObject(points[number], 1 / (1 + worst))]
        titles[number] = f'+-{worst:.1f} px' + ' in doubt' * (number not in result.points)
    for frame in film.frames({*objects, *result.asked}):
        if frame.number in objects:
            out.write_picture(film, frame)
        else:
            write_image(parsed.out / 'to_click' / film.name(frame.number), frame.image)
    out.add(film, objects, titles)
    others = result.count - len(result.clicks)
    print(
        f'{film.source}: {len(result.clicks)} clicked frames; of the {others} others, all keypoints of '
        f'{len(result.points)} are known ({len(numbers)} frames written)'
    )
    if result.asked:
        names = ', '.join(map(film.name, result.asked))
        where = parsed.out / 'to_click'
        say(f'note: {film.source.name}: labels of {names} would settle what is in doubt: they are in {where}')


@command
def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code."""
    parsed = parse_arguments(arguments)
    if parsed.footage is None:
        return label_photos(parsed)
    films = open_films(parsed.footage, parsed.image)
    return choose_frames(parsed, films) if parsed.clicked is None else carry_labels(parsed, films)


if __name__ == '__main__':
    sys.exit(main())
