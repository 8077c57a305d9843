"""The evaluation of one bag, from its files to the numbers of metrics.json."""

from __future__ import annotations

import contextlib
import dataclasses
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from custom_pose_ros.core.errors import ConfigError, DatasetError, UsageError
from custom_pose_ros.core.object_model import ObjectModel
from custom_pose_ros.core.orientation.outlines.outline_views import OutlineViews, find_outline
from custom_pose_ros.evaluation.bags.reader import Bag
from custom_pose_ros.evaluation.bags.topics import FOREIGN_TYPES
from custom_pose_ros.evaluation.evaluation_settings import Selection, Settings, select, select_camera_info
from custom_pose_ros.evaluation.frame_result import FrameResult
from custom_pose_ros.evaluation.frames.bag_copy import bag_copy
from custom_pose_ros.evaluation.frames.frame_sources import (
    CameraSupply,
    EstimatedFrames,
    EvaluatedFrame,
    FrameInputs,
    FrameSource,
)
from custom_pose_ros.evaluation.frames.message_stream import decoded_messages
from custom_pose_ros.evaluation.frames.recorded_frames import ForeignFrames, RecordedFrames
from custom_pose_ros.evaluation.notes import Notes
from custom_pose_ros.evaluation.scoring.frame_scores import FrameScore, Scorer
from custom_pose_ros.evaluation.scoring.frame_table import frame_table, to_csv
from custom_pose_ros.evaluation.scoring.run_metrics import calibration_metrics, run_metrics
from custom_pose_ros.evaluation.scoring.summary import outline_metrics, to_json
from custom_pose_ros.evaluation.truth.alignment import Alignment
from custom_pose_ros.evaluation.truth.apriltag import TagTruth, read_tags
from custom_pose_ros.evaluation.truth.coco_labels import CocoLabels
from custom_pose_ros.evaluation.truth.source import TruthSettings, TruthSource
from custom_pose_ros.inference.backends import default_threads
from custom_pose_ros.inference.camera_calibration import shows_rectified_images
from custom_pose_ros.inference.estimator import Estimator, PoseEstimator


@dataclass(eq=False)
class Evaluation:
    """
    The outcome.

    Attributes:
        metrics: Content of metrics.json.
        scores: One for each frame, in order.
        bag: From which the report fetches pictures, as long as it is open.
        seconds: Of the reading and estimating; no part of the metrics.
        outline: By which poses were measured, if any.
    """

    settings: Settings
    model: ObjectModel
    metrics: dict[str, Any]
    scores: list[FrameScore]
    alignment: Alignment | None
    bag: Bag
    selection: Selection
    cameras: CameraSupply
    damaged: bool
    seconds: float
    outline: OutlineViews | None

    @property
    def frames_per_s(self) -> float:
        return len(self.scores) / self.seconds if self.seconds > 0 else 0.0

    @property
    def has_truth(self) -> bool:
        return self.alignment is not None

    @cached_property
    def table(self) -> dict[str, np.ndarray]:
        """A column of numbers for each thing measured, see frame_table."""
        return frame_table(self.scores, self.model, self.bag.start_ns)

    def metrics_text(self) -> str:
        """Return the text of metrics.json."""
        return to_json(self.metrics)

    def frames_text(self) -> str:
        """Return the text of frames.csv."""
        return to_csv(self.table)


class Evaluator:
    """
    Everything an evaluation needs besides the bag: object, network, labels.

        evaluator = Evaluator(settings)
        with Bag(settings.bags) as bag:
            reading = evaluator.read(bag)
            for frame in reading.frames():
                ...  # frame.image, frame.poses, frame.result
            evaluation = reading.score()

    Raises:
        UsageError: The settings do not go together.
        ConfigError, ModelError, DatasetError: A file cannot be used.
    """

    def __init__(self, settings: Settings):
        if settings.write_bag and settings.recorded:
            raise UsageError('--write-bag adds what the estimators find; it does not go together with --recorded')
        self.settings = settings
        self.model = ObjectModel.load(settings.object)
        if settings.truth.kind is not None and self.model.model_points is None:
            raise ConfigError(
                f'object {self.model.name!r} has no model_points: a true pose cannot be compared; use --truth-coco'
            )
        self.estimator = None if settings.recorded else self._load_estimator()
        self.outline = None if settings.recorded else find_outline(self.model, settings.outline)
        self.labels = CocoLabels(settings.labels, self.model) if settings.labels else None
        self.tags = TagTruth(read_tags(settings.truth.tags)) if settings.truth.tags else None

    def _load_estimator(self) -> Estimator:
        s = self.settings
        # Several images at a time, each in one thread: none waits for another.
        return PoseEstimator.load(
            s.object, s.model, s.backend, s.input_height, s.thresholds, threads=1, precision=s.precision, parallel=True
        )

    def read(self, bag: Bag) -> Reading:
        """Choose topics and calibration of an open bag; UsageError with all choices when the settings do not fit."""
        return Reading(self, bag)

    def evaluate(self, bag: Bag) -> Evaluation:
        """Read a bag from its beginning to its end and score it."""
        reading = self.read(bag)
        for _ in reading.frames():
            pass
        return reading.score()


