"""Reader of COCO keypoints as labelling tools export them, with what each of them does differently."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from textwrap import shorten
from typing import Any, Generic, TypeVar

import numpy as np

from custom_pose_ros.core.command_line import say
from custom_pose_ros.core.errors import DatasetError
from custom_pose_ros.core.files import read_json
from custom_pose_ros.core.labels.categories import THE_ONLY_ONE, CategoryChoice, object_name, read_skeleton
from custom_pose_ros.core.labels.placement import bring_inside
from custom_pose_ros.core.labels.raw_labels import (
    NOTE,
    REFUSED,
    REPAIRED,
    STORED,
    TURNED,
    TURNED_WITH_SIZE,
    Point,
    RawImage,
    RawInstance,
    RawLabels,
    is_number,
    size_px,
)
from custom_pose_ros.core.labels.settling import settle
from custom_pose_ros.core.object_model import ObjectModel

T = TypeVar('T')
_CONVERT = 'training/prepare_dataset.py makes one of the labels of other tools'
PREPARE = 'let training/prepare_dataset.py check and repair the labels'
LABEL_STUDIO = 'Label Studio'  # contributor in its files
CONTRADICTIONS = 'contradictions'  # in an annotation that prelabel.py writes: what is wrong, by name of keypoint
PROPOSED = 'proposed'  # true in an annotation of prelabel.py or predict that no person has changed
OWN_CONTRIBUTOR = 'custom_pose_ros'  # in what prelabel.py writes, whose points lie on the picture as EXIF turns it


def coco_category(name: str, keypoint_names: Sequence[str], skeleton: Sequence[tuple[int, int]]) -> dict[str, Any]:
    """Return the only category of a COCO file that is written; limbs are pairs of indices from 0, COCO's from 1."""
    limbs = [[a + 1, b + 1] for a, b in skeleton]
    return {'id': 1, 'name': name, 'supercategory': 'object', 'keypoints': list(keypoint_names), 'skeleton': limbs}


def coco_points(points: np.ndarray) -> list[float | int]:
    """Return x, y and visibility, which is a whole number, of keypoints (K, 3) in one list."""
    return [value for x, y, state in points.tolist() for value in (round(x, 3), round(y, 3), int(state))]


def read_coco(
    path: Path, content: Mapping[str, Any], choice: CategoryChoice = THE_ONLY_ONE, names: Sequence[str] = ()
) -> RawLabels:
    """
    Read COCO keypoints of any tool, with what coco-annotator, CVAT and Label Studio each do differently.

    Args:
        path: The file, for messages.
        content: What it holds.
        choice: Which categories to read, unless `names` are given.
        names: Keypoints of an object: every category that has them is read, in their order.

    Returns:
        Labels that are not settled yet, images in the order of the file.

    Raises:
        DatasetError: The file as a whole cannot be used.
    """
    images, annotations, categories = (_dictionaries(path, content, k) for k in ('images', 'annotations', 'categories'))
    if names:
        chosen = _categories_with(path, categories, names)
        title = _name(chosen[0])
    else:
        chosen = _choose_categories(path, categories, annotations, choice)
        names = [str(name) for name in chosen[0]['keypoints']]
        title = object_name(list(dict.fromkeys(_name(category) for category in chosen)))
    skeleton, note = read_skeleton(chosen[0].get('skeleton'), [str(name) for name in chosen[0]['keypoints']])
    labels = RawLabels(title, list(names), skeleton, _coco_images(path, images), skeleton_note=note)
    labels.exif = _exif(content, images)
    by_category = _orders(path, categories, chosen, names)
    by_id = _ById((image.get('id'), raw_image) for image, raw_image in zip(images, labels.images))
    if by_id.twice:
        raise DatasetError(f'{path}: image id {by_id.twice[0]!r} is used twice')
    if _contributor(content) == LABEL_STUDIO:
        annotations = _with_label_studio_boxes(labels, by_id, annotations, by_category)
    for annotation in annotations:
        _add_annotation(labels, annotation, by_id, by_category)
    return labels


