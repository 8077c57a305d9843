"""COCO keypoint files: read and checked against the object file; every refusal names file, image or annotation."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from custom_pose_ros.core.errors import DatasetError
from custom_pose_ros.core.labels.raw_labels import is_number
from custom_pose_ros.core.limits import MAX_LABELLED_SIDE_PX
from custom_pose_ros.core.object_model import ObjectModel
from training.pose_training.labels.image_files import decode_image

_PREPARE = 'let training/prepare_dataset.py check and repair the labels'


@dataclass(frozen=True, eq=False)
class LabelledImage:
    """
    One image and its A labelled instances of one object with K keypoints.

    Attributes:
        path: Image file.
        image_id: Id in the label file.
        width: Of the image [px].
        height: Of the image [px].
        keypoints: (A, K, 2) float64 px of the image file; meaningless where not labelled.
        labelled: (A, K) bool; an occluded point with a known place counts as labelled.
        boxes: (A, 4) float64 left, top, right, bottom; where unlabelled keypoints of the instance may be.
        crowds: (C, 4) float64 left, top, right, bottom of regions with objects that nobody labelled one by one.
        annotation_ids: A ids, for messages.
    """

    path: Path
    image_id: int
    width: int
    height: int
    keypoints: np.ndarray
    labelled: np.ndarray
    boxes: np.ndarray
    crowds: np.ndarray
    annotation_ids: tuple[str, ...] = ()

    def read(self) -> np.ndarray:
        """
        Return the (H, W, 3) uint8 BGR image.

        Raises:
            DatasetError: The file is damaged, or not of the labelled size.
        """
        image = decode_image(self.path)
        if image is None:
            raise DatasetError(f'{self.path}: cannot be read as an image; replace it or remove it from the labels')
        if image.shape[:2] != (self.height, self.width):
            raise DatasetError(
                f'{self.path}: is {image.shape[1]} x {image.shape[0]} px, but its labels are for '
                f'{self.width} x {self.height}; {_PREPARE}'
            )
        return image


def read_dataset(source: str | Path, model: ObjectModel) -> list[LabelledImage]:
    """
    Read a COCO keypoint file, or the one in a folder.

    Images are looked for beside the file and in `images/` there. Images without annotation are negatives.
    Keypoints are matched to the object by name.

    Args:
        source: The file, or its folder.
        model: The object.

    Raises:
        DatasetError: The labels do not fit the object, are damaged, or contradict each other.
    """
    path = find_labels(Path(source).expanduser())
    content = read_json(path)
    for key in ('images', 'annotations', 'categories'):
        if not isinstance(content.get(key), list):
            raise DatasetError(f'{path}: wanted a COCO file with a list {key!r}, got {_short(content.get(key))}')
    categories = _read_categories(path, content['categories'], model)
    by_image: dict[Any, list[Mapping[str, Any]]] = {}
    for annotation in content['annotations']:
        annotation = _mapping(path, 'annotation', annotation)
        by_image.setdefault(_hashable(path, annotation, 'image_id'), []).append(annotation)
    images, ids = [], set()
    for entry in content['images']:
        entry = _mapping(path, 'image', entry)
        image_id = _hashable(path, entry, 'id')
        if image_id in ids:
            raise DatasetError(f'{path}: image id {image_id!r} is used twice; {_PREPARE}')
        ids.add(image_id)
        images.append(_read_image(path, entry, by_image.get(image_id, []), categories, model))
    orphans = set(by_image) - ids
    if orphans:
        raise DatasetError(
            f'{path}: annotation of image {min(orphans, key=str)!r}, which is not in the file; {_PREPARE}'
        )
    if not any(len(image.keypoints) for image in images):
        raise DatasetError(f'{path}: no instance of {model.name!r} is labelled')
    return images


def find_labels(source: Path) -> Path:
    """
    Return the COCO file that is meant by a file or folder.

    Raises:
        DatasetError: There is none, or several.
    """
    if source.is_file():
        return source
    if not source.is_dir():
        raise DatasetError(f'{source}: no such file or folder; give a COCO keypoint file or the folder with it')
    files = [f for f in sorted(source.glob('*.json')) if f.name == 'labels.json'] or sorted(source.glob('*.json'))
    if len(files) != 1:
        found = ', '.join(f.name for f in files[:5]) or 'none'
        raise DatasetError(f'{source}: wanted labels.json or exactly one .json file, found {found}')
    return files[0]


def read_json(path: Path) -> dict[str, Any]:
    """
    Read a JSON object.

    Raises:
        DatasetError: The file is damaged, or holds something else.
    """
    content = parse_json(path)
    if not isinstance(content, dict):
        raise DatasetError(f'{path}: wanted a JSON object as COCO files have, got {_short(content)}')
    return content


def parse_json(path: Path) -> Any:
    """
    Read any JSON value.

    Raises:
        DatasetError: The file is damaged, also where its texts cannot be written again.
    """
    try:
        content = json.loads(path.read_text(encoding='utf-8-sig'))
        json.dumps(content, ensure_ascii=False).encode()  # half a character, like "\ud800", reads but never prints
    except OSError as error:
        raise DatasetError(f'{path}: cannot be read ({error.strerror})') from error
    except (ValueError, RecursionError) as error:
        raise DatasetError(f'{path}: is not valid JSON ({str(error).splitlines()[0]}); export it again') from error
    return content


def _read_categories(path: Path, entries: list[Any], model: ObjectModel) -> dict[Any, list[int]]:
    """Return for each category with the object's keypoints: position of each keypoint in its annotations."""
    orders, seen = {}, []
    for entry in entries:
        entry = _mapping(path, 'category', entry)
        names = entry.get('keypoints')
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            continue
        if set(model.keypoint_names) <= set(names):
            orders[_hashable(path, entry, 'id')] = [names.index(name) for name in model.keypoint_names]
        seen.append(', '.join(names))
    if not orders:
        raise DatasetError(
            f'{path}: no category has the keypoints of {model.name!r} ({", ".join(model.keypoint_names)}); '
            f'it has {_short("; ".join(seen) or "none")}'
        )
    return orders


