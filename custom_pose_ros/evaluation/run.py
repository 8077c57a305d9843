"""Evaluation: one bag from its files to numbers; what the command line, the report and the comparison are made of."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from custom_pose_ros.core.errors import ConfigError, DatasetError
from custom_pose_ros.core.geometry.camera import CameraIntrinsics
from custom_pose_ros.core.object_model import ObjectModel, Thresholds, find_object_folder
from custom_pose_ros.evaluation.bags.reader import Bag
from custom_pose_ros.evaluation.bags.topics import choose_camera_info, choose_image_topic, choose_recorded
from custom_pose_ros.evaluation.notes import Notes
from custom_pose_ros.evaluation.provenance import sha256, versions
from custom_pose_ros.evaluation.records import FrameRecord
from custom_pose_ros.evaluation.results.bag_copy import BagCopy
from custom_pose_ros.evaluation.results.camera_supply import CameraSupply
from custom_pose_ros.evaluation.results.sources import Frame, OfflineResults, RecordedResults, Results, Selection
from custom_pose_ros.evaluation.scoring.frame_scores import FrameScore, Scorer
from custom_pose_ros.evaluation.scoring.frame_table import to_csv
from custom_pose_ros.evaluation.scoring.metrics import SCHEMA, rounded, summarise, summarise_labels, to_json
from custom_pose_ros.evaluation.truth.alignment import Alignment
from custom_pose_ros.evaluation.truth.apriltag import TagTruth, read_tags
from custom_pose_ros.evaluation.truth.coco_labels import CocoLabels
from custom_pose_ros.evaluation.truth.source import TruthSettings, TruthSource
from custom_pose_ros.inference.backends import default_threads
from custom_pose_ros.inference.estimator import PoseEstimator


@dataclass(frozen=True)
class Settings:
    """
    What to evaluate and how; the fields are the options of evaluate_bag.

    recorded : topics to score instead of running the estimators, '' to run them.
    fov_deg : horizontal field of view assumed without a calibration.
    start_s, duration_s : part of the bag, from its first message [s].
    """

    bags: tuple[Path, ...]
    object: str = 'submarine'
    model: Path | None = None
    backend: str = 'auto'
    precision: str = 'auto'
    threads: int | None = None
    input_height: int | None = None
    thresholds: Thresholds | None = None
    image: str | None = None
    camera_info: str | None = None
    camera: Path | None = None
    fov_deg: float | None = None
    recorded: str = ''
    truth: TruthSettings = field(default_factory=TruthSettings)
    labels: Path | None = None
    start_s: float = 0.0
    duration_s: float | None = None
    write_bag: Path | None = None


@dataclass(eq=False)
class Evaluation:
    """
    The outcome. metrics : content of metrics.json. scores : one for each frame, in order.

    seconds, frames_per_s : of the reading and estimating; they are no part of the metrics.
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

    @property
    def frames_per_s(self) -> float:
        return len(self.scores) / self.seconds if self.seconds > 0 else 0.0

    @property
    def has_truth(self) -> bool:
        return self.alignment is not None

    def metrics_text(self) -> str:
        """Return the text of metrics.json."""
        return to_json(self.metrics)

    @cached_property
    def frames_text(self) -> str:
        """The text of frames.csv."""
        return to_csv(self.scores, self.model, self.bag.start_ns)


