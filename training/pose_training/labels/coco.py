"""COCO keypoint files of an object as images to train and to measure on; refusals name file, image or annotation."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from custom_pose_ros.core.command_line import say
from custom_pose_ros.core.errors import DatasetError
from custom_pose_ros.core.labels.coco_file import PREPARE, PROPOSED, read_object_labels
from custom_pose_ros.core.labels.placement import place
from custom_pose_ros.core.labels.raw_labels import HIDDEN, RawImage, RawInstance, RawLabels
from custom_pose_ros.core.object_model import ObjectModel
from custom_pose_ros.core.pictures import read_sound_picture
from training.pose_training.labels.image_files import ImageIndex
from training.pose_training.labels.label_states import StateRule


@dataclass(frozen=True, eq=False)
class LabelledImage:
    """
    One image and its A labelled instances of one object with K keypoints.

    Attributes:
        path: Image file.
        width: Of the image [px].
        height: Of the image [px].
        keypoints: (A, K, 2) float64 px of the image file; meaningless where not labelled.
        states: (A, K) int, UNKNOWN, ABSENT, HIDDEN or SEEN, as the object file takes labels.
        boxes: (A, 4) float64 left, top, right, bottom; where unknown keypoints of the instance may be.
        crowds: (C, 4) float64 left, top, right, bottom of regions with objects that nobody labelled one by one.
        annotation_ids: A ids, for messages.
        exif: On which pictures the labels were made, see `RawLabels.exif`.
        proposed: How many of the instances a program proposed and no person changed.
    """

    path: Path
    width: int
    height: int
    keypoints: np.ndarray
    states: np.ndarray
    boxes: np.ndarray
    crowds: np.ndarray
    annotation_ids: tuple[str, ...] = ()
    exif: str = ''
    proposed: int = 0

    @property
    def labelled(self) -> np.ndarray:
        """(A, K) bool: keypoints to be found, seen or hidden at a known place."""
        return self.states >= HIDDEN

    def read(self) -> np.ndarray:
        """
        Return the (H, W, 3) uint8 BGR image as it was labelled.

        Raises:
            MediaError: The file is damaged.
            DatasetError: It is not of the labelled size.
        """
        picture = read_sound_picture(self.path)
        try:
            placement = place(picture, (self.width, self.height), self.exif)
        except DatasetError as error:
            raise DatasetError(f'{self.path}: {error}; {PREPARE}') from error
        if (placement.width, placement.height) != (self.width, self.height):
            raise DatasetError(
                f'{self.path}: is {placement.width} x {placement.height} px, but its labels are for '
                f'{self.width} x {self.height}; {PREPARE}'
            )
        return picture.upright if placement.upright else picture.stored


def read_dataset(source: str | Path, model: ObjectModel) -> list[LabelledImage]:
    """
    Read a COCO keypoint file, or the one in a folder.

    Images are looked for beside the file and in `images/` there, then anywhere below. Images without annotation are
    negatives. Keypoints are matched to the object by name.

    Args:
        source: The file, or its folder.
        model: The object.

    Raises:
        DatasetError: The labels do not fit the object, are damaged, or contradict each other.
    """
    path = find_labels(Path(source).expanduser())
    labels, entries = read_object_labels(path, model)
    finder = _Finder(path)
    flags = [[v for _, _, v in i.keypoints] for image in labels.images for i in image.instances if i.keypoints]
    rule = StateRule.of(np.array(flags, int), model)
    images = [_labelled_image(path, labels, image, entry, finder, rule) for image, entry in zip(labels.images, entries)]
    if not any(len(image.keypoints) for image in images):
        raise DatasetError(f'{path}: no instance of {model.name!r} is labelled')
    return images


def tell_proposed(images: Sequence[LabelledImage]) -> int:
    """Say how many of the labels that a network is measured by are proposals; return how many."""
    proposed = sum(image.proposed for image in images)
    if proposed:
        say(
            f'warning: {proposed} of the {sum(len(image.boxes) for image in images)} labels are proposals '
            f'({PROPOSED}: true) that no person has changed: errors are measured from them, and not from what is there'
        )
    return proposed


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


class _Finder:
    """Finds the images of a label file; those that are not where they are expected by the names below its folder."""

    def __init__(self, labels: Path):
        self._labels, self._index = labels, None

    def find(self, name: str) -> Path:
        folder = self._labels.parent
        for candidate in (folder / name, folder / 'images' / name):
            if os.path.isfile(candidate):  # False also for names that no file can have
                return candidate
        self._index = self._index or ImageIndex([folder])
        try:
            return self._index.find(name).path
        except DatasetError as error:
            raise DatasetError(f'{self._labels}: image {name}: {error}; {PREPARE}') from error


def _labelled_image(
    path: Path, labels: RawLabels, image: RawImage, entry: Mapping[str, Any], finder: _Finder, rule: StateRule
) -> LabelledImage:
    if not image.width or not image.height:
        got = f'{entry.get("width")!r:.20} x {entry.get("height")!r:.20}'
        raise DatasetError(
            f'{path}: image {image.name}: width and height: wanted sizes in pixels, got {got}; {PREPARE}'
        )
    instances = [instance for instance in image.instances if instance.keypoints is not None]
    points = [np.array(instance.keypoints, float) for instance in instances]
    boxes = [_box(instance, keypoints) for instance, keypoints in zip(instances, points)]
    crowds = [_box(instance, np.zeros((0, 3))) for instance in image.instances if instance.keypoints is None]
    stacked = np.array(points, float).reshape(-1, len(labels.keypoint_names), 3)
    states = rule.states(stacked[..., 2].astype(int))
    shown = (states >= HIDDEN).any(1)
    return LabelledImage(
        finder.find(image.name),
        image.width,
        image.height,
        stacked[shown, :, :2],
        states[shown],
        np.array(boxes, float).reshape(-1, 4)[shown],
        np.array(crowds, float).reshape(-1, 4),
        tuple(instance.annotation_id for instance, is_shown in zip(instances, shown) if is_shown),
        labels.exif,
        sum(instance.proposed for instance, is_shown in zip(instances, shown) if is_shown),
    )


def _box(instance: RawInstance, points: np.ndarray) -> np.ndarray:
    """Return left, top, right, bottom around the annotation's box and its labelled keypoints."""
    corners = points[points[:, 2] > 0, :2]
    if instance.box is not None:
        corners = np.vstack([corners, instance.box[:2], np.add(instance.box[:2], instance.box[2:])])
    return np.concatenate([corners.min(0), corners.max(0)])