class Reading:
    """
    One pass over a bag: first all frames, then the score.

    Attributes:
        selection: Topics and part of the bag that are read.
    """

    def __init__(self, evaluator: Evaluator, bag: Bag):
        self.evaluator, self.bag = evaluator, bag
        self.settings, self.model = evaluator.settings, evaluator.model
        self.notes = Notes()
        self.seconds = 0.0
        self._truth, self.selection = self._choose()
        self._cameras = self._find_cameras()
        self._source = self._frame_source()

    @property
    def topic(self) -> str:
        """The topic with a message for each frame."""
        return str(self.selection.poses or self.selection.orientations or self.selection.image)

    def frames(self) -> Iterator[EvaluatedFrame]:
        """Read the bag once, to its end; yields each frame whose image is at hand, that is none of recorded results."""
        estimator, target = self.evaluator.estimator, self.settings.write_bag
        workers = 1
        if estimator is not None:
            estimator.warm_up()
            workers = self.settings.threads or default_threads()
        started = time.perf_counter()
        with (
            bag_copy(target, self.bag, self.model, self.notes) if target else contextlib.nullcontext() as copy,
            contextlib.closing(
                decoded_messages(self.bag, self.selection, self._source.names, estimator, workers, copy is not None)
            ) as messages,
        ):
            for message in messages:
                if copy:
                    copy.add_message(message.raw)
                if message.content is None and not message.problem:
                    continue
                frame = self._source.add(message)
                if message.raw.topic.name in self._truth.topics:
                    self._truth.add(message.raw.topic.name, message.content, message.raw.time_ns)
                if frame is not None:
                    if (labels := self.evaluator.labels) is not None:  # now, not after the whole bag
                        result, number = frame.result, len(self._source.results()) - 1
                        labels.require_size(number, result.stamp_ns, result.width, result.height)
                    if copy:
                        copy.add_frame(frame)
                    yield frame
        self.seconds = time.perf_counter() - started

    def score(self) -> Evaluation:
        """Compare what `frames` has read with the truth; DatasetError when there was nothing."""
        results = self._source.results()
        if not results:
            notes = '; '.join(self.bag.notes.lines() + self.notes.lines())
            raise DatasetError(
                f'{self.bag.name}: nothing could be evaluated; {notes or "no image lies in the time that was chosen"}'
            )
        truths, alignment = self._truths(results)
        scores = Scorer(self.model, self._cameras.for_size).score(results, truths)
        outline, measured = self.evaluator.outline, None
        if outline is not None:
            alone = [dataclasses.replace(result, estimates=result.without_outline) for result in results]
            without = Scorer(self.model, self._cameras.for_size).score(alone, truths)
            measured = outline_metrics(scores, without, outline.mesh, alignment is not None)
        used = dataclasses.replace(self.settings, truth=self._truth.settings)  # a cut bag may have lost the truth
        metrics = run_metrics(
            used, self.bag, self._source, self.evaluator.estimator, self.evaluator.labels, scores, alignment, measured,
            calibration_metrics(results, self.model, self._cameras),
        )  # fmt: skip
        damaged = self.bag.notes.damaged or self.notes.damaged
        return Evaluation(
            self.settings, self.model, metrics, scores, alignment, self.bag, self.selection, self._cameras, damaged,
            self.seconds, outline,
        )  # fmt: skip

    def _choose(self) -> tuple[TruthSource, Selection]:
        """Choose topics; an error names what a damaged bag has lost."""
        bag = self.bag
        if not any(topic.count for topic in bag.topics.values()):
            raise DatasetError(f'{bag.name}: no message can be read; {"; ".join(bag.notes.lines()) or "it is empty"}')
        try:
            truth = self._truth_source()
            return truth, select(bag, self.settings, truth.topics, self.notes)
        except UsageError as error:
            if not bag.notes.damaged:
                raise
            raise DatasetError(f'{error}; the bag is damaged: {"; ".join(bag.notes.lines(damaged=True))}') from error

    def _truth_source(self) -> TruthSource:
        """Return the source of truth; an empty one, with a note, when a damaged bag has lost the truth."""
        try:
            return TruthSource(self.settings.truth, self.bag, self.notes)
        except UsageError as error:
            if not self.bag.notes.damaged or self.settings.truth.kind is None:
                raise
            self.notes.damage(f'scored without truth: {error}')
            return TruthSource(TruthSettings(), self.bag, self.notes)

    def _find_cameras(self) -> CameraSupply:
        s = self.settings
        rectified = shows_rectified_images(self.selection.image or '') if s.rectified is None else s.rectified
        cameras = CameraSupply(self.notes, s.camera, s.fov_deg, rectified)
        if self.selection.camera_info:
            cameras.find_first(self.bag, self.selection.camera_info)
        elif s.camera and (topic := select_camera_info(self.bag, None, self.selection.image, Notes())):
            cameras.compare_with(self.bag, topic)
        return cameras

    def _frame_source(self) -> FrameSource:
        inputs = FrameInputs(self.selection, self.model, self._cameras, self.evaluator.tags)
        if self.evaluator.estimator is not None:
            return EstimatedFrames(inputs, self.evaluator.outline)
        orientations = self.selection.orientations
        if orientations and self.bag.topics[orientations].msgtype in FOREIGN_TYPES:
            return ForeignFrames(inputs, self.settings.recorded_class)
        if self.settings.recorded_class:
            raise UsageError('--recorded-class: the recorded topics are those of this package and name one object')
        return RecordedFrames(inputs)

    def _truths(self, results: Sequence[FrameResult]) -> tuple[list | None, Alignment | None]:
        if self._truth.kind is None:
            return None, None
        try:
            return self._truth.camera_objects(results, self._source.frame_id)
        except ConfigError as error:
            if not self.bag.notes.damaged:
                raise
            self.notes.damage(f'scored without truth: {error}')
            return None, None
