"""What a keypoint in a label file is: seen, hidden or not labelled. Decided here for every format and every command."""

from __future__ import annotations

import math
import re
from collections import Counter
from pathlib import Path
from typing import Any

from custom_pose_ros.core.errors import DatasetError, listed
from custom_pose_ros.core.labels.raw_labels import (
    ABSENT,
    HIDDEN,
    NOTE,
    REFUSED,
    REPAIRED,
    SEEN,
    Point,
    RawImage,
    RawInstance,
    RawLabels,
    is_number,
)

_PLACEHOLDERS = ((0.0, 0.0), (-1.0, -1.0))  # what tools write for "no place"
_PLAIN = (int, float)
_FAR = 1e9  # no pixel
_NUMBER = re.compile(r'\s*[-+]?(\d+\.?\d*|\.\d+)(e[-+]?\d+)?\s*', re.IGNORECASE)
_NOTHING = ('', 'nan', 'none', 'null')
_PERCENT = 100.0
_LIKELY, _SURE = 0.05, 0.001  # how likely labels in pixels all lie within 100 x 100 of them by chance
_FEW = 2  # images, in which a small object may well lie in the corner
_OVER = 1.02  # of the image's size: boxes that people draw reach less far outside
_CORNER = 2.0  # px
_MANY = 5  # labels of a keypoint that do not lie on the same pixel by chance
_PERCENT_SPAN = 50.0  # per cents of several pictures reach over more than half of them


class _Unclear(Exception):
    """A keypoint whose meaning is not certain; the text says what it has."""


def settle(path: Path, labels: RawLabels) -> None:
    """
    Turn every keypoint into x, y, visibility with visibility ABSENT, HIDDEN or SEEN.

    Certain repairs are added to the problems; instances that are not certain are refused and taken out.

    Args:
        path: The label file, for messages.
        labels: Changed in place.

    Raises:
        DatasetError: The coordinates or visibilities of the whole file mean something else.
    """
    instances = [i for image in labels.images for i in image.instances if i.keypoints is not None]
    are_scores = any(_is_fraction(v) for i in instances for _, _, v in i.keypoints or ())
    if are_scores:
        labels.add(REPAIRED, '', '', 'visibilities are scores, not 0, 1 or 2: every one above 0 counts as seen')
    had_places = any(_is_place(x, y) for i in instances for x, y, _ in i.keypoints or ())
    for image in labels.images:
        image.instances = [i for i in image.instances if _Settling(labels, image, i).done(are_scores)]
        _leave_out_copies(labels, image)
    kept = [i for image in labels.images for i in image.instances if i.keypoints is not None]
    _see_in_yes_and_no(labels, kept)
    if instances and had_places and not kept and not any(p.kind == REFUSED for p in labels.problems):
        raise DatasetError(
            f'{path}: keypoints have places, but every visibility is 0, which means not labelled; '
            'export again with 1 for hidden and 2 for seen ones'
        )
    _refuse_percent(path, labels)
    _note_corner_boxes(labels)
    _note_placeholders(labels)


def _see_in_yes_and_no(labels: RawLabels, instances: list[RawInstance]) -> None:
    """Take 1 as seen where no keypoint has 2: nobody labels only what is hidden, but tools write yes and no."""
    if {v for i in instances for _, _, v in i.keypoints or ()} in ({HIDDEN}, {ABSENT, HIDDEN}):
        for instance in instances:
            instance.keypoints = [(x, y, SEEN if v else v) for x, y, v in instance.keypoints or ()]
        labels.add(REPAIRED, '', '', 'no visibility is 2 (seen), so that 1 says yes: taken as seen, not as hidden')


