"""One training run from its settings to its checkpoints: data, initial weights, loop, validation, resume."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch

from custom_pose_ros.core.command_line import say
from custom_pose_ros.core.errors import ConfigError, CustomPoseError, ModelError
from custom_pose_ros.core.files import FolderLock, own_folder
from custom_pose_ros.core.keypoints.preprocessing import check_input_height
from custom_pose_ros.core.object_model import ObjectModel
from custom_pose_ros.inference.backends.torch_backend import TorchBackend
from custom_pose_ros.inference.checkpoints import Checkpoint, load_checkpoint, save_checkpoint
from custom_pose_ros.inference.estimator import PoseEstimator
from custom_pose_ros.inference.network import build_network
from training.pose_training.data.batches import TicketBatches, default_workers, size_of_batch, stream_of_batches
from training.pose_training.data.training_set import TrainingSample, TrainingSet
from training.pose_training.judging.accuracy import Accuracy, measure
from training.pose_training.labels.coco import LabelledImage
from training.pose_training.labels.label_states import state_notes
from training.pose_training.learning import computing
from training.pose_training.learning.computing import Pace
from training.pose_training.learning.engine import Trainer
from training.pose_training.learning.log import FEW_STEPS, HISTORY, Heartbeat, RunLog, advice, turn_note
from training.pose_training.learning.run_settings import RunSettings, default_crop, load_sources
from training.pose_training.networks.initial_weights import load_initial_weights

SAVE_EVERY_S = 60.0
_JUDGED_IMAGES = 40  # of those learned from, at the end of a run
_NORM_BATCHES = 8  # of samples, for the statistics of an exported network
_BEST_FILE, LAST_FILE = 'best.pth', 'last.pth'
_VALIDATION_SHARE = 0.2  # of the time of a run limited by it, for validations before the last one
_TRIED_IMAGES = 3  # before the first validation, to see how long it will take
_LAST_SHARE = 0.02  # of a run limited by time: kept for the last validation


class TrainingRun:
    """
    A run in a folder: `best.pth`, `last.pth`, `history.jsonl` and TensorBoard events.

    Attributes:
        model: The object, with the input height of the run.
        settings: What decides the result.
        sources: Images to train on, by data set.
        validation: Images to validate on.
        trainer: Network and optimiser.
        best_score: Score of the best validation so far.
        start_note: Says which weights the run started from.
    """

    def __init__(
        self,
        model: ObjectModel,
        settings: RunSettings,
        folder: Path,
        threads: int | None = None,
        workers: int | None = None,
        state: Mapping[str, Any] | None = None,
        more_images: Sequence[LabelledImage] = (),
    ):
        """
        Read the data and build the network, see `new` and `resumed`.

        Args:
            model: The object.
            settings: What decides the result.
            folder: Where the files of the run are written.
            threads: CPU threads of the network; None for all cores or one, whichever is faster in the first steps.
            workers: Processes that make samples; None for a number by the cores.
            state: Training state of a checkpoint to continue from; None for a new run.
            more_images: One more source, which no file holds: its checkpoints cannot be continued.
        """
        started = time.monotonic()
        self._lock: FolderLock | None = None  # of the folder, kept as long as the run
        self.model, self.settings, self.folder = trainable(model, settings.input_height), settings, folder
        self._workers = default_workers() if workers is None else workers
        cv2.setNumThreads(0)  # the cores are busy; OpenCV's threads in forked workers can freeze
        cv2.ocl.setUseOpenCL(False)
        if threads is not None:
            torch.set_num_threads(threads)
        torch.manual_seed(settings.seed)
        with Heartbeat('reading the images', say, computing.is_first()):
            self.sources, self.validation = load_sources(settings, self.model)
        self.sources += [list(more_images)] if more_images else []
        self._resumable = not more_images
        network = build_network(settings.architecture, self.model, **settings.options)
        self.group = computing.join()
        self._choose_threads = threads is None and self.group.world == 1 and self.group.device.type == 'cpu'
        self.trainer = Trainer(network, settings.optimiser(), settings.precision, self.group.device)
        if settings.freeze and settings.initial_weights != 'none':
            self.trainer.freeze(network.early_layers())
        if state is None:
            images = (torch.as_tensor(b.image).to(self.group.device) for b in islice(self.batches(), _NORM_BATCHES))
            with Heartbeat('reading the weights to start from', say, self.group.is_first):
                self.start_note = load_initial_weights(network, settings.initial_weights, images)
            self.trainer.restart_average()
            self.best_score, elapsed_before_s = float('inf'), 0.0
        else:
            self.trainer.load_state(state['trainer'])
            self.start_note = f'resumed at step {self.trainer.step_count}'
            self.best_score, elapsed_before_s = float(state['best_score']), float(state['elapsed_s'])
        self._total_steps = self._count_steps()
        self._validated_s = self._next_validation_s = 0.0  # of all so far, and of the next one as expected
        self._started = started - elapsed_before_s

    @classmethod
    def new(
        cls,
        source: str | ObjectModel,
        settings: RunSettings,
        folder: Path,
        threads: int | None = None,
        workers: int | None = None,
        more_images: Sequence[LabelledImage] = (),
    ) -> TrainingRun:
        """
        Start a run; the arguments are those of the constructor, and `source` the object or where its file is.

        Raises:
            ConfigError: The folder holds a run already or is another process's, or the object cannot be trained.
            DatasetError: The labels cannot be used.
            ModelError: The weights to start from cannot be used.
        """
        model = source if isinstance(source, ObjectModel) else ObjectModel.load(source)
        check_place(folder)
        run = cls(model, settings, folder, threads, workers, more_images=more_images)
        run._lock = _own(folder)
        create_history(folder)
        return run

    @classmethod
    def resumed(cls, folder: Path, threads: int | None = None, workers: int | None = None) -> TrainingRun:
        """
        Continue where `last.pth` in a folder stopped.

        Raises:
            ConfigError: Another process writes into the folder.
            ModelError: There is no such file, or it cannot be continued.
        """
        path = folder / LAST_FILE
        if not path.is_file():
            raise ModelError(f'{path}: no such file; --out must be the folder of the run to go on with')
        lock = _own(folder)
        with contextlib.ExitStack() as refused:  # leaves nothing of a run that is
            if lock is not None:
                refused.push(lock)
            checkpoint = load_checkpoint(path)
            state = checkpoint.training
            if state is None:
                raise ModelError(f'{path}: holds no training state; start anew with --weights on this file')
            try:
                run = cls(checkpoint.model, RunSettings(**state['settings']), folder, threads, workers, state)
            except CustomPoseError:
                raise
            except Exception as error:  # any, as a state of another version or a damaged one may hold anything
                reason = (str(error).splitlines() or [''])[0]
                raise ModelError(
                    f'{path}: its run cannot be continued ({type(error).__name__}: {reason}); '
                    'start anew with --weights on this file'
                ) from error
            refused.pop_all()
        run._lock = lock
        return run

    def train(self) -> Accuracy | None:
        """Train to the end; return the last validation, or None without validation images."""
        log = RunLog(self.folder, self.group.is_first)
        log.lines(self._opening())
        with log.heartbeat:
            accuracy = self._train(log)
        self.group.close()
        if self._lock is not None:
            self._lock.close()
        return accuracy

    def _train(self, log: RunLog) -> Accuracy | None:
        if self.group.is_first and not (self.folder / LAST_FILE).exists():
            self.save()  # so that --resume works from the first step on
        self.trainer.distribute(self.group)
        validated, saved, accuracy = self.progress(), time.monotonic(), None
        pace = Pace(self._choose_threads)
        for batch in self.batches():
            progress = self.group.agreed(self.progress())
            if progress >= 1:
                break
            pace.before_step()
            began = time.monotonic()
            losses = self.trainer.step(batch, progress)
            step_s = pace.after_step(time.monotonic() - began)
            log.step(self.trainer.step_count, progress, self.elapsed_s, losses)
            if step_s is not None:
                log.line(self._time_line(step_s))
            if not self.group.is_first:
                continue
            due = progress - validated >= self.settings.validate_every
            if due and progress < 1 - self.settings.validate_every / 2 and self._can_validate():
                validated, saved = progress, time.monotonic()
                accuracy = self._validate_and_save(log)
            elif time.monotonic() - saved >= SAVE_EVERY_S:
                saved = time.monotonic()
                self.save()
        if self.group.is_first:
            accuracy = self._validate_and_save(log)
            log.close(self._closing(accuracy, log))
        return accuracy

    def batches(self) -> Iterator[TrainingSample]:
        """Return the stream of batches from the current step on."""
        settings = self.settings
        height = self.model.input_height
        crop = settings.crop or default_crop(self.sources, height)
        dataset = TrainingSet(self.sources, self.model, height, crop, settings.augmentation(), seed=settings.seed)
        sizes = [len(source) for source in self.sources]
        tickets = TicketBatches(
            sizes, settings.weights or sizes, settings.batch, settings.seed, self.trainer.step_count,
            self.group.rank, self.group.world,
        )  # fmt: skip
        batch_bytes = size_of_batch(self.model, settings.batch, crop)
        return stream_of_batches(dataset, tickets, self._workers, batch_bytes)

    @property
    def elapsed_s(self) -> float:
        """Seconds of training so far, those before an interruption included."""
        return time.monotonic() - self._started

    def progress(self) -> float:
        """Return the share of the run that is over; 1 or more at its end."""
        if self._total_steps is not None:
            return self.trainer.step_count / self._total_steps
        return self.elapsed_s / (self.settings.minutes * 60 * (1 - _LAST_SHARE))

    def validate(self) -> Accuracy | None:
        """Measure the averaged weights on the validation images; None when there are none."""
        if not self.validation:
            return None
        return measure(self._estimator(), self.validation)

    def _can_validate(self) -> bool:
        """Whether validations keep to their share of a run limited by time; a run of so many steps repeats exactly."""
        if self._total_steps is not None or not self.validation:
            return True
        if not self._next_validation_s:
            began, tried = time.monotonic(), self.validation[:_TRIED_IMAGES]
            measure(self._estimator(), tried)
            self._next_validation_s = (time.monotonic() - began) * len(self.validation) / len(tried)
        return self._validated_s + self._next_validation_s <= _VALIDATION_SHARE * self.elapsed_s

    def _estimator(self) -> PoseEstimator:
        return PoseEstimator(self.model, TorchBackend(self.trainer.averaged_network(), self.model))

    def save(self, name: str = LAST_FILE, with_state: bool = True) -> None:
        """
        Write a checkpoint with the averaged weights, and with what an exact resume needs.

        Raises:
            ModelError: It cannot be written, as on a full disk.
        """
        state: dict[str, Any] | None = None
        if with_state and self._resumable:
            state = {
                'settings': dataclasses.asdict(self.settings),
                'trainer': self.trainer.state(),
                'best_score': self.best_score,
                'elapsed_s': self.elapsed_s,
            }
        checkpoint = Checkpoint(
            self.settings.architecture, self.settings.options, self.model, self.trainer.averaged_weights(), state
        )
        save_checkpoint(self.folder / name, checkpoint)

    def _count_steps(self) -> int | None:
        """Return the length of the run in steps; None for a run limited by time."""
        if self.settings.epochs is None:
            return self.settings.steps
        images = sum(len(source) for source in self.sources)
        return max(1, round(self.settings.epochs * images / (self.settings.batch * self.group.world)))

    def _time_line(self, step_s: float) -> str:
        """Say how long the run will take, or how many steps its time is enough for."""
        threads = torch.get_num_threads()
        pace = f'{step_s:.2g} s a step' + (
            f' with {threads} thread{"" if threads == 1 else "s"}' if self.group.device.type == 'cpu' else ''
        )
        if self._total_steps is None:
            left = (self.settings.minutes or 0) * 60 - self.elapsed_s
            return f'{pace}: about {self.trainer.step_count + max(0.0, left) / step_s:.0f} steps in the time given'
        minutes = (self._total_steps - self.trainer.step_count) * step_s / 60
        return f'{pace}: {self._total_steps} steps in {minutes:.1f} minutes more, without the validations'

    def _validate_and_save(self, log: RunLog) -> Accuracy | None:
        log.heartbeat.begin(f'measuring on {len(self.validation)} images to validate on')
        began = time.monotonic()
        accuracy = self.validate()
        self._next_validation_s = time.monotonic() - began
        self._validated_s += self._next_validation_s
        if accuracy is not None:
            log.validation(self.trainer.step_count, self.elapsed_s, accuracy.summary())
        score = float('-inf') if accuracy is None else accuracy.score
        if score <= self.best_score:
            self.best_score = score
            self.save(_BEST_FILE, with_state=False)
        self.save()
        return accuracy

    def _opening(self) -> list[str]:
        count = sum(p.numel() for p in self.trainer.network.parameters())
        augmentation = self.settings.augmentation()
        mirrors, mirror_note = self.model.mirroring
        mirrored = f'{augmentation.p_flip:.0%} of the' if mirrors and augmentation.p_flip else 'no'
        notes = [
            mirror_note if augmentation.p_flip else None,
            turn_note(self.sources, self.model, augmentation.rotation_deg),
            *state_notes(self._states(), self.model),
        ]
        return [
            f'object {self.model.name}: {self.model.keypoint_count} keypoints, {self.model.limb_count} limbs, '
            f'input height {self.model.input_height} px',
            f'images: {" + ".join(str(len(source)) for source in self.sources)} to train on, '
            f'{len(self.validation)} to validate on; {mirrored} samples are mirrored '
            f'(mirror: {self.model.mirror})',
            f'network {self.settings.architecture}: {count / 1e6:.2f} million weights, {self.trainer.precision}; '
            f'{self.start_note}',
            *(f'note: {note}' for note in notes if note),
        ]

    def _states(self) -> np.ndarray:
        """Return the states (A, K) of the keypoints of all objects to train on."""
        return np.concatenate([image.states for source in self.sources for image in source])

    def _judgement(self, accuracy: Accuracy | None, log: RunLog) -> list[str]:
        """Measure on images that were trained on; return lines with both errors and what would lower them."""
        rng = np.random.default_rng(self.settings.seed)
        labelled = [image for source in self.sources for image in source if image.labelled.any()]
        images = [labelled[i] for i in rng.permutation(len(labelled))[:_JUDGED_IMAGES]]
        log.heartbeat.begin(f'measuring on {len(images)} images that were trained on')
        learned = measure(self._estimator(), images)
        log.training_error(self.trainer.step_count, self.elapsed_s, learned.summary())
        return advice(learned, accuracy, images, self.trainer.step_count, self.model.input_height)

    def _closing(self, accuracy: Accuracy | None, log: RunLog) -> list[str]:
        lines = [f'{self.trainer.step_count} steps in {self.elapsed_s / 60:.1f} minutes']
        if self.settings.minutes is not None and self.trainer.step_count < FEW_STEPS:
            lines.append('these are few: the weights are hardly trained; give more --minutes, or free the computer')
        if accuracy is None:
            lines.append('no images were set aside, so nothing was validated; look at other images with tools.predict')
        return lines + self._judgement(accuracy, log)


def _own(folder: Path) -> FolderLock | None:
    """Own a folder as the first of the processes that train together."""
    return own_folder(folder) if computing.is_first() else None


def check_place(folder: Path) -> None:
    """Raise ConfigError where a folder holds a run that learned something, or files named so that no run wrote."""
    history = folder / HISTORY
    for name in (LAST_FILE, _BEST_FILE):
        if not history.exists() and os.path.lexists(folder / name):
            raise ConfigError(f'{folder / name}: is there already, and not of a run in this folder; give another --out')
    if history.exists() and (history.stat().st_size or (folder / LAST_FILE).exists()):
        raise ConfigError(f'{folder}: holds a run already; go on with --resume, or give another --out')


def create_history(folder: Path) -> None:
    """
    Create the history of a new run in a folder that this process owns.

    Raises:
        ConfigError: Another run is or was there.
    """
    if computing.is_first():
        check_place(folder)  # again: one may have begun and ended while the images were read
        (folder / HISTORY).touch()


def trainable(model: ObjectModel, input_height: int | None) -> ObjectModel:
    """Return the object with another input height, where one is given; ConfigError when it cannot be trained."""
    if input_height is not None:
        model = dataclasses.replace(model, input_height=input_height)
    check_input_height(model.input_height)
    if not model.skeleton:
        raise ConfigError(f'object {model.name!r}: has no skeleton; training needs two keypoints joined by a limb')
    return model
