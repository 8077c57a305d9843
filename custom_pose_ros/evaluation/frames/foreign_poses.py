"""Poses that another program has recorded, such as an AprilTag or DOPE node, as estimates that can be scored."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from custom_pose_ros.core.errors import UsageError
from custom_pose_ros.core.object_model import ObjectModel
from custom_pose_ros.core.orientation.estimate import OrientationEstimate
from custom_pose_ros.evaluation.truth.tracks import rigid_of


@dataclass(frozen=True, eq=False)
class ForeignPose:
    """
    A pose of a message.

    Attributes:
        label: class of the detection or frame of the object, as the other program names it; '' where there is none.
        estimate: with NaN for what the message says nothing about: ambiguity, reprojection error, maybe covariance.
    """

    label: str
    estimate: OrientationEstimate


def foreign_poses(message: Any, model: ObjectModel) -> list[ForeignPose]:
    """
    Return the poses of a message, without those that are none (NaN, zero).

    Args:
        message: PoseStamped, PoseWithCovarianceStamped, PoseArray, TransformStamped (geometry_msgs) or Detection3DArray
            (vision_msgs).
        model: the object that the poses are about.
    """
    if hasattr(message, 'detections'):
        found = [_of_detection(detection) for detection in message.detections]
    elif hasattr(message, 'transform'):
        found = [(message.child_frame_id.lstrip('/'), message.transform, None)]
    elif hasattr(message, 'poses'):
        found = [('', pose, None) for pose in message.poses]
    else:
        found = [('', *_with_covariance(message.pose))]
    return list(_usable(found, model))


def choose_label(labels: Sequence[str], wanted: str, object_name: str) -> str:
    """
    Return the class whose poses are those of the object.

    Args:
        labels: all classes that were recorded.
        wanted: the one that the user has named; '': the name of the object, else the only one there is.
        object_name: name of the object.

    Raises:
        UsageError: it was not recorded, or which one is meant is not clear.
    """
    known = sorted(set(labels))
    if wanted or len(known) > 1:
        chosen = wanted or object_name
        if chosen not in known:
            text = f'{f"--recorded-class {wanted}" if wanted else f"object {object_name}"} is no recorded class'
            raise UsageError(f'{text}; choose with --recorded-class: {", ".join(known) or "none was recorded"}')
        return chosen
    return known[0] if known else ''


def _of_detection(detection: Any) -> tuple[str, Any, Any]:
    """Return class, pose and covariance of the likeliest hypothesis; the pose of its box where only that was filled."""
    if not len(detection.results):
        return '', detection.bbox.center, None
    best = max(detection.results, key=lambda result: getattr(result, 'hypothesis', result).score)
    said = getattr(best, 'hypothesis', best)  # vision_msgs 4, and before
    pose, covariance = _with_covariance(best.pose)
    at = pose.position
    if not (at.x or at.y or at.z):  # at the centre of the camera: never filled
        pose, covariance = detection.bbox.center, None
    return str(getattr(said, 'class_id', getattr(said, 'id', ''))), pose, covariance


def _with_covariance(pose: Any) -> tuple[Any, Any]:
    return (pose.pose, pose.covariance) if hasattr(pose, 'covariance') else (pose, None)


def _usable(found: Sequence[tuple[str, Any, Any]], model: ObjectModel) -> Iterator[ForeignPose]:
    for label, pose, covariance in found:
        at, turned = (
            (pose.position, pose.orientation) if hasattr(pose, 'position') else (pose.translation, pose.rotation)
        )
        rigid = rigid_of(at, turned)
        if rigid is None or not rigid.translation.any():
            continue
        given = covariance is not None and np.any(covariance)  # programs without one leave zeros
        matrix = np.asarray(covariance, float).reshape(6, 6) if given else np.full((6, 6), np.nan)
        estimate = OrientationEstimate(
            pose=rigid,
            covariance=matrix,
            reprojection_error_px=np.nan,
            ambiguity=np.nan,
            keypoints_used=model.keypoint_count,  # measured, not predicted
            model=model,
        )
        yield ForeignPose(label, estimate)
