"""
Time candidates against each other, each in a process of its own: what is not chosen leaves no memory behind.

    python -m custom_pose_ros.inference.backends.measuring NAME PRECISION PATH ORIGIN THREADS N HEIGHT WIDTH

is such a process: it loads its candidate, says 'ready', and runs it a few times for each line that it reads.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from custom_pose_ros.core.errors import CustomPoseError
from custom_pose_ros.inference.backends import hardware
from custom_pose_ros.inference.backends.registry import Candidate

ROUNDS = 5  # taken in turns, so that what else the machine does meets all of them
DEADLINE_S = 30.0  # for everything together
NVIDIA_DEADLINE_S = 900.0  # TensorRT of onnxruntime builds an engine when it is loaded for the first time
_WARM_UP = 3
_RUNS = 10
_ROUND_S = 0.06
_PACKAGE_ROOT = Path(__file__).resolve().parents[3]


@dataclass(frozen=True)
class Measurement:
    """
    What was found out about some candidates, by their texts.

    seconds : shortest time of one call [s].
    refused : the errors of those that cannot be loaded, which will not change by themselves.
    crashed : what happened to the others.
    """

    seconds: dict[str, float]
    refused: dict[str, str]
    crashed: dict[str, str] = field(default_factory=dict)


def measure_candidates(candidates: Sequence[Candidate], threads: int, input_shape: tuple[int, int, int]) -> Measurement:
    """Load all candidates, each in its process, and run them in turns. Raises OSError where none can be started."""
    deadline_s = NVIDIA_DEADLINE_S if 'NVIDIA' in hardware.description() else DEADLINE_S
    children: list[_Child] = []

    def give_up() -> None:
        for child in children:
            child.kill(f'gave no answer within {deadline_s:.0f} s')

    watchdog = threading.Timer(deadline_s, give_up)
    watchdog.start()
    try:
        for candidate in candidates:
            children.append(_Child(candidate, threads, input_shape))
        ready = [child for child in children if child.wait_ready()]
        for _ in range(ROUNDS):
            for child in ready:
                child.run_round()
    finally:
        watchdog.cancel()
        for child in children:
            child.close()
    return Measurement(
        {child.label: child.best_s for child in children if child.best_s and not child.crash},
        {child.label: child.refusal for child in children if child.refusal},
        {child.label: child.crash for child in children if child.crash},
    )


class _Child:
    """One process: `best_s` is its shortest time so far, `refusal` or `crash` says why it has none."""

    def __init__(self, candidate: Candidate, threads: int, input_shape: tuple[int, int, int]):
        self.label = str(candidate)
        self.best_s: float | None = None
        self.refusal = self.crash = ''
        arguments = [candidate.name, candidate.precision, candidate.path, candidate.origin or '', threads, *input_shape]
        paths = [str(_PACKAGE_ROOT), os.environ.get('PYTHONPATH', '')]
        self._complaints = tempfile.TemporaryFile('w+', errors='replace')
        self._process: Any = subprocess.Popen(
            [sys.executable or 'python3', '-m', __name__, *map(str, arguments)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._complaints,
            text=True,
            env={**os.environ, 'PYTHONPATH': os.pathsep.join(filter(None, paths))},
        )

    def wait_ready(self) -> bool:
        """Return whether it has loaded its candidate."""
        return 'ready' in self._answer()

    def run_round(self) -> None:
        """Let it run some times and keep the shortest."""
        with contextlib.suppress(OSError):  # it has ended, and the answer will say so
            print('run', file=self._process.stdin, flush=True)
        seconds = self._answer().get('seconds', math.inf)
        self.best_s = min(seconds, self.best_s or math.inf)

    def close(self) -> None:
        """End it, however far it is."""
        with self._process:
            self._process.kill()
        self._complaints.close()

    def kill(self, reason: str) -> None:
        """End it, so that nobody waits for its answer."""
        self.crash = reason
        self._process.kill()

    def _answer(self) -> dict[str, Any]:
        """Return its next line; nothing when it has ended, by itself or because its time was up."""
        for line in self._process.stdout:
            answer = _json_object(line)
            if answer:
                self.refusal = answer.get('refusal', self.refusal)
                return answer
        if not self.crash:
            code = self._process.wait()
            self._complaints.seek(0)
            last = (self._complaints.read().strip().splitlines() or [''])[-1]
            self.crash = f'exit status {code}, {last}'
        return {}


def _json_object(line: str) -> dict[str, Any]:
    """Return what a line says; nothing for what a site's start-up files print."""
    try:
        content = json.loads(line)
    except ValueError:
        return {}
    return content if isinstance(content, dict) else {}


def main(arguments: Sequence[str]) -> int:
    """Be one of the processes; return the exit status."""
    name, precision, path, origin, threads, *shape = arguments
    answers = os.fdopen(os.dup(1), 'w')
    os.dup2(2, 1)  # whatever a library prints is not an answer
    try:
        backend = Candidate(name, precision, Path(path), Path(origin) if origin else None).load(int(threads))
        images = np.random.default_rng(0).integers(0, 256, (*map(int, shape), 3), np.uint8)
        for _ in range(_WARM_UP):
            backend(images)
    except CustomPoseError as error:
        print(json.dumps({'refusal': str(error)}), file=answers, flush=True)
        return 1
    print(json.dumps({'ready': True}), file=answers, flush=True)
    for _ in sys.stdin:
        print(json.dumps({'seconds': _shortest(backend, images)}), file=answers, flush=True)
    return 0


def _shortest(backend: Any, images: np.ndarray) -> float:
    """Return the shortest time [s] of a few runs."""
    end = time.perf_counter() + _ROUND_S
    best = float('inf')
    for _ in range(_RUNS):
        begin = time.perf_counter()
        backend(images)
        now = time.perf_counter()
        best = min(best, now - begin)
        if now > end:
            break
    return best


if __name__ == '__main__':
    sys.exit(main(sys.argv[1:]))
