"""Reading of label files in any known format; what a file is decides its content, not its suffix."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from custom_pose_ros.core.errors import DatasetError, reason_of
from custom_pose_ros.core.files import check_json_extent, open_file, parse_json, read_bytes, read_json
from custom_pose_ros.core.labels.categories import THE_ONLY_ONE, CategoryChoice
from custom_pose_ros.core.labels.coco_file import read_coco
from custom_pose_ros.core.labels.raw_labels import NOTE, RawLabels, with_object, with_safe_names
from custom_pose_ros.core.labels.settling import settle
from custom_pose_ros.core.limits import MAX_JSON_BYTES, MAX_PROJECT_BYTES, MAX_TABLE_BYTES, MAX_XML_BYTES
from custom_pose_ros.core.object_model import ObjectModel
from custom_pose_ros.core.xml_files import parse_xml
from training.pose_training.labels.readers.cvat import read_cvat
from training.pose_training.labels.readers.deeplabcut import read_deeplabcut
from training.pose_training.labels.readers.foreign_formats import (
    HDF5,
    SLEAP_PROJECT,
    hdf5_names,
    name_binary,
    name_json,
    name_table,
    name_text,
    name_xml,
)
from training.pose_training.labels.readers.label_studio import read_label_studio
from training.pose_training.labels.readers.labelbox import is_labelbox, read_labelbox
from training.pose_training.labels.readers.labelme import is_labelme, read_labelme
from training.pose_training.labels.readers.sleap import read_sleap
from training.pose_training.labels.readers.via import CSV_COLUMNS, read_via, via_files, via_rows
from training.pose_training.labels.readers.video_frames import VideoFrames
from training.pose_training.labels.readers.yolo_pose import read_yolo_pose

_YAML_SUFFIXES = ('.yaml', '.yml')
_START_BYTES = 1 << 10  # of a file, which tell what it is
_KNOWN = 'COCO Keypoints, or another format that docs/own_object.md lists'


def read_labels(path: Path, frames: VideoFrames, choice: CategoryChoice = THE_ONLY_ONE) -> RawLabels:
    """
    Read a label file, or the folder of a data set, in any of the formats of docs/own_object.md.

    Args:
        path: File or folder.
        frames: Where pictures and videos are; frames of videos are written there.
        choice: Which categories to read.

    Returns:
        Settled labels.

    Raises:
        DatasetError: The file as a whole cannot be used; it says what the file is, where that is known.
    """
    labels = _read(path, frames, choice)
    settle(path, labels)
    return labels


def read_labels_and_folders(
    model: ObjectModel | None,
    path: Path,
    images: Sequence[Path] | None,
    frames: Path,
    choice: CategoryChoice = THE_ONLY_ONE,
) -> tuple[RawLabels, list[Path]]:
    """
    Read labels as `read_labels` does, and say where their pictures are to be looked for.

    Args:
        model: The object that they are labels of; None: any, with names that an object file accepts.
        path: File or folder.
        images: Folders with the pictures, as a person says; without any those that the labels name, else their own.
        frames: Folder that frames of videos are written to; nobody else writes there.
        choice: Which categories to read.

    Raises:
        DatasetError: They cannot be used, or are not those of the object.
    """
    folders = list(images or [path if path.is_dir() else path.parent])
    labels = read_labels(path, VideoFrames(folders, frames), choice)
    labels = with_safe_names(path, labels) if model is None else with_object(path, labels, model)
    written = [frames] if any(frames.iterdir()) else []  # else nobody needs to read of it
    return labels, [*(images or labels.image_folders or folders), *written]


def _read(path: Path, frames: VideoFrames, choice: CategoryChoice) -> RawLabels:
    if path.is_dir():
        return _read_folder(path, frames, choice)
    try:
        with open_file(path, MAX_PROJECT_BYTES) as stream:
            start = stream.read(_START_BYTES)
            inside = hdf5_names(stream) if start.startswith(HDF5) else ()
    except OSError as error:
        raise DatasetError(f'{path}: cannot be read ({error.strerror})') from error
    if SLEAP_PROJECT in inside or (start.startswith(HDF5) and path.suffix.lower() == '.slp'):
        return read_sleap(path, choice, frames)
    if foreign := name_binary(path, start, inside):
        raise DatasetError(f'{path}: is {foreign}')
    if not start.strip():
        raise DatasetError(f'{path}: is empty; export it again')
    return _read_text(path, start.lstrip(b'\xef\xbb\xbf \t\r\n'), frames, choice)


def _read_text(path: Path, start: bytes, frames: VideoFrames, choice: CategoryChoice) -> RawLabels:
    """Read a file that is text; start : its first letters."""
    suffix = path.suffix.lower()
    if start.startswith(b'<'):
        return _read_xml(path, frames, choice)
    if start.startswith((b'{', b'[')) or suffix == '.json':
        return _read_json(path, choice)
    if suffix in _YAML_SUFFIXES or start.startswith((b'kpt_shape', b'names:', b'train:')):
        return read_yolo_pose(path, choice)
    if suffix == '.csv' or start.startswith((b'scorer,', b'filename,')):
        return _read_table(path, choice)
    if known := name_text(_text(path)):
        raise DatasetError(f'{path}: is {known}')
    raise DatasetError(f'{path}: is no label file that is known here: wanted {_KNOWN}')


def _read_folder(path: Path, frames: VideoFrames, choice: CategoryChoice) -> RawLabels:
    """Read the folder of a data set: of labelme, with a file for each picture, or else with one label file."""
    contents = {file: read_json(file) for file in sorted(path.glob('*.json'))}
    labelme = {file: content for file, content in contents.items() if is_labelme(content)}
    if labelme:
        return read_labelme(path, labelme, choice)
    names = ('*.json', '*.ndjson', '*.csv', '*.xml', '*.slp', 'data.yaml', 'data.yml', 'dataset.yaml')
    files = sorted(file for name in names for file in path.glob(name))
    if len(files) != 1:
        found = ', '.join(file.name for file in files[:5]) + ', ...' * (len(files) > 5) or 'none'
        raise DatasetError(f'{path}: wanted a folder with one label file, found {found}; give the file')
    (file,) = files
    return _labels_of(file, contents[file], choice) if file in contents else _read(file, frames, choice)


def _read_json(path: Path, choice: CategoryChoice) -> RawLabels:
    text = _text(path)
    lines = _json_lines(path, text)
    if lines is None:
        return _labels_of(path, parse_json(path, text), choice)
    if not is_labelbox(lines) and name_json(lines) is None:
        raise DatasetError(f'{path}: has a JSON value in each line, but is no export of Labelbox: wanted {_KNOWN}')
    return _labels_of(path, lines, choice)


def _labels_of(path: Path, content: Any, choice: CategoryChoice) -> RawLabels:
    """Return the labels that the JSON of a file holds."""
    if is_labelme(content):
        return read_labelme(path, {path: content}, choice)
    if (files := via_files(content)) is not None:
        return read_via(path, files, choice)
    if is_labelbox(content):
        return read_labelbox(path, content, choice)
    if known := name_json(content):
        raise DatasetError(f'{path}: is {known}')
    if content == []:
        raise DatasetError(f'{path}: is an empty list, without any labels; export it again')
    if isinstance(content, list):
        return read_label_studio(path, content)
    if isinstance(content, dict):
        return read_coco(path, content, choice)
    raise DatasetError(f'{path}: wanted {_KNOWN}, got {type(content).__name__}')


def _json_lines(path: Path, text: str) -> list[Any] | None:
    """Return the values of a file that has a JSON object in each line (NDJSON), None for any other."""
    lines = [line for line in text.splitlines() if line.strip()]
    if len(lines) < 2 and path.suffix.lower() not in ('.ndjson', '.jsonl'):
        return None
    try:
        check_json_extent(text)
        first = json.loads(lines[0])
    except (ValueError, RecursionError):
        return None  # one value over several lines
    if not isinstance(first, dict):
        return None
    values = []
    for number, line in enumerate(lines, 1):
        try:
            values.append(json.loads(line))
            json.dumps(values[-1], ensure_ascii=False).encode()
        except (ValueError, RecursionError) as error:
            raise DatasetError(f'{path}: line {number} is no JSON ({reason_of(error)}); export it again') from error
    return values


def _read_xml(path: Path, frames: VideoFrames, choice: CategoryChoice) -> RawLabels:
    text = _text(path, MAX_XML_BYTES)
    if '<!ENTITY' in text:
        raise DatasetError(f'{path}: defines XML entities, which label files do not need; export it again')
    try:
        root = parse_xml(text.encode(), 'utf-8')
    except ValueError as error:
        raise DatasetError(f'{path}: is damaged XML ({reason_of(error)}); export it again') from error
    if root.tag == 'annotations':
        return read_cvat(path, root, choice, frames)
    raise DatasetError(f'{path}: is {name_xml(root.tag)}')


def _read_table(path: Path, choice: CategoryChoice) -> RawLabels:
    text = _text(path, MAX_TABLE_BYTES)
    reader = csv.reader(io.StringIO(text, newline=''))
    rows: dict[int, list[str]] = {}  # by the number of their line
    try:
        for row in reader:
            if row:
                rows[reader.line_num] = row
    except csv.Error as error:
        raise DatasetError(f'{path}: is not a text table ({error}); export it again') from error
    columns = next(iter(rows.values()), [])
    if set(CSV_COLUMNS) <= set(columns):
        _check_cells(path, rows)
        entries = {line: dict(zip(columns, row)) for line, row in list(rows.items())[1:]}
        return read_via(path, via_rows(path, entries), choice)
    if known := name_table(columns):
        raise DatasetError(f'{path}: is {known}')
    labels = read_deeplabcut(path, list(rows.values()), choice)  # first, as it says where this is no such table
    _check_cells(path, rows)
    if labels.images and text[-1] not in ',\r\n':  # DeepLabCut ends each line, an editor maybe not
        last = f'line {max(rows)}, the last one, has no line break: see that its last number is not cut off'
        labels.add(NOTE, labels.images[-1].name, '', last)
    return labels


def _check_cells(path: Path, rows: Mapping[int, list[str]]) -> None:
    """Raise DatasetError unless all rows, by the number of their line, have as many cells as the first."""
    wanted = len(next(iter(rows.values())))
    for line, row in rows.items():
        if len(row) != wanted:
            text = f'line {line} has {len(row)} cells, the first has {wanted}'
            raise DatasetError(f'{path}: {text}: it is cut off or damaged; export or copy it again')


def _text(path: Path, limit: int = MAX_JSON_BYTES) -> str:
    try:
        return read_bytes(path, limit).decode('utf-8-sig')
    except OSError as error:
        raise DatasetError(f'{path}: cannot be read ({error.strerror})') from error
    except UnicodeDecodeError as error:
        raise DatasetError(f'{path}: is not UTF-8 text ({reason_of(error)}); export it again') from error
