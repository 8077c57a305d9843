"""Search for wrong labels: annotations that a trained model contradicts with confidence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from custom_pose_ros.core.keypoints.poses import KeypointPose
from custom_pose_ros.core.labels.raw_labels import ABSENT
from custom_pose_ros.core.object_model import ObjectModel
from training.pose_training.judging.accuracy import instance_size, is_swapped, keypoint_errors, match
from training.pose_training.labels.coco import LabelledImage

_SURE_SCORE = 0.5  # keypoints that the model finds with this height or more are believed
_FAR = 0.10  # of the object's size: below it nobody calls a label misplaced
_OUTLIER = 5.0  # times the usual error of the keypoint
_UNLABELLED_SCORE = 0.6  # objects that the model finds with this score where nothing is labelled
_GOOD_MODEL = 0.8  # share of the labelled objects that a model must find before what it misses is a hint


@dataclass(frozen=True)
class Suspect:
    """
    One annotation to look at.

    Attributes:
        image: File name.
        annotation: Id in the label file, '' for an object without label.
        severity: Distance between label and model as a share of the object's size.
        text: What may be wrong.
    """

    image: str
    annotation: str
    severity: float
    text: str


def find_suspects(
    images: Sequence[LabelledImage], detections: Sequence[Sequence[KeypointPose]], model: ObjectModel
) -> list[Suspect]:
    """
    Return suspect annotations, worst first: left/right exchanged, points far off or without label, objects likewise.

    A point is far off when the model is sure of another place, at least 10 % of the object's size and five times the
    keypoint's usual error away. Labelled objects that are not found count only where the model finds most of the rest.
    """
    matches = [match(image, poses) for image, poses in zip(images, detections)]
    usual = _usual_errors(images, detections, matches, model.keypoint_count)
    found = [j is not None for assigned in matches for j in assigned]
    is_good = sum(found) >= _GOOD_MODEL * len(found)
    suspects = []
    for image, poses, assigned in zip(images, detections, matches):
        for i, j in enumerate(assigned):
            if j is not None:
                suspects += _instance_suspects(image, i, poses[j], usual, model)
            elif is_good:
                suspects.append(Suspect(image.path.name, _annotation(image, i), 1.0, 'no object found near this label'))
        for j in set(range(len(poses))) - set(assigned):
            if poses[j].score >= _UNLABELLED_SCORE and poses[j].visible.sum() > 1 and not len(image.crowds):
                left, top, right, bottom = poses[j].box
                text = f'an object without label between ({left:.0f}, {top:.0f}) and ({right:.0f}, {bottom:.0f})?'
                suspects.append(Suspect(image.path.name, '', float(poses[j].score), text))
    return sorted(suspects, key=lambda s: -s.severity)


def _annotation(image: LabelledImage, instance: int) -> str:
    return image.annotation_ids[instance] if image.annotation_ids else str(instance)


def _usual_errors(
    images: Sequence[LabelledImage],
    detections: Sequence[Sequence[KeypointPose]],
    matches: Sequence[Sequence[int | None]],
    count: int,
) -> np.ndarray:
    """Return (K,) median error of each keypoint as a share of the object's size."""
    rows = [np.full(count, np.nan)]
    for image, poses, assigned in zip(images, detections, matches):
        for points, labelled, j in zip(image.keypoints, image.labelled, assigned):
            if j is not None:
                rows.append(keypoint_errors(points, labelled, poses[j]) / instance_size(points[labelled], image))
    errors = np.array(rows)
    errors[~np.isfinite(errors)] = np.nan
    return np.array([np.nanmedian(column) if np.isfinite(column).any() else _FAR for column in errors.T])


def _instance_suspects(
    image: LabelledImage, instance: int, pose: KeypointPose, usual: np.ndarray, model: ObjectModel
) -> list[Suspect]:
    points, labelled = image.keypoints[instance], image.labelled[instance]
    number = _annotation(image, instance)
    size = instance_size(points[labelled], image)
    errors = keypoint_errors(points, labelled, pose) / size
    sure = labelled & pose.visible & (pose.scores >= _SURE_SCORE)
    suspects, explained = [], np.zeros(len(points), bool)
    for a, b in model.swaps:
        pair = [a, b]
        if sure[pair].all() and is_swapped(points, labelled, pose, model, pairs=((a, b),)):
            if errors[pair].min() > 0.5 * np.linalg.norm(points[a] - points[b]) / size:
                names = ' and '.join(model.keypoint_names[k] for k in pair)
                suspects.append(Suspect(image.path.name, number, float(errors[pair].max()), f'{names} exchanged?'))
                explained[pair] = True
    for k in np.flatnonzero((image.states[instance] == ABSENT) & pose.visible & (pose.scores >= _SURE_SCORE)):
        x, y = pose.keypoints[k]
        text = f'{model.keypoint_names[k]} has no label, but is found at ({x:.0f}, {y:.0f}): is it there?'
        suspects.append(Suspect(image.path.name, number, float(pose.scores[k]) * _FAR, text))
    for k in np.flatnonzero(sure & ~explained & (errors > np.maximum(_FAR, _OUTLIER * usual))):
        x, y = pose.keypoints[k]
        text = f'{model.keypoint_names[k]} is labelled {errors[k]:.0%} of the object away from ({x:.0f}, {y:.0f})'
        suspects.append(Suspect(image.path.name, number, float(errors[k]), text))
    return suspects
