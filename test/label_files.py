"""Label files and pictures as tests of the data preparation need them."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np

from custom_pose_ros.core.labels.categories import THE_ONLY_ONE
from training.pose_training.labels import formats
from training.pose_training.labels.checking import check
from training.pose_training.labels.image_files import ImageIndex
from training.pose_training.labels.readers.video_frames import VideoFrames

ROOT = Path(__file__).resolve().parents[1]
HEAD, TAIL = (30.0, 40.0), (50.0, 60.0)
DEEPLABCUT = """scorer,me,me,me,me
bodyparts,nose,nose,tail,tail
coords,x,y,x,y
labeled-data/clip/img001.png,10.5,20,,
labeled-data/clip/img002.png,11,21,30,40
labeled-data/clip/img003.png,,,,
"""


def read_labels(path: Path, choice=THE_ONLY_ONE):
    """Read a label file whose pictures and videos lie beside it; frames of videos are written to frames/ there."""
    folder = path if path.is_dir() else path.parent
    return formats.read_labels(path, VideoFrames([folder], folder / 'frames'), choice)


def picture(path: Path, width: int, height: int, seed: int = 0) -> None:
    """Write a picture of smooth noise."""
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(seed).integers(0, 256, (height // 8 + 1, width // 8 + 1, 3), np.uint8)
    cv2.imwrite(str(path), cv2.resize(noise, (width, height)))


def coco(images, annotations, names=('head', 'tail'), **category):
    """Return a file as coco-annotator writes it; images : name, width, height."""
    return {
        'images': [
            {'id': i, 'file_name': name, 'path': f'/datasets/x/{name}', 'width': w, 'height': h}
            for i, (name, w, h) in enumerate(images, 1)
        ],
        'annotations': [
            {'id': 10 + i, 'category_id': 1, 'iscrowd': False, **annotation} for i, annotation in enumerate(annotations)
        ],
        'categories': [{'id': 1, 'name': 'fish', 'keypoints': list(names), 'skeleton': [], **category}],
    }


def save(folder: Path, content) -> Path:
    """Write labels.json."""
    path = folder / 'labels.json'
    path.write_text(json.dumps(content), encoding='utf-8')
    return path


def edit(folder: Path, change) -> None:
    """Change labels.json."""
    content = json.loads((folder / 'labels.json').read_text())
    change(content)
    save(folder, content)


def texts(labels, kind):
    """Return the problems of a kind as lines."""
    return [f'{p.image} {p.annotation} {p.text}'.strip() for p in labels.problems if p.kind == kind]


def problems(labels, kind):
    """Return file name and annotation of the problems of a kind."""
    return [(p.image, p.annotation) for p in labels.problems if p.kind == kind]


def checked(folder: Path, content, max_side=1024):
    """Return the labels of a content, and the images of the folder that are sound."""
    labels = read_labels(save(folder, content))
    return labels, check(labels, ImageIndex([folder]), max_side)


def label_studio_task(name, *points, parent=None):
    """Return a task with points (label, x, y) in per cent; parent : id of the rectangle of each."""
    results = [
        {
            'id': f'r{i}', 'type': 'keypointlabels', 'original_width': 200, 'original_height': 100,
            'value': {'x': x, 'y': y, 'width': 0.5, 'keypointlabels': [label]},
            **({'parentID': parent[i]} if parent else {}),
        }
        for i, (label, x, y) in enumerate(points)
    ]  # fmt: skip
    return {'id': 1, 'data': {'image': name}, 'annotations': [{'result': results}]}


def instances(labels):
    """Return image -> its instances as name -> x, y, visibility, of labelled points only."""
    return {
        image.name: [
            {
                name: tuple(map(float, p))
                for name, p in zip(labels.keypoint_names, instance.keypoints)
                if float(p[2]) > 0
            }
            for instance in image.instances
            if instance.keypoints is not None
        ]
        for image in labels.images
    }
