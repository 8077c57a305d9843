"""Reader of YOLO pose data sets: data.yaml, and a text file for each picture with boxes and keypoints in shares."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from custom_pose_ros.core.errors import ConfigError, DatasetError
from custom_pose_ros.core.files import IMAGE_SUFFIXES, read_bytes
from custom_pose_ros.core.labels.categories import CategoryChoice, object_name
from custom_pose_ros.core.labels.raw_labels import (
    ABSENT,
    NOTE,
    REFUSED,
    SEEN,
    Point,
    RawImage,
    RawInstance,
    RawLabels,
    is_number,
)
from custom_pose_ros.core.limits import MAX_KEYPOINTS, MAX_TABLE_BYTES
from custom_pose_ros.core.yaml_files import read_yaml

_MOST = 2.0  # of a share of the image's size; more is a number of pixels
_SPLITS = ('train', 'val', 'test')


class _Row(NamedTuple):
    category: str
    instance: RawInstance


def read_yolo_pose(path: Path, choice: CategoryChoice) -> RawLabels:
    """
    Read the data.yaml of a YOLO pose data set, and the text files of its pictures.

    A keypoint has two numbers, or three with the visibility: 0 not labelled, 1 hidden, 2 seen.

    Args:
        path: The data.yaml.
        choice: Which categories to read.

    Raises:
        DatasetError: It is no YOLO pose data set, or cannot be used as a whole.
    """
    try:
        content = read_yaml(path, 'give the data.yaml of a YOLO pose data set')
    except ConfigError as error:
        raise DatasetError(str(error)) from error
    if not isinstance(content, dict) or 'kpt_shape' not in content:
        raise DatasetError(_not_pose(path, content))
    count, dimensions = _shape(path, content['kpt_shape'])
    names, named = _keypoint_names(path, content, count)
    folders, missing = _picture_folders(path, content)
    categories = _categories(path, content)
    reader = _TextFiles(count, dimensions, categories)
    files = {file: _name(path, file) for folder in folders for file in _pictures(path, folder)}
    pictures = {file: reader.read(file, name) for file, name in files.items()}
    reader.note_open_ends()
    used = {row.category for rows in pictures.values() for row in rows if row.instance.keypoints}
    chosen = choice.of(path, dict.fromkeys(categories.values(), names), used)
    labels = RawLabels(object_name(chosen), names, [], [], named=named, swaps=_swaps(path, content, count))
    parents = list(dict.fromkeys(file.parent for file in pictures))
    labels.image_folders = [folder for folder in parents if not set(folder.parents) & set(parents)]
    for file, rows in pictures.items():
        image = RawImage(files[file], 0, 0, relative=True)
        image.instances = [row.instance for row in rows if row.category in chosen]
        labels.images.append(image)
    labels.problems += reader.labels.problems
    others = sum(row.category not in chosen for rows in pictures.values() for row in rows)
    if others:
        labels.add(NOTE, '', '', f'{others} objects belong to other categories, left out')
    for text in missing:
        labels.add(NOTE, '', '', f'{text[:60]} is not there, left out')
    for text in _without_picture(files):
        labels.add(REFUSED, text, '', 'has no picture')
    if len(folders) > 1:
        labels.add(
            NOTE, '', '', f'{len(folders)} parts ({", ".join(f.name for f in folders)}) are joined and split anew'
        )
    return labels


class _TextFiles:
    """Reads the text files of pictures; problems go to `labels`, which has no images."""

    def __init__(self, count: int, dimensions: int, categories: Mapping[int, str]):
        self._count, self._dimensions, self._categories = count, dimensions, categories
        self.labels = RawLabels('', [], [], [])
        self._open_ends: dict[str, int] = {}  # last line, where it has no line break
        self._any_closed = False

    def read(self, picture: Path, name: str) -> list[_Row]:
        """Return the objects of a picture; none where it has no text file: nothing is on it."""
        file = _text_file(picture)
        if file is None:
            return []
        try:
            text = read_bytes(file, MAX_TABLE_BYTES).decode('utf-8')
        except (OSError, UnicodeDecodeError):
            self.labels.add(REFUSED, name, '', f'{file} cannot be read as text')
            return []
        lines = text.splitlines()
        if text.endswith('\n'):
            self._any_closed = True
        elif lines:
            self._open_ends[name] = len(lines)
        rows = [self._row(name, number, line.split()) for number, line in enumerate(lines, 1) if line.strip()]
        return [row for row in rows if row is not None]

    def note_open_ends(self) -> None:
        """Note what may be cut off: the files without a last line break, where that is not how all are written."""
        for name, number in self._open_ends.items() if self._any_closed else ():
            text = 'has no line break, as other files have: see that its last number is not cut off'
            self.labels.add(NOTE, name, f'line {number}', text)

    def _row(self, name: str, number: int, texts: Sequence[str]) -> _Row | None:
        wanted = 5 + self._count * self._dimensions
        try:
            values = [float(text) for text in texts]
        except ValueError:
            values = []
        if len(values) not in (5, wanted) or not all(map(is_number, values[:5])):
            text = f'wanted {wanted} numbers, as kpt_shape [{self._count}, {self._dimensions}] says, got {len(texts)}'
            self._refuse(name, number, text if len(values) != wanted and values else f'{text}, not all numbers')
            return None
        category = self._categories.get(int(values[0])) if values[0] == int(values[0]) else None
        if category is None:
            self._refuse(name, number, f'class {texts[0][:20]} is not in the names')
            return None
        x, y, width, height = values[1:5]
        box = (x - width / 2, y - height / 2, width, height)
        if len(values) == 5:
            text = 'has a box only: it will be ignored, neither object nor background'
            self.labels.add(NOTE, name, f'line {number}', text)
            return _Row(category, RawInstance(f'line {number}', None, box))
        points = [values[i : i + self._dimensions] for i in range(5, wanted, self._dimensions)]
        if any(abs(value) > _MOST for point in points for value in point[:2]):
            text = 'keypoints are no shares of the image size: divide x by the width and y by the height'
            self._refuse(name, number, text)
            return None
        return _Row(category, RawInstance(f'line {number}', [_keypoint(point) for point in points], box))

    def _refuse(self, name: str, number: int, text: str) -> None:
        self.labels.add(REFUSED, name, f'line {number}', text)


def _keypoint(values: Sequence[float]) -> Point:
    """Return x, y, visibility; without a visibility, a point in the corner or before it is not labelled."""
    x, y = values[:2]
    return x, y, values[2] if len(values) == 3 else SEEN if x >= 0 and y >= 0 and (x, y) != (0, 0) else ABSENT


def _not_pose(path: Path, content: Any) -> str:
    keys = set(content) if isinstance(content, dict) else set()
    if 'bodyparts' in keys or 'multianimalbodyparts' in keys:
        return f'{path}: is the configuration of a DeepLabCut project: give labeled-data/*/CollectedData_*.csv'
    if 'skeleton' in keys and 'keypoints' in keys:
        return f'{path}: is an object file: give it with --object, and a label file in its place'
    if 'names' in keys:
        return f'{path}: is a YOLO data set without kpt_shape, of boxes or outlines: it has no keypoints'
    return f'{path}: is YAML, but not the data.yaml of a YOLO pose data set: it has no kpt_shape'


def _shape(path: Path, shape: Any) -> tuple[int, int]:
    good = isinstance(shape, list) and len(shape) == 2 and all(type(v) is int for v in shape)
    if not good or not 1 <= shape[0] <= MAX_KEYPOINTS or shape[1] not in (2, 3):
        raise DatasetError(
            f'{path}: kpt_shape: wanted [number of keypoints up to {MAX_KEYPOINTS}, 2 or 3], got {str(shape)[:60]}'
        )
    return shape[0], shape[1]


def _keypoint_names(path: Path, content: Mapping[str, Any], count: int) -> tuple[list[str], bool]:
    """Return the names of the keypoints, and whether the file has them."""
    found = content.get('kpt_names', content.get('node_names'))  # of Ultralytics by class, and of sleap-io
    lists = list(found.values()) if isinstance(found, dict) else [found]
    if found is None:
        return [f'point_{k}' for k in range(1, count + 1)], False
    if any(not isinstance(names, list) or len(names) != count or names != lists[0] for names in lists) or not lists:
        raise DatasetError(f'{path}: kpt_names: wanted the same {count} names for each class, got {str(found)[:60]}')
    return [str(name) for name in lists[0]], True


def _categories(path: Path, content: Mapping[str, Any]) -> dict[int, str]:
    names = content.get('names')
    entries = dict(enumerate(names)) if isinstance(names, list) else names
    if not isinstance(entries, dict) or not entries or not all(type(key) is int for key in entries):
        raise DatasetError(f'{path}: names: wanted the names of the classes, got {str(names)[:60]}')
    return {key: str(name) for key, name in entries.items()}


def _swaps(path: Path, content: Mapping[str, Any], count: int) -> list[tuple[int, int]] | None:
    """Return the pairs that change places when the image is mirrored, None where the file does not say."""
    flip = content.get('flip_idx')
    if not flip:
        return None
    if not isinstance(flip, list) or sorted(map(str, flip)) != sorted(map(str, range(count))):
        raise DatasetError(f'{path}: flip_idx: wanted each index below {count} once, got {str(flip)[:60]}')
    if any(flip[flip[k]] != k for k in range(count)):
        raise DatasetError(f'{path}: flip_idx: mirrored twice, a keypoint is not itself again: {str(flip)[:60]}')
    return [(k, flip[k]) for k in range(count) if k < flip[k]]


def _picture_folders(path: Path, content: Mapping[str, Any]) -> tuple[list[Path], list[str]]:
    """Return what train, val and test name, folders or text files that list pictures; and what of it is not there."""
    entries = [content.get(key) for key in _SPLITS]
    texts = [t for e in entries for t in (e if isinstance(e, list) else [e]) if isinstance(t, str) and t]
    root = content.get('path')
    roots = [path.parent / root] if isinstance(root, str) else []
    folders: list[Path] = []
    missing: list[str] = []
    for text in texts:
        inside = text.replace('\\', '/')
        while inside.startswith(('../', './')):
            inside = inside.split('/', 1)[1]  # Roboflow writes ../train/images for the folder beside data.yaml
        candidates = [base / name for name in (text, inside) for base in [*roots, path.parent]]
        # Not above data.yaml: that may be the whole disk.
        good = (c for c in candidates if os.path.exists(c) and c.resolve() not in path.resolve().parent.parents)
        found = next(good, None)
        if found is None:
            missing.append(text)
        else:
            folders.append(found)
    if not folders:
        looked = ', '.join(map(str, missing)) or 'no train, val or test'
        raise DatasetError(f'{path}: is a YOLO pose data set whose pictures are not there: {looked}; correct its path')
    return list(dict.fromkeys(folders)), missing


def _pictures(path: Path, source: Path) -> list[Path]:
    """Return the pictures in a folder, or in a text file that lists them."""
    if source.is_dir():
        return [file for file in sorted(source.rglob('*')) if file.suffix.lower() in IMAGE_SUFFIXES]
    try:
        lines = read_bytes(source, MAX_TABLE_BYTES).decode('utf-8').splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DatasetError(
            f'{path}: {source} is neither a folder with pictures nor a text file that lists them'
        ) from error
    return [source.parent / line.strip() for line in lines if line.strip() and '\0' not in line]


def _name(path: Path, picture: Path) -> str:
    """Return how a picture is called: by its path below data.yaml, or else by the end of its path."""
    inside = picture.is_relative_to(path.parent)
    return picture.relative_to(path.parent).as_posix() if inside else '/'.join(picture.parts[-3:])


def _text_file(picture: Path) -> Path | None:
    """Return the text file of a picture: in labels/ where the picture is in images/, or beside it."""
    candidates = (_labels_folder(picture.parent) / f'{picture.stem}.txt', picture.with_suffix('.txt'))
    return next((file for file in candidates if file.is_file()), None)


def _labels_folder(folder: Path) -> Path:
    """Return the folder with the text files of the pictures in a folder."""
    parts = list(folder.parts)
    if 'images' in parts:
        parts[len(parts) - 1 - parts[::-1].index('images')] = 'labels'
    return Path(*parts)


def _without_picture(pictures: Collection[Path]) -> list[str]:
    """Return the names of text files beside those of the pictures that belong to none."""
    folders = {_labels_folder(picture.parent) for picture in pictures if 'images' in picture.parts}
    known = {_labels_folder(picture.parent) / f'{picture.stem}.txt' for picture in pictures}
    found = sorted(file for folder in folders if folder.is_dir() for file in folder.glob('*.txt'))
    return [file.name for file in found if file not in known and file.name != 'classes.txt']
