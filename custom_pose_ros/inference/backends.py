"""Backends: what runs an exported network, behind one call; libraries are imported only when they are used."""

from __future__ import annotations

import importlib
import importlib.util
import os
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import numpy as np

from custom_pose_ros.core.errors import ConfigError, ModelError

STRIDE = 8
SIZE_MULTIPLE = 32
_MAX_DEFAULT_THREADS = 4  # beyond it the small layers of the light network gain nothing


class Backend(Protocol):
    """
    A loaded network.

    name : name of the backend as the user gives it.
    metadata : text that came with the model: 'object' (JSON of the object file), 'stride', 'architecture'.
    """

    name: str
    metadata: dict[str, str]

    def __call__(self, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """
        Return heatmaps (N, K + 1, H/8, W/8) and pafs (N, 2L, H/8, W/8), both float32.

        images : (N, H, W, 3) uint8 BGR, H and W multiples of 32; ValueError otherwise.
        """
        ...


def load_backend(path: str | Path, name: str = 'auto', threads: int | None = None) -> Backend:
    """
    Load a network.

    path : model.onnx, model.pth (a checkpoint of training/train.py), or a folder with one of them.
    name : 'onnxruntime', 'torch', or 'auto': the first of them that is installed and finds its file.
    threads : of the backend; default: one per physical core that this process may use, at most 4.
    Raises ConfigError for an unknown or missing backend, ModelError for a missing or damaged model.
    """
    if name != 'auto' and name not in _FACTORIES:
        raise ConfigError(f'backend {name!r} is unknown, wanted one of auto, {", ".join(_FACTORIES)}')
    if threads is None:
        threads = default_threads()
    elif threads < 1:
        raise ConfigError(f'threads: wanted at least 1, got {threads}')
    path = Path(path)
    if not path.is_dir() and path.suffix not in _SUFFIXES.values():
        raise ModelError(f'{path}: wanted a model ({" or ".join(_SUFFIXES.values())}) or a folder with one')
    if name == 'auto':
        name = _choose(path)
    elif not _installed(name):
        raise ConfigError(f'backend {name!r} is not installed: pip install {_PACKAGES[name]}')
    return _FACTORIES[name](_model_file(path, name), threads)


def default_threads() -> int:
    """Return one thread per physical core that this process may use, at most 4."""
    return max(1, min(physical_cores(), _MAX_DEFAULT_THREADS))


def physical_cores() -> int:
    """Count the physical cores that this process may run on; where Linux does not tell, the logical ones."""
    allowed = os.sched_getaffinity(0) if hasattr(os, 'sched_getaffinity') else set(range(os.cpu_count() or 1))
    siblings = set()
    for cpu in allowed:
        try:
            text = Path(f'/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list').read_text(encoding='ascii')
        except OSError:
            text = str(cpu)
        siblings.add(text.strip())
    return len(siblings)


def check_images(images: np.ndarray) -> None:
    """Raise ValueError unless the array is (N, H, W, 3) uint8 with H and W multiples of 32."""
    good = images.ndim == 4 and images.shape[3] == 3 and images.dtype == np.uint8 and images.shape[0] > 0
    if not good or any(size == 0 or size % SIZE_MULTIPLE for size in images.shape[1:3]):
        raise ValueError(
            f'images must be uint8 of shape (N, H, W, 3) with H and W multiples of {SIZE_MULTIPLE}, '
            f'got {images.dtype} {images.shape}'
        )


class OnnxRuntimeBackend:
    """ONNX Runtime on the CPU, or on an NVIDIA GPU where onnxruntime-gpu finds one."""

    name = 'onnxruntime'

    def __init__(self, path: Path, threads: int):
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        # Threads wait actively within a frame only: afterwards the cores belong to decoding and to the other nodes.
        options.add_session_config_entry('session.force_spinning_stop', '1')
        available = onnxruntime.get_available_providers()
        providers = [p for p in ('CUDAExecutionProvider', 'CPUExecutionProvider') if p in available]
        try:
            self._session = onnxruntime.InferenceSession(str(path), options, providers=providers)
        except Exception as error:  # ONNX Runtime's errors have no common base but Exception
            reason = str(error).splitlines()[0]
            raise ModelError(
                f'{path}: is damaged or not an ONNX model; export it again with training/export_onnx.py ({reason})'
            ) from error
        names = [i.name for i in self._session.get_inputs()], [o.name for o in self._session.get_outputs()]
        if names != (['image'], ['heatmaps', 'pafs']):
            raise ModelError(
                f'{path}: was not written by training/export_onnx.py: wanted input image and outputs heatmaps, pafs, '
                f'got {", ".join(names[0])} and {", ".join(names[1])}'
            )
        self.metadata: dict[str, str] = dict(self._session.get_modelmeta().custom_metadata_map)

    def __call__(self, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        check_images(images)
        heatmaps, pafs = self._session.run(['heatmaps', 'pafs'], {'image': np.ascontiguousarray(images)})
        return heatmaps, pafs


def _load_torch(path: Path, threads: int) -> Backend:
    module = importlib.import_module('custom_pose_ros.inference.torch_backend')
    return module.TorchBackend.load(path, threads)


_FACTORIES: dict[str, Callable[[Path, int], Backend]] = {'onnxruntime': OnnxRuntimeBackend, 'torch': _load_torch}
_SUFFIXES = {'onnxruntime': '.onnx', 'torch': '.pth'}
_PACKAGES = {'onnxruntime': 'onnxruntime', 'torch': 'torch --index-url https://download.pytorch.org/whl/cpu'}


def _installed(name: str) -> bool:
    return importlib.util.find_spec(name) is not None


def _choose(path: Path) -> str:
    for name, suffix in _SUFFIXES.items():
        if _installed(name) and _candidate(path, suffix).is_file():
            return name
    for name, suffix in _SUFFIXES.items():
        if _candidate(path, suffix).is_file():
            raise ConfigError(f'no backend for {_candidate(path, suffix)} is installed: pip install {_PACKAGES[name]}')
    raise ModelError(f'{_missing(path, ".onnx")}; train one and write it with training/export_onnx.py')


def _model_file(path: Path, name: str) -> Path:
    suffix = _SUFFIXES[name]
    file = _candidate(path, suffix)
    if not file.is_file():
        way = 'training/export_onnx.py' if suffix == '.onnx' else 'training/train.py'
        raise ModelError(f'{_missing(path, suffix)}, which backend {name!r} needs; write it with {way}')
    return file


def _candidate(path: Path, suffix: str) -> Path:
    """Return the file for one backend: in the folder, the file itself, or its sibling with the other suffix."""
    return path / f'model{suffix}' if path.is_dir() else path.with_suffix(suffix)


def _missing(path: Path, suffix: str) -> str:
    return f'{path}: no model{suffix} in this folder' if path.is_dir() else f'{path.with_suffix(suffix)}: no such file'
