"""Export of a trained network to a TensorRT engine by torch2trt, compared with PyTorch before it is written."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from custom_pose_ros.core.errors import ConfigError, ModelError
from custom_pose_ros.core.files import replacing, sha256_of
from custom_pose_ros.core.keypoints.preprocessing import SIZE_MULTIPLE
from custom_pose_ros.inference.backends.choice import KINDS, Candidate
from custom_pose_ros.inference.backends.contract import metadata_of
from custom_pose_ros.inference.backends.model_files import ENGINE, ONNX, file_beside
from custom_pose_ros.inference.checkpoints import Checkpoint
from custom_pose_ros.inference.network import PoseNetwork, SamePadding, Stage

TOLERANCE = 0.02  # of heatmaps from 0 to 1 and fields from -1 to 1: f16 has 11 bits of mantissa, over forty layers
_ONNX_TOLERANCE = 1e-3


@dataclass(frozen=True)
class EngineReport:
    """
    What was written.

    Attributes:
        size_bytes: Of the file.
        gpu: Name of the GPU that it runs on.
        tensorrt: Version that it runs with.
        largest_difference: From PyTorch, over all values of the maps.
    """

    size_bytes: int
    gpu: str
    tensorrt: str
    largest_difference: float


class EngineNetwork(nn.Module):
    """
    What becomes the engine: (N, 3, H, W) normalised float32 in, heatmaps and pafs of the last stage out.

    It is the same function as the network's, of operations that torch2trt converts for TensorRT 8 to 10.
    """

    def __init__(self, network: PoseNetwork):
        """Use a network, which is changed."""
        super().__init__()
        self.network = network.eval()
        for module in [*network.modules()]:
            if isinstance(module, nn.Sequential):
                _make_convertible(module)

    def forward(self, normalised: Tensor) -> Stage:
        return self.network.stages(normalised)[-1]


def export_tensorrt(checkpoint: Checkpoint, path: Path, size: tuple[int, int], max_batch: int = 1) -> EngineReport:
    """
    Build an engine in f16 for this GPU and write it as the state_dict of torch2trt's TRTModule.

    Args:
        checkpoint: The trained network.
        path: File to write, net_trt.pth; a model.onnx beside it must be of the same network.
        size: Height and width [px] of the network input, multiples of 32. The engine accepts no other.
        max_batch: Images that go through the network together at most.

    Raises:
        ConfigError: GPU, TensorRT or torch2trt are missing, or an argument is wrong.
        ModelError: The engine does not give PyTorch's numbers, or model.onnx is of another network.
    """
    _check(path, size, max_batch)
    import tensorrt
    from torch2trt import torch2trt

    from custom_pose_ros.inference.backends.tensorrt_backend import DEVICE, ENGINE_FORMAT, FACTS_KEY

    network = EngineNetwork(checkpoint.network()).to(DEVICE).eval()
    images = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (max_batch, *size, 3), np.uint8)).to(DEVICE)
    with torch.inference_mode():
        normalised = network.network.normalise(images).contiguous()
        wanted = network(normalised)
    made_from = _origin(file_beside(path, ONNX), images.cpu().numpy(), wanted)
    with torch.no_grad():
        engine = torch2trt(network, [normalised[:1]], fp16_mode=True, max_batch_size=max_batch)
    facts = {
        'format': ENGINE_FORMAT,
        'gpu': torch.cuda.get_device_name(),
        'tensorrt': tensorrt.__version__,
        'size': list(size),
        'max_batch': max_batch,
        'mean': network.network.mean.flatten().tolist(),
        'std': network.network.std.flatten().tolist(),
        'metadata': {**metadata_of(checkpoint.model, checkpoint.architecture), **made_from},
    }
    with replacing(path) as temporary:
        torch.save({**engine.state_dict(), FACTS_KEY: json.dumps(facts)}, temporary)
        backend = Candidate('tensorrt', 'f16', temporary).load(threads=1)  # as the robot will
        difference = _difference(backend(images.cpu().numpy()), wanted)
        if not difference <= TOLERANCE:
            raise ModelError(
                f'{path}: not written: the engine and PyTorch differ by {difference:.2g}, wanted at most {TOLERANCE:g}'
            )
        size_bytes = temporary.stat().st_size
    return EngineReport(size_bytes, facts['gpu'], facts['tensorrt'], difference)


class _Relu6(nn.Module):
    """ReLU6 by the function that torch2trt converts; nn.ReLU6 calls hardtanh, which it passes over with a warning."""

    def forward(self, x: Tensor) -> Tensor:
        return functional.relu6(x)


def _make_convertible(layers: nn.Sequential) -> None:
    """Replace what torch2trt does not convert."""
    if isinstance(layers[0], SamePadding):
        _merge_padding(layers)
    for i, layer in enumerate(layers):
        if isinstance(layer, nn.ReLU6):
            layers[i] = _Relu6()


def _merge_padding(layers: nn.Sequential) -> None:
    """
    Put the padding of a strided convolution into the convolution, whose own padding is the same on all sides.

    torch2trt converts padding to a layer that TensorRT 10 no longer has. The kernel gets as many zeros in front as the
    padding is larger behind.
    """
    padding, old = layers[0], layers[1]
    before, after = padding.padding[0], padding.padding[1]
    extra = after - before
    channels, kernel = (old.in_channels, old.out_channels), old.kernel_size[0] + extra
    larger = nn.Conv2d(*channels, kernel, old.stride, after, groups=old.groups, bias=False)
    with torch.no_grad():
        larger.weight.copy_(functional.pad(old.weight, [extra, 0, extra, 0]))
    layers[0], layers[1] = nn.Identity(), larger


def _check(path: Path, size: tuple[int, int], max_batch: int) -> None:
    """Raise ConfigError for what cannot be built, before anything is loaded."""
    if not path.name.endswith(ENGINE):
        raise ConfigError(f'{path}: wanted a name that ends in {ENGINE}, such as net_trt.pth, by which it is found')
    if any(side < SIZE_MULTIPLE or side % SIZE_MULTIPLE for side in size):
        raise ConfigError(f'size: wanted height and width in multiples of {SIZE_MULTIPLE} px, got {size[0]} {size[1]}')
    if max_batch < 1:
        raise ConfigError(f'max-batch: wanted at least 1, got {max_batch}')
    kind = KINDS['tensorrt']
    if kind.missing:
        raise ConfigError(f'an engine cannot be built without {", ".join(kind.missing)}: {kind.package}')
    if not torch.cuda.is_available():
        raise ConfigError('an engine is built on the GPU that will run it, and PyTorch finds none here')


def _origin(source: Path, images: np.ndarray, wanted: Stage) -> dict[str, str]:
    """Return the hash of the .onnx file beside the engine. Raises ModelError when that is another network."""
    if not source.is_file():
        return {}
    difference = _difference(Candidate('onnxruntime', 'f32', source).load(threads=1)(images), wanted)
    if not difference <= _ONNX_TOLERANCE:
        raise ModelError(f'{source}: is not of this checkpoint (maps differ by {difference:.2g}); export it first')
    return {'made_from': sha256_of(source)}


def _difference(got: tuple[np.ndarray, np.ndarray], wanted: Stage) -> float:
    """Return the largest absolute difference; NaN where there is one, or another shape."""
    if [maps.shape for maps in got] != [tuple(maps.shape) for maps in wanted]:
        return float('nan')
    return float(np.max([np.abs(a - b.float().cpu().numpy()).max() for a, b in zip(got, wanted)]))
