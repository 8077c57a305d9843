"""Backend tensorrt: an engine that training/export_tensorrt.py built with torch2trt, on the GPU it was built for."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import numpy as np
import tensorrt
import torch
import torch2trt

from custom_pose_ros.core.errors import ConfigError, ModelError, reason_of
from custom_pose_ros.inference.backends.contract import check_images
from custom_pose_ros.inference.checkpoints import read_torch_file

ENGINE_FORMAT = 'custom_pose_ros engine 1'
DEVICE = torch.device('cuda')
FACTS_KEY = 'custom_pose_ros'  # of the facts in the state_dict of the TRTModule, which ignores other keys


class TensorRtBackend:
    """A TRTModule of torch2trt in f16; images are normalised on the GPU before it."""

    name = 'tensorrt'
    precision = 'f16'

    def __init__(self, path: Path, precision: str, threads: int):
        """Load net_trt.pth; `threads` has no meaning here."""
        if not torch.cuda.is_available():
            raise ConfigError("backend 'tensorrt' needs an NVIDIA GPU, and PyTorch finds none here")
        content = read_torch_file(path)
        self._facts = _facts(path, content)
        self._path = path
        self.input_size: tuple[int, int] = tuple(self._facts['size'])
        self.device = torch.cuda.get_device_name()
        self._check_machine()
        self._lock = threading.Lock()  # an execution context serves one call at a time
        self._module = torch2trt.TRTModule()
        try:
            self._module.load_state_dict(content)
        except Exception as error:  # TensorRT returns no engine, and torch2trt stumbles over that
            raise ModelError(
                f'{path}: TensorRT cannot load the engine ({reason_of(error)}); {self._rebuild()}'
            ) from error
        self.metadata: dict[str, str] = self._facts['metadata']
        self._mean, self._std = (
            torch.tensor(self._facts[name], device=DEVICE).view(1, 3, 1, 1) for name in ('mean', 'std')
        )

    def __call__(self, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        check_images(images)
        if images.shape[1:3] != self.input_size:
            height, width = self.input_size
            raise ModelError(
                f'{self._path}: takes {height} x {width} px, these images need {images.shape[1]} x {images.shape[2]}; '
                + self._rebuild(*images.shape[1:3])
            )
        largest = self._facts['max_batch']
        parts = [self._run(images[i : i + largest]) for i in range(0, len(images), largest)]
        heatmaps, pafs = (np.concatenate(maps) for maps in zip(*parts))
        return heatmaps, pafs

    def _run(self, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        with self._lock, torch.inference_mode():
            x = torch.from_numpy(np.ascontiguousarray(images)).to(DEVICE).permute(0, 3, 1, 2).to(torch.float32)
            heatmaps, pafs = self._module(((x - self._mean) / self._std).contiguous())
        return heatmaps.float().cpu().numpy(), pafs.float().cpu().numpy()

    def _check_machine(self) -> None:
        """Raise ModelError on another GPU or TensorRT than the engine was built with: it would not load, or fail."""
        built = self._facts['gpu'], self._facts['tensorrt']
        here = self.device, tensorrt.__version__
        if built != here:
            raise ModelError(
                f'{self._path}: was built for {built[0]} with TensorRT {built[1]}, this is {here[0]} with TensorRT '
                f'{here[1]}; {self._rebuild()}'
            )

    def _rebuild(self, height: int | None = None, width: int | None = None) -> str:
        """Say how the engine is built again, for images of another size where one is given."""
        size = (height, width) if height and width else self.input_size
        return 'rebuild here with ' + build_command(self._path, size, self._facts['max_batch'])


def build_command(path: Path, size: tuple[int, int], max_batch: int) -> str:
    """Return the command that builds an engine."""
    return f'python training/export_tensorrt.py CHECKPOINT {path} --size {size[0]} {size[1]} --max-batch {max_batch}'


def _facts(path: Path, content: dict[str, Any]) -> dict[str, Any]:
    """Return what the file says about its engine; ModelError when it is not one of ours."""
    try:
        facts = json.loads(content[FACTS_KEY])
        good = facts['format'] == ENGINE_FORMAT and set(facts) >= {'gpu', 'tensorrt', 'size', 'max_batch', 'metadata'}
    except (KeyError, TypeError, ValueError):
        good = False
    if not good:
        raise ModelError(
            f'{path}: does not say which object, GPU and TensorRT it was made for; write it with '
            'training/export_tensorrt.py'
        )
    return facts
