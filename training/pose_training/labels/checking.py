"""Check of labels against their images: what is certain is repaired, the rest is refused with image and annotation."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
from tqdm import tqdm

from custom_pose_ros.core.files import sha256_of
from custom_pose_ros.core.labels.raw_labels import NOTE, REFUSED, REPAIRED, RawImage, RawInstance, RawLabels
from training.pose_training.labels.image_files import ImageIndex, decode_image

_BORDER_TOLERANCE = 0.01  # of the image's size: a point so little outside was meant to be on the border


@dataclass
class CheckedImage:
    """
    One image whose labels are sound, in pixels of the image as it will be written.

    Attributes:
        source: The file it comes from.
        name: File name to write.
        width: Of the written image [px].
        height: Of the written image [px].
        keypoints: For each instance (K, 3) x, y, visibility; None for a box to ignore.
        boxes: Left, top, right, bottom of each instance.
        scale: Factor from the source to the written image.
        upright: False when the labels were made without the camera's rotation note.
    """

    source: Path
    name: str
    width: int
    height: int
    keypoints: list[np.ndarray | None] = field(default_factory=list)
    boxes: list[tuple[float, float, float, float]] = field(default_factory=list)
    scale: float = 1.0
    upright: bool = True

    @property
    def recording(self) -> str:
        """Folder and name without the frame number: images of one recording resemble each other."""
        return f'{self.source.parent}/{re.sub(r"[0-9]+$", "", self.source.stem)}'

    @property
    def instances(self) -> list[np.ndarray]:
        """The labelled instances, (K, 3) each, without the boxes to ignore."""
        return [points for points in self.keypoints if points is not None]

    @property
    def object_sizes(self) -> list[float]:
        """Longer side of the keypoints' box of every instance, as a share of the image height."""
        return [float(np.ptp(k[k[:, 2] > 0, :2], axis=0).max() / self.height) for k in self.instances]


def check(labels: RawLabels, index: ImageIndex, max_side: int) -> list[CheckedImage]:
    """
    Check every image and annotation.

    An image with a refused annotation is left out whole: an object without its label would be learned as background.

    Args:
        labels: What a label file says; problems are added to it.
        index: Where the images are.
        max_side: Longer side [px] that images are reduced to.

    Returns:
        The images that are sound.
    """
    refused = {p.image for p in labels.problems if p.kind == REFUSED and p.image}
    sound = []
    for image in tqdm(labels.images, desc='check', unit='image', leave=False, disable=None):
        checked = _ImageCheck(labels, image).run(index, max_side)
        if checked is not None and image.name not in refused:
            sound.append(checked)
    sound = _without_duplicates(labels, sound)
    empty = [image.name for image in sound if not image.keypoints]
    if 0 < len(empty) < len(sound):
        text = f'{len(empty)} images without annotation ({empty[0]}{", ..." * (len(empty) > 1)}) are trained on as '
        labels.add(NOTE, '', '', text + 'pictures without the object; --labelled-only leaves them out')
    if not any(image.instances for image in sound):
        labels.add(REFUSED, '', '', 'nothing is labelled: there is no image with an annotation')
    return sound


class _Placement(NamedTuple):
    """How the labels of an image lie on its pixels."""

    width: int
    height: int
    factors: tuple[float, float]  # from label to pixel, for x and y
    upright: bool  # whether the rotation note of the file is obeyed


