"""One training run from its settings to its checkpoints: data, network start, loop, validation, resume."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import cv2
import torch

from custom_pose_ros.core.errors import ConfigError, CustomPoseError, ModelError
from custom_pose_ros.core.keypoints.preprocessing import SIZE_MULTIPLE
from custom_pose_ros.core.object_model import ObjectModel
from custom_pose_ros.inference.backends.torch_backend import TorchBackend
from custom_pose_ros.inference.checkpoints import Checkpoint, load_checkpoint
from custom_pose_ros.inference.estimator import PoseEstimator
from custom_pose_ros.inference.network import build_network
from training.pose_training.data.augmentation import Augmentation
from training.pose_training.data.dataset import Sample, TicketBatches, TrainingSet
from training.pose_training.judging.accuracy import Accuracy, measure
from training.pose_training.learning import distributed
from training.pose_training.learning.engine import OptimiserSettings, Trainer
from training.pose_training.learning.loading import (
    default_crop,
    default_workers,
    load_sources,
    size_of_batch,
    stream_of_batches,
)
from training.pose_training.learning.log import HISTORY, RunLog
from training.pose_training.learning.settings import RunSettings
from training.pose_training.networks.checkpoints import save_checkpoint
from training.pose_training.networks.exported import load_exported
from training.pose_training.networks.pretrained import load_imagenet, load_published

SAVE_EVERY_S = 60.0
_FEW_STEPS = 300  # from ImageNet weights, a thousand are a good number
_NORM_BATCHES = 8  # of samples, for the statistics of an exported network
_LAST_SHARE = 0.02  # of a run limited by time: kept for the last validation


class Run:
    """A run in a folder: `best.pth`, `last.pth`, `history.jsonl` and TensorBoard events."""

    def __init__(
        self,
        model: ObjectModel,
        settings: RunSettings,
        folder: Path,
        threads: int | None = None,
        workers: int | None = None,
    ):
        self._started = time.monotonic()
        self._elapsed_before = 0.0
        if settings.input_height is not None:
            model = dataclasses.replace(model, input_height=settings.input_height)
        if model.input_height % SIZE_MULTIPLE or model.input_height < 64:
            raise ConfigError(f'input_height: wanted a multiple of {SIZE_MULTIPLE} from 64, got {model.input_height}')
        if not model.skeleton:
            raise ConfigError(f'object {model.name!r}: has no skeleton; training needs two keypoints joined by a limb')
        if settings.start_from == 'auto':
            start = 'imagenet' if settings.architecture == 'light' else 'none'
            settings = dataclasses.replace(settings, start_from=start)
        self.model, self.settings, self.folder = model, settings, folder
        self._workers = default_workers() if workers is None else workers
        cv2.setNumThreads(0)  # the cores are busy; OpenCV's threads in forked workers can freeze
        cv2.ocl.setUseOpenCL(False)
        if threads is not None:
            torch.set_num_threads(threads)
        torch.manual_seed(settings.seed)
        self.sources, self.validation = load_sources(settings, model)
        network = build_network(settings.architecture, model, **settings.options)
        self.start_note = ''
        self.group = distributed.join()
        self.trainer = Trainer(
            network, OptimiserSettings(learning_rate=settings.learning_rate), settings.precision, self.group.device
        )
        if settings.freeze and settings.start_from != 'none':
            self.trainer.freeze(network.early_layers())
        self.best_score = float('inf')
        self._total_steps = settings.steps
        if settings.epochs is not None:
            images = sum(len(source) for source in self.sources)
            self._total_steps = max(1, round(settings.epochs * images / (settings.batch * self.group.world)))

    @classmethod
    def new(
        cls,
        source: str,
        settings: RunSettings,
        folder: Path,
        threads: int | None = None,
        workers: int | None = None,
    ) -> Run:
        """Start a run from published or random weights. Raises ConfigError when the folder holds another run."""
        run = cls(ObjectModel.load(source), settings, folder, threads, workers)
        run.start_note = run._start_weights()
        run.trainer.restart_average()
        claim(folder)
        return run

    @classmethod
    def resumed(cls, folder: Path, threads: int | None = None, workers: int | None = None) -> Run:
        """Go on where `last.pth` in a folder stopped. Raises ModelError when it cannot be continued."""
        path = folder / 'last.pth'
        if not path.is_file():
            raise ModelError(f'{path}: no such file; --out must be the folder of the run to go on with')
        checkpoint = load_checkpoint(path)
        state = checkpoint.training
        if state is None:
            raise ModelError(f'{path}: holds no training state; start anew with --weights on this file')
        try:
            run = cls(checkpoint.model, RunSettings(**state['settings']), folder, threads, workers)
            run.trainer.load_state(state['trainer'])
            run.best_score = float(state['best_score'])
            run._elapsed_before = float(state['elapsed_s'])
        except CustomPoseError:
            raise
        except Exception as error:  # any, as a state of another version or a damaged one may hold anything
            reason = (str(error).splitlines() or [''])[0]
            raise ModelError(
                f'{path}: its run cannot be continued ({type(error).__name__}: {reason}); '
                'start anew with --weights on this file'
            ) from error
        run.start_note = f'resumed at step {run.trainer.step_count}'
        return run

    def train(self) -> Accuracy | None:
        """Train to the end; return the last validation, or None without validation images."""
        log = RunLog(self.folder, self.group.is_first)
        log.start(self._opening())
        if self.group.is_first and not (self.folder / 'last.pth').exists():
            self.save()  # so that --resume works from the first step on
        self.trainer.forward = self.group.wrapped(self.trainer.network)
        validated, saved, accuracy = self.progress(), time.monotonic(), None
        for batch in self.batches():
            progress = self.group.agreed(self.progress())
            if progress >= 1:
                break
            losses = self.trainer.step(batch, progress)
            log.step(self.trainer.step_count, progress, self.elapsed(), losses)
            if not self.group.is_first:
                continue
            if progress - validated >= self.settings.validate_every and progress < 1 - self.settings.validate_every / 2:
                validated, saved = progress, time.monotonic()
                accuracy = self._validate_and_save(log)
            elif time.monotonic() - saved >= SAVE_EVERY_S:
                saved = time.monotonic()
                self.save()
        if self.group.is_first:
            accuracy = self._validate_and_save(log)
            log.finish(self._closing(accuracy))
        self.group.leave()
        return accuracy

    def batches(self) -> Iterator[Sample]:
        """Return the stream of batches from the current step on."""
        settings = self.settings
        height = self.model.input_height
        crop = settings.crop or default_crop(self.sources, height)
        dataset = TrainingSet(self.sources, self.model, height, crop, self._augmentation(), seed=settings.seed)
        sizes = [len(source) for source in self.sources]
        tickets = TicketBatches(
            sizes, settings.weights or sizes, settings.batch, settings.seed, self.trainer.step_count,
            self.group.rank, self.group.world,
        )  # fmt: skip
        batch_bytes = size_of_batch(self.model, settings.batch, crop)
        return stream_of_batches(dataset, tickets, self._workers, batch_bytes)

    def elapsed(self) -> float:
        """Seconds of training so far, those before an interruption included."""
        return self._elapsed_before + time.monotonic() - self._started

    def progress(self) -> float:
        """Share of the run that is over."""
        if self._total_steps is not None:
            return self.trainer.step_count / self._total_steps
        assert self.settings.minutes is not None
        return self.elapsed() / (self.settings.minutes * 60 * (1 - _LAST_SHARE))

    def validate(self) -> Accuracy | None:
        """Measure the averaged weights on the validation images."""
        if not self.validation:
            return None
        estimator = PoseEstimator(self.model, TorchBackend(self.trainer.averaged_network(), self.model))
        return measure(estimator, self.validation)

    def save(self, name: str = 'last.pth', with_state: bool = True) -> None:
        """Write a checkpoint with the averaged weights, and with what an exact resume needs."""
        state: dict[str, Any] | None = None
        if with_state:
            state = {
                'settings': dataclasses.asdict(self.settings),
                'trainer': self.trainer.state(),
                'best_score': self.best_score,
                'elapsed_s': self.elapsed(),
            }
        checkpoint = Checkpoint(
            self.settings.architecture, self.settings.options, self.model, self.trainer.averaged_weights(), state
        )
        save_checkpoint(self.folder / name, checkpoint)

    def _start_weights(self) -> str:
        """Load the weights to start from; return a line that says which."""
        network, start_from = self.trainer.network, self.settings.start_from
        if start_from == 'none':
            return 'from random weights'
        if start_from == 'imagenet':
            return f'from ImageNet: {load_imagenet(network).summary()}'
        if Path(start_from).suffix == '.onnx':
            batches = (torch.as_tensor(b.image).to(self.group.device) for b in islice(self.batches(), _NORM_BATCHES))
            return f'from {start_from}: {load_exported(network, Path(start_from), batches).summary()}'
        return f'from {start_from}: {load_published(network, Path(start_from)).summary()}'

    def _augmentation(self) -> Augmentation:
        augmentation = Augmentation.named(self.settings.augment)
        if self.settings.object_size is None:
            return augmentation
        low, high = self.settings.object_size
        if not 0 < low <= high:
            raise ConfigError(f'object size: wanted two shares 0 < MIN <= MAX, got {low:g} and {high:g}')
        return dataclasses.replace(augmentation, object_size=(low, high))

    def _validate_and_save(self, log: RunLog) -> Accuracy | None:
        accuracy = self.validate()
        if accuracy is not None:
            log.validation(self.trainer.step_count, self.elapsed(), accuracy.summary())
        score = float('-inf') if accuracy is None else accuracy.score
        if score <= self.best_score:
            self.best_score = score
            self.save('best.pth', with_state=False)
        self.save()
        return accuracy

    def _opening(self) -> list[str]:
        count = sum(p.numel() for p in self.trainer.network.parameters())
        return [
            f'object {self.model.name}: {self.model.keypoint_count} keypoints, {self.model.limb_count} limbs, '
            f'input height {self.model.input_height} px',
            f'images: {" + ".join(str(len(source)) for source in self.sources)} to train on, '
            f'{len(self.validation)} to validate on',
            f'network {self.settings.architecture}: {count / 1e6:.2f} million weights, {self.trainer.precision}; '
            f'{self.start_note}',
        ]

    def _closing(self, accuracy: Accuracy | None) -> list[str]:
        lines = [f'{self.trainer.step_count} steps in {self.elapsed() / 60:.1f} minutes']
        if self.settings.minutes is not None and self.trainer.step_count < _FEW_STEPS:
            lines.append('these are few: the weights are hardly trained; give more --minutes, or free the computer')
        if accuracy is None:
            lines.append('no images were set aside, so nothing was validated; look at other images with tools.predict')
        best = self.folder / 'best.pth'
        return [*lines, f'best weights: {best}', f'next: python training/export_onnx.py {best}']


def claim(folder: Path) -> None:
    """Start the history of a new run in a folder. Raises ConfigError when another run is or was there."""
    if distributed.is_first():
        folder.mkdir(parents=True, exist_ok=True)
        try:
            (folder / HISTORY).touch(exist_ok=False)  # of two runs that start at once, one fails here
        except FileExistsError as error:
            raise ConfigError(f'{folder}: holds a run already; go on with --resume, or give another --out') from error
