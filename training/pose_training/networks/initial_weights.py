"""The weights that a training run starts from: random, ImageNet, a checkpoint, or an exported network."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import onnx
import torch
from torch import Tensor, nn

from custom_pose_ros.core.errors import ModelError
from custom_pose_ros.core.files import check_network_file
from custom_pose_ros.inference.network import PoseNetwork
from training.pose_training.networks import onnx_graph
from training.pose_training.networks.pretrained import LoadedLayers, load_imagenet, load_published

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