def read_object_labels(path: Path, model: ObjectModel) -> tuple[RawLabels, list[dict[str, Any]]]:
    """
    Read a COCO file of an object's labels that a person has checked already.

    What is repaired is said on stderr, in one line for the file.

    Returns:
        Settled labels in the object's order of keypoints, no point outside of its image where the file tells the size;
        and the entries of `images` in the same order.

    Raises:
        DatasetError: The labels do not fit the object, or anything in them is not certain.
    """
    try:
        content = read_json(path)
    except DatasetError as error:
        raise DatasetError(f'{error}; wanted COCO keypoints: {_CONVERT}') from error
    if not isinstance(content, dict) or not {'images', 'annotations', 'categories'} & set(content):
        raise DatasetError(f'{path}: wanted a COCO file with images, annotations and categories: {_CONVERT}')
    labels = read_coco(path, content, names=model.keypoint_names)
    settle(path, labels)
    _bring_inside(labels)
    refused = [problem for problem in labels.problems if problem.kind == REFUSED]
    if refused:
        raise DatasetError(f'{path}: {refused[0].line}{" ..." * (len(refused) > 1)}; {PREPARE}')
    of_file = [problem for problem in labels.problems if not problem.image and not problem.annotation]
    repaired = [problem for problem in labels.problems if problem.kind == REPAIRED and problem not in of_file]
    for problem in of_file:
        say(f'note: {path}: {problem.line}')
    if repaired:
        say(f'note: {path}: {repaired[0].line}{f" (and {len(repaired) - 1} more)" * (len(repaired) > 1)}')
    return labels, content['images']


def _bring_inside(labels: RawLabels) -> None:
    for image in labels.images:
        for instance in image.instances if image.width and image.height else ():
            if instance.keypoints is not None:
                points = np.array(instance.keypoints, float)
                for kind, text in bring_inside(points, image.width, image.height, labels.keypoint_names):
                    labels.add(kind, image.name, instance.annotation_id, text)
                instance.keypoints = [(x, y, int(v)) for x, y, v in points.tolist()]


def _add_annotation(
    labels: RawLabels, annotation: Mapping[str, Any], by_id: _ById[RawImage], by_category: _ById[_Order]
) -> None:
    """Add one annotation to its image, or say why it is left out."""
    number, image_id, category_id = (annotation.get(key) for key in ('id', 'image_id', 'category_id'))
    if (order := by_category.find(category_id)) is None:
        labels.add(REFUSED, '', number, f'its category {category_id!r} is not in the file')
    elif order is _NO_ORDER:
        labels.add(NOTE, '', number, f'belongs to another category than {labels.category!r}, left out')
    elif (image := by_id.find(image_id)) is None:
        labels.add(REFUSED, '', number, f'its image {image_id!r} is not in the file')
    elif (instance := _coco_instance(labels, image.name, annotation, order)) is not None:
        image.instances.append(instance)


class _Order:
    """Where the keypoints of an object stand in the annotations of a category."""

    def __init__(self, given: Sequence[Any], wanted: Sequence[str]):
        names = [str(name) for name in given]
        self.count = len(names)
        self.places = [names.index(name) for name in wanted]
        self.is_whole = len(self.places) == self.count


_NO_ORDER = _Order([], [])  # of categories that are not read


def _orders(
    path: Path, categories: list[dict[str, Any]], chosen: list[dict[str, Any]], names: Sequence[str]
) -> _ById[_Order]:
    """Return the order of the keypoints in every category by its id, _NO_ORDER for those that are not read."""
    for category in chosen:
        own = [str(name) for name in category['keypoints']]
        if twice := [name for name in names if own.count(name) > 1]:
            raise DatasetError(
                f'{path}: keypoint {twice[0]!r} is there twice; rename one of them in the labelling tool'
            )
    orders = {id(category): _Order(category['keypoints'], names) for category in chosen}
    return _ById((category.get('id'), orders.get(id(category), _NO_ORDER)) for category in categories)


class _ById(Generic[T]):
    """
    Entries of a file by their ids; a number finds an id that is written as text, and the other way round.

    Attributes:
        twice: Ids that several entries have.
    """

    def __init__(self, entries: Iterable[tuple[Any, T]]):
        self.twice: list[Any] = []
        self._exact: dict[str, T] = {}
        self._alike: dict[str, list[T]] = {}
        for value, entry in entries:
            if (key := _key(value)) in self._exact:
                self.twice.append(value)
            self._exact[key] = entry
            self._alike.setdefault(key.strip("'"), []).append(entry)

    def find(self, value: Any) -> T | None:
        key = _key(value)
        alike = self._alike.get(key.strip("'"), [])
        return self._exact.get(key, alike[0] if len(alike) == 1 else None)


