"""Where the results of a bag come from: the estimators run on its images, or topics recorded with it."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from custom_pose_ros.core.errors import MessageError
from custom_pose_ros.core.geometry.camera import CameraIntrinsics
from custom_pose_ros.core.geometry.rigid import Rigid
from custom_pose_ros.core.keypoints.poses import KeypointPose
from custom_pose_ros.core.keypoints.tracking import PoseTracker
from custom_pose_ros.core.object_model import ObjectModel
from custom_pose_ros.core.orientation.estimator import OrientationEstimator
from custom_pose_ros.evaluation.bags.reader import Bag, BagMessage
from custom_pose_ros.evaluation.bags.topics import ORIENTATIONS_TYPE
from custom_pose_ros.evaluation.records import FrameRecord
from custom_pose_ros.evaluation.results.camera_supply import CameraSupply
from custom_pose_ros.evaluation.results.messages import estimates_from_message
from custom_pose_ros.evaluation.results.read_ahead import read_ahead
from custom_pose_ros.evaluation.truth.apriltag import TagTruth
from custom_pose_ros.evaluation.truth.tracks import stamp_ns
from custom_pose_ros.inference.estimator import PoseEstimator
from custom_pose_ros.inference.image_messages import image_to_bgr
from custom_pose_ros.inference.pose_messages import message_to_poses

_LIGHT_BYTES = 1 << 16  # messages of other topics that are larger count as images do when memory is bounded
_IMAGES_AHEAD = 2  # besides those that are worked on


@dataclass(frozen=True)
class Selection:
    """Topics in use and the part of the bag [ns, recording time]; None where there is no such topic or limit."""

    image: str | None
    camera_info: str | None = None
    poses: str | None = None
    orientations: str | None = None
    truth: tuple[str, ...] = ()
    start_ns: int | None = None
    stop_ns: int | None = None

    @property
    def names(self) -> set[str]:
        return {name for name in (self.image, self.camera_info, self.poses, self.orientations, *self.truth) if name}


@dataclass(frozen=True, eq=False)
class Frame:
    """One image with its results, while the image is at hand. frame_id : of the image header."""

    record: FrameRecord
    image: np.ndarray
    poses: list[KeypointPose]
    frame_id: str
    camera: CameraIntrinsics | None


@dataclass(frozen=True, eq=False)
class Decoded:
    """
    One message, decoded. image, poses : where it is an image, and what was found in it.

    problem : what is wrong with an image that cannot be used.
    """

    raw: BagMessage
    message: Any = None
    image: np.ndarray | None = None
    poses: list[KeypointPose] | None = None
    problem: str = ''


class Results:
    """
    Reads the bag once and collects the records of all frames. Subclasses say what a message means.

    on_message : called with every message of the selection that is not an image or result (truth).
    on_raw : called with every message as it is read, in order; makes all topics be read.
    on_frame : called with each frame as it is finished.
    workers : threads that work on images.
    """

    workers = 1

    def __init__(self, bag: Bag, selection: Selection, model: ObjectModel, cameras: CameraSupply):
        self.bag, self.selection, self.model, self.cameras = bag, selection, model, cameras
        self.names = selection.names
        self.notes = cameras.notes  # not those of the bag: they are written by the reading thread
        self.on_message: Callable[[str, Any, int], None] | None = None
        self.on_raw: Callable[[BagMessage], None] | None = None
        self.on_frame: Callable[[Frame], None] | None = None
        self.unreadable = 0
        self.image_sizes: dict[tuple[int, int], int] = {}
        self.frame_id = ''

    def run(self) -> list[FrameRecord]:
        """Read everything; returns the records in the order of the bag."""
        names = set(self.bag.topics) if self.on_raw else self.names
        start_ns = self.selection.start_ns
        earlier = () if start_ns is None else self.bag.static_transforms(names, start_ns)
        messages = itertools.chain(earlier, self.bag.messages(names, start_ns, self.selection.stop_ns))
        opened = (self._open(raw) for raw in messages)
        depth = self.workers + _IMAGES_AHEAD
        for decoded in read_ahead(opened, self._work, self.workers, depth, self._is_light):
            if self.on_raw:
                self.on_raw(decoded.raw)
            if decoded.message is not None or decoded.problem:
                self.use(decoded)
        return self.finished()

    def _open(self, raw: BagMessage) -> Decoded:
        """Decode a message, in the thread that reads the bag: what is odd about it is noted in the order of the bag."""
        if raw.topic not in self.names:
            return Decoded(raw)
        message = raw.decode()
        return Decoded(raw, message, problem='damaged' if message is None and raw.topic == self.selection.image else '')

    def _is_light(self, opened: Decoded) -> bool:
        return opened.raw.topic != self.selection.image and len(opened.raw.stored.data) <= _LIGHT_BYTES

    def _work(self, opened: Decoded) -> Decoded:
        """Do what needs no other message, in one of several threads."""
        if opened.message is None or opened.raw.topic != self.selection.image:
            return opened
        try:
            image = image_to_bgr(opened.message)
        except MessageError as error:
            return replace(opened, problem=str(error))
        return replace(opened, image=image, poses=self.find(image))

    def find(self, image: np.ndarray) -> list[KeypointPose] | None:
        """Look for the object in an image, in one of several threads; None where that is not done."""

    def use(self, decoded: Decoded) -> None:
        """Hand a message to those who want it."""
        topic, selection = decoded.raw.topic, self.selection
        if topic == selection.image:
            if decoded.image is None:
                self.unreadable += 1
                if decoded.message is not None:  # otherwise the decoder has told already
                    self.notes.damage(f'{topic}: an image cannot be used: {decoded.problem}', counted=True)
            else:
                self._count_size(*decoded.image.shape[1::-1])
                self.frame_id = self.frame_id or decoded.message.header.frame_id
                self.use_image(decoded)
        elif topic == selection.camera_info:
            self.cameras.take(decoded.message, topic)
        elif topic in (selection.poses, selection.orientations):
            self.use_result(decoded)
        if topic in selection.truth and self.on_message:
            self.on_message(topic, decoded.message, decoded.raw.time_ns)

    def _count_size(self, width: int, height: int) -> None:
        if (width, height) not in self.image_sizes and self.image_sizes:
            self.notes.info(f'{self.selection.image}: the image size changes to {width}x{height} px')
        self.image_sizes[width, height] = self.image_sizes.get((width, height), 0) + 1

    def _stamp(self, message: Any, time_ns: int) -> int:
        """Return the stamp of a header; where it was never set, the time of recording with a note."""
        stamp = stamp_ns(message.header)
        if stamp == 0:
            self.notes.info('messages without a stamp: the time of recording is used')
        return stamp or time_ns

    def use_image(self, decoded: Decoded) -> None:
        raise NotImplementedError

    def use_result(self, decoded: Decoded) -> None:
        raise NotImplementedError

    def finished(self) -> list[FrameRecord]:
        raise NotImplementedError


class OfflineResults(Results):
    """
    Runs estimator, tracker and orientation on every image in the order of the bag, as nodes that drop nothing.

    estimator : is called by `workers` threads at the same time.
    """

    def __init__(
        self,
        bag: Bag,
        selection: Selection,
        model: ObjectModel,
        cameras: CameraSupply,
        estimator: PoseEstimator,
        workers: int,
        tags: TagTruth | None = None,
    ):
        super().__init__(bag, selection, model, cameras)
        self.workers = workers
        self._estimator, self._tags = estimator, tags
        self._tracker = PoseTracker(model)
        self._orienter: OrientationEstimator | None = None
        self._camera: CameraIntrinsics | None = None
        self._records: list[FrameRecord] = []

    def find(self, image: np.ndarray) -> list[KeypointPose]:
        """Run the estimator; one thread each, so that several images are worked on at the same time."""
        return self._estimator(image)

    def use_image(self, decoded: Decoded) -> None:
        """Track what was found in one image, solve its orientation and remember the result."""
        image, raw = decoded.image, decoded.raw
        assert image is not None and decoded.poses is not None
        height, width = image.shape[:2]
        stamp = self._stamp(decoded.message, raw.time_ns)
        poses = self._tracker.update(decoded.poses, stamp * 1e-9)
        record = FrameRecord(stamp, raw.time_ns, width, height)
        record.set_poses(poses, self.model.keypoint_count)
        camera = self.cameras.for_size(width, height) if self.model.model_points is not None else None
        if camera is not None:
            if camera is not self._camera or self._orienter is None:
                self._camera, self._orienter = camera, OrientationEstimator(self.model, camera)
            record.estimates = self._orienter.update(poses, stamp * 1e-9)
            if self._tags is not None:
                record.truth = self._tags(image, camera)
        self._records.append(record)
        if self.on_frame:
            self.on_frame(Frame(record, image, poses, decoded.message.header.frame_id, camera))

    def use_result(self, decoded: Decoded) -> None:
        """Do nothing: recorded results play no part here."""

    def finished(self) -> list[FrameRecord]:
        return self._records


class RecordedResults(Results):
    """Takes over poses and orientations that were recorded with the bag; those of one stamp belong together."""

    def __init__(
        self,
        bag: Bag,
        selection: Selection,
        model: ObjectModel,
        cameras: CameraSupply,
        tags: TagTruth | None = None,
    ):
        super().__init__(bag, selection, model, cameras)
        self._tags = tags
        self.names = selection.names if tags else selection.names - {selection.image}
        self._records: list[FrameRecord] = []
        self._latest: dict[int, tuple[FrameRecord, set[str]]] = {}
        self._tag_truth: dict[int, Rigid] = {}

    def use_image(self, decoded: Decoded) -> None:
        """Look for tags in an image."""
        assert decoded.image is not None
        camera = self.cameras.for_size(*decoded.image.shape[1::-1])
        truth = self._tags(decoded.image, camera) if self._tags is not None and camera is not None else None
        if truth is not None:
            self._tag_truth[self._stamp(decoded.message, decoded.raw.time_ns)] = truth

    def use_result(self, decoded: Decoded) -> None:
        """Remember one recorded array; one that is about another object is noted and left out."""
        message, raw = decoded.message, decoded.raw
        stamp = self._stamp(message, raw.time_ns)
        self.frame_id = self.frame_id or message.header.frame_id
        if raw.msgtype == ORIENTATIONS_TYPE:
            record = self._record(stamp, raw)
            record.estimates = estimates_from_message(message, self.model)
        else:
            try:
                poses = message_to_poses(message, self.model)
            except MessageError as error:
                self.notes.damage(f'{raw.topic}: {error}', counted=True)
                return
            record = self._record(stamp, raw)
            record.width, record.height = message.image_width, message.image_height
            record.set_poses(poses, self.model.keypoint_count)
        record.latency_ms = (raw.time_ns - stamp) * 1e-6
        record.time_ns = raw.time_ns

    def _record(self, stamp: int, raw: BagMessage) -> FrameRecord:
        """Return the record a message belongs to; a stamp that comes again (bag played in a loop) begins anew."""
        record, seen = self._latest.get(stamp, (None, {raw.msgtype}))
        if record is None or raw.msgtype in seen:
            record, seen = FrameRecord(stamp, raw.time_ns), set()
            record.set_poses([], self.model.keypoint_count)
            self._records.append(record)
            self._latest[stamp] = record, seen
        seen.add(raw.msgtype)
        return record

    def finished(self) -> list[FrameRecord]:
        """Return the records in the order of the bag, each with the truth measured in the image of that stamp."""
        for record in self._records:
            record.truth = self._tag_truth.get(record.stamp_ns)
        return self._records
