"""Reader of Label Studio's export 'JSON': keypoints and rectangles in per cent, grouped by object."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from custom_pose_ros.core.errors import DatasetError
from custom_pose_ros.core.labels.categories import THE_ONLY_ONE
from custom_pose_ros.core.labels.raw_labels import (
    NOTE,
    REFUSED,
    TURNED_WITH_SIZE,
    Problem,
    RawImage,
    RawLabels,
    base_name,
    is_number,
)  # fmt: skip
from training.pose_training.labels.readers.loose_points import Box, LooseBox, LoosePicture, LoosePoint, join_points


def read_label_studio(path: Path, tasks: list[Any]) -> RawLabels:
    """
    Read the tasks of a project with KeyPointLabels and, where a picture shows several objects, RectangleLabels.

    A keypoint belongs to the rectangle that it is nested in, or else to the only one that it lies in.

    Args:
        path: The file, for messages.
        tasks: What it holds.

    Raises:
        DatasetError: The file as a whole cannot be used.
    """
    for number, task in enumerate(tasks):
        if not isinstance(task, dict):
            raise DatasetError(f'{path}: task {number}: wanted keys and values, got {str(task)[:60]}')
    found = [_annotations(task) for task in tasks]
    results = [result for annotations in found for annotation in annotations for result in _results(annotation)]
    if not any(_texts(result, 'keypointlabels') for result in results):
        is_min = any(isinstance(value, list) and 'keypointlabels' in str(value) for t in tasks for value in t.values())
        way = 'it is a JSON-MIN; export as JSON' if is_min else 'set the project up with --label-studio-config'
        raise DatasetError(f'{path}: no KeyPointLabels in this export; {way}')
    problems: list[Problem] = []
    pictures: list[LoosePicture] = []
    for task, submitted in zip(tasks, found):
        name, number = _image_name(path, task), str(task.get('id', ''))
        if not submitted:
            problems.append(Problem(NOTE, name, number, 'not annotated, left out'))
            continue
        if len(submitted) > 1:
            text = f'is annotated {len(submitted)} times: delete all but one'
            problems.append(Problem(REFUSED, name, number, text))
        pictures.append(_Annotation(name, submitted[0], problems).picture)
    way = 'draw a rectangle around each object, and drag points onto their own in the list of regions'
    labels = join_points(path, 'Label Studio', pictures, THE_ONLY_ONE, way, problems)
    labels.exif = TURNED_WITH_SIZE
    return labels


class _Annotation:
    """One annotation as `picture`, in shares of the image's size; what is wrong goes to the problems."""

    def __init__(self, name: str, annotation: Mapping[str, Any], problems: list[Problem]):
        self.picture = LoosePicture(RawImage(name, 0, 0, relative=True))
        self._problems, self._id = problems, str(annotation.get('id', 'annotation'))
        by_kind: dict[str, list[dict[str, Any]]] = {'rectanglelabels': [], 'keypointlabels': []}
        others = set()
        for result in _results(annotation):
            kind = next((kind for kind in by_kind if _texts(result, kind)), '')
            if kind:
                by_kind[kind].append(result)
            elif str(result.get('type')).endswith('labels'):
                others.add(str(result['type']))
        self._take_size([_sizes(result) for results in by_kind.values() for result in results])
        for kind in sorted(others):
            self._add(NOTE, self._id, f'{kind} are not read, left out')
        for result in by_kind['rectanglelabels']:
            self._add_box(result)
        for result in by_kind['keypointlabels']:
            self._add_point(result)

    def _take_size(self, stated: Iterable[tuple[Any, Any]]) -> None:
        sizes = {tuple(map(int, size)) for size in stated if all(is_number(side) and side > 0 for side in size)}
        if len(sizes) == 1:
            self.picture.image.width, self.picture.image.height = sizes.pop()
        elif sizes:
            shown = ' and '.join(f'{width} x {height}' for width, height in sorted(sizes))
            self._add(REFUSED, self._id, f'labelled on pictures of {shown} px: label it again')

    def _add_box(self, result: Mapping[str, Any]) -> None:
        value = result['value']
        numbers = [value.get(key) for key in ('x', 'y', 'width', 'height')]
        if not all(is_number(v) for v in numbers) or min(numbers[2:]) < 0:
            self._add(REFUSED, result.get('id'), 'x, y, width and height of this box are not numbers')
        else:
            self._refuse_turned(result)
            self.picture.boxes.append(LooseBox('', _turned(value, result), str(result.get('id'))))

    def _add_point(self, result: Mapping[str, Any]) -> None:
        self._refuse_turned(result)
        x, y = (v / 100 if is_number(v := result['value'].get(axis)) else math.nan for axis in 'xy')
        alone = '' if len(self.picture.boxes) > 1 else next((box.group for box in self.picture.boxes), self._id)
        group, number = str(result.get('parentID') or alone), str(result.get('id'))
        self.picture.points += [
            LoosePoint(name, x, y, group, annotation=number, proposed=result.get('origin') == 'prediction')
            for name in _texts(result, 'keypointlabels')
        ]

    def _refuse_turned(self, result: Mapping[str, Any]) -> None:
        if result.get('image_rotation') not in (0, None):
            self._add(REFUSED, result.get('id'), 'labelled on a turned picture; turn it back and label it again')

    def _add(self, kind: str, annotation: object, text: str) -> None:
        self._problems.append(Problem(kind, self.picture.image.name, str(annotation), text))


