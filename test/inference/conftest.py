"""A small chain object and ONNX files that behave in a known way, without any training."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from custom_pose_ros.core.object_model import ObjectModel


@pytest.fixture(scope='session')
def model() -> ObjectModel:
    """Two keypoints on one limb, a limb to a third."""
    return ObjectModel.from_dict(
        {'name': 'chain', 'keypoints': ['a', 'b', 'c'], 'skeleton': [['a', 'b'], ['b', 'c']], 'input_height': 64},
        'chain/object.yaml',
    )


@pytest.fixture(scope='session')
def shared_checkpoint(tmp_path_factory: pytest.TempPathFactory, model: ObjectModel) -> Path:
    """A checkpoint of a light network with random weights; nobody may change it."""
    torch = pytest.importorskip('torch')
    from custom_pose_ros.inference.checkpoints import CHECKPOINT_FORMAT
    from custom_pose_ros.inference.network import build_network

    torch.manual_seed(0)
    network = build_network('light', model, channels=32)
    path = tmp_path_factory.mktemp('checkpoint') / 'model.pth'
    content = {
        'format': CHECKPOINT_FORMAT,
        'architecture': 'light',
        'options': {'channels': 32},
        'object': model.to_dict(),
        'weights': network.state_dict(),
        'training': None,
    }
    torch.save(content, path)
    return path


@pytest.fixture
def checkpoint(tmp_path: Path, shared_checkpoint: Path) -> Path:
    """A checkpoint of a light network with random weights."""
    return Path(shutil.copy(shared_checkpoint, tmp_path))


@pytest.fixture
def images() -> np.ndarray:
    """(2, 64, 96, 3) random uint8."""
    return np.random.default_rng(0).integers(0, 256, (2, 64, 96, 3), np.uint8)
