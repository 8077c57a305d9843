"""The weights that a training run starts from: random, ImageNet, a checkpoint, or an exported network."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from torch import Tensor

from custom_pose_ros.inference.network import PoseNetwork
from training.pose_training.networks.exported import load_exported
from training.pose_training.networks.pretrained import load_imagenet, load_published


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
