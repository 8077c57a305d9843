"""Backend torch: PyTorch on the CPU, or on the GPU where there is one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from custom_pose_ros.core.object_model import ObjectModel
from custom_pose_ros.inference.backends.contract import check_images, metadata_of
from custom_pose_ros.inference.checkpoints import load_checkpoint
from custom_pose_ros.inference.network import DeploymentNetwork, PoseNetwork


class TorchBackend:
    """PyTorch, on the GPU where there is one."""

    name = 'torch'
    input_size = None
    precision = 'f32'

    def __init__(self, network: PoseNetwork, model: ObjectModel, threads: int | None = None):
        """Wrap a network for `model`; on the CPU, `threads` sets PyTorch's threads for the whole process."""
        self._device = torch.device('cuda' if torch.cuda.is_available() else 'cpu')
        self.device = torch.cuda.get_device_name() if self._device.type == 'cuda' else 'CPU'
        if threads is not None and self._device.type == 'cpu':
            torch.set_num_threads(threads)
        self._network = DeploymentNetwork(network).to(self._device, memory_format=torch.channels_last)
        self.metadata = metadata_of(model, network.architecture)

    @classmethod
    def load(cls, path: Path, precision: str, threads: int, model: ObjectModel | None = None) -> TorchBackend:
        """Load a checkpoint in f32; a published one needs the model that it finds. Raises ModelError."""
        checkpoint = load_checkpoint(path, model)
        return cls(checkpoint.network(), checkpoint.model, threads)

    def __call__(self, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        check_images(images)
        with torch.inference_mode():
            heatmaps, pafs = self._network(torch.from_numpy(np.ascontiguousarray(images)).to(self._device))
        return heatmaps.cpu().contiguous().numpy(), pafs.cpu().contiguous().numpy()
