"""Readers of labels for mutated_inputs.py: their sound inputs, and what may be read of mutated ones."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from label_files import coco, label_studio_task, picture, read_labels

from custom_pose_ros.core.labels.raw_labels import REPAIRED
from custom_pose_ros.core.object_model import ObjectModel
from custom_pose_ros.evaluation.truth.coco_labels import CocoLabels
from training.pose_training.labels.checking import check
from training.pose_training.labels.coco import read_dataset
from training.pose_training.labels.drafts import object_yaml
from training.pose_training.labels.image_files import ImageIndex


class Wrong(Exception):
    """What was read is not what the input says."""


@dataclass
class Reader:
    """
    One reader.

    Attributes:
        make: Writes the sound input into a folder and returns what `read` needs.
        spoilt: Pattern of the files of the input of which one is mutated.
        read: Reads the folder and checks the result by what `make` returned and the kind of the mutation; raises what
            the reader raises, or Wrong.
        share: How many of the inputs it gets, beside the others.
    """

    make: Callable[[Path], Any]
    spoilt: str
    read: Callable[[Path, Any, str], None]
    share: float = 1.0


# All pictures have 64 x 48 px; the numbers of a file are found again in what is read of it.

WIDTH, HEIGHT = 64, 48
PICTURES = ('a.png', 'b.png', 'c.png')
_NUMBER = re.compile(r'[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?')


def _labels(files: dict[str, str], spoilt: str, share: float = 2, pictures: str = '') -> Reader:
    """Return the reader of a label format: its files, of which the first is read, and those that are mutated."""

    def make(folder: Path) -> None:
        for i, name in enumerate(PICTURES):
            picture(folder / pictures / name, WIDTH, HEIGHT, i)
        for name, text in files.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(text, encoding='utf-8')

    def read(folder: Path, _: Any, kind: str) -> None:
        labels = read_labels(folder / next(iter(files)))
        images = check(labels, ImageIndex([folder]), 1024)
        texts = [(folder / name).read_text(encoding='utf-8', errors='replace') for name in files]
        numbers = np.array([float(word) for text in texts for word in _NUMBER.findall(text)])
        with np.errstate(over='ignore'):  # shares and per cent of the picture, and pixels; a difference of two as width
            meant = [numbers, numbers * WIDTH - 0.5, numbers * HEIGHT - 0.5]
            stated = np.concatenate([*meant, meant[1] / 100 - 0.495, meant[2] / 100 - 0.495])
        repaired = {problem.image for problem in labels.problems if problem.kind == REPAIRED}
        for image in images:
            for points in image.instances:
                _check_points(image, points, labels, stated if not any(map(image.name.endswith, repaired)) else None)
        if any(image.instances for image in images):
            object_yaml(labels, images)

    return Reader(make, spoilt, read, share)


def _check_points(image: Any, points: np.ndarray, labels: Any, stated: np.ndarray | None) -> None:
    """Raise Wrong unless the labels lie in the picture and stand in the file; stated : its numbers."""
    if points.shape != (len(labels.keypoint_names), 3) or not np.isfinite(points).all():
        raise Wrong(f'{image.name}: {points.tolist()}')
    places = points[points[:, 2] > 0, :2]
    if (places < -0.5).any() or (places > [image.width - 0.5, image.height - 0.5]).any():
        raise Wrong(f'{image.name}: outside of the image: {places.tolist()}')
    for value in places.ravel() if stated is not None else ():
        if not np.abs(stated - value).min() < 0.51:  # a point half a pixel outside is put on the border
            raise Wrong(f'{image.name}: {value} of {places.tolist()} stands nowhere in the file')


COCO = coco(
    [(name, WIDTH, HEIGHT) for name in PICTURES],
    [
        {'image_id': 1, 'keypoints': [10, 20, 2, 30, 40, 1], 'bbox': [8, 18, 30, 28], 'area': 840.0},
        {'image_id': 1, 'keypoints': [50.5, 5.25, 2, 0, 0, 0], 'bbox': [45, 2, 10, 10], 'area': 100.0},
        {'image_id': 2, 'keypoints': [3, 4, 2, 60, 44, 2], 'bbox': [1, 2, 62, 45], 'area': 2790.0},
        {'image_id': 3, 'keypoints': [0, 0, 0, 0, 0, 0], 'bbox': [1, 2, 20, 20], 'area': 400.0, 'iscrowd': 1},
    ],
)
LABEL_STUDIO = [
    label_studio_task('a.png', ('head', 10.0, 20.0), ('tail', 55.5, 80.25)),
    label_studio_task('b.png', ('head', 0.5, 99.0)),
]
DEEPLABCUT = """\
scorer,me,me,me,me
bodyparts,nose,nose,tail,tail
coords,x,y,x,y
a.png,10.5,20,,
b.png,11,21,30,40
c.png,,,,
"""
LABELME = {
    'version': '5.4.1', 'flags': {}, 'imagePath': 'a.png', 'imageData': None, 'imageWidth': WIDTH,
    'imageHeight': HEIGHT, 'shapes': [
        {'label': 'head', 'shape_type': 'point', 'points': [[30.5, 40.25]], 'group_id': 1, 'flags': {}},
        {'label': 'tail', 'shape_type': 'point', 'points': [[5.5, 6.5]], 'group_id': 1, 'flags': {}},
        {'label': 'fish', 'shape_type': 'rectangle', 'points': [[60, 40], [2, 3]], 'group_id': 1, 'flags': {}},
    ],
}  # fmt: skip
VIA = {
    f'{name}1': {
        'filename': name, 'size': 1, 'file_attributes': {},
        'regions': [
            {'shape_attributes': {'name': 'point', 'cx': 10 + i, 'cy': 21.5}, 'region_attributes': {'kp': 'head'}},
            {'shape_attributes': {'name': 'point', 'cx': 33, 'cy': 41}, 'region_attributes': {'kp': 'tail'}},
        ],
    }
    for i, name in enumerate(PICTURES)
}  # fmt: skip
LABELBOX = [
    {
        'data_row': {'id': f'id-{name}', 'external_id': name, 'row_data': f'https://x.example/{name}'},
        'media_attributes': {'width': WIDTH, 'height': HEIGHT},
        'projects': {'p': {'labels': [{'annotations': {'objects': [
            {'name': 'head', 'point': {'x': 12.5 + i, 'y': 31}}, {'name': 'tail', 'point': {'x': 44, 'y': 7.25}},
            {'name': 'fish', 'bounding_box': {'left': 2, 'top': 3, 'width': 60, 'height': 44}},
        ]}}]}},
    }
    for i, name in enumerate(PICTURES)
]  # fmt: skip
CVAT = """\
<?xml version="1.0" encoding="utf-8"?>
<annotations><version>1.1</version><meta><task><id>1</id><labels>
<label><name>fish</name><type>skeleton</type></label>
<label><name>head</name><type>points</type><parent>fish</parent></label>
<label><name>tail</name><type>points</type><parent>fish</parent></label></labels></task></meta>
<image id="0" name="a.png" width="64" height="48"><skeleton label="fish">
<points label="tail" outside="0" occluded="1" points="50.50,6.25"/>
<points label="head" outside="0" occluded="0" points="30.00,40.00"/></skeleton></image>
<image id="1" name="b.png" width="64" height="48"><skeleton label="fish">
<points label="tail" outside="1" occluded="0" points="1.00,1.00"/>
<points label="head" outside="0" occluded="0" points="33.00,17.00"/></skeleton></image>
</annotations>
"""
YOLO = {
    'data.yaml': 'kpt_shape: [3, 3]\nflip_idx: [0, 2, 1]\nnames: {0: fish}\ntrain: images/train\n',
    'labels/train/a.txt': '0 0.25 0.5 0.2 0.4 0.25 0.5 2 0.3 0.6 1 0 0 0\n',
    'labels/train/b.txt': '0 0.5 0.5 0.2 0.4 0.5 0.5 2 0.45 0.6 2 0.4 0.3 2\n0 0.1 0.1 0.1 0.1\n',
}


def _read_dataset(folder: Path, _: Any, kind: str) -> None:
    for image in read_dataset(folder, fish()):
        places = image.keypoints[image.labelled]
        if not np.isfinite(places).all() or not np.isfinite(image.boxes).all():
            raise Wrong(f'{image.path.name}: {places.tolist()} {image.boxes.tolist()}')
        if (np.abs(places - [WIDTH / 2, HEIGHT / 2]) > [WIDTH, HEIGHT]).any() and image.width == WIDTH:
            raise Wrong(f'{image.path.name}: far outside of the image: {places.tolist()}')


def _read_truth(folder: Path, _: Any, kind: str) -> None:
    labels = CocoLabels(folder / 'labels.json', fish())
    for number in range(3):
        for points in labels.of(number, number, WIDTH, HEIGHT) or []:
            if points.shape != (2, 2) or np.isinf(points).any() or np.isnan(points).all():
                raise Wrong(str(points.tolist()))
            if (np.abs(points - [WIDTH / 2, HEIGHT / 2]) > [WIDTH, HEIGHT]).any():
                raise Wrong(f'far outside of the image: {points.tolist()}')


def fish() -> ObjectModel:
    return ObjectModel.from_dict(
        {'name': 'fish', 'keypoints': ['head', 'tail'], 'skeleton': [['head', 'tail']]}, 'fish'
    )


TRUTH = json.loads(json.dumps(COCO))
for _number, _image in enumerate(TRUTH['images']):
    _image['file_name'] = f'frame_{_number:06d}.png'

LABEL_READERS = {
    'coco': _labels({'labels.json': json.dumps(COCO)}, 'labels.json', 3),
    'coco_training': Reader(_labels({'labels.json': json.dumps(COCO)}, '').make, 'labels.json', _read_dataset, 3),
    'coco_truth': Reader(_labels({'labels.json': json.dumps(TRUTH)}, '').make, 'labels.json', _read_truth, 2),
    'label_studio': _labels({'labels.json': json.dumps(LABEL_STUDIO)}, 'labels.json', 3),
    'deeplabcut': _labels({'labels.csv': DEEPLABCUT}, 'labels.csv'),
    'labelme': _labels({'a.json': json.dumps(LABELME)}, 'a.json'),
    'via': _labels({'labels.json': json.dumps(VIA)}, 'labels.json'),
    'labelbox': _labels({'labels.json': json.dumps(LABELBOX)}, 'labels.json'),
    'cvat': _labels({'labels.xml': CVAT}, 'labels.xml'),
    'yolo': _labels(YOLO, 'labels/train/*.txt', pictures='images/train'),
    'yolo_data': _labels(YOLO, 'data.yaml', 0.01, pictures='images/train'),
}