class _ImageCheck:
    """The check of one image of a label file; problems are added to the labels."""

    def __init__(self, labels: RawLabels, image: RawImage):
        self._labels, self._image = labels, image

    def run(self, index: ImageIndex, max_side: int) -> CheckedImage | None:
        """Return the image with its labels, None when anything about it is refused."""
        files = index.find(self._image.name)
        if len(files) != 1:
            missing = f'no such file in {index}: give the folder that holds it with --images'
            self._add(REFUSED, f'{len(files)} files match: {files[0]}, {files[1]}' if files else missing)
            return None
        if files[0].parts[-1] != self._image.name and self._image.name.startswith('/'):
            self._add(NOTE, f'container path resolved to {files[0]}')
        upright, as_stored = decode_image(files[0]), decode_image(files[0], obey_exif=False)
        if upright is None or as_stored is None:
            self._add(REFUSED, 'cannot be read as an image')
            return None
        placement = self._place(upright, as_stored)
        if placement is None:
            return None
        width, height = placement.width, placement.height
        scale = min(1.0, max_side / max(width, height))
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        checked = CheckedImage(files[0], files[0].name, *size, scale=scale, upright=placement.upright)
        accepted = [self._add_instance(instance, placement, checked) for instance in self._image.instances]
        return checked if all(accepted) else None

    def _place(self, upright: np.ndarray, as_stored: np.ndarray) -> _Placement | None:
        """Return how the labels lie on the file's pixels, None (and a problem) when that is not certain."""
        height, width = upright.shape[:2]
        if self._image.relative:
            return _Placement(width, height, (width, height), True)
        stated = (self._image.width, self._image.height)
        if 0 in stated or stated == (width, height):
            if as_stored.shape == upright.shape and (as_stored != upright).any():
                self._add(NOTE, 'is turned by its EXIF note: see on the contact sheet that the labels fit')
            return _Placement(width, height, (1.0, 1.0), True)
        if as_stored.shape[:2] != (height, width) and stated == as_stored.shape[1::-1]:
            self._add(REPAIRED, 'labelled without its EXIF rotation: written as it was labelled')
            return _Placement(*stated, (1.0, 1.0), False)
        if abs(stated[0] * height - stated[1] * width) <= max(*stated, width, height):
            self._add(REPAIRED, f'labelled at {stated[0]} x {stated[1]}, is {width} x {height}: labels scaled')
            return _Placement(width, height, (width / stated[0], height / stated[1]), True)
        self._add(REFUSED, f'labels are for {stated[0]} x {stated[1]} px, the file has {width} x {height}')
        return None

    def _add_instance(self, instance: RawInstance, placement: _Placement, checked: CheckedImage) -> bool:
        """Add an instance in pixels of the written image; return False when it is refused."""
        box = None
        if instance.box is not None:
            left, top, width, height = instance.box
            box = np.array([left, top, left + width, top + height]) * np.tile(placement.factors, 2)
        if instance.keypoints is None:
            assert box is not None
            _append(checked, None, box)
            return True
        points = np.array(instance.keypoints, float)
        # Shares of the image count from its corner, pixels from the centre of the first one.
        points[:, :2] = points[:, :2] * placement.factors - (0.5 if self._image.relative else 0.0)
        labelled = points[:, 2] > 0
        if not self._bring_inside(instance, points, placement):
            return False
        if not labelled.any():
            self._add(NOTE, 'no keypoint is labelled: its box will be ignored', instance)
            if box is None:
                self._add(REFUSED, 'has neither keypoints nor a box', instance)
                return False
            _append(checked, None, box)
            return True
        if labelled.sum() > 1 and len(np.unique(points[labelled, :2].round(1), axis=0)) < labelled.sum():
            self._add(NOTE, 'two keypoints lie on each other: look at it', instance)
        points[~labelled] = 0
        corners = points[labelled, :2] if box is None else np.vstack([points[labelled, :2], box.reshape(2, 2)])
        # Pixel centres lie at whole numbers: scaling keeps the image's corner (-0.5, -0.5) in place.
        points[labelled, :2] = (points[labelled, :2] + 0.5) * checked.scale - 0.5
        _append(checked, points, np.concatenate([corners.min(0), corners.max(0)]))
        return True

    def _bring_inside(self, instance: RawInstance, points: np.ndarray, placement: _Placement) -> bool:
        """Move points (K, 3) just outside of the image onto its border; return False when one lies far outside."""
        width, height = placement.width, placement.height
        last = np.array([width, height]) - 1
        labelled = points[:, 2] > 0
        outside = np.maximum(-points[:, :2], points[:, :2] - last).max(1)
        far = labelled & (outside > np.maximum(1.0, _BORDER_TOLERANCE * max(width, height)))
        for k in np.flatnonzero(far):
            name, (x, y) = self._labels.keypoint_names[k], points[k, :2]
            text = f'{name} at ({x:.0f}, {y:.0f}) lies outside of the image of {width} x {height} px'
            self._add(REFUSED, text, instance)
        near = labelled & (outside > 0) & ~far
        points[near, :2] = np.clip(points[near, :2], 0, last)
        # Half a pixel is the difference between corners and centres of pixels, no fault.
        if (moved := (near & (outside > 0.5)).sum()) and not far.any():
            self._add(REPAIRED, f'{moved} points just outside moved onto the border', instance)
        return not far.any()

    def _add(self, kind: str, text: str, instance: RawInstance | None = None) -> None:
        self._labels.add(kind, self._image.name, '' if instance is None else instance.annotation_id, text)


def _append(checked: CheckedImage, points: np.ndarray | None, box: np.ndarray) -> None:
    """Append an instance, or a box to ignore; box (4,) in pixels of the source image."""
    checked.keypoints.append(points)
    checked.boxes.append(tuple((box * checked.scale).tolist()))


def _without_duplicates(labels: RawLabels, images: list[CheckedImage]) -> list[CheckedImage]:
    """Leave out copies of the same file when their labels agree or one has none; refuse both when they differ."""
    groups: dict[str, list[CheckedImage]] = {}
    for image in images:
        groups.setdefault(sha256_of(image.source), []).append(image)
    kept = []
    for group in groups.values():
        labelled = [image for image in group if image.keypoints]
        first = (labelled or group)[0]
        if any(not _same_labels(first, other) for other in labelled[1:]):
            names = ', '.join(image.name for image in group)
            for image in group:
                labels.add(REFUSED, image.name, '', f'the same picture is labelled differently: {names}')
            continue
        for image in group:
            if image is not first:
                labels.add(REPAIRED, image.name, '', f'left out, the same picture as {first.name}')
        kept.append(first)
    return kept


def _same_labels(one: CheckedImage, other: CheckedImage) -> bool:
    if len(one.keypoints) != len(other.keypoints):
        return False
    pairs = zip(one.keypoints, other.keypoints)
    return all((a is None) == (b is None) and (a is None or b is None or np.allclose(a, b, atol=1.0)) for a, b in pairs)
