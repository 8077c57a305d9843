"""Backend openvino: OpenVINO on the CPU, in f32, in bf16 where the processor computes in it, or quantised to int8."""

from __future__ import annotations

import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np

from custom_pose_ros.core.errors import ConfigError
from custom_pose_ros.inference.backends.contract import check_images
from custom_pose_ros.inference.backends.model_files import OUTPUTS, check_onnx_names, damaged_onnx
from custom_pose_ros.inference.backends.signal_stack import unchanged_signal_stack

# With this package, to import OpenVINO writes an id to ~/intel and sends it to its maker's account at Google Analytics,
# from a process that it forks. Where the package cannot be imported, OpenVINO does without.
_TELEMETRY = 'openvino_telemetry'
sys.modules.setdefault(_TELEMETRY, None)  # type: ignore[arg-type]
import openvino  # noqa: E402
from openvino.frontend import FrontEndManager  # noqa: E402

if sys.modules[_TELEMETRY] is None:
    del sys.modules[_TELEMETRY]

CPU = 'CPU'  # the device


class OpenVinoBackend:
    """OpenVINO, reading the same ONNX files as ONNX Runtime."""

    name = 'openvino'
    input_size = None
    device = CPU

    def __init__(self, path: Path, precision: str, threads: int):
        """Load a file of training/export_onnx.py or training/quantize.py; sizes stay free."""
        self.precision = precision
        core = cpu_core()
        if precision == 'bf16' and 'BF16' not in core.get_property(CPU, 'OPTIMIZATION_CAPABILITIES'):
            raise ConfigError(
                f'precision bf16: {core.get_property(CPU, "FULL_DEVICE_NAME")} does not compute in bf16; '
                'take precision f32, or int8 after training/quantize.py'
            )
        try:
            reader = FrontEndManager().load_by_framework('onnx')  # others print lines of their own
            model = reader.convert(reader.load(str(path)))
            names = [i.any_name for i in model.inputs], [o.any_name for o in model.outputs]
            metadata = model.get_rt_info()['framework'] if model.has_rt_info('framework') else {}
            compiled = core.compile_model(model, CPU, cpu_settings(threads, precision))
        except Exception as error:  # the reader has several kinds of its own
            raise damaged_onnx(path, error) from error
        check_onnx_names(path, *names)
        self.metadata = {key: str(getattr(value, 'value', value)) for key, value in metadata.items()}
        self._requests = Requests(compiled)

    def __call__(self, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        check_images(images)
        results = self._requests.infer({'image': np.ascontiguousarray(images)}, share_inputs=True)
        heatmaps, pafs = (results[name] for name in OUTPUTS)
        return heatmaps, pafs


class Requests(threading.local):
    """What infers: a request of its own for each thread, as one serves one call at a time."""

    def __init__(self, compiled: openvino.CompiledModel):
        self.infer = compiled.create_infer_request().infer


def cpu_core() -> openvino.Core:
    """Return a core that has loaded its plugin for the processor, without changing where signal handlers run."""
    core = openvino.Core()
    with unchanged_signal_stack():
        core.get_property(CPU, 'FULL_DEVICE_NAME')
    return core


def cpu_settings(threads: int, precision: str = 'f32') -> dict[str, Any]:
    """Return how a network is compiled for the processor, so that one image at a time is fast."""
    return {
        'INFERENCE_PRECISION_HINT': 'bf16' if precision == 'bf16' else 'f32',  # else some processors choose bf16
        'INFERENCE_NUM_THREADS': threads,
        'PERFORMANCE_HINT': 'LATENCY',
        'ENABLE_CPU_PINNING': False,  # two nodes pinned to the same core would wait for each other
    }
