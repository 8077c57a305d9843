"""
TensorRT and torch2trt without a GPU: the names and signatures of the real ones, on the CPU.

`torch2trt` and `TRTModule` have the arguments, the state_dict and the loading of torch2trt 0.5. An engine is a traced
PyTorch network whose input is rounded to half precision, so that what was exported, written, read and run gives real
maps.
"""

from __future__ import annotations

import importlib.machinery
import io
import types
from collections.abc import Sequence

import torch

VERSION = '10.3.0'
GPU = 'Orin'


def modules() -> dict[str, types.ModuleType]:
    """Return what `import tensorrt` and `import torch2trt` are to find."""
    tensorrt, module = types.ModuleType('tensorrt'), types.ModuleType('torch2trt')
    for each in (tensorrt, module):
        each.__spec__ = importlib.machinery.ModuleSpec(each.__name__, None)
    tensorrt.__version__ = VERSION
    module.torch2trt, module.TRTModule = torch2trt, TRTModule
    return {'tensorrt': tensorrt, 'torch2trt': module}


class Half(torch.nn.Module):
    """A network whose input is rounded to half precision."""

    def __init__(self, network: torch.nn.Module):
        super().__init__()
        self.network = network

    def forward(self, x):
        return self.network(x.half().float())


def torch2trt(
    module, inputs, input_names=None, output_names=None, log_level=None, fp16_mode=False, max_workspace_size=1 << 25,
    strict_type_constraints=False, keep_network=True, int8_mode=False, int8_calib_dataset=None,
    int8_calib_algorithm=None, use_onnx=False, default_device_type=None, dla_core=0, gpu_fallback=True,
    device_types=None, min_shapes=None, max_shapes=None, opt_shapes=None, onnx_opset=None, max_batch_size=None,
    avg_timing_iterations=None,
):  # fmt: skip
    """Build an engine; only what the export uses is understood."""
    assert fp16_mode
    assert not module.training
    (example,) = inputs
    assert example.dtype == torch.float32  # torch2trt's flattener passes over tensors that are neither float nor half
    assert example.is_contiguous()
    traced = torch.jit.trace(Half(module), example, check_trace=False)
    stream = io.BytesIO()
    torch.jit.save(traced, stream)
    built = TRTModule()
    shape = ','.join(map(str, example.shape[1:])).encode()
    built.take(b'%d;%s;' % (max_batch_size or 1, shape) + stream.getvalue(), ['input_0'], ['output_0', 'output_1'])
    return built


class TRTModule(torch.nn.Module):
    """An engine in execution; its state_dict holds the serialised engine and names, and ignores other keys."""

    def __init__(self, engine=None, input_names=None, output_names=None, input_flattener=None, output_flattener=None):
        super().__init__()
        self._register_state_dict_hook(TRTModule._on_state_dict)
        self.engine = None

    def take(self, engine: bytes, input_names: Sequence[str], output_names: Sequence[str]) -> None:
        largest, shape, network = bytes(engine).split(b';', 2)
        self.engine, self.input_names, self.output_names = bytes(engine), input_names, output_names
        self.profile = int(largest), tuple(map(int, shape.split(b',')))
        self.run = [torch.jit.load(io.BytesIO(network))]  # in a list: no submodule with weights of its own

    def _on_state_dict(self, state_dict, prefix, local_metadata):
        state_dict.clear()
        state_dict[prefix + 'engine'] = bytearray(self.engine)
        state_dict[prefix + 'input_names'] = self.input_names
        state_dict[prefix + 'output_names'] = self.output_names
        state_dict[prefix + 'input_flattener'] = {'schema': (0,), 'size': 1}
        state_dict[prefix + 'output_flattener'] = {'schema': (0, 1), 'size': 2}

    def _load_from_state_dict(
        self, state_dict, prefix, local_metadata, strict, missing_keys, unexpected_keys, error_msgs
    ):
        self.take(
            state_dict[prefix + 'engine'], state_dict[prefix + 'input_names'], state_dict[prefix + 'output_names']
        )

    def forward(self, *inputs):
        (x,) = inputs
        largest, shape = self.profile
        assert x.is_contiguous()  # its address is given away
        assert x.shape[0] <= largest
        assert tuple(x.shape[1:]) == shape
        return self.run[0](x)