class _Settling:
    """One instance on its way from what the file says to certain keypoints."""

    def __init__(self, labels: RawLabels, image: RawImage, instance: RawInstance):
        self._labels, self._image, self._instance = labels, image, instance

    def done(self, are_scores: bool) -> bool:
        """Settle the instance; return whether it is kept."""
        if self._instance.keypoints is None:
            return True
        try:
            settled = [
                _point(name, x, y, v, are_scores)
                for name, (x, y, v) in zip(self._labels.keypoint_names, self._instance.keypoints)
            ]
        except _Unclear as error:
            return self._refuse(str(error))
        self._instance.keypoints = [point for point, _ in settled]
        places = [(x, y) for (x, y, v), _ in settled if v]
        if _are_shares(places) and not self._image.relative:
            return self._refuse(
                'all keypoints lie within one pixel: are these shares of the image size? '
                'Multiply x by the width and y by the height'
            )
        if no_labels := [said for _, said in settled if said]:
            self._add(REPAIRED, f'{listed(no_labels, 1)}: taken as not labelled')
        elif self._instance.stated_count not in (None, len(places)):
            text = f'num_keypoints said {self._instance.stated_count}, but {len(places)} are labelled: corrected'
            self._add(REPAIRED, text)
        self._note_box(places)
        return bool(places) or self._ignore()

    def _note_box(self, places: list[tuple[float, float]]) -> None:
        """Note a box that holds few of the instance's keypoints."""
        box = self._instance.box
        inside = sum(_is_in(box, place) for place in places) if box is not None else len(places)
        if len(places) > 1 and 3 * inside < len(places):
            which = f'only {inside} of its {len(places)}' if inside else 'none of its'
            self._add(NOTE, f'{which} keypoints {"lie" if inside > 1 else "lies"} in its box: look at it')

    def _ignore(self) -> bool:
        """Make a region to ignore of an instance without labelled keypoints."""
        if self._instance.box is None:
            return self._refuse('has neither labelled keypoints nor a box')
        self._add(NOTE, 'no keypoint is labelled: its box will be ignored, neither object nor background')
        self._instance.keypoints = None
        return True

    def _refuse(self, text: str) -> bool:
        self._add(REFUSED, text)
        return False

    def _add(self, kind: str, text: str) -> None:
        self._labels.add(kind, self._image.name, self._instance.annotation_id, text)


def _point(name: str, x: Any, y: Any, v: Any, is_score: bool) -> tuple[tuple[float, float, int], str]:
    """Return x, y, visibility of a keypoint, and what the file said where that was no label after all."""
    if type(v) is int and 0 < v <= SEEN and type(x) in _PLAIN and type(y) in _PLAIN and 0 < x < _FAR and 0 < y < _FAR:
        return (float(x), float(y), SEEN if is_score else v), ''  # as most are, so that large files take seconds
    said = f'{name} at ({_shown(x)}, {_shown(y)}) with visibility {_shown(v)}'
    try:
        place = _number(x), _number(y)
        visibility = (2.0 if v else 0.0) if isinstance(v, bool) else _number(v)
    except ValueError:
        raise _Unclear(f'{said}: wanted three numbers') from None
    missing = [math.isnan(value) for value in place]
    nowhere = all(missing) or place in _PLACEHOLDERS
    if nowhere:
        return (0.0, 0.0, ABSENT), said if visibility > 0 else ''
    if any(missing):
        raise _Unclear(f'{said}: one coordinate is missing')
    if visibility == 0 and v is not False:
        return (0.0, 0.0, ABSENT), ''
    if visibility > 0 and (is_score or visibility in (HIDDEN, SEEN)):
        return (*place, SEEN if is_score else int(visibility)), ''
    raise _Unclear(f'{said}: wanted 0 (not labelled), 1 (hidden) or 2 (seen)')


def _are_shares(places: list[tuple[float, float]]) -> bool:
    """Return whether places that all lie within one pixel are shares of the image's size."""
    values = [value for place in places for value in place]
    return max(map(abs, values), default=2) <= 1 and (len(places) > 1 or any(map(_is_fraction, values)))


def _is_in(box: tuple[float, float, float, float], place: tuple[float, float]) -> bool:
    left, top, width, height = box
    return left <= place[0] <= left + width and top <= place[1] <= top + height