def _key(value: Any) -> str:
    return repr(int(value) if is_number(value) and value == int(value) else value)


def _contributor(content: Mapping[str, Any]) -> Any:
    info = content.get('info')
    return info.get('contributor') if isinstance(info, dict) else None


def _exif(content: Mapping[str, Any], images: Sequence[Mapping[str, Any]]) -> str:
    """Return on which pictures the labels were made, where the tool that wrote the file is known."""
    if _contributor(content) == LABEL_STUDIO:
        return TURNED  # points are in pixels of what the browser showed, the size is that of the file
    if _contributor(content) == OWN_CONTRIBUTOR:
        return TURNED_WITH_SIZE
    if images and all(is_number(i.get('dataset_id')) and isinstance(i.get('path'), str) for i in images):
        return STORED  # coco-annotator, which sends pictures to the browser without their EXIF note
    return ''


def _coco_images(path: Path, images: list[dict[str, Any]]) -> list[RawImage]:
    """Return the images; of those that share a file name, the path tells which they are."""
    found = []
    times = Counter(str(image.get('file_name')) for image in images)
    for image in images:
        name, full = image.get('file_name'), image.get('path')
        if isinstance(full, str) and full and (not name or times[str(name)] > 1):
            name = full
        if not isinstance(name, str) or not name:
            raise DatasetError(f'{path}: image {image.get("id")!r}: file_name: wanted a name, got {name!r}')
        found.append(RawImage(name, size_px(image.get('width')), size_px(image.get('height'))))
    return found


def _with_label_studio_boxes(
    labels: RawLabels, by_id: _ById[RawImage], annotations: list[dict[str, Any]], by_category: _ById[_Order]
) -> list[dict[str, Any]]:
    """
    Return the annotations with each rectangle as the box of its keypoints.

    Label Studio's COCO holds the rectangles as annotations of their own, and the keypoints of all objects of a picture
    in one list: with several rectangles, points are lost.
    """
    boxes: dict[str, list[Any]] = {}
    kept = []
    for annotation in annotations:
        if by_category.find(annotation.get('category_id')) is not _NO_ORDER:
            kept.append(annotation)
        elif not annotation.get('keypoints'):
            boxes.setdefault(_key(annotation.get('image_id')), []).append(annotation)
    for found in boxes.values():
        if len(found) > 1 and (image := by_id.find(found[0].get('image_id'))) is not None:
            text = 'several objects, whose keypoints Label Studio joins in its COCO: export as JSON'
            labels.add(REFUSED, image.name, '', text)
    return [
        {**annotation, 'bbox': boxes.get(_key(annotation.get('image_id')), [annotation])[0].get('bbox')}
        for annotation in kept
    ]


def _choose_categories(
    path: Path, categories: list[dict[str, Any]], annotations: list[dict[str, Any]], choice: CategoryChoice
) -> list[dict[str, Any]]:
    """Return the categories to read, which have the same keypoints."""
    usable = [c for c in categories if _is_id(c.get('id')) and isinstance(c.get('keypoints'), list) and c['keypoints']]
    if not usable:
        raise DatasetError(f'{path}: no category has keypoints; define them in the labelling tool before labelling')
    keypoints: dict[str, list[str]] = {}
    for category in usable:
        names = [str(name) for name in category['keypoints']]
        if keypoints.setdefault(_name(category), names) != names:
            raise DatasetError(f'{path}: two categories named {_name(category)!r} have different keypoints; rename one')
    used_ids = {a.get('category_id') for a in annotations if _is_id(a.get('category_id'))}
    chosen = choice.of(path, keypoints, {_name(c) for c in usable if c['id'] in used_ids})
    return [category for category in usable if _name(category) in chosen]


