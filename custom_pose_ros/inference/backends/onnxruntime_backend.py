"""Backend onnxruntime: the best execution provider that is there, of TensorRT, CUDA and CPU."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

from custom_pose_ros.core.errors import ConfigError
from custom_pose_ros.inference.backends.contract import check_images
from custom_pose_ros.inference.backends.model_files import check_onnx_names, damaged_onnx

_PROVIDERS = ('TensorrtExecutionProvider', 'CUDAExecutionProvider', 'CPUExecutionProvider')
_DEVICES = {name: name.removesuffix('ExecutionProvider').replace('Tensorrt', 'TensorRT') for name in _PROVIDERS}


class OnnxRuntimeBackend:
    """ONNX Runtime on the CPU, or on an NVIDIA GPU where onnxruntime-gpu finds one."""

    name = 'onnxruntime'
    input_size = None

    def __init__(self, path: Path, precision: str, threads: int):
        """Load a file of training/export_onnx.py or training/quantize.py; f16 needs the TensorRT provider."""
        self.precision = precision
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        # Threads wait actively within a frame only: afterwards the cores belong to decoding and to the other nodes.
        options.add_session_config_entry('session.force_spinning_stop', '1')
        try:
            self._session = onnxruntime.InferenceSession(str(path), options, providers=_providers(precision))
            self.metadata: dict[str, str] = dict(self._session.get_modelmeta().custom_metadata_map)
        except Exception as error:  # ONNX Runtime's errors have no common base but Exception
            raise damaged_onnx(path, error) from error
        check_onnx_names(
            path, [i.name for i in self._session.get_inputs()], [o.name for o in self._session.get_outputs()]
        )
        provider = self._session.get_providers()[0]  # those whose libraries are missing have dropped out
        self.device = _DEVICES.get(provider, provider)
        if precision == 'f16' and self.device != 'TensorRT':
            raise ConfigError(
                f'precision f16 of onnxruntime needs its TensorRT provider, which cannot be loaded here (got '
                f'{self.device}): install onnxruntime-gpu and TensorRT, or take precision f32'
            )

    def __call__(self, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        check_images(images)
        heatmaps, pafs = self._session.run(['heatmaps', 'pafs'], {'image': np.ascontiguousarray(images)})
        return heatmaps, pafs


def _providers(precision: str) -> list[str | tuple[str, dict[str, Any]]]:
    """Return the providers that this build of ONNX Runtime has, best first, with their options."""
    available = onnxruntime.get_available_providers()
    engines = _engine_folder()
    tensorrt = {
        'trt_fp16_enable': precision == 'f16',
        'trt_int8_enable': precision == 'int8',
        'trt_engine_cache_enable': engines is not None,
        'trt_engine_cache_path': str(engines or ''),
    }
    return [(p, tensorrt) if p.startswith('Tensorrt') else p for p in _PROVIDERS if p in available]


def _engine_folder() -> Path | None:
    """Return where engines are kept for the next start, since TensorRT builds one for minutes; None without a home."""
    base = os.environ.get('XDG_CACHE_HOME', '')
    home = os.path.expanduser('~')  # stays '~' for a user without a home
    if not (os.path.isabs(base) or os.path.isabs(home)):
        return None
    return Path(base if os.path.isabs(base) else os.path.join(home, '.cache')) / 'custom_pose_ros' / 'tensorrt'
