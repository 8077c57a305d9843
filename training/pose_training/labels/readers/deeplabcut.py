"""Reader of DeepLabCut's tables of labels, of one animal or of several."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from custom_pose_ros.core.errors import DatasetError
from custom_pose_ros.core.labels.categories import CategoryChoice
from custom_pose_ros.core.labels.raw_labels import (
    ABSENT,
    NOTE,
    SEEN,
    Point,
    RawImage,
    RawInstance,
    RawLabels,
    base_name,
)

_TABLE_HEADS = ('scorer', 'individuals', 'bodyparts', 'coords')
_UNIQUE = 'single'  # individual under which DeepLabCut writes its unique bodyparts
_Columns = dict[str, dict[str, dict[str, int]]]  # individual -> bodypart -> x or y -> column


def read_deeplabcut(path: Path, rows: Sequence[list[str]], choice: CategoryChoice) -> RawLabels:
    """
    Read CollectedData_*.csv of a single animal, or of several with a row of individuals.

    Bodyparts that belong to no animal stand there under the individual 'single': a category of its own.

    Args:
        path: The file, for messages.
        rows: Its rows of cells.
        choice: Which categories to read: 'animal' (unless another is named) or 'single'.

    Raises:
        DatasetError: The file as a whole cannot be used.
    """
    heads = {row[0]: row for row in rows[:4] if row and row[0] in _TABLE_HEADS}
    if not {'bodyparts', 'coords'} <= set(heads):
        raise DatasetError(
            f'{path}: wanted a DeepLabCut table with rows bodyparts and coords, got {str(rows[:1])[:80]}'
        )
    parts, coords = heads['bodyparts'], heads['coords']
    if 'likelihood' in coords:
        way = 'give labeled-data/*/CollectedData_*.csv, or correct the predictions in DeepLabCut first'
        raise DatasetError(f'{path}: is what a network of DeepLabCut found in a video, not labels: {way}')
    individuals = heads.get('individuals', [''] * len(parts))
    columns: _Columns = {}
    for i in range(1, min(len(parts), len(coords), len(individuals))):
        if coords[i] in ('x', 'y'):
            columns.setdefault(individuals[i], {}).setdefault(parts[i], {})[coords[i]] = i
    if not columns:
        raise DatasetError(f'{path}: no column has x or y of a bodypart')
    first = min(i for by_part in columns.values() for xy in by_part.values() for i in xy.values())
    labels, columns = _choose(path, columns, choice)
    names = labels.keypoint_names
    for row in rows[len(heads) :]:
        name = '/'.join(part for part in row[:first] if part)
        image = RawImage(name, 0, 0)
        labels.images.append(image)
        for individual, by_part in columns.items():
            points = [_table_point(row, by_part.get(part, {})) for part in names]
            if any(v for _, _, v in points):
                image.instances.append(RawInstance(individual or base_name(name), points))
    return labels


def _choose(path: Path, columns: _Columns, choice: CategoryChoice) -> tuple[RawLabels, _Columns]:
    """Return the labels without images, and the columns of the individuals to read."""
    animals = {individual: by_part for individual, by_part in columns.items() if individual != _UNIQUE}
    names = list(dict.fromkeys(part for by_part in animals.values() for part in by_part))
    unique = list(columns.get(_UNIQUE, {}))
    if not animals or set(unique) & set(names):  # an animal of that name
        animals, names, unique = columns, list(dict.fromkeys([*names, *unique])), []
    keypoints = {'animal': names, **({_UNIQUE: unique} if unique else {})}
    (chosen,) = choice.of(path, keypoints, ['animal'])[:1] if choice.names or not unique else ['animal']
    labels = RawLabels(chosen, keypoints[chosen], [], [])
    if unique and chosen == 'animal':
        text = f'unique bodyparts, which belong to no individual: {", ".join(unique)}; left out'
        labels.add(NOTE, '', '', f'{text} (--category {_UNIQUE} reads them instead)')
    return labels, animals if chosen == 'animal' else {_UNIQUE: columns[_UNIQUE]}


def _table_point(row: list[str], columns: Mapping[str, int]) -> Point:
    """Return x, y, visibility as the cells say; empty ones are no label."""
    x, y = (row[columns[axis]].strip() if axis in columns and columns[axis] < len(row) else '' for axis in 'xy')
    return x, y, SEEN if {x.lower(), y.lower()} - {'', 'nan'} else ABSENT