def _number(value: Any) -> float:
    """Return a number, also one written as text; NaN for nothing; ValueError for anything else."""
    if isinstance(value, str):
        if value.strip().lower() in _NOTHING:
            return math.nan
        if not _NUMBER.fullmatch(value):
            raise ValueError(value)
        value = float(value)
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return math.nan
    if not is_number(value):
        raise ValueError(value)
    return float(value)


def _is_fraction(visibility: Any) -> bool:
    if type(visibility) is int:
        return False
    try:
        value = _number(visibility)
    except ValueError:
        return False
    return not math.isnan(value) and value != int(value)


def _is_place(x: Any, y: Any) -> bool:
    try:
        place = _number(x), _number(y)
    except ValueError:
        return False
    return not any(map(math.isnan, place)) and place not in _PLACEHOLDERS


def _shown(value: Any) -> str:
    text = 'nothing' if value is None else f'{value:g}' if is_number(value) else str(value)
    return text if len(text) < 20 else text[:17] + '...'


def _refuse_percent(path: Path, labels: RawLabels) -> None:
    """Refuse or note labels that all lie within the first 100 pixels of larger images: per cents of their size."""
    images, points = [], []
    for image in labels.images:
        places = [(x, y) for i in image.instances for x, y, v in i.keypoints or () if v]
        if any(not 0 <= value <= _PERCENT for place in places for value in place):
            return
        if places and (image.relative or min(image.width, image.height) <= _PERCENT):
            return
        images += [image] if places else []
        points += places
    if not points:
        return
    spans = [max(axis) - min(axis) for axis in zip(*points)]
    chance = math.prod(_PERCENT**2 / (image.width * image.height) for image in images)
    text = 'all keypoints lie within the first 100 pixels of their images: are these per cents of the image size?'
    is_wide = min(spans) > _PERCENT_SPAN
    if chance < _SURE and is_wide:
        raise DatasetError(f'{path}: {text} Multiply x by width / 100 and y by height / 100')
    if chance < _LIKELY and (is_wide or len(images) > _FEW):
        labels.add(NOTE, '', '', f'{text} Look at the contact sheet')


def _leave_out_copies(labels: RawLabels, image: RawImage) -> None:
    """Keep one of the instances of an image that have the same keypoints at the same places."""
    first: dict[tuple[Point, ...], RawInstance] = {}
    kept = []
    for instance in image.instances:
        if instance.keypoints is None or (same := first.setdefault(tuple(instance.keypoints), instance)) is instance:
            kept.append(instance)
        else:
            text = f'has the same keypoints as annotation {same.annotation_id}: left out'
            labels.add(REPAIRED, image.name, instance.annotation_id, text)
    image.instances = kept


def _note_corner_boxes(labels: RawLabels) -> None:
    """Note boxes that reach outside of their images as left, top, width, height, and fit as two corners."""
    reaches = False
    for image in labels.images:
        for instance in image.instances if image.width and image.height and not image.relative else ():
            if instance.box is None or instance.keypoints is None:
                continue
            left, top, right, bottom = instance.box
            places = [(x, y) for x, y, v in instance.keypoints if v]
            if right > image.width or bottom > image.height:
                return
            if not all(left <= x <= right and top <= y <= bottom for x, y in places):
                return
            reaches |= left + right > _OVER * image.width or top + bottom > _OVER * image.height
    if reaches:
        text = 'boxes reach outside of their images: are they left, top, right, bottom? Wanted left, top, width, height'
        labels.add(NOTE, '', '', text)


def _note_placeholders(labels: RawLabels) -> None:
    """Note keypoints that lie in the first pixels of the image again and again: placeholders."""
    points = [i.keypoints for image in labels.images for i in image.instances if i.keypoints is not None]
    for name, column in zip(labels.keypoint_names, zip(*points)):
        for place, times in Counter((x, y) for x, y, v in column if v).most_common(1):
            if times >= _MANY and max(map(abs, place)) < _CORNER:
                text = f'{name} is at ({", ".join(map(_shown, place))}) in {times} labels: is that "no place"?'
                labels.add(NOTE, '', '', f'{text} Then write 0, 0, 0')