def _read_image(
    path: Path,
    entry: Mapping[str, Any],
    annotations: list[Mapping[str, Any]],
    categories: dict[Any, list[int]],
    model: ObjectModel,
) -> LabelledImage:
    where = f'{path}: image {entry["id"]!r}'
    width, height = (_size(where, entry, key) for key in ('width', 'height'))
    keypoints, labelled, boxes, crowds, ids = [], [], [], [], []
    for annotation in annotations:
        where_annotation = f'{path}: annotation {annotation.get("id")!r}'
        order = categories.get(_hashable(path, annotation, 'category_id'))
        if order is None:
            continue
        points = _points(where_annotation, annotation, order)
        box = _box(where_annotation, annotation, points)
        if annotation.get('iscrowd') in (1, True) or not points[:, 2].any():
            if box is None:
                raise DatasetError(f'{where_annotation}: has neither keypoints nor a bbox; {_PREPARE}')
            crowds.append(box)
            continue
        keypoints.append(points[:, :2])
        labelled.append(points[:, 2] > 0)
        boxes.append(box)
        ids.append(str(annotation.get('id')))
    count = model.keypoint_count
    return LabelledImage(
        _find_image(where, path.parent, entry.get('file_name')),
        entry['id'],
        width,
        height,
        np.array(keypoints, float).reshape(-1, count, 2),
        np.array(labelled, bool).reshape(-1, count),
        np.array(boxes, float).reshape(-1, 4),
        np.array(crowds, float).reshape(-1, 4),
        tuple(ids),
    )


def _points(where: str, annotation: Mapping[str, Any], order: list[int]) -> np.ndarray:
    """Return (K, 3) x, y, visibility in the object's order."""
    values = annotation.get('keypoints', [])
    if not isinstance(values, list) or not all(is_number(v) for v in values):
        raise DatasetError(f'{where}: keypoints: wanted a list of numbers, got {_short(values)}; {_PREPARE}')
    if not values:
        return np.zeros((len(order), 3))
    if len(values) % 3 or len(values) // 3 <= max(order):
        raise DatasetError(
            f'{where}: keypoints: wanted three numbers for each of at least {max(order) + 1} keypoints, '
            f'got {len(values)} numbers; {_PREPARE}'
        )
    return np.array(values, float).reshape(-1, 3)[order]


def _box(where: str, annotation: Mapping[str, Any], points: np.ndarray) -> np.ndarray | None:
    """Return left, top, right, bottom around the annotation's box and its labelled keypoints."""
    corners = points[points[:, 2] > 0, :2]
    box = annotation.get('bbox')
    if box is not None:
        if not isinstance(box, list) or len(box) not in (0, 4) or not all(is_number(v) for v in box):
            raise DatasetError(f'{where}: bbox: wanted left, top, width, height, got {_short(box)}; {_PREPARE}')
        if box and min(box[2:]) > 0:
            corners = np.vstack([corners, box[:2], np.add(box[:2], box[2:])])
    return np.concatenate([corners.min(0), corners.max(0)]) if len(corners) else None


def _find_image(where: str, folder: Path, name: Any) -> Path:
    if not isinstance(name, str) or not name or '\0' in name:
        raise DatasetError(f'{where}: file_name: wanted a name, got {_short(name)}')
    for candidate in (folder / name, folder / 'images' / name):
        if candidate.is_file():
            return candidate
    raise DatasetError(f'{where}: {name} is neither in {folder} nor in its images/; {_PREPARE}')


def _size(where: str, entry: Mapping[str, Any], key: str) -> int:
    value = entry.get(key)
    if not is_number(value) or value != int(value) or not 0 < value <= MAX_LABELLED_SIDE_PX:
        raise DatasetError(f'{where}: {key}: wanted a size in pixels, got {_short(value)}')
    return int(value)


def _mapping(path: Path, what: str, value: Any) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise DatasetError(f'{path}: {what}: wanted keys and values, got {_short(value)}')
    return value


def _hashable(path: Path, entry: Mapping[str, Any], key: str) -> Any:
    value = entry.get(key)
    if not isinstance(value, (int, str)) or isinstance(value, bool):
        raise DatasetError(f'{path}: {key}: wanted a number or text, got {_short(value)}')
    return value


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) < 100 else text[:97] + '...'
