"""Reader of the VGG Image Annotator (VIA 1 and 2), JSON and CSV: points with their name in a region attribute."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from custom_pose_ros.core.errors import DatasetError
from custom_pose_ros.core.labels.categories import CategoryChoice
from custom_pose_ros.core.labels.raw_labels import NOTE, REFUSED, Problem, RawImage, RawLabels, is_number
from training.pose_training.labels.readers.loose_points import LooseBox, LoosePicture, LoosePoint, join_points

CSV_COLUMNS = ('filename', 'region_shape_attributes', 'region_attributes')
_GROUPS = {
    'group', 'group_id', 'id', 'individual', 'instance', 'instance_id', 'object', 'object_id', 'track', 'track_id',
}  # fmt: skip


def via_files(content: Any) -> list[Any] | None:
    """Return the entries of the pictures in a JSON value of VIA 1 or 2, None where it is something else."""
    if isinstance(content, dict) and isinstance(project := content.get('_via_img_metadata'), dict):
        content = project
    entries = list(content.values()) if isinstance(content, dict) else []
    good = entries and all(isinstance(entry, dict) and {'filename', 'regions'} <= set(entry) for entry in entries)
    return entries if good else None


def via_rows(path: Path, rows: Mapping[int, Mapping[str, str]]) -> list[dict[str, Any]]:
    """
    Return the entries of the pictures in the rows, by line, of a CSV file of VIA, which has a row for each region.

    Raises:
        DatasetError: A row is damaged, or rows are missing.
    """
    entries: dict[str, dict[str, Any]] = {}
    counts: dict[str, str] = {}  # of its regions, as its rows say
    for number, row in rows.items():
        entry = entries.setdefault(row['filename'], {'filename': row['filename'], 'regions': []})
        try:
            shape, attributes = (json.loads(row[column] or '{}') for column in CSV_COLUMNS[1:])
        except (ValueError, TypeError, RecursionError) as error:
            raise DatasetError(f'{path}: line {number}: the region is no JSON; export it again') from error
        if shape:  # a picture without regions has one row with none
            entry['regions'].append({'shape_attributes': shape, 'region_attributes': attributes})
        counts[row['filename']] = row.get('region_count', '')
    for name, count in counts.items():
        found = len(entries[name]['regions'])
        if count.isdecimal() and found < int(count):
            text = f'{name} has {count} regions, and rows for {found} of them'
            raise DatasetError(f'{path}: {text}: it is cut off or damaged; export or copy it again')
    return list(entries.values())


def read_via(path: Path, files: Sequence[Any], choice: CategoryChoice) -> RawLabels:
    """
    Read the regions 'point' as keypoints and 'rect' as the boxes of objects.

    The one region attribute of the points is their name; a second one such as 'id' or 'object' joins them.

    Args:
        path: The file, for messages.
        files: The entries of the pictures.
        choice: Which categories to read; the attribute of a rectangle is its category.

    Raises:
        DatasetError: The file as a whole cannot be used.
    """
    regions = [(entry, region) for entry in files for region in _regions(entry)]
    attributes = {key for _, region in regions if _shape(region).get('name') == 'point' for key in _attributes(region)}
    naming = {key for key in attributes if key.lower() not in _GROUPS}
    if len(naming) > 1:
        text = f'points have several attributes ({", ".join(sorted(naming))}): keep one with the name of the keypoint'
        raise DatasetError(f'{path}: is a VIA file whose {text}, and at most one named id that joins them')
    pictures = {str(entry['filename']): LoosePicture(RawImage(str(entry['filename']), 0, 0)) for entry in files}
    problems: list[Problem] = []
    for entry, region in regions:
        _add_region(pictures[str(entry['filename'])], region, problems)
    way = "give the regions of each object a region attribute 'id' of its own"
    return join_points(path, 'VIA', list(pictures.values()), choice, way, problems)


def _add_region(picture: LoosePicture, region: Any, problems: list[Problem]) -> None:
    shape, attributes = _shape(region), _attributes(region)
    group = next((value for key, value in attributes.items() if key.lower() in _GROUPS), '')
    label = next((value for key, value in attributes.items() if key.lower() not in _GROUPS), '')
    kind = shape.get('name')
    keys = {'point': ('cx', 'cy'), 'rect': ('x', 'y', 'width', 'height')}.get(str(kind))
    name = picture.image.name
    if keys is None:
        problems.append(Problem(NOTE, name, label, f'{str(kind)[:40]} is not read, left out'))
        return
    numbers = [value for key in keys if is_number(value := shape.get(key))]
    if len(numbers) < len(keys):
        problems.append(Problem(REFUSED, name, label, f'{kind}: {", ".join(keys)} are not numbers'))
    elif kind == 'rect':
        picture.boxes.append(LooseBox(label, (numbers[0], numbers[1], numbers[2], numbers[3]), group))
    elif label:
        picture.points.append(LoosePoint(label, numbers[0], numbers[1], group))
    else:
        problems.append(Problem(REFUSED, name, '', 'a point has no name: give it a region attribute'))


def _regions(entry: Mapping[str, Any]) -> list[Any]:
    regions = entry['regions']  # a list, or in VIA 1 a dictionary with numbers as keys
    return list(regions.values()) if isinstance(regions, dict) else regions if isinstance(regions, list) else []


def _shape(region: Any) -> Mapping[str, Any]:
    shape = region.get('shape_attributes') if isinstance(region, dict) else None
    return shape if isinstance(shape, dict) else {}


def _attributes(region: Any) -> dict[str, str]:
    """Return the attributes of a region that say something; of a checkbox, those that are ticked."""
    attributes = region.get('region_attributes') if isinstance(region, dict) else None
    found = {}
    for key, value in attributes.items() if isinstance(attributes, dict) else ():
        if isinstance(value, dict):
            value = ', '.join(str(name) for name, ticked in value.items() if ticked)
        if str(value).strip():
            found[str(key)] = str(value).strip()
    return found
