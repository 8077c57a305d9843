"""
TensorRT and torch2trt on the CPU, to test what our own code decides around them.

That is: what is checked before an engine is built, what is written beside the engine and compared on loading, how
images are split into batches, and that nothing is written when numbers differ. Nothing is proved about TensorRT
itself: an "engine" is a traced PyTorch network whose input is rounded to half precision. `torch2trt` and `TRTModule`
have those arguments and that state_dict of torch2trt 0.5 which our code uses.
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


def torch2trt(module, inputs, fp16_mode, max_batch_size):
    """Build an engine."""
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
    built.set_engine(b'%d;%s;' % (max_batch_size, shape) + stream.getvalue(), ['input_0'], ['output_0', 'output_1'])
    return built


class TRTModule(torch.nn.Module):
    """An engine in execution; its state_dict holds the serialised engine and names, and ignores other keys."""

    def __init__(self):
        super().__init__()
        self._register_state_dict_hook(TRTModule._on_state_dict)
        self.engine = None

    def set_engine(self, engine: bytes, input_names: Sequence[str], output_names: Sequence[str]) -> None:
        largest, shape, network = bytes(engine).split(b';', 2)
        self.engine, self.input_names, self.output_names = bytes(engine), input_names, output_names
        self.profile = int(largest), tuple(map(int, shape.split(b',')))
        self.run = [torch.jit.load(io.BytesIO(network))]  # in a list: no submodule with weights of its own

    def _on_state_dict(self, state_dict, prefix, local_metadata):
        state_dict.clear()
        state_dict[prefix + 'engine'] = bytearray(self.engine)
        state_dict[prefix + 'input_names'] = self.input_names
        state_dict[prefix + 'output_names'] = self.output_names

    def _load_from_state_dict(self, state_dict, prefix, *_):
        self.set_engine(*(state_dict[prefix + key] for key in ('engine', 'input_names', 'output_names')))

    def forward(self, *inputs):
        (x,) = inputs
        largest, shape = self.profile
        assert x.is_contiguous()  # its address is given away
        assert x.shape[0] <= largest
        assert tuple(x.shape[1:]) == shape
        return self.run[0](x)