def _categories_with(path: Path, categories: list[dict[str, Any]], names: Sequence[str]) -> list[dict[str, Any]]:
    """Return the categories that have all these keypoints."""
    usable = [c for c in categories if isinstance(c.get('keypoints'), list)]
    chosen = [c for c in usable if set(names) <= {str(name) for name in c['keypoints']} and _is_id(c.get('id'))]
    if not chosen:
        found = '; '.join(', '.join(map(str, c['keypoints'])) for c in usable) or 'none'
        raise DatasetError(
            f'{path}: no category has the keypoints of the object ({", ".join(names)}); '
            f'it has {shorten(found, 120, placeholder=" ...")}'
        )
    return chosen


def _is_id(value: Any) -> bool:
    return isinstance(value, (int, str))


def _name(category: Mapping[str, Any]) -> str:
    return str(category.get('name', 'object'))


def _coco_instance(labels: RawLabels, image: str, annotation: Mapping[str, Any], order: _Order) -> RawInstance | None:
    number, stated, values = (annotation.get(key) for key in ('id', 'num_keypoints', 'keypoints'))
    box = _box(annotation.get('bbox'))
    if isinstance(box, str):
        labels.add(REFUSED, image, number, box)
        return None
    if annotation.get('iscrowd') in (1, True) or not values:
        if box is None:
            labels.add(REFUSED, image, number, 'has neither keypoints nor a box')
            return None
        if annotation.get('iscrowd') not in (1, True):
            labels.add(NOTE, image, number, 'has no keypoints: its box will be ignored, neither object nor background')
        elif isinstance(values, list) and any(values):
            labels.add(NOTE, image, number, 'is a crowd (iscrowd): its keypoints are not used, its box will be ignored')
        return RawInstance(str(number), None, box)
    points = _triples(values)
    if points is None:
        labels.add(REFUSED, image, number, f'keypoints: wanted x, y and visibility of each, got {str(values)[:60]}')
        return None
    if len(points) > order.count:
        stale = [point for point in points if point == (0, 0, 0)]
        if len(points) - len(stale) != order.count:
            labels.add(REFUSED, image, number, f'{_counts(labels, points, order)}: label it again')
            return None
        points = [point for point in points if point not in stale]
        text = f'{len(stale)} empty keypoints of deleted names left out, {order.count} kept'
        labels.add(REPAIRED, image, number, text)
    elif len(points) < order.count:
        labels.add(REFUSED, image, number, f'{_counts(labels, points, order)}: label the missing ones')
        return None
    if isinstance(marks := annotation.get(CONTRADICTIONS), dict):
        for name in labels.keypoint_names:
            if name in marks:
                labels.add(NOTE, image, number, f'{name}: {str(marks[name])[:100]}: look at it')
    count = int(stated) if order.is_whole and is_number(stated) else None
    proposed = annotation.get(PROPOSED) is True
    return RawInstance(str(number), [points[k] for k in order.places], box, count, proposed)


def _box(value: Any) -> tuple[float, float, float, float] | str | None:
    """Return left, top, width, height; None where there is none, text where it is damaged."""
    if value is None or value == []:
        return None
    if not isinstance(value, list) or len(value) != 4 or not all(is_number(v) for v in value):
        return f'bbox: wanted left, top, width, height, got {str(value)[:60]}'
    left, top, width, height = map(float, value)
    # coco-annotator writes four zeros for keypoints without an outline
    return (left, top, width, height) if min(width, height) > 0 else None


def _triples(values: Any) -> list[Point] | None:
    """Return x, y, visibility of each keypoint, from one list of all or a list for each; None where it is neither."""
    if isinstance(values, list) and all(isinstance(v, list) and len(v) == 3 for v in values):
        values = [number for triple in values for number in triple]
    if not isinstance(values, list) or len(values) % 3 or any(isinstance(v, (list, dict)) for v in values):
        return None
    return list(zip(*[iter(values)] * 3))


def _counts(labels: RawLabels, points: Sequence[object], order: _Order) -> str:
    return f'lists {len(points)} keypoint{"s" * (len(points) != 1)}, but {labels.category!r} has {order.count}'


def _dictionaries(path: Path, content: Mapping[str, Any], key: str) -> list[dict[str, Any]]:
    value = content.get(key)
    if not isinstance(value, list) or not all(isinstance(v, dict) for v in value):
        raise DatasetError(f'{path}: wanted a COCO file with a list {key!r}, got {str(value)[:60]}')
    return value
