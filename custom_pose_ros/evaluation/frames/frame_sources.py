"""FrameSource: what was found in each frame of a bag, by which camera; EstimatedFrames lets the estimators find it."""

from __future__ import annotations

import contextlib
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from custom_pose_ros.core.errors import ConfigError, UsageError
from custom_pose_ros.core.geometry.camera import CameraIntrinsics
from custom_pose_ros.core.geometry.camera_checks import difference_from_recorded
from custom_pose_ros.core.keypoints.poses import KeypointPose
from custom_pose_ros.core.keypoints.tracking import PoseTracker
from custom_pose_ros.core.object_model import ObjectModel
from custom_pose_ros.core.orientation.orientation_estimator import OrientationEstimator
from custom_pose_ros.core.orientation.outlines.outline_views import OutlineViews
from custom_pose_ros.evaluation.bags.reader import Bag
from custom_pose_ros.evaluation.evaluation_settings import Selection
from custom_pose_ros.evaluation.frame_result import FrameResult
from custom_pose_ros.evaluation.frames.message_stream import DecodedMessage
from custom_pose_ros.evaluation.notes import Notes
from custom_pose_ros.evaluation.truth.apriltag import TagTruth
from custom_pose_ros.evaluation.truth.tracks import stamp_ns
from custom_pose_ros.inference.camera_calibration import CameraCalibration

_NO_PLACES = 'the object file does not say where keypoints are on the object (model_points)'


class CameraSupply:
    """
    Answers with the intrinsics for an image size; the same object as long as nothing changes. Problems become notes.

    Attributes:
        description: Where the intrinsics come from.
    """

    def __init__(self, notes: Notes, file: Path | None = None, fov_deg: float | None = None, rectified: bool = False):
        """
        Begin with a calibration file or without one; ConfigError when it cannot be used.

        Args:
            notes: Where problems are written to.
            file: Calibration that replaces any camera_info.
            fov_deg: Horizontal field of view to assume where there is neither.
            rectified: Whether the images are rectified.
        """
        self.notes, self._fov_deg, self._file, self._fits_any = notes, fov_deg, file, False
        self.description = file.name if file else 'none'
        self._calibration = CameraCalibration(file, rectified, self._report)
        self._recorded, self._recorded_topic = CameraCalibration(rectified=rectified), ''
        self._compared: CameraIntrinsics | None = None

    def _report(self, remark: str) -> None:
        self.notes.info(f'{self.description}: {remark}')

    def find_first(self, bag: Bag, topic: str) -> None:
        """Use the first usable camera_info of the bag, so that images recorded before it are not lost."""
        for message in bag.messages([topic]):
            if self._calibration.is_known:
                return
            if (decoded := bag.decode(message)) is not None:
                self.accept(decoded, topic)

    def compare_with(self, bag: Bag, topic: str) -> None:
        """Note how far the calibration that is given is from the first usable camera_info of the bag."""
        self._recorded_topic = topic
        for content in filter(None, map(bag.decode, bag.messages([topic]))):
            with contextlib.suppress(ConfigError):
                self._recorded.accept(content)
                return

    def _compare(self, given: CameraIntrinsics) -> None:
        self._compared = given
        with contextlib.suppress(ConfigError):  # of images of another shape
            recorded = self._recorded.for_size(given.width, given.height)
            if text := difference_from_recorded(given, recorded, self._recorded_topic):
                self.notes.info(f'{self.description}: {text}')

    def accept(self, message: Any, topic: str) -> None:
        """Use a camera_info message from here on, if it is a calibration and none was given."""
        if self._calibration.is_given:
            return
        was_known = self._calibration.is_known
        try:
            changed = self._calibration.accept(message)
        except ConfigError as error:
            self.notes.damage(f'{topic}: is not a calibration ({error})')
            return
        if changed and was_known:
            self.notes.info(f'{topic}: the calibration changes within the bag; each image uses the latest')
        self.description = topic

    def for_size(self, width: int, height: int) -> CameraIntrinsics | None:
        """
        Return the intrinsics for images of this size; None, with a note, when there are none.

        Raises:
            UsageError: The calibration that was given cannot be that of the first images.
        """
        if not self._calibration.is_known and self._fov_deg is None:
            self.notes.info(
                'no calibration: orientations are not evaluated; give --camera FILE, --camera-info TOPIC or --fov-deg'
            )
            return None
        if self._calibration.is_known and self._fov_deg is not None:
            self.notes.info(f'--fov-deg {self._fov_deg:g}: is not used, as {self.description} has a calibration')
        elif not self._calibration.is_known:
            self.description = f'assumed, horizontal field of view {self._fov_deg:g} deg'
        if self._calibration.rectifies:
            self.notes.info(f'{self.description}: P is used, without distortion, as the images are rectified')
        try:
            camera = self._calibration.for_size(width, height, self._fov_deg or 0.0)
            self._fits_any = True
            if self._recorded.is_known and camera is not self._compared:
                self._compare(camera)
            return camera
        except ConfigError as error:
            if self._file and not self._fits_any:
                raise UsageError(f'--camera {self._file}: {str(error).removeprefix("camera: ")}') from error
            self.notes.damage(f'images of {width}x{height} px: {error}')
            return None


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


class FrameInputs(NamedTuple):
    """
    What every source of frames needs.

    Attributes:
        selection: Topics to read.
        model: The object.
        cameras: Intrinsics for the images.
        tags: Measures the truth in the images themselves, or None.
    """

    selection: Selection
    model: ObjectModel
    cameras: CameraSupply
    tags: TagTruth | None


class FrameSource(ABC):
    """
    Collects the results of all frames from the messages of a bag; subclasses say where the results come from.

    Attributes:
        names: Topics whose messages are to be decoded.
        unreadable: Number of images that cannot be used.
        image_sizes: Number of images of each (width, height).
        frame_id: Of the first image or result.
    """

    def __init__(self, inputs: FrameInputs):
        self.selection, self.model, self.cameras, self.tags = inputs
        self.names = self.selection.names
        self.notes = self.cameras.notes
        self.unreadable = 0
        self.image_sizes: dict[tuple[int, int], int] = {}
        self.frame_id = ''
        self._results: list[FrameResult] = []

    def add(self, message: DecodedMessage) -> EvaluatedFrame | None:
        """Use one message; the frame if it completes one whose image is at hand."""
        topic, selection = message.raw.topic.name, self.selection
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

    def __init__(self, inputs: FrameInputs, outline: OutlineViews | None):
        super().__init__(inputs)
        self._tracker = PoseTracker(self.model)
        self._outline = outline
        self._orienter: OrientationEstimator | None = None
        self._by_keypoints: OrientationEstimator | None = None  # to compare with, where there is an outline
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
                self._by_keypoints = None if self._outline is None else OrientationEstimator(self.model, camera)
            result.estimates = self._orienter.update(poses, stamp * 1e-9, image)
            result.refusals = [reason for _, reason in self._orienter.refusals]
            if self._by_keypoints is not None:
                result.without_outline = self._by_keypoints.update(poses, stamp * 1e-9)
            if self.tags is not None:
                result.truth = self.tags(image, camera)
        else:
            lacking = _NO_PLACES if self.model.model_points is None else 'there is no calibration'
            result.refusals = [lacking] * len(poses)
        self._results.append(result)
        return EvaluatedFrame(result, image, poses, message.content.header.frame_id, camera)

    def _add_result(self, message: DecodedMessage) -> None:
        """Do nothing: recorded results play no part here."""
