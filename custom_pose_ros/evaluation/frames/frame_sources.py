"""Messages of a bag -> what was found in each frame: by the estimators, or as it was recorded."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import numpy as np

from custom_pose_ros.core.errors import MessageError, UsageError
from custom_pose_ros.core.geometry.camera import CameraIntrinsics
from custom_pose_ros.core.geometry.rigid import Rigid
from custom_pose_ros.core.keypoints.poses import KeypointPose
from custom_pose_ros.core.keypoints.tracking import PoseTracker
from custom_pose_ros.core.object_model import ObjectModel
from custom_pose_ros.core.orientation.estimate import OrientationEstimate
from custom_pose_ros.core.orientation.orientation_estimator import OrientationEstimator
from custom_pose_ros.core.orientation.outline_views import OutlineViews
from custom_pose_ros.evaluation.bags.reader import BagMessage
from custom_pose_ros.evaluation.bags.topics import ORIENTATIONS_TYPE
from custom_pose_ros.evaluation.evaluation_settings import Selection
from custom_pose_ros.evaluation.frame_result import FrameResult
from custom_pose_ros.evaluation.frames.camera_supply import CameraSupply
from custom_pose_ros.evaluation.frames.foreign_poses import choose_label, foreign_poses
from custom_pose_ros.evaluation.frames.message_stream import DecodedMessage
from custom_pose_ros.evaluation.truth.apriltag import TagTruth
from custom_pose_ros.evaluation.truth.tracks import rigid_of, stamp_ns
from custom_pose_ros.inference.pose_messages import message_to_poses, track_id_of


@dataclass(frozen=True, eq=False)
class EvaluatedFrame:
    """
    One image with its results, while the image is at hand.

    Attributes:
        image: (H, W, 3) uint8 BGR.
        frame_id: Of the image header.
    """

    result: FrameResult
    image: np.ndarray
    poses: list[KeypointPose]
    frame_id: str
    camera: CameraIntrinsics | None


class FrameSource(ABC):
    """
    Collects the results of all frames from the messages of a bag; subclasses say where the results come from.

    Attributes:
        names: Topics whose messages are to be decoded.
        unreadable: Number of images that cannot be used.
        image_sizes: Number of images of each (width, height).
        frame_id: Of the first image or result.
    """

    def __init__(self, selection: Selection, model: ObjectModel, cameras: CameraSupply, tags: TagTruth | None = None):
        self.selection, self.model, self.cameras, self.tags = selection, model, cameras, tags
        self.names = selection.names
        self.notes = cameras.notes
        self.unreadable = 0
        self.image_sizes: dict[tuple[int, int], int] = {}
        self.frame_id = ''
        self._results: list[FrameResult] = []

    def add(self, message: DecodedMessage) -> EvaluatedFrame | None:
        """Use one message; the frame if it completes one whose image is at hand."""
        topic, selection = message.raw.topic, self.selection
        if topic == selection.image and message.image is not None:
            size = message.image.shape[1::-1]
            if size not in self.image_sizes and self.image_sizes:
                self.notes.info(f'{topic}: the image size changes to {size[0]}x{size[1]} px')
            self.image_sizes[size] = self.image_sizes.get(size, 0) + 1
            self.frame_id = self.frame_id or message.content.header.frame_id
            return self._add_image(message, message.image)
        if topic == selection.image:
            self.unreadable += 1
            if message.content is not None:  # otherwise the decoder has told already
                self.notes.damage(f'{topic}: an image cannot be used: {message.problem}', counted=True)
        elif topic == selection.camera_info:
            self.cameras.accept(message.content, topic)
        elif topic in (selection.poses, selection.orientations):
            self._add_result(message)
        return None

    def results(self) -> list[FrameResult]:
        """Return the results of all frames in the order of the bag."""
        return self._results

    @abstractmethod
    def _add_image(self, message: DecodedMessage, image: np.ndarray) -> EvaluatedFrame | None: ...

    @abstractmethod
    def _add_result(self, message: DecodedMessage) -> None: ...

    def _stamp(self, content: Any, time_ns: int) -> int:
        """Return the stamp of a header; where it was never set, the time of recording with a note."""
        stamp = stamp_ns(content.header)
        if stamp == 0:
            self.notes.info('messages without a stamp: the time of recording is used')
        return stamp or time_ns


class EstimatedFrames(FrameSource):
    """Tracks the poses found in each image and solves their orientation, as nodes that drop nothing would."""

    def __init__(
        self,
        selection: Selection,
        model: ObjectModel,
        cameras: CameraSupply,
        tags: TagTruth | None = None,
        outline: OutlineViews | None = None,
    ):
        super().__init__(selection, model, cameras, tags)
        self._tracker = PoseTracker(model)
        self._outline = outline
        self._orienter: OrientationEstimator | None = None
        self._without: OrientationEstimator | None = None  # the outline, to compare with
        self._camera: CameraIntrinsics | None = None

    def _add_image(self, message: DecodedMessage, image: np.ndarray) -> EvaluatedFrame:
        height, width = image.shape[:2]
        stamp = self._stamp(message.content, message.raw.time_ns)
        poses = self._tracker.update(message.poses or [], stamp * 1e-9)
        result = FrameResult(stamp, message.raw.time_ns, width, height)
        result.set_poses(poses, self.model.keypoint_count)
        camera = self.cameras.for_size(width, height) if self.model.model_points is not None else None
        if camera is not None:
            if camera is not self._camera or self._orienter is None:
                self._camera, self._orienter = camera, OrientationEstimator(self.model, camera, outline=self._outline)
                self._without = None if self._outline is None else OrientationEstimator(self.model, camera)
            result.estimates = self._orienter.update(poses, stamp * 1e-9, image)
            if self._without is not None:
                result.without_outline = self._without.update(poses, stamp * 1e-9)
            if self.tags is not None:
                result.truth = self.tags(image, camera)
        self._results.append(result)
        return EvaluatedFrame(result, image, poses, message.content.header.frame_id, camera)

    def _add_result(self, message: DecodedMessage) -> None:
        """Do nothing: recorded results play no part here."""


class RecordedFrames(FrameSource):
    """Takes over poses and orientations that were recorded with the bag; those of one stamp belong together."""

    def __init__(self, selection: Selection, model: ObjectModel, cameras: CameraSupply, tags: TagTruth | None = None):
        super().__init__(selection, model, cameras, tags)
        self.names = selection.names if tags else selection.names - {selection.image}
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
        if raw.msgtype == ORIENTATIONS_TYPE:
            result = self._result(stamp, raw)
            result.estimates = estimates_from_message(content, self.model)
        else:
            try:
                poses = message_to_poses(content, self.model)
            except MessageError as error:
                self.notes.damage(f'{raw.topic}: {error}', counted=True)
                return
            result = self._result(stamp, raw)
            result.width, result.height = content.image_width, content.image_height
            result.set_poses(poses, self.model.keypoint_count)
        result.latency_ms = (raw.time_ns - stamp) * 1e-6
        result.time_ns = raw.time_ns

    def _result(self, stamp: int, raw: BagMessage) -> FrameResult:
        """Return the result a message belongs to; a stamp that comes again (bag played in a loop) begins anew."""
        result, seen = self._latest.get(stamp, (None, {raw.msgtype}))
        if result is None or raw.msgtype in seen:
            result, seen = FrameResult(stamp, raw.time_ns), set()
            result.set_poses([], self.model.keypoint_count)
            self._results.append(result)
            self._latest[stamp] = result, seen
        seen.add(raw.msgtype)
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

    def __init__(
        self,
        selection: Selection,
        model: ObjectModel,
        cameras: CameraSupply,
        tags: TagTruth | None = None,
        label: str = '',
    ):
        super().__init__(selection, model, cameras, tags)
        self.names = selection.names
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
            raise UsageError(f'--recorded {raw.topic}: name the frame of the object, --recorded-class tag36h11:0 say')
        else:
            for transform in content.transforms:
                if transform.child_frame_id.lstrip('/') == self._label:
                    self._add_poses(transform, raw)

    def _add_poses(self, content: Any, raw: BagMessage) -> None:
        frame = content.header.frame_id
        self._pose_frame = self._pose_frame or frame
        if frame != self._pose_frame:
            self.notes.damage(f'{raw.topic}: a pose in {frame!r} among those in {self._pose_frame!r}', counted=True)
            return
        stamp = self._stamp(content, raw.time_ns)
        result = self._result(stamp, raw)
        found = foreign_poses(content, self.model)
        result.estimates = [pose.estimate for pose in found]
        self._labels[id(result)] = [pose.label for pose in found]
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