class Evaluator:
    """
    Evaluates one bag. Usage: `Evaluator(settings).run()`.

    on_frame : called with every frame while its image is at hand (video, progress).
    on_begin : called with the number of frames that are expected and the frames per second of the recording.
    Raises ConfigError, ModelError or DatasetError with one line when nothing can be scored.
    """

    def __init__(self, settings: Settings):
        if settings.write_bag and settings.recorded:
            raise ConfigError('--write-bag adds what the estimators find; it does not go together with --recorded')
        self.settings = settings
        self.on_frame: Callable[[Frame], None] | None = None
        self.on_begin: Callable[[int, float], None] | None = None
        self.notes = Notes()
        self.model = ObjectModel.load(settings.object)
        if settings.truth.kind is not None and self.model.model_points is None:
            raise ConfigError(
                f'object {self.model.name!r} has no model_points: a true pose cannot be compared; use --truth-coco'
            )
        self.estimator = None if settings.recorded else self._load_estimator()
        self.labels = CocoLabels(settings.labels, self.model) if settings.labels else None
        self.tags = TagTruth(read_tags(settings.truth.tags)) if settings.truth.tags else None

    def run(self) -> Evaluation:
        """Read the bag, estimate or take over, score."""
        reading = Notes()
        with Bag(self.settings.bags, reading) as bag:
            truth, selection = self._choose(bag)
            cameras = self._cameras(bag, selection)
            if self.on_begin:
                topic = str(selection.poses or selection.orientations or selection.image)
                self.on_begin(bag.topics[topic].count, bag.frame_rate(topic))
            results = self._results(bag, selection, cameras)
            if truth.kind in ('topic', 'tf'):
                results.on_message = truth.take
            started = time.perf_counter()
            with self._copying(bag, results):
                records = results.run()
            seconds = time.perf_counter() - started
        if not records:
            raise DatasetError(
                f'{bag.name}: nothing could be evaluated; ' + '; '.join(reading.lines() + self.notes.lines())
            )
        truths, alignment = self._truths(truth, records, results.frame_id, reading.damaged)
        scores = Scorer(self.model, cameras.for_size).score(records, truths)
        metrics = self._metrics(bag, selection, cameras, results, scores, alignment, reading)
        damaged = reading.damaged or self.notes.damaged
        return Evaluation(
            self.settings, self.model, metrics, scores, alignment, bag, selection, cameras, damaged, seconds
        )

    def _load_estimator(self) -> PoseEstimator:
        s = self.settings
        if s.threads is not None and s.threads < 1:
            raise ConfigError(f'--threads: wanted at least 1, got {s.threads}')
        # Several images at a time, each in one thread, with the first backend, not the fastest: nothing waits, and the
        # numbers do not depend on the machine.
        return PoseEstimator.load(
            s.object, s.model, s.backend, s.input_height, s.thresholds, threads=1, precision=s.precision, measure=False
        )

    def _choose(self, bag: Bag) -> tuple[TruthSource, Selection]:
        """Choose topics; what a damaged bag has lost is said with the error."""
        if not any(topic.count for topic in bag.topics.values()):
            raise DatasetError(f'{bag.name}: no message can be read; {"; ".join(bag.notes.lines()) or "it is empty"}')
        try:
            truth = self._truth_source(bag)
            return truth, self._select(bag, truth)
        except ConfigError as error:
            if not bag.notes.damaged:
                raise
            raise ConfigError(f'{error}; the bag is damaged: {"; ".join(bag.notes.lines(damaged=True))}') from error

    def _truth_source(self, bag: Bag) -> TruthSource:
        """Return the source of truth; none, with a note, when it is lost in a damaged bag: the rest is still scored."""
        try:
            return TruthSource(self.settings.truth, bag, self.notes)
        except ConfigError as error:
            if not bag.notes.damaged or self.settings.truth.kind is None:
                raise
            self.notes.damage(f'scored without truth: {error}')
            return TruthSource(TruthSettings(), bag, self.notes)

    def _select(self, bag: Bag, truth: TruthSource) -> Selection:
        s = self.settings
        poses = orientations = None
        if s.recorded:
            poses, orientations = choose_recorded(bag.topics, s.recorded)
        image = None
        with (
            contextlib.suppress(ConfigError) if s.recorded and not (s.image or self.tags) else contextlib.nullcontext()
        ):
            image = choose_image_topic(bag.topics, s.image).name
        info = choose_camera_info(bag.topics, s.camera_info, image)
        start_ns = bag.start_ns + round(s.start_s * 1e9)
        return Selection(
            image=image,
            camera_info=info.name if info else None,
            poses=poses.name if poses else None,
            orientations=orientations.name if orientations else None,
            truth=truth.topics,
            start_ns=start_ns if s.start_s else None,
            stop_ns=None if s.duration_s is None else start_ns + round(s.duration_s * 1e9),
        )

    def _cameras(self, bag: Bag, selection: Selection) -> CameraSupply:
        s = self.settings
        given = CameraIntrinsics.from_yaml(s.camera) if s.camera else None
        cameras = CameraSupply(self.notes, given, s.fov_deg, s.camera.name if s.camera else '')
        if selection.camera_info:
            cameras.find_first(bag, selection.camera_info)
        return cameras

    def _results(self, bag: Bag, selection: Selection, cameras: CameraSupply) -> Results:
        if self.estimator is not None:
            self.estimator.warm_up()
            workers = self.settings.threads or default_threads()
            results: Results = OfflineResults(bag, selection, self.model, cameras, self.estimator, workers, self.tags)
        else:
            results = RecordedResults(bag, selection, self.model, cameras, self.tags)
        results.on_frame = self.on_frame
        return results

    @contextlib.contextmanager
    def _copying(self, bag: Bag, results: Results) -> Iterator[None]:
        """Write the copy of the bag while it is read, if one is wanted."""
        if self.settings.write_bag is None:
            yield
            return
        with BagCopy(self.settings.write_bag, bag, self.model, self.notes) as copy:
            others = results.on_frame

            def on_frame(frame: Frame) -> None:
                copy.add(frame)
                if others:
                    others(frame)

            results.on_raw, results.on_frame = copy.copy, on_frame
            yield
        if copy.prefix:
            self.notes.info(f'--write-bag: the bag has such topics already; the new ones are under {copy.prefix}')

    def _truths(
        self, truth: TruthSource, records: Sequence[FrameRecord], camera_frame: str, damaged: bool
    ) -> tuple[list | None, Alignment | None]:
        if truth.kind is None:
            return None, None
        try:
            return truth.camera_objects(records, camera_frame)
        except ConfigError as error:
            if not damaged:
                raise
            self.notes.damage(f'scored without truth: {error}')
            return None, None

    def _metrics(
        self,
        bag: Bag,
        selection: Selection,
        cameras: CameraSupply,
        results: Results,
        scores: Sequence[FrameScore],
        alignment: Alignment | None,
        reading: Notes,
    ) -> dict[str, Any]:
        settings = self.settings
        metrics: dict[str, Any] = {
            'schema': SCHEMA,
            'object': self.model.name,
            'bag': {
                'name': bag.name,
                'image': selection.image,
                'poses': selection.poses,
                'orientations': selection.orientations,
                'truth': self._truth_name(selection),
                'duration_s': (scores[-1].record.time_ns - scores[0].record.time_ns) * 1e-9,
            },
            'frames': {
                'scored': len(scores),
                'unreadable': results.unreadable,
                'with_truth': sum(s.truth is not None for s in scores),
                'image_sizes': {f'{w}x{h}': n for (w, h), n in results.image_sizes.items()},
                'missing_results': self._missing(bag, selection, scores),
            },
            'configuration': self._configuration(cameras),
            **summarise(scores, self.model, alignment is not None),
        }
        if self.labels is not None:
            metrics['labels'] = self._label_metrics([s.record for s in scores])
        if alignment is not None:
            metrics['alignment'] = alignment.to_dict()
        metrics['versions'] = versions()
        metrics['notes'] = {
            'damage': reading.lines(True) + self.notes.lines(True),
            'information': reading.lines(False) + self.notes.lines(False),
        }
        metrics['configuration']['extrinsics'] = settings.truth.extrinsics if alignment is not None else None
        return rounded(metrics)

    def _truth_name(self, selection: Selection) -> str | None:
        truth = self.settings.truth
        if truth.kind == 'topic':
            return selection.truth[0]
        if truth.kind == 'tf':
            return 'tf: ' + ' '.join(truth.tf)
        if truth.kind == 'tags':
            return 'AprilTags on the object'
        return 'labels' if self.labels else None

    def _missing(self, bag: Bag, selection: Selection, scores: Sequence[FrameScore]) -> int | None:
        """Return how many images have no recorded result (dropped live); None when results were not recorded."""
        if not self.settings.recorded or selection.image is None:
            return None
        return max(bag.topics[selection.image].count - len(scores), 0)

    def _configuration(self, cameras: CameraSupply) -> dict[str, Any]:
        estimator, settings = self.estimator, self.settings
        result: dict[str, Any] = {'mode': 'recorded' if estimator is None else 'offline', 'camera': cameras.description}
        if estimator is not None:
            thresholds = {
                name: getattr(estimator.thresholds, name) for name in estimator.thresholds.__dataclass_fields__
            }
            result |= {
                'backend': estimator.backend.name,
                'precision': estimator.backend.precision,
                'model_sha256': sha256(_model_file(settings)),
                'input_height': estimator.input_height,
                'thresholds': thresholds,
            }
        return result

    def _label_metrics(self, records: Sequence[FrameRecord]) -> dict[str, Any]:
        assert self.labels is not None
        scores, surplus, frames = [], 0, 0
        for index, record in enumerate(records):
            labels = self.labels.of(index, record.stamp_ns)
            if labels is not None:
                of_frame, left_over = self.labels.score(record, labels)
                scores, surplus, frames = scores + of_frame, surplus + left_over, frames + 1
        if frames < self.labels.frames:
            self.notes.info(
                f'{self.labels.frames - frames} labelled frames are not in the part of the bag that was read'
            )
        return summarise_labels(scores, surplus, frames, self.model)


def _model_file(settings: Settings) -> Path | None:
    path = settings.model or find_object_folder(settings.object)
    candidates = [path] if path.is_file() else [path / 'model.onnx', path / 'model.pth']
    return next((p for p in candidates if p.is_file()), None)
