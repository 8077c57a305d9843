"""What a training run tells: a progress bar or lines, history.jsonl, TensorBoard, and at its end what to do next."""

from __future__ import annotations

import json
import math
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from custom_pose_ros.core.object_model import ObjectModel
from training.pose_training.judging.accuracy import Accuracy
from training.pose_training.labels.coco import LabelledImage

HISTORY = 'history.jsonl'
_LINE_EVERY_S = 4.0
_QUIET_S = 5.0  # after which a person asks whether it still runs
_SMOOTHING = 0.95
_ALL_STEPS = 100  # losses of the first steps are all kept, later every tenth
FEW_STEPS = 300  # from ImageNet weights, a thousand are a good number
_ENOUGH_STEPS = 1000
_ENOUGH_IMAGES = 10  # to validate on; fewer do not tell one error from another
_MUCH_WORSE = 1.4  # on other images than on those learned from
_FINE_PX = 1.0  # of the network's input, an eighth of a cell: what is left is in the pixels, not in the training
_UPRIGHT_DEG = 30.0


class Heartbeat:
    """
    Says what a program is busy with whenever it has said nothing for five seconds; a context manager.

    Attributes:
        doing: What it is busy with.
    """

    def __init__(self, doing: str, say: Callable[[str], None], active: bool = True):
        """
        Begin.

        Args:
            doing: What the program is busy with.
            say: Shows a line; called from another thread.
            active: False for a heart that never says anything.
        """
        self.doing, self._say = doing, say
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._beat, daemon=True) if active else None
        self.begin(doing)

    def begin(self, doing: str) -> None:
        """Be busy with something else from now on."""
        self.doing = doing
        self._began = self._said = time.monotonic()

    def heard(self) -> None:
        """Remember that something was said just now."""
        self._said = time.monotonic()

    def __enter__(self) -> Heartbeat:
        if self._thread is not None:
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        if self._thread is not None:
            self._thread.join()

    def _beat(self) -> None:
        while not self._ended.wait(0.2):
            now = time.monotonic()
            if now - self._said >= _QUIET_S:
                self._said = now
                try:
                    self._say(f'{self.doing}: {now - self._began:.0f} s so far')
                except OSError:  # nobody reads any more; the run itself will say so
                    return


class RunLog:
    """
    The log of one run.

    Attributes:
        heartbeat: What the run is busy with; it beats inside of `with log.heartbeat`.
    """

    def __init__(self, folder: Path, active: bool = True):
        """
        Open the log.

        Args:
            folder: Where history.jsonl and TensorBoard's events go.
            active: False in all processes but the first, which write nothing.
        """
        self._active = active
        self.heartbeat = Heartbeat('the first step', self._beat, active)
        self._loss: float | None = None
        self._last_line = time.monotonic()
        self._bar: tqdm | None = None
        self._board: Any = None
        if not active:
            return
        folder.mkdir(parents=True, exist_ok=True)
        self._history = folder / HISTORY
        if sys.stdout.isatty():
            self._bar = tqdm(
                total=100, unit='%', bar_format='{l_bar}{bar}| {elapsed}<{remaining} {postfix}', file=sys.stdout
            )
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            self.line('tensorboard is not installed: the curves are in history.jsonl only (pip install tensorboard)')
        else:
            self._board = SummaryWriter(str(folder), flush_secs=10)

    def line(self, text: str) -> None:
        """Print one line above the progress bar."""
        if self._active:
            self.heartbeat.heard()
            tqdm.write(text, file=sys.stdout) if self._bar is not None else print(text, flush=True)

    def lines(self, texts: Sequence[str]) -> None:
        """Print several lines."""
        for text in texts:
            self.line(text)

    def step(self, step: int, progress: float, elapsed_s: float, losses: Mapping[str, float]) -> None:
        """Record the losses of one step."""
        if not self._active:
            return
        self.heartbeat.begin(f'step {step + 1}')
        total = losses['total']
        self._loss = total if self._loss is None else _SMOOTHING * self._loss + (1 - _SMOOTHING) * total
        if self._bar is not None:
            self._bar.n = round(100 * min(progress, 1.0), 1)
            self._bar.set_postfix_str(f'step {step} loss {self._loss:.2f}')
            self.heartbeat.heard()
        elif time.monotonic() - self._last_line > _LINE_EVERY_S:
            self._last_line = time.monotonic()
            self.line(f'{progress:4.0%} step {step} {elapsed_s:.0f} s loss {self._loss:.2f}')
        if step <= _ALL_STEPS or step % 10 == 0:
            self._write('loss', step, elapsed_s, losses)

    def training_error(self, step: int, elapsed_s: float, figures: Mapping[str, float]) -> None:
        """Record the figures on images that were trained on."""
        self._write('training', step, elapsed_s, figures)

    def validation(self, step: int, elapsed_s: float, figures: Mapping[str, float]) -> None:
        """Record the figures of a validation."""
        self._write('validation', step, elapsed_s, figures)
        error = 'nothing found yet'
        if figures['found'] > 0:
            error = (
                f'mean error {figures["mean_px"]:.2f} px ({figures["mean_percent"]:.2f} % of the object), '
                f'median {figures["median_px"]:.2f} px, found {figures["found"]:.1%}, '
                f'within 5 px {figures["pck_5px"]:.1%}'
            )
        absent = figures['absent']
        invented = f', {figures["invented"]} of {absent} absent keypoints reported' if absent else ''
        self.line(
            f'step {step}: {error}, left/right swapped {figures["swapped"]}, '
            f'false instances {figures["false_instances"]}{invented}'
        )

    def close(self, closing: Sequence[str]) -> None:
        """Close the files and print the closing lines."""
        if self._bar is not None:
            self._bar.n = 100
            self._bar.close()
            self._bar = None
        if self._board is not None:
            self._board.close()
        self.lines(closing)

    def _beat(self, text: str) -> None:
        """Show what the run is busy with, in the bar or as a line."""
        if self._bar is not None:
            self._bar.set_postfix_str(text)
        else:
            print(text, flush=True)

    def _write(self, kind: str, step: int, elapsed_s: float, figures: Mapping[str, float]) -> None:
        known = {name: value if math.isfinite(value) else None for name, value in figures.items()}  # JSON has no NaN
        entry = {'kind': kind, 'step': step, 'elapsed_s': round(elapsed_s, 2), **known}
        with self._history.open('a', encoding='utf-8') as stream:
            stream.write(json.dumps(entry) + '\n')
        if self._board is not None:
            for name, value in figures.items():
                self._board.add_scalar(f'{kind}/{name}', value, step)


