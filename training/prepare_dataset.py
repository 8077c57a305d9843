"""
Turn labelled photos into a data set to train on: check, repair, resize, split, and show what was made.

    python training/prepare_dataset.py labels.json --images photos/ --out build/data/my_object
    python training/prepare_dataset.py CollectedData_me.csv --images video_frames/ --object config/mouse --out ...
    python training/prepare_dataset.py labels.json --images photos/ --check
    python training/prepare_dataset.py --label-studio-config config/my_object > interface.xml

Reads COCO keypoints of coco-annotator, CVAT and Label Studio, the own formats of Label Studio, CVAT, DeepLabCut, SLEAP,
labelme, VIA and Labelbox, and YOLO pose data sets; docs/own_object.md lists them.
Writes train/ and val/ (images and labels.json), contact_sheet.png to look at, statistics.json, and, without --object,
a draft of object.yaml. Nothing is dropped in silence: every problem is in the table, with image and annotation.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # run as a script from anywhere

from custom_pose_ros.core.command_line import (
    DONE,
    command,
    command_parser,
    output_folder,
    seed_number,
    share_set_aside,
    whole_number,
)

# The import above comes first, so that Ctrl-C during all others ends without a traceback.
# isort: split
import numpy as np
import yaml

from custom_pose_ros.core.command_line import progress_bar
from custom_pose_ros.core.drawing.contact_sheet import MOST_TILES, draw_tile, write_contact_sheet
from custom_pose_ros.core.errors import DatasetError
from custom_pose_ros.core.files import check_own, holds_entries, own_folder, write_json, write_text
from custom_pose_ros.core.labels.categories import CategoryChoice
from custom_pose_ros.core.labels.raw_labels import NOTE, REFUSED, REPAIRED, STORED, TURNED, RawLabels, problem_table
from custom_pose_ros.core.object_model import ObjectModel
from custom_pose_ros.core.pictures import evenly
from training.pose_training.labels.checking import CheckedImage, check
from training.pose_training.labels.dataset_writer import load_pixels, statistics, write_dataset
from training.pose_training.labels.drafts import label_studio_config, object_yaml
from training.pose_training.labels.formats import read_labels_and_folders
from training.pose_training.labels.image_files import ImageIndex
from training.pose_training.labels.label_states import StateRule, state_notes
from training.pose_training.labels.splitting import split_images, split_table


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Return the command line; exits with a message when it does not make sense."""
    parser = command_parser(__doc__)
    parser.add_argument('labels', type=Path, nargs='?', help='label file, or folder of a data set')
    parser.add_argument(
        '--images', type=Path, action='append', help="folder with the images, at any depth (default: the label file's)"
    )  # fmt: skip
    parser.add_argument('--object', help='object file: keypoints are put in its order (default: a draft is written)')
    parser.add_argument(
        '--category', action='append', default=[],
        help='name of the category to use, where the file has several; repeated: they are read as one object',
    )  # fmt: skip
    parser.add_argument(
        '--merge-categories', action='store_true', help='read all categories, which have the same keypoints, as one'
    )
    parser.add_argument('--out', type=output_folder, help='folder to write')
    parser.add_argument('--check', action='store_true', help='only check and show the table')
    parser.add_argument(
        '--leave-out', action='store_true', help='go on without the images that have refused labels (they are listed)'
    )
    parser.add_argument(
        '--labelled-only', action='store_true', help='leave out images without annotation (default: nothing is on them)'
    )
    parser.add_argument(
        '--exif', choices=(TURNED, STORED),
        help='what was labelled of pictures with an EXIF orientation, where the labels do not tell: the picture as '
        'viewers show it (turned), or as the file holds it (stored)',
    )  # fmt: skip
    parser.add_argument(
        '--max-side', type=whole_number(64), default=1024,
        help='longer side [px] that images are reduced to (default 1024)',
    )  # fmt: skip
    parser.add_argument(
        '--val-share', type=share_set_aside, default=0.1, help='share of the images to validate on (default 0.1)'
    )
    parser.add_argument('--seed', type=seed_number, default=0, help='of the split (default 0)')
    parser.add_argument(
        '--label-studio-config', metavar='OBJECT', help='print the labelling interface for an object file'
    )
    parsed = parser.parse_args(arguments)
    if parsed.label_studio_config is None:
        if parsed.labels is None:
            parser.error('a label file is needed')
        if parsed.out is None and not parsed.check:
            parser.error('--out or --check is needed')
    if parsed.category and parsed.merge_categories:
        parser.error('--category or --merge-categories, not both')
    return parsed


def require_sound(parsed: argparse.Namespace, labels: RawLabels, images: list[CheckedImage]) -> None:
    """Raise DatasetError, which names the first refused label, unless it is to be left out and others remain."""
    refused = [p for p in labels.problems if p.kind == REFUSED]
    nothing = not any(image.instances for image in images)
    if not refused or (parsed.leave_out and not nothing):
        return
    place = ' '.join(part for part in (refused[0].image, refused[0].annotation) if part)
    first = ': '.join(part for part in (place, refused[0].text) if part)
    way = 'nothing is left to train on' if nothing else 'mend them, or go on without those images: --leave-out'
    raise DatasetError(f'{parsed.labels}: {len(refused)} refused: {first}{" ..." * (len(refused) > 1)}; {way}')


