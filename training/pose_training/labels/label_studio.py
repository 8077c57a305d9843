"""Reader of Label Studio's export 'JSON': keypoints and rectangles in per cent, grouped by object."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from custom_pose_ros.core.errors import DatasetError
from custom_pose_ros.core.labels.raw_labels import (
    NOTE,
    REFUSED,
    TURNED_WITH_SIZE,
    RawImage,
    RawInstance,
    RawLabels,
    base_name,
    is_number,
)

Box = tuple[float, float, float, float]  # left, top, width, height as shares of the image's size


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
    names = sorted({label for result in results for label in _texts(result, 'keypointlabels')})
    if not names:
        is_min = any(isinstance(value, list) and 'keypointlabels' in str(value) for t in tasks for value in t.values())
        way = 'it is a JSON-MIN; export as JSON' if is_min else 'set the project up with --label-studio-config'
        raise DatasetError(f'{path}: no KeyPointLabels in this export; {way}')
    labels = RawLabels('object', names, [], [], lists_all_names=False, exif=TURNED_WITH_SIZE)
    text = 'Label Studio keeps no order of keypoints: they are sorted by name unless --object is given'
    labels.add(NOTE, '', '', text)
    for task, submitted in zip(tasks, found):
        image = RawImage(_image_name(path, task), 0, 0, relative=True)
        if len(submitted) == 1:
            labels.images.append(image)
            _TaskReader(labels, image).read(submitted[0])
        elif submitted:
            text = f'is annotated {len(submitted)} times: delete all but one'
            labels.add(REFUSED, image.name, task.get('id', ''), text)
        else:
            labels.add(NOTE, image.name, task.get('id', ''), 'not annotated, left out')
    return labels


class _TaskReader:
    """Turns the results of one annotation into the instances of its image."""

    def __init__(self, labels: RawLabels, image: RawImage):
        self._labels, self._image = labels, image
        self._boxes: dict[str, Box] = {}
        self._points: dict[str, list[tuple[float, float, int]]] = {}  # by the rectangle's id, '' without rectangle

    def read(self, annotation: Mapping[str, Any]) -> None:
        """Add the instances, and what is wrong with them."""
        others, sizes = set(), set()
        keypoints = []
        for result in _results(annotation):
            if _texts(result, 'rectanglelabels'):
                self._add_box(result)
            elif _texts(result, 'keypointlabels'):
                keypoints.append(result)
            elif str(result.get('type')).endswith('labels'):
                others.add(str(result['type']))
                continue
            if all(is_number(size) and size > 0 for size in _sizes(result)):
                sizes.add(tuple(map(int, _sizes(result))))
        if len(sizes) == 1:
            self._image.width, self._image.height = sizes.pop()
        elif sizes:
            shown = ' and '.join(f'{width} x {height}' for width, height in sorted(sizes))
            self._add(REFUSED, annotation.get('id', ''), f'labelled on pictures of {shown} px: label it again')
        for kind in sorted(others):
            self._add(NOTE, annotation.get('id', ''), f'{kind} are not read, left out')
        for result in keypoints:
            self._add_point(result)
        for key in [*self._boxes, *(key for key in self._points if key not in self._boxes)]:
            if key not in self._points:
                self._add(NOTE, key, 'no keypoint in this box: it will be ignored, neither object nor background')
            instance = RawInstance(key or str(annotation.get('id', '')), self._points.get(key), self._boxes.get(key))
            self._image.instances.append(instance)

    def _add_box(self, result: Mapping[str, Any]) -> None:
        value = result['value']
        numbers = [value.get(key) for key in ('x', 'y', 'width', 'height')]
        if not all(is_number(v) for v in numbers) or min(numbers[2:]) < 0:
            self._add(REFUSED, result.get('id'), 'x, y, width and height of this box are not numbers')
        elif self._is_upright(result):
            self._boxes[str(result.get('id'))] = _turned(value, result)

    def _add_point(self, result: Mapping[str, Any]) -> None:
        x, y = result['value'].get('x'), result['value'].get('y')
        names = _texts(result, 'keypointlabels')
        if not is_number(x) or not is_number(y):
            self._add(REFUSED, result.get('id'), f'{names[0]}: x and y are not numbers')
            return
        key = self._owner(result, x / 100, y / 100)
        if key is None or not self._is_upright(result):
            return
        points = self._points.setdefault(key, [(0.0, 0.0, 0)] * len(self._labels.keypoint_names))
        for name in names:
            k = self._labels.keypoint_names.index(name)
            if points[k][2]:
                text = f'{name} is labelled twice in one object; draw a rectangle around each'
                self._add(REFUSED, result.get('id'), text)
            else:
                points[k] = (x / 100, y / 100, 2)

    def _owner(self, result: Mapping[str, Any], x: float, y: float) -> str | None:
        """Return the key of the object that a keypoint belongs to; None, and a problem, where that is not certain."""
        parent = str(result.get('parentID') or '')
        if parent or len(self._boxes) < 2:
            return parent or next(iter(self._boxes), '')
        inside = [
            key
            for key, (left, top, width, height) in self._boxes.items()
            if left <= x <= left + width and top <= y <= top + height
        ]
        if len(inside) == 1:
            return inside[0]
        where = 'in several boxes: drag it onto its own in the list of regions' if inside else 'in no box'
        self._add(REFUSED, result.get('id'), f'{_texts(result, "keypointlabels")[0]} lies {where}')
        return None

    def _is_upright(self, result: Mapping[str, Any]) -> bool:
        turned = result.get('image_rotation') not in (0, None)
        if turned:
            self._add(REFUSED, result.get('id'), 'labelled on a turned picture; turn it back and label it again')
        return not turned

    def _add(self, kind: str, annotation: object, text: str) -> None:
        self._labels.add(kind, self._image.name, annotation, text)


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
