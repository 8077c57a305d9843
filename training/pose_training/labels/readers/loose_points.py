"""Points that have a name but belong to no object yet: joined into the objects of their picture."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from custom_pose_ros.core.errors import DatasetError
from custom_pose_ros.core.labels.categories import CategoryChoice, object_name
from custom_pose_ros.core.labels.raw_labels import (
    ABSENT,
    NOTE,
    REFUSED,
    SEEN,
    Problem,
    RawImage,
    RawInstance,
    RawLabels,
)

_NO_BOX = 'object'  # category of points that lie in no box

Box = tuple[float, float, float, float]  # left, top, width, height


@dataclass(frozen=True)
class LoosePoint:
    """
    A labelled point.

    Attributes:
        name: Of the keypoint.
        x: In pixels, or a share as the image says.
        y: Likewise.
        group: Of the object that it belongs to, '' where the tool does not say.
        visibility: HIDDEN or SEEN.
        annotation: Its id in the label file, for messages.
        proposed: Whether it lies where a program proposed it.
    """

    name: str
    x: float
    y: float
    group: str = ''
    visibility: int = SEEN
    annotation: str = ''
    proposed: bool = False


@dataclass(frozen=True)
class LooseBox:
    """
    A box around an object.

    Attributes:
        label: Category of the object.
        left_top_width_height: In the unit of the points.
        group: Of the object, '' where the tool does not say.
    """

    label: str
    left_top_width_height: Box
    group: str = ''

    def contains(self, point: LoosePoint) -> bool:
        """Return whether a point lies in the box."""
        left, top, width, height = self.left_top_width_height
        return left <= point.x <= left + width and top <= point.y <= top + height


@dataclass
class LoosePicture:
    """
    The points and boxes of one picture.

    Attributes:
        image: The picture, still without objects.
        points: The points in it.
        boxes: The boxes in it.
    """

    image: RawImage
    points: list[LoosePoint] = field(default_factory=list)
    boxes: list[LooseBox] = field(default_factory=list)


def join_points(
    path: Path,
    tool: str,
    pictures: Sequence[LoosePicture],
    choice: CategoryChoice,
    grouping: str,
    problems: Sequence[Problem] = (),
) -> RawLabels:
    """
    Return the labels with every point in its object.

    A point belongs to the object of its group, to the picture's only box, or else to the only one of several boxes that
    it lies in. Without groups and boxes all points of a picture are one object.

    Args:
        path: The label file or folder, for messages.
        tool: That wrote it, for messages.
        pictures: What it holds; the objects are added to the images.
        choice: Which categories to read; the labels of the boxes are categories.
        grouping: How points are joined in the tool, such as 'give the points of each object a group_id'.
        problems: Those found so far.

    Raises:
        DatasetError: There are no points, or it is not clear which boxes are meant.
    """
    names = sorted({point.name for picture in pictures for point in picture.points})
    if not names:
        raise DatasetError(f'{path}: no named points in these labels of {tool}: boxes and outlines are no keypoints')
    labels = RawLabels(_NO_BOX, names, [], [picture.image for picture in pictures], lists_all_names=False)
    labels.add(NOTE, '', '', f'{tool} keeps no order of keypoints: they are sorted by name unless --object is given')
    found = {id(picture): _Joining(labels, picture, grouping) for picture in pictures}
    used = [joining.category_of(key) for joining in found.values() for key in joining.points] or [_NO_BOX]
    chosen = choice.of(path, dict.fromkeys(used, names), used)
    alone = 0
    for joining in found.values():
        joining.add_objects(chosen)
        alone += '' in joining.points
    if alone:
        text = f'in {alone} pictures without groups and boxes all points are taken as one object'
        labels.add(NOTE, '', '', f'{text}; where there are several, {grouping}')
    labels.category = object_name(chosen)
    labels.problems += problems
    return labels


class _Joining:
    """The objects of one picture: points by the key of their object, '' for all points of the picture."""

    def __init__(self, labels: RawLabels, picture: LoosePicture, grouping: str):
        self._labels, self._image, self._grouping = labels, picture.image, grouping
        self._boxes = {box.group or f'box {i}': box for i, box in enumerate(picture.boxes, 1)}
        if len(self._boxes) < len(picture.boxes):
            self._add(REFUSED, '', 'two boxes have the same group')
        self.points: dict[str, list[LoosePoint]] = {}
        grouped = any(point.group for point in picture.points)
        for point in picture.points:
            key = self._owner(point, grouped)
            if key is None:
                continue
            if any(point.name == other.name for other in self.points.setdefault(key, [])):
                self._add(REFUSED, point.annotation or key, f'{point.name} is labelled twice in one object; {grouping}')
            self.points[key].append(point)

    def category_of(self, key: str) -> str:
        """Return the label of the object's box."""
        return self._boxes[key].label or _NO_BOX if key in self._boxes else _NO_BOX

    def add_objects(self, chosen: Sequence[str]) -> None:
        """Add the objects of the chosen categories to the image."""
        for key in [*self._boxes, *(key for key in self.points if key not in self._boxes)]:
            if self.category_of(key) not in chosen:
                if key in self.points:
                    self._add(NOTE, key, f'belongs to another category, {self.category_of(key)!r}, left out')
                continue
            by_name = {point.name: (point.x, point.y, point.visibility) for point in self.points.get(key, [])}
            keypoints = [by_name.get(name, (0.0, 0.0, ABSENT)) for name in self._labels.keypoint_names]
            if not by_name:
                self._add(NOTE, key, 'no keypoint in this box: it will be ignored, neither object nor background')
            box = self._boxes[key].left_top_width_height if key in self._boxes else None
            proposed = any(point.proposed for point in self.points.get(key, []))
            self._image.instances.append(RawInstance(key, keypoints if by_name else None, box, proposed=proposed))

    def _owner(self, point: LoosePoint, grouped: bool) -> str | None:
        """Return the key of the object that a point belongs to; None, and a problem, where that is not certain."""
        if not (math.isfinite(point.x) and math.isfinite(point.y)):
            self._add(REFUSED, point.annotation or point.group, f'{point.name}: its place is no pair of numbers')
            return None
        if point.group:
            return point.group
        if len(self._boxes) < 2 and not grouped:
            return next(iter(self._boxes), '')
        inside = [key for key, box in self._boxes.items() if box.contains(point)]
        if len(inside) == 1:
            return inside[0]
        where = 'lies in several boxes' if inside else 'lies in no box' if self._boxes else 'has no group, others have'
        self._add(REFUSED, point.annotation, f'{point.name} {where}; {self._grouping}')
        return None

    def _add(self, kind: str, annotation: str, text: str) -> None:
        self._labels.add(kind, self._image.name, annotation, text)