def check_place(out: Path, draft: str) -> None:
    """Raise DatasetError where the folder holds a data set, or what would be mixed with it or replaced."""
    for folder in (out / 'train', out / 'val'):
        if (folder / 'labels.json').is_file():
            raise DatasetError(f'{out}: holds a data set already; give another --out or remove it')
        if os.path.lexists(folder):
            inside = next(iter(sorted(folder.iterdir())), folder) if folder.is_dir() else folder
            raise DatasetError(
                f'{inside}: is there already, and no part of a data set: move it away, or give another --out'
            )
    is_own = holds_entries('labelled_by_keypoint')
    check_own(out / 'statistics.json', 'training/prepare_dataset.py', is_own, ('contact_sheet.png',))
    path = out / 'object.yaml'
    if draft and path.exists() and path.read_text(encoding='utf-8', errors='replace') != draft:
        raise DatasetError(
            f'{path}: is there already and may have been edited; use it with --object, give another --out or remove it'
        )


def write_outputs(
    parsed: argparse.Namespace, labels: RawLabels, checked: list[CheckedImage], model: ObjectModel, draft: str
) -> None:
    """Write the data set, its pictures, its figures, and the draft of an object file unless that is empty."""
    out: Path = parsed.out
    check_place(out, draft)
    files = [image.source for image in checked]
    split = split_images(files, [image.thumbnail for image in checked], parsed.val_share, parsed.seed)
    train = [image for i, image in enumerate(checked) if i not in split.aside | split.unused]
    validation = [checked[i] for i in sorted(split.aside)]
    for name, images in (('train', train), ('val', validation)):
        if images:
            write_dataset(out / name, images, labels)
    _write_sheet(out / 'contact_sheet.png', checked, labels)
    figures = statistics(checked, labels)
    kept = [{**group._asdict(), 'images': [files[i].name for i in group.images]} for group in split.kept]
    sides = {'recordings': split.recordings, 'train': len(train), 'val': len(validation), 'kept_together': kept}
    sides['in_neither'] = [files[i].name for i in sorted(split.unused)]
    write_json(out / 'statistics.json', {**figures, **sides})
    print(
        f'{figures["instances"]} objects in {figures["images"]} images: '
        f'{len(train)} to train on, {len(validation)} to validate on'
    )
    if parsed.val_share and not validation:
        print(
            'none to validate on: of so few images, of which those that look alike or belong together stay together, '
            f'a share of {parsed.val_share:g} is none; give more images or a larger --val-share'
        )
    if split.unused:
        print(
            f'{len(split.unused)} in neither: frames just before and after those to validate on, which look like them '
            '(in statistics.json as in_neither)'
        )
    if validation and kept:
        print('\n'.join(['images that belong together, and their side of the split:', *split_table(split, files)]))
    for name, count in figures['labelled_by_keypoint'].items():
        print(f'  {name}: {count} labelled')
    print(f'look at {out / "contact_sheet.png"} before you train')
    if draft:
        write_text(out / 'object.yaml', draft)
        swaps = ', '.join(f'{model.keypoint_names[a]}/{model.keypoint_names[b]}' for a, b in model.swaps) or 'none'
        print(f'finish the draft {out / "object.yaml"}; left and right: {swaps}')
    if note := model.mirroring[1]:
        print(f'note: {note}')
    val = f' --val {out / "val"}' if validation else ' --val-share 0'
    data = f'--object {parsed.object or out} --data {out / "train"}{val}'
    print(f'next: python training/train.py {data} --minutes 10 --out ...')


def _write_sheet(path: Path, checked: list[CheckedImage], labels: RawLabels) -> None:
    shown = progress_bar('contact sheet', None, 'image', [checked[i] for i in evenly(len(checked), MOST_TILES)])
    tiles = [draw_tile(load_pixels(image), image.instances, title=image.name) for image in shown]
    write_contact_sheet(path, tiles, labels.keypoint_names)


@command
def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code."""
    parsed = parse_arguments(arguments)
    if parsed.label_studio_config is not None:
        print(label_studio_config(ObjectModel.load(parsed.label_studio_config)), end='')
        return DONE
    with tempfile.TemporaryDirectory(prefix='frames-') as folder:  # for frames of videos that are labelled
        return _prepare(parsed, Path(folder))


def _prepare(parsed: argparse.Namespace, frames: Path) -> int:
    """Read, check and write; frames of videos are written to a folder in between. Return the exit code."""
    choice = CategoryChoice(tuple(parsed.category), parsed.merge_categories)
    model = ObjectModel.load(parsed.object) if parsed.object else None
    labels, folders = read_labels_and_folders(model, parsed.labels, parsed.images, frames, choice)
    labels.exif = parsed.exif or labels.exif
    if parsed.labelled_only:
        labels.images = [image for image in labels.images if image.instances]
    checked = check(labels, ImageIndex(folders, parsed.out), parsed.max_side)
    draft = object_yaml(labels, checked) if model is None else ''
    if model is None:
        model = ObjectModel.from_dict(yaml.safe_load(draft), 'the draft of object.yaml')
    if labels.problems:
        print('\n'.join(problem_table(labels.problems)))
    counts = ', '.join(f'{kind} {sum(p.kind == kind for p in labels.problems)}' for kind in (REFUSED, REPAIRED, NOTE))
    print(f'sound images: {len(checked)} of {len(labels.images)}; problems: {counts}')
    require_sound(parsed, labels, checked)
    flags = np.array([points[:, 2] for image in checked for points in image.instances]).astype(int)
    for note in state_notes(StateRule.of(flags, model).states(flags), model):
        print(f'note: {note}')
    if not parsed.check:
        with own_folder(parsed.out):
            write_outputs(parsed, labels, checked, model, draft)
    return DONE


if __name__ == '__main__':
    sys.exit(main())
