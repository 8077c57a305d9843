"""Reading of label files in any known format; tables of DeepLabCut here, the JSON formats in their own modules."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping
from pathlib import Path

from custom_pose_ros.core.errors import DatasetError
from custom_pose_ros.core.files import read_json
from custom_pose_ros.core.labels.categories import THE_ONLY_ONE, CategoryChoice
from custom_pose_ros.core.labels.coco_file import read_coco
from custom_pose_ros.core.labels.raw_labels import REFUSED, RawImage, RawInstance, RawLabels, base_name
from custom_pose_ros.core.labels.settling import settle
from training.pose_training.labels.label_studio import read_label_studio

_TABLE_HEADS = ('scorer', 'individuals', 'bodyparts', 'coords')


def read_labels(path: Path, choice: CategoryChoice = THE_ONLY_ONE) -> RawLabels:
    """
    Read a label file of coco-annotator, CVAT, Label Studio or DeepLabCut.

    Args:
        path: .json or .csv file.
        choice: Which categories to read.

    Returns:
        Settled labels.

    Raises:
        DatasetError: The file as a whole cannot be used.
    """
    labels = _read(path, choice)
    settle(path, labels)
    return labels


def _read(path: Path, choice: CategoryChoice) -> RawLabels:
    if path.suffix.lower() == '.csv':
        return read_deeplabcut(path)
    content = read_json(path)
    if isinstance(content, list):
        return read_label_studio(path, content)
    if isinstance(content, dict):
        return read_coco(path, content, choice)
    raise DatasetError(f'{path}: wanted COCO, a Label Studio export or a DeepLabCut .csv, got {type(content).__name__}')


def read_deeplabcut(path: Path) -> RawLabels:
    """
    Read DeepLabCut's CollectedData_*.csv of a single animal, or of several with a row of individuals.

    Raises:
        DatasetError: The file as a whole cannot be used.
    """
    try:
        with path.open(newline='', encoding='utf-8-sig') as stream:
            rows = list(csv.reader(stream))
    except OSError as error:
        raise DatasetError(f'{path}: cannot be read ({error.strerror})') from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise DatasetError(f'{path}: is not a text table ({error}); export it again') from error
    heads = {row[0]: row for row in rows[:4] if row and row[0] in _TABLE_HEADS}
    if not {'bodyparts', 'coords'} <= set(heads):
        raise DatasetError(
            f'{path}: wanted a DeepLabCut table with rows bodyparts and coords, got {str(rows[:1])[:80]}'
        )
    parts, coords = heads['bodyparts'], heads['coords']
    individuals = heads.get('individuals', [''] * len(parts))
    columns: dict[str, dict[str, dict[str, int]]] = {}
    for i in range(1, min(len(parts), len(coords), len(individuals))):
        if coords[i] in ('x', 'y'):
            columns.setdefault(individuals[i], {}).setdefault(parts[i], {})[coords[i]] = i
    names = list(dict.fromkeys(part for by_part in columns.values() for part in by_part))
    if not names:
        raise DatasetError(f'{path}: no column has x or y of a bodypart')
    labels = RawLabels('animal', names, [], [])
    first = min(i for by_part in columns.values() for xy in by_part.values() for i in xy.values())
    for row in rows[len(heads) :]:
        name = '/'.join(part for part in row[:first] if part)
        image = RawImage(name, 0, 0)
        labels.images.append(image)
        for individual, by_part in columns.items():
            points = [_table_point(labels, name, row, by_part.get(part, {})) for part in names]
            if any(v for _, _, v in points):
                image.instances.append(RawInstance(individual or base_name(name), points))
    return labels


def _table_point(labels: RawLabels, image: str, row: list[str], columns: Mapping[str, int]) -> tuple[float, float, int]:
    cells = [row[columns[axis]].strip() if axis in columns and columns[axis] < len(row) else '' for axis in 'xy']
    if not all(cells):
        return 0.0, 0.0, 0
    try:
        x, y = float(cells[0]), float(cells[1])
    except ValueError:
        labels.add(REFUSED, image, '', f'not a number: {cells[0][:20]!r}, {cells[1][:20]!r}')
        return 0.0, 0.0, 0
    return (0.0, 0.0, 0) if math.isnan(x) or math.isnan(y) else (x, y, 2)
