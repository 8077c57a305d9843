"""Reader of Labelbox's export (ndjson, or a JSON list of the same rows): points in the boxes of objects."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from custom_pose_ros.core.labels.categories import CategoryChoice
from custom_pose_ros.core.labels.raw_labels import (
    NOTE,
    REFUSED,
    Problem,
    RawImage,
    RawLabels,
    base_name,
    is_number,
    size_px,
)
from training.pose_training.labels.readers.loose_points import LooseBox, LoosePicture, LoosePoint, join_points


def is_labelbox(content: Any) -> bool:
    """Return whether a JSON value is a list of the rows that Labelbox exports."""
    return isinstance(content, list) and bool(content) and all(isinstance(r, dict) and 'data_row' in r for r in content)


def read_labelbox(path: Path, rows: Sequence[Mapping[str, Any]], choice: CategoryChoice) -> RawLabels:
    """
    Read points as keypoints and bounding boxes as the boxes of objects.

    Args:
        path: The file, for messages.
        rows: What it holds.
        choice: Which categories to read; the names of boxes are categories.

    Raises:
        DatasetError: The file as a whole cannot be used.
    """
    pictures: list[LoosePicture] = []
    problems: list[Problem] = []
    for row in rows:
        name, labels = _image_name(row), _labels(row)
        if len(labels) == 1 and name:
            media = _dictionary(row.get('media_attributes'))
            image = RawImage(name, size_px(media.get('width')), size_px(media.get('height')))
            pictures.append(LoosePicture(image))
            _read_objects(pictures[-1], labels[0], problems)
        elif labels:
            text = f'is annotated {len(labels)} times: delete all but one' if name else 'names no picture'
            problems.append(Problem(REFUSED, name, _row_id(row), text))
        else:
            problems.append(Problem(NOTE, name, _row_id(row), 'not annotated, left out'))
    return join_points(path, 'Labelbox', pictures, choice, 'draw a box around each object', problems)


def _read_objects(picture: LoosePicture, label: Mapping[str, Any], problems: list[Problem]) -> None:
    annotations = _dictionary(label.get('annotations'))
    objects = annotations.get('objects')
    if 'frames' in annotations:
        problems.append(Problem(REFUSED, picture.image.name, '', 'is a video: export its frames and label them'))
    for entry in objects if isinstance(objects, list) else []:
        entry = _dictionary(entry)
        name, point, box = str(entry.get('name')), entry.get('point'), entry.get('bounding_box')
        keys = ('x', 'y') if isinstance(point, dict) else ('left', 'top', 'width', 'height')
        values = point if isinstance(point, dict) else box
        if not isinstance(values, dict):
            text = f'{str(entry.get("annotation_kind", "this kind"))[:40]} is not read, left out'
            problems.append(Problem(NOTE, picture.image.name, name, text))
        elif not all(is_number(values.get(key)) for key in keys):
            problems.append(Problem(REFUSED, picture.image.name, name, f'{", ".join(keys)} are not numbers'))
        elif len(keys) == 2:
            picture.points.append(LoosePoint(name, float(values['x']), float(values['y'])))
        else:
            left, top, width, height = (float(values[key]) for key in keys)
            picture.boxes.append(LooseBox(name, (left, top, width, height)))


def _labels(row: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return what people submitted for a picture in all projects."""
    projects = [_dictionary(project) for project in _dictionary(row.get('projects')).values()]
    found = [labels for project in projects if isinstance(labels := project.get('labels'), list)]
    return [label for labels in found for label in labels if isinstance(label, dict)]


def _image_name(row: Mapping[str, Any]) -> str:
    """Return the picture's file name: the id that the user gave, or the end of its address."""
    data = _dictionary(row['data_row'])
    names = [data[key] for key in ('external_id', 'global_key') if isinstance(data.get(key), str) and data[key]]
    if names or not isinstance(data.get('row_data'), str):
        return names[0] if names else ''
    try:
        return base_name(unquote(urlsplit(data['row_data']).path))
    except ValueError:
        return ''


def _row_id(row: Mapping[str, Any]) -> str:
    return str(_dictionary(row['data_row']).get('id', ''))


def _dictionary(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
