"""The backends and precisions that are installed here, each loaded with the same network and threads."""

from __future__ import annotations

import tempfile
from pathlib import Path

from custom_pose_ros.core.errors import CustomPoseError
from custom_pose_ros.core.object_file import find_object_folder
from custom_pose_ros.core.object_model import ObjectModel
from custom_pose_ros.inference.backends import KINDS, LoadedNetwork, load_network


def load_ways(model: ObjectModel, threads: int) -> tuple[dict[str, LoadedNetwork], dict[str, str]]:
    """
    Return every backend and precision that runs the object's network here, by name, and why the others do not.

    torch reads checkpoints and no .onnx file: it gets the same architecture with random weights, which take as long.
    """
    ways, refused = {}, {}
    with tempfile.TemporaryDirectory() as folder:
        for name, kind in KINDS.items():
            for precision in kind.files:
                try:
                    path = find_object_folder(model.name)
                    if name == 'torch':
                        path = random_checkpoint(model, Path(folder) / 'model.pth')
                    ways[f'{name} {precision}'] = load_network(path, name, threads, precision)
                except (CustomPoseError, ImportError) as error:
                    refused[f'{name} {precision}'] = str(error)
    return ways, refused


def random_checkpoint(model: ObjectModel, path: Path) -> Path:
    """Write a checkpoint of the light network with random weights. Raises ImportError without torch."""
    import torch

    from custom_pose_ros.inference.checkpoints import CHECKPOINT_FORMAT
    from custom_pose_ros.inference.network import build_network

    network = build_network('light', model)
    torch.save(
        {
            'format': CHECKPOINT_FORMAT,
            'architecture': network.architecture,
            'options': {},
            'object': model.to_dict(),
            'weights': network.state_dict(),
            'training': None,
        },
        path,
    )
    return path
