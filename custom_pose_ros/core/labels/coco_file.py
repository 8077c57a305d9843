"""Reader of COCO keypoints as labelling tools export them, with what each of them does differently."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from custom_pose_ros.core.errors import DatasetError
from custom_pose_ros.core.labels.categories import CategoryChoice, object_name
from custom_pose_ros.core.labels.raw_labels import (
    NOTE,
    REFUSED,
    REPAIRED,
    RawImage,
    RawInstance,
    RawLabels,
    is_number,
)


def read_coco_export(path: Path, content: Mapping[str, Any], choice: CategoryChoice) -> RawLabels:
    """
    Read COCO keypoints of coco-annotator, CVAT or Label Studio.

    Args:
        path: The file, for messages.
        content: What it holds.
        choice: Which categories to read.

    Raises:
        DatasetError: The file as a whole cannot be used.
    """
    images, annotations, categories = (_dictionaries(path, content, k) for k in ('images', 'annotations', 'categories'))
    chosen = _choose_categories(path, categories, annotations, choice)
    chosen_ids = [category['id'] for category in chosen]
    names = [str(name) for name in chosen[0]['keypoints']]
    category_names = list(dict.fromkeys(_name(category) for category in chosen))
    labels = RawLabels(object_name(category_names), names, _skeleton(chosen[0], len(names)), [])
    by_id = _coco_images(path, images)
    labels.images.extend(by_id.values())
    if isinstance(info := content.get('info'), dict) and info.get('contributor') == 'Label Studio':
        annotations = _with_label_studio_boxes(labels, by_id, annotations, chosen_ids)
    for annotation in annotations:
        number, image_id = annotation.get('id'), annotation.get('image_id')
        if annotation.get('category_id') not in chosen_ids:
            labels.add(NOTE, '', number, f'belongs to another category than {labels.category!r}, left out')
        elif (raw_image := by_id.get(str(image_id))) is None:
            labels.add(REFUSED, '', number, f'its image {image_id!r} is not in the file')
        elif (instance := _coco_instance(labels, raw_image.name, annotation)) is not None:
            raw_image.instances.append(instance)
    return labels


def _coco_images(path: Path, images: list[dict[str, Any]]) -> dict[str, RawImage]:
    """Return the images by id; of those that share a file name, the path tells which they are."""
    by_id: dict[str, RawImage] = {}
    times = Counter(str(image.get('file_name')) for image in images)
    for image in images:
        name, full = image.get('file_name'), image.get('path')
        if isinstance(full, str) and full and (not name or times[str(name)] > 1):
            name = full
        if not isinstance(name, str) or not name:
            raise DatasetError(f'{path}: image {image.get("id")!r}: file_name: wanted a name, got {name!r}')
        if str(image.get('id')) in by_id:
            raise DatasetError(f'{path}: image id {image.get("id")!r} is used twice')
        sizes = [int(s) if is_number(s) and s > 0 else 0 for s in (image.get('width'), image.get('height'))]
        by_id[str(image.get('id'))] = RawImage(name, sizes[0], sizes[1])
    return by_id


def _with_label_studio_boxes(
    labels: RawLabels, by_id: Mapping[str, RawImage], annotations: list[dict[str, Any]], chosen_ids: list[Any]
) -> list[dict[str, Any]]:
    """
    Return the annotations with each rectangle as the box of its keypoints.

    Label Studio's COCO holds the rectangles as annotations of their own, and the keypoints of all objects of a picture
    in one list: with several rectangles, points are lost.
    """
    boxes: dict[str, list[Any]] = {}
    for annotation in annotations:
        if not annotation.get('keypoints') and annotation.get('category_id') not in chosen_ids:
            boxes.setdefault(str(annotation.get('image_id')), []).append(annotation.get('bbox'))
    for image_id in [image_id for image_id, found in boxes.items() if len(found) > 1 and image_id in by_id]:
        text = 'several objects, whose keypoints Label Studio joins in its COCO: export as JSON'
        labels.add(REFUSED, by_id[image_id].name, '', text)
    return [
        {**annotation, 'bbox': boxes.get(str(annotation.get('image_id')), [annotation.get('bbox')])[0]}
        for annotation in annotations
        if annotation.get('category_id') in chosen_ids
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


def _is_id(value: Any) -> bool:
    return isinstance(value, (int, str))


def _name(category: Mapping[str, Any]) -> str:
    return str(category.get('name', 'object'))


def _skeleton(category: Mapping[str, Any], count: int) -> list[tuple[int, int]]:
    """Return pairs of indices; COCO counts from 1. Pairs that mean nothing are left out: the draft shows the rest."""
    pairs: list[tuple[int, int]] = []
    stated = category.get('skeleton')
    for pair in stated if isinstance(stated, list) else []:
        if isinstance(pair, list) and len(pair) == 2 and all(isinstance(k, int) and 1 <= k <= count for k in pair):
            a, b = pair[0] - 1, pair[1] - 1
            if a != b and (a, b) not in pairs and (b, a) not in pairs:
                pairs.append((a, b))
    return pairs


def _coco_instance(labels: RawLabels, image: str, annotation: Mapping[str, Any]) -> RawInstance | None:
    number, count = annotation.get('id'), len(labels.keypoint_names)
    box = annotation.get('bbox')
    # coco-annotator writes a box of four zeros for keypoints without an outline
    kept = None
    if isinstance(box, list) and len(box) == 4 and all(is_number(v) for v in box) and min(box[2:]) > 0:
        kept = (float(box[0]), float(box[1]), float(box[2]), float(box[3]))
    values = annotation.get('keypoints')
    if annotation.get('iscrowd') in (1, True) or not values:
        if kept is None:
            labels.add(REFUSED, image, number, 'has neither keypoints nor a box')
            return None
        if annotation.get('iscrowd') not in (1, True):
            labels.add(NOTE, image, number, 'has no keypoints: its box will be ignored, neither object nor background')
        return RawInstance(str(number), None, kept)
    if not isinstance(values, list) or len(values) % 3 or not all(is_number(v) for v in values):
        labels.add(REFUSED, image, number, f'keypoints are not triples of numbers: {str(values)[:60]}')
        return None
    triples = [(float(x), float(y), int(v)) for x, y, v in zip(*[iter(values)] * 3)]
    if len(triples) > count:
        stale = [t for t in triples if t[2] == 0 and t[0] == t[1] == 0]
        if len(triples) - len(stale) != count:
            labels.add(REFUSED, image, number, f'{_counts(labels, triples)}: label it again')
            return None
        triples = [t for t in triples if t not in stale]
        labels.add(REPAIRED, image, number, f'{len(stale)} empty keypoints of deleted names left out, {count} kept')
    elif len(triples) < count:
        labels.add(REFUSED, image, number, f'{_counts(labels, triples)}: label the missing ones')
        return None
    labelled = sum(t[2] > 0 for t in triples)
    stated = annotation.get('num_keypoints')
    if is_number(stated) and stated != labelled:
        labels.add(REPAIRED, image, number, f'num_keypoints said {stated}, but {labelled} are labelled: corrected')
    return RawInstance(str(number), triples, kept)


def _counts(labels: RawLabels, triples: Sequence[object]) -> str:
    names = labels.keypoint_names
    return f'lists {len(triples)} keypoint{"s" * (len(triples) != 1)}, but {labels.category!r} has {len(names)}'


def _dictionaries(path: Path, content: Mapping[str, Any], key: str) -> list[dict[str, Any]]:
    value = content.get(key)
    if not isinstance(value, list) or not all(isinstance(v, dict) for v in value):
        raise DatasetError(f'{path}: wanted a COCO file with a list {key!r}, got {str(value)[:60]}')
    return value