def advice(
    learned: Accuracy, other: Accuracy | None, images: Sequence[LabelledImage], steps: int, input_height: int
) -> list[str]:
    """
    Return the lines that name both errors and say what would lower them.

    Args:
        learned: On some of the images that were trained on, without augmentation.
        other: On the images to validate on, if there are any.
        images: Those that `learned` was measured on.
        steps: Steps of the run.
        input_height: Of the network [px].
    """
    own = learned.summary()['mean_px']
    text = f'mean error on {len(images)} images that it learned from: {own:.2f} px'
    if not np.isfinite(own):
        return ['nothing is found on the images that it learned from: train longer (--minutes, --steps)']
    judged = other is not None and len(set(other.image_of.tolist())) >= _ENOUGH_IMAGES
    if other is not None:
        other_px = other.summary()['mean_px']
        text += f'; on those to validate on: {f"{other_px:.2f} px" if np.isfinite(other_px) else "nothing is found"}'
    if judged and other.score > _MUCH_WORSE * learned.score:
        return [text, 'it knows its own images better: more and more varied pictures help most']
    input_px = own * input_height / float(np.median([image.height for image in images]))
    if steps < _ENOUGH_STEPS or input_px > _FINE_PX:
        way = 'training longer helps most (--minutes, --steps)'
    else:
        way = (
            f'this is {input_px:.2f} px of its input of {input_height} px: a larger one helps most '
            '(evaluate.py --heights shows by how much; --input-height trains for it)'
        )
    return [text, way if judged else f'{way}; more images to validate on would tell more']


def turn_note(sources: Sequence[Sequence[LabelledImage]], model: ObjectModel, rotation_deg: float) -> str | None:
    """Return a line where the objects stand much more upright than they are trained to be found; None elsewhere."""
    turns = turns_deg([image for source in sources for image in source], model)
    if rotation_deg <= 3 * _UPRIGHT_DEG or len(turns) < _ENOUGH_IMAGES or abs(turns).max() > _UPRIGHT_DEG:
        return None
    return (
        f'the objects are turned by at most {abs(turns).max():.0f} deg in these pictures, and trained for any turn. '
        'If camera and object stay upright in use, --rotation 45 is more exact'
    )


def turns_deg(images: Sequence[LabelledImage], model: ObjectModel) -> np.ndarray:
    """Return how far each object with a labelled limb is turned in its picture from the mean of all, (A,) degrees."""
    pairs = np.array(model.skeleton, int).reshape(-1, 2)
    points = np.concatenate([image.keypoints for image in images])
    labelled = np.concatenate([image.labelled for image in images])
    limbs = points[:, pairs[:, 1]] - points[:, pairs[:, 0]]
    lengths = np.hypot(limbs[..., 0], limbs[..., 1])
    known = labelled[:, pairs].all(2) & (lengths > 0)
    directions = np.where(known, limbs[..., 0] + 1j * limbs[..., 1], 0) / np.where(known, lengths, 1)
    mean = directions.sum(0)
    turned = (directions * mean.conj() / np.maximum(abs(mean), 1e-9)).sum(1)
    return np.degrees(np.angle(turned[known.any(1)]))
