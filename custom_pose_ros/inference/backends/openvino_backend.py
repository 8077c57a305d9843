"""Backend openvino: OpenVINO on the CPU, in f32, in bf16 where the processor computes in it, or quantised to int8."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import openvino

from custom_pose_ros.core.errors import ConfigError
from custom_pose_ros.inference.backends.contract import check_images
from custom_pose_ros.inference.backends.model_files import OUTPUTS, check_onnx_names, damaged_onnx
from custom_pose_ros.inference.backends.signal_stack import unchanged_signal_stack

_DEVICE = 'CPU'


class OpenVinoBackend:
    """OpenVINO, reading the same ONNX files as ONNX Runtime."""

    name = 'openvino'
    device = _DEVICE

    def __init__(self, path: Path, precision: str, threads: int):
        """Load a file of training/export_onnx.py or training/quantize.py; sizes stay free."""
        self.precision = precision
        core = openvino.Core()
        with unchanged_signal_stack():
            processor = core.get_property(_DEVICE, 'FULL_DEVICE_NAME')  # loads the plugin
        if precision == 'bf16' and 'BF16' not in core.get_property(_DEVICE, 'OPTIMIZATION_CAPABILITIES'):
            raise ConfigError(
                f'precision bf16: {processor} does not compute in bf16; '
                'take precision f32, or int8 after training/quantize.py'
            )
        settings = {
            'INFERENCE_PRECISION_HINT': 'bf16' if precision == 'bf16' else 'f32',  # else some processors choose bf16
            'INFERENCE_NUM_THREADS': threads,
            'PERFORMANCE_HINT': 'LATENCY',
            'ENABLE_CPU_PINNING': False,  # two nodes pinned to the same core would wait for each other
        }
        try:
            model = core.read_model(path)
            names = [i.any_name for i in model.inputs], [o.any_name for o in model.outputs]
            metadata = model.get_rt_info()['framework'] if model.has_rt_info('framework') else {}
            compiled = core.compile_model(model, _DEVICE, settings)
        except RuntimeError as error:
            raise damaged_onnx(path, error) from error
        check_onnx_names(path, *names)
        self.metadata = {key: str(getattr(value, 'value', value)) for key, value in metadata.items()}
        self._compiled = compiled
        self._of_thread = threading.local()  # a request serves one call at a time

    def __call__(self, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        check_images(images)
        request = getattr(self._of_thread, 'request', None)
        if request is None:
            request = self._of_thread.request = self._compiled.create_infer_request()
        results = request.infer({'image': np.ascontiguousarray(images)}, share_inputs=True)
        heatmaps, pafs = (results[name] for name in OUTPUTS)
        return heatmaps, pafs
