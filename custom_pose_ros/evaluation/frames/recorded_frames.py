"""Poses and orientations that were recorded with a bag, by these nodes or by another program, frame by frame."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from custom_pose_ros.core.errors import MessageError, UsageError
from custom_pose_ros.core.geometry.rigid import Rigid
from custom_pose_ros.core.object_model import ObjectModel
from custom_pose_ros.core.orientation.estimate import OrientationEstimate
from custom_pose_ros.evaluation.bags.stored import StoredMessage
from custom_pose_ros.evaluation.bags.topics import ORIENTATIONS_TYPE
from custom_pose_ros.evaluation.frame_result import FrameResult
from custom_pose_ros.evaluation.frames.frame_sources import FrameInputs, FrameSource
from custom_pose_ros.evaluation.frames.message_stream import DecodedMessage
from custom_pose_ros.evaluation.truth.tracks import rigid_of
from custom_pose_ros.inference.pose_messages import message_to_poses, track_id_of


class RecordedFrames(FrameSource):
    """Takes over poses and orientations that were recorded with the bag; those of one stamp belong together."""

    def __init__(self, inputs: FrameInputs):
        super().__init__(inputs)
        if self.tags is None:
            self.names = self.selection.names - {self.selection.image}
        self._latest: dict[int, tuple[FrameResult, set[str]]] = {}
        self._tag_truth: dict[int, Rigid] = {}

    def _add_image(self, message: DecodedMessage, image: np.ndarray) -> None:
        """Look for tags in an image."""
        camera = self.cameras.for_size(*image.shape[1::-1])
        truth = self.tags(image, camera) if self.tags is not None and camera is not None else None
        if truth is not None:
            self._tag_truth[self._stamp(message.content, message.raw.time_ns)] = truth

    def _add_result(self, message: DecodedMessage) -> None:
        """Remember one recorded array; one that is about another object is noted and left out."""
        content, raw = message.content, message.raw
        stamp = self._stamp(content, raw.time_ns)
        self.frame_id = self.frame_id or content.header.frame_id
        if raw.topic.msgtype == ORIENTATIONS_TYPE:
            result = self._result(stamp, raw)
            result.estimates = estimates_from_message(content, self.model)
        else:
            try:
                poses = message_to_poses(content, self.model)
            except MessageError as error:
                self.notes.damage(f'{raw.topic.name}: {error}', counted=True)
                return
            result = self._result(stamp, raw)
            result.width, result.height = content.image_width, content.image_height
            result.set_poses(poses, self.model.keypoint_count)
        result.latency_ms = (raw.time_ns - stamp) * 1e-6
        result.time_ns = raw.time_ns

    def _result(self, stamp: int, raw: StoredMessage) -> FrameResult:
        """Return the result a message belongs to; a stamp that comes again (bag played in a loop) begins anew."""
        result, seen = self._latest.get(stamp, (None, {raw.topic.msgtype}))
        if result is None or raw.topic.msgtype in seen:
            result, seen = FrameResult(stamp, raw.time_ns), set()
            result.set_poses([], self.model.keypoint_count)
            self._results.append(result)
            self._latest[stamp] = result, seen
        seen.add(raw.topic.msgtype)
        return result

    def results(self) -> list[FrameResult]:
        """Return the results in the order of the bag, each with the truth measured in the image of that stamp."""
        for result in self._results:
            result.truth = self._tag_truth.get(result.stamp_ns)
        return self._results


class ForeignFrames(RecordedFrames):
    """
    Takes over poses that another program has recorded, and misses them in the images that have none.

    The images count where they are in the bag and the poses carry their stamps.
    """

    def __init__(self, inputs: FrameInputs, label: str):
        super().__init__(inputs)
        self.names = self.selection.names
        self._label = label.lstrip('/')
        self._labels: dict[int, list[str]] = {}  # of the estimates of each result, by its id
        self._image_frame = self._pose_frame = ''

    def _add_image(self, message: DecodedMessage, image: np.ndarray) -> None:
        super()._add_image(message, image)
        self._image_frame = self._image_frame or message.content.header.frame_id
        result = self._result(self._stamp(message.content, message.raw.time_ns), message.raw)
        result.height, result.width = image.shape[:2]

    def _add_result(self, message: DecodedMessage) -> None:
        content, raw = message.content, message.raw
        if not hasattr(content, 'transforms'):
            self._add_poses(content, raw)
        elif not self._label:
            raise UsageError(
                f'--recorded {raw.topic.name}: name the frame of the object, --recorded-class tag36h11:0 say'
            )
        else:
            for transform in content.transforms:
                if transform.child_frame_id.lstrip('/') == self._label:
                    self._add_poses(transform, raw)

    def _add_poses(self, content: Any, raw: StoredMessage) -> None:
        frame = content.header.frame_id
        self._pose_frame = self._pose_frame or frame
        if frame != self._pose_frame:
            self.notes.damage(
                f'{raw.topic.name}: a pose in {frame!r} among those in {self._pose_frame!r}', counted=True
            )
            return
        stamp = self._stamp(content, raw.time_ns)
        result = self._result(stamp, raw)
        found = foreign_poses(content, self.model)
        result.estimates = [estimate for _, estimate in found]
        self._labels[id(result)] = [label for label, _ in found]
        result.latency_ms = (raw.time_ns - stamp) * 1e-6

    def results(self) -> list[FrameResult]:
        """Return the results in the order of the bag, with the poses of the chosen class."""
        self.frame_id = self._pose_frame
        recorded = [label for labels in self._labels.values() for label in labels]
        label = choose_label(recorded, self._label, self.model.name)
        for result in self._results:
            labels = self._labels.get(id(result), [])
            result.estimates = [e for e, of_class in zip(result.estimates, labels) if of_class == label]
        results = super().results()
        answered = [result for result in results if id(result) in self._labels]
        topic = self.selection.orientations
        if not any(result.width for result in answered):  # by their stamps
            self.notes.info(f'{topic}: no message has the stamp of an image: frames without one are not counted')
            results = answered
        elif stray := sum(not result.width for result in answered):
            self.notes.damage(f'{topic}: {stray} messages have the stamp of no image')
        if self._image_frame.lstrip('/') != self._pose_frame.lstrip('/'):  # cannot be compared in the image
            for result in results:
                result.width = result.height = 0
        return results


def estimates_from_message(message: Any, model: ObjectModel) -> list[OrientationEstimate]:
    """Return the estimates of a recorded OrientationArray; those that are no pose (NaN, zero) are left out."""
    estimates = []
    for item in message.orientations:
        pose = rigid_of(item.pose.pose.position, item.pose.pose.orientation)
        if pose is None:
            continue
        other = getattr(item, 'alternative', None)  # not in older recordings
        estimates.append(
            OrientationEstimate(
                pose=pose,
                covariance=np.asarray(item.pose.covariance, float).reshape(6, 6),
                reprojection_error_px=float(item.reprojection_error_px),
                ambiguity=float(item.ambiguity),
                alternative=None if other is None else rigid_of(other.position, other.orientation),
                track_id=track_id_of(item),
                keypoints_used=int(item.keypoints_used),
                outlier_suspected=bool(item.outlier_suspected),
                outline_agreement=float(getattr(item, 'outline_agreement', math.nan)),
                model=model,
            )
        )
    return estimates


def foreign_poses(message: Any, model: ObjectModel) -> list[tuple[str, OrientationEstimate]]:
    """
    Return the poses of a message of another program, such as an AprilTag node, without those that are none (NaN, zero).

    Args:
        message: PoseStamped, PoseWithCovarianceStamped, PoseArray, TransformStamped (geometry_msgs) or Detection3DArray
            (vision_msgs).
        model: the object that the poses are about.

    Returns:
        Class of the detection or frame of the object, as the other program names it, '' where there is none; and an
        estimate with NaN for what the message says nothing about: ambiguity, reprojection error, maybe covariance.
    """
    if hasattr(message, 'detections'):
        found = [_of_detection(detection) for detection in message.detections]
    elif hasattr(message, 'transform'):
        found = [(message.child_frame_id.lstrip('/'), message.transform, None)]
    elif hasattr(message, 'poses'):
        found = [('', pose, None) for pose in message.poses]
    else:
        found = [('', *_with_covariance(message.pose))]
    estimates = ((label, _estimate(pose, covariance, model)) for label, pose, covariance in found)
    return [(label, estimate) for label, estimate in estimates if estimate is not None]


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


def _estimate(pose: Any, covariance: Any, model: ObjectModel) -> OrientationEstimate | None:
    at, turned = (pose.position, pose.orientation) if hasattr(pose, 'position') else (pose.translation, pose.rotation)
    rigid = rigid_of(at, turned)
    if rigid is None or not rigid.translation.any():
        return None
    given = covariance is not None and np.any(covariance)  # programs without one leave zeros
    return OrientationEstimate(
        pose=rigid,
        covariance=np.asarray(covariance, float).reshape(6, 6) if given else np.full((6, 6), np.nan),
        reprojection_error_px=np.nan,
        ambiguity=np.nan,
        keypoints_used=model.keypoint_count,  # measured, not predicted
        model=model,
    )