def _annotations(task: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return what people submitted for a task, skipped ones left out."""
    annotations = task.get('annotations') or task.get('completions') or []
    if not isinstance(annotations, list):
        return []
    return [a for a in annotations if isinstance(a, dict) and not a.get('was_cancelled')]


def _results(annotation: Mapping[str, Any]) -> list[dict[str, Any]]:
    results = annotation.get('result')
    return [result for result in results if isinstance(result, dict)] if isinstance(results, list) else []


def _texts(result: Mapping[str, Any], key: str) -> list[str]:
    value = result.get('value')
    labels = value.get(key) if isinstance(value, dict) else None
    return [str(label) for label in labels] if isinstance(labels, list) else []


def _sizes(result: Mapping[str, Any]) -> tuple[Any, Any]:
    """Return width and height [px] of the picture that the browser showed."""
    return result.get('original_width'), result.get('original_height')


def _turned(value: Mapping[str, float], result: Mapping[str, Any]) -> Box:
    """Return the upright box around a rectangle, which may be turned about its left top corner."""
    angle = value.get('rotation', 0)
    sizes = _sizes(result)
    if not is_number(angle) or angle == 0 or not all(is_number(size) and size > 0 for size in sizes):
        return value['x'] / 100, value['y'] / 100, value['width'] / 100, value['height'] / 100
    width, height = sizes
    cos, sin = math.cos(math.radians(angle)), math.sin(math.radians(angle))
    w, h = value['width'] / 100 * width, value['height'] / 100 * height
    corners = [(cos * x - sin * y, sin * x + cos * y) for x, y in ((0, 0), (w, 0), (w, h), (0, h))]
    left, right = (pick(x for x, _ in corners) / width for pick in (min, max))
    top, bottom = (pick(y for _, y in corners) / height for pick in (min, max))
    return value['x'] / 100 + left, value['y'] / 100 + top, right - left, bottom - top


def _image_name(path: Path, task: Mapping[str, Any]) -> str:
    """Return the file name in a task: an upload's name, an address, or the query of a local file's address."""
    data = task.get('data')
    texts = [v for v in data.values() if isinstance(v, str)] if isinstance(data, dict) else []
    name = task.get('file_upload') if isinstance(task.get('file_upload'), str) else next(iter(texts), None)
    if not name:
        raise DatasetError(f'{path}: task {task.get("id")!r} names no image')
    try:
        parts = urlsplit(name)
    except ValueError as error:
        raise DatasetError(f'{path}: task {task.get("id")!r} has no good address of an image: {name!r}') from error
    return base_name(parse_qs(parts.query).get('d', [unquote(parts.path)])[0])
