"""Log of a training run: a progress bar on a terminal or lines elsewhere, history.jsonl, TensorBoard."""

from __future__ import annotations

import json
import math
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tqdm import tqdm

HISTORY = 'history.jsonl'
_LINE_EVERY_S = 4.0
_QUIET_S = 5.0  # after which a person asks whether it still runs
_SMOOTHING = 0.95
_ALL_STEPS = 100  # losses of the first steps are all kept, later every tenth


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
        invented = f', {figures["invented"]} of {figures["absent"]} absent keypoints reported' * (figures['absent'] > 0)
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
