"""Keypoint names of labels: those of an object, or made such that an object file accepts them."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

from custom_pose_ros.core.errors import DatasetError
from custom_pose_ros.core.object_model import ObjectModel
from training.pose_training.labels.raw_labels import NOTE, RawLabels


def safe_name(name: str) -> str:
    """Return a name of letters, digits, '_', '-' and '.'."""
    return re.sub(r'[^A-Za-z0-9_.-]+', '_', name.strip()).strip('_') or 'unnamed'


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
    own = labels.keypoint_names
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
                instance.keypoints = [by_name.get(name, (0.0, 0.0, 0)) for name in model.keypoint_names]
    return dataclasses.replace(
        labels, category=model.name, keypoint_names=list(model.keypoint_names), skeleton=list(model.skeleton)
    )


def with_safe_names(path: Path, labels: RawLabels) -> RawLabels:
    """
    Return the labels with keypoint names that an object file accepts.

    Raises:
        DatasetError: Two names become the same.
    """
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
