"""The labels of any format as they were read, before they are checked: names, problems found in them."""

from __future__ import annotations

import dataclasses
import math
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, TypeGuard

from custom_pose_ros.core.errors import DatasetError
from custom_pose_ros.core.limits import MAX_KEYPOINTS, MAX_LABELLED_SIDE_PX
from custom_pose_ros.core.object_model import ObjectModel

REPAIRED, REFUSED, NOTE = 'repaired', 'refused', 'note'
# States of a keypoint: nobody says; not to be found in the picture; covered, its place known; visible. In labels as
# they are read, ABSENT is what has no label; `label_states.py` tells what is absent of it and what is unknown.
UNKNOWN, ABSENT, HIDDEN, SEEN = -1, 0, 1, 2
# What was labelled of a picture with an EXIF orientation: as viewers show it, whatever its size is stated to be; the
# same, with the size of that; as the file holds it.
TURNED, TURNED_WITH_SIZE, STORED = 'turned', 'turned with size', 'stored'

Point = tuple[Any, Any, Any]


@dataclass(frozen=True)
class Problem:
    """
    Something wrong with the labels.

    Attributes:
        kind: 'repaired' (the repair is certain), 'refused' (a person must decide), or 'note' (nothing is lost).
        image: File name that it concerns, '' when it concerns the whole file.
        annotation: Id that it concerns, '' when it concerns the whole image or file.
        text: What is wrong and what to do.
    """

    kind: str
    image: str
    annotation: str
    text: str

    @property
    def line(self) -> str:
        """Image, annotation and text in one line."""
        where = ('image', self.image), ('annotation', self.annotation)
        return ': '.join([*(f'{kind} {name}' for kind, name in where if name), self.text])


@dataclass
class RawInstance:
    """
    One labelled object.

    Attributes:
        annotation_id: Id in the label file, for messages.
        keypoints: K entries x, y, visibility; None for a region to ignore. In pixels, or in shares of the image's size
            as `RawImage.relative` says. Readers give what the file says; `settling.settle` makes numbers of it, with
            visibility ABSENT, HIDDEN or SEEN.
        box: Left, top, width, height in the same unit.
        stated_count: How many keypoints are labelled, as the file says; None where it does not.
        proposed: Whether the file says that a program proposed it, and no person has changed it.
    """

    annotation_id: str
    keypoints: list[Point] | None
    box: tuple[float, float, float, float] | None = None
    stated_count: int | None = None
    proposed: bool = False


@dataclass
class RawImage:
    """
    One image of a label file.

    Attributes:
        name: As the label file has it, maybe with a path.
        width: That the labels were made for [px]; 0 when the format does not say.
        height: That the labels were made for [px]; 0 when the format does not say.
        instances: The labelled objects.
        relative: Coordinates are shares of the image's size instead of pixels.
    """

    name: str
    width: int
    height: int
    instances: list[RawInstance] = field(default_factory=list)
    relative: bool = False


@dataclass
class RawLabels:
    """
    All labels of one category.

    Attributes:
        category: Its name.
        keypoint_names: K names.
        skeleton: Pairs of keypoint indices.
        images: The images of the file.
        problems: Those found so far.
        lists_all_names: False where the format lists only the names of keypoints that somebody labelled.
        exif: TURNED, TURNED_WITH_SIZE or STORED where it is known what the labelling tool shows; '' where it is not.
        skeleton_note: What a person should know about how the skeleton was read.
        named: False where the format numbers the keypoints; the names are made up.
        swaps: Pairs of keypoint indices that change places when the image is mirrored, None where nobody says.
        image_folders: Where the images are, as the labels say; empty where they do not.
    """

    category: str
    keypoint_names: list[str]
    skeleton: list[tuple[int, int]]
    images: list[RawImage]
    problems: list[Problem] = field(default_factory=list)
    lists_all_names: bool = True
    exif: str = ''
    skeleton_note: str = ''
    named: bool = True
    swaps: list[tuple[int, int]] | None = None
    image_folders: list[Path] = field(default_factory=list)

    def add(self, kind: str, image: str, annotation: object, text: str) -> None:
        """Add a problem."""
        self.problems.append(Problem(kind, image, str(annotation), text))


