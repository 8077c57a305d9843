"""Reader of labelme: one JSON file for each picture, points joined by their group_id."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from custom_pose_ros.core.labels.categories import CategoryChoice
from custom_pose_ros.core.labels.raw_labels import NOTE, REFUSED, Problem, RawImage, RawLabels, is_number, size_px
from training.pose_training.labels.readers.loose_points import LooseBox, LoosePicture, LoosePoint, join_points


def is_labelme(content: Any) -> bool:
    """Return whether a JSON value is a file of labelme (or of X-AnyLabeling, which writes the same)."""
    return isinstance(content, dict) and isinstance(content.get('shapes'), list) and 'imagePath' in content


def read_labelme(path: Path, contents: Mapping[Path, Mapping[str, Any]], choice: CategoryChoice) -> RawLabels:
    """
    Read the files of labelme: shapes 'point' are keypoints, 'rectangle' the boxes of objects.

    Args:
        path: File or folder that was given, for messages.
        contents: What each file holds.
        choice: Which categories to read; the labels of rectangles are categories.

    Raises:
        DatasetError: The labels as a whole cannot be used.
    """
    problems: list[Problem] = []
    pictures = [_picture(file, content, problems) for file, content in contents.items()]
    way = 'give the shapes of each object a group_id of its own'
    labels = join_points(path, 'labelme', pictures, choice, way, problems)
    if len(contents) == 1:
        labels.add(NOTE, '', '', 'labelme writes one file for each picture: give their folder to read all of them')
    return labels


def _picture(file: Path, content: Mapping[str, Any], problems: list[Problem]) -> LoosePicture:
    name = str(content['imagePath'] or file.with_suffix('.jpg').name)
    image = RawImage(name, size_px(content.get('imageWidth')), size_px(content.get('imageHeight')))
    picture = LoosePicture(image)
    for number, shape in enumerate(content['shapes'], 1):
        kind = shape.get('shape_type') if isinstance(shape, dict) else None
        if kind not in ('point', 'rectangle'):
            problems.append(Problem(NOTE, name, f'shape {number}', f'{str(kind)[:40]} is not read, left out'))
            continue
        corners = _corners(shape.get('points'))
        if len(corners) < (1 if kind == 'point' else 2):
            problems.append(Problem(REFUSED, name, f'shape {number}', f'{kind}: its points are not pairs of numbers'))
            continue
        label, group = str(shape.get('label')), shape.get('group_id')
        group = '' if group is None else str(group)
        if kind == 'point':
            picture.points.append(LoosePoint(label, *corners[0], group))
        else:  # two opposite corners, or all four
            (left, top), (right, bottom) = ([pick(c[i] for c in corners) for i in (0, 1)] for pick in (min, max))
            picture.boxes.append(LooseBox(label, (left, top, right - left, bottom - top), group))
    return picture


def _corners(points: Any) -> Sequence[tuple[float, float]]:
    """Return the pairs of numbers of a shape, none where it holds anything else."""
    if not isinstance(points, list) or not all(isinstance(p, list) and len(p) == 2 for p in points):
        return []
    return [(float(x), float(y)) for x, y in points] if all(is_number(v) for p in points for v in p) else []