def is_number(value: Any) -> TypeGuard[float]:
    """Return whether a JSON value is a finite number of sensible size."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value) and abs(value) < 1e9


def size_px(value: Any) -> int:
    """Return a size that a label file states, 0 where that is none."""
    return int(value) if is_number(value) and value == int(value) and 0 < value <= MAX_LABELLED_SIDE_PX else 0


def base_name(name: str) -> str:
    """Return the last part of a path of any operating system."""
    return PurePosixPath(name.replace('\\', '/')).name


def problem_table(problems: Sequence[Problem], limit: int = 200) -> list[str]:
    """Return at most `limit` problems as lines of aligned columns, refused ones first."""
    order = {REFUSED: 0, REPAIRED: 1, NOTE: 2}
    rows = [('', 'image', 'annotation', 'problem')]
    rows += [(p.kind, p.image, p.annotation, p.text) for p in sorted(problems, key=lambda p: order[p.kind])]
    shown = rows[: limit + 1]
    widths = [min(max(len(row[i]) for row in shown), 40) for i in range(3)]
    lines = ['  '.join(f'{cell:{width}}' for cell, width in zip(row, widths)) + f'  {row[3]}' for row in shown]
    if len(rows) > len(shown):
        lines.append(f'... and {len(rows) - len(shown)} more')
    return lines


def safe_name(name: str) -> str:
    """Return a name that an object file accepts: letters, digits, '_', '-' and '.', at most 64 of them."""
    plain = re.sub(r'[\u0300-\u036f]', '', unicodedata.normalize('NFKD', name.strip()))  # letters without accents
    return re.sub(r'[^A-Za-z0-9_.-]+', '_', plain).strip('_').lstrip('-.')[:64] or 'unnamed'


def with_object(path: Path, labels: RawLabels, model: ObjectModel) -> RawLabels:
    """
    Return the labels with the keypoints, in their order, and the skeleton of an object.

    Args:
        path: The label file, for messages.
        labels: Changed in place: keypoints get the object's order.
        model: The object.

    Raises:
        DatasetError: Names are missing, unless the format lists only the names in use.
    """
    own = labels.keypoint_names if labels.named else _names_by_order(path, labels, model)
    missing = [name for name in model.keypoint_names if name not in own]
    if missing and (labels.lists_all_names or len(missing) == model.keypoint_count):
        raise DatasetError(
            f'{path}: has no keypoint {", ".join(missing)}; it has {", ".join(own)}, '
            f'object {model.name!r} has {", ".join(model.keypoint_names)}'
        )
    for name in missing:
        labels.add(NOTE, '', '', f'keypoint {name!r} is nowhere labelled')
    for name in set(own) - set(model.keypoint_names):
        labels.add(NOTE, '', '', f'keypoint {name!r} is not one of object {model.name!r}, left out')
    for image in labels.images:
        for instance in image.instances:
            if instance.keypoints is not None:
                by_name = dict(zip(own, instance.keypoints))
                points = [by_name.get(name, (0.0, 0.0, ABSENT)) for name in model.keypoint_names]
                if not any(v for _, _, v in points):
                    _ignore(labels, image, instance, model)
                else:
                    instance.keypoints = points
        image.instances = [i for i in image.instances if i.keypoints is not None or i.box is not None]
    return dataclasses.replace(
        labels, category=model.name, keypoint_names=list(model.keypoint_names), skeleton=list(model.skeleton)
    )


def _ignore(labels: RawLabels, image: RawImage, instance: RawInstance, model: ObjectModel) -> None:
    """Make a region to ignore of an instance that has other keypoints than the object's, where it has an area."""
    places = [(x, y) for x, y, v in instance.keypoints or () if v]
    if instance.box is None and places:
        (left, right), (top, bottom) = ((min(axis), max(axis)) for axis in zip(*places))
        if right > left and bottom > top:
            instance.box = (left, top, right - left, bottom - top)
    instance.keypoints = None
    end = 'left out' if instance.box is None else 'its box will be ignored, neither object nor background'
    labels.add(NOTE, image.name, instance.annotation_id, f'has no keypoint of object {model.name!r}: {end}')


def _names_by_order(path: Path, labels: RawLabels, model: ObjectModel) -> list[str]:
    """Return the object's names for keypoints that have numbers only, in the order of the object."""
    count = len(labels.keypoint_names)
    if count != model.keypoint_count:
        text = f'has {count} keypoints without names, object {model.name!r} has {model.keypoint_count}'
        raise DatasetError(f'{path}: {text}; they are taken in its order, so that the numbers must be the same')
    if labels.swaps is not None and {frozenset(p) for p in labels.swaps} != {frozenset(p) for p in model.swaps}:
        raise DatasetError(
            f'{path}: its keypoints have no names, and its flip_idx exchanges {labels.swaps}, but the swaps of object '
            f'{model.name!r} exchange {list(model.swaps)} (counted from 0): is the order another?'
        )
    text = f'the file has no keypoint names: taken in the order of object {model.name!r}; see that they fit'
    labels.add(NOTE, '', '', text)
    return list(model.keypoint_names)


def with_safe_names(path: Path, labels: RawLabels) -> RawLabels:
    """
    Return the labels with keypoint names that an object file accepts.

    Raises:
        DatasetError: There are too many, or two names become the same.
    """
    if len(labels.keypoint_names) > MAX_KEYPOINTS:
        raise DatasetError(
            f'{path}: {labels.category!r} has {len(labels.keypoint_names)} keypoints, wanted {MAX_KEYPOINTS} at most; '
            'choose some of them with an object file: --object'
        )
    if labels.skeleton_note:
        labels.add(NOTE, '', '', labels.skeleton_note)
    if not labels.named:
        labels.add(NOTE, '', '', 'the file has no keypoint names: rename point_1 and so on, or give --object')
    names = [safe_name(name) for name in labels.keypoint_names]
    if len(set(names)) != len(names):
        twice = ', '.join(repr(old) for old, new in zip(labels.keypoint_names, names) if names.count(new) > 1)
        raise DatasetError(f'{path}: keypoint names are not different enough: {twice}; rename them')
    for old, new in zip(labels.keypoint_names, names):
        if old != new:
            labels.add(NOTE, '', '', f'keypoint {old!r} is written as {new!r}')
    if len(names) == 1:
        labels.add(NOTE, '', '', 'there is one keypoint only: training needs two joined by a limb')
    return dataclasses.replace(labels, keypoint_names=names, category=safe_name(labels.category))
